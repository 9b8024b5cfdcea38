"""What other systems send us: one file each, from bytes and headers to values of core.

What belongs here: checking a sender's own signature and reading its body, both pure: no clock, no
network, no store. Fields that are not known are left alone: senders add them without a word.
"""
