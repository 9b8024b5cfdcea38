"""Outside systems, one file each, and `catalog`, which knows them by name.

What belongs here: the translation between a port of `knowngood.ports` and somebody else's protocol.
An adapter imports ports, core and what all share: `egress`, the one way out, `secrets`, and the
words in `answers`, `wording` and `blocks`. No adapter imports another.
"""
