"""The simulated world: the same core and engine as in production, with a fake outside.

What belongs here: everything that is played rather than real (processes, networks, people, pagers,
faults, virtual time), the checkers that watch it, scenarios in a timeline language, planted bugs
that keep the checkers honest, and the backtest of recorded traffic. Nothing here decides about a
rollback: whatever does that is core and engine, unchanged.
"""
