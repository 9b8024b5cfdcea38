"""Outside systems, one file each, and `catalog`, which knows them by name.

What belongs here: the translation between a port of `knowngood.ports` and somebody else's protocol.
An adapter imports ports and core only, and no other adapter.
"""
