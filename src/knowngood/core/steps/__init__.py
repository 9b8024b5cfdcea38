"""One pure function for each step of the judgement; `decide` only orders them.

What belongs here: functions from a Case (everything known at one moment) to a Step (what to do and
what it waits on), and what an operator may ask for. No step calls another phase's step.
"""
