"""The laws of the simulator, each a checker of its own; `sim.checkers` has the table of them.

What belongs here: what must hold whatever happens, checked from the outside. A checker counts for
itself: it reads what processes reported and what the store took in, never the product's own sums.
"""
