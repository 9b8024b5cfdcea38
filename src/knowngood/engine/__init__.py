"""The imperative shell: reads through ports, lets core decide, writes through ports.

What belongs here: synchronous `tick_*(…, now_ms)` functions without a choice about the domain.
Every `if` here is about plumbing: what is due, what is cached, what failed and is tried again.
"""
