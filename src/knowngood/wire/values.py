"""Single values on the wire: their limits, and the checks that leave a bad one out."""

from math import isfinite

# Prompt, version, score and counter names are written by people; client ids hold a host name (253).
NAME_CHARS_MAX = 128
CLIENT_CHARS_MAX = 400
# Different counters or scores in one row, and different reasons in one batch: they become series
# and map keys, which nothing may multiply without bound.
NAMES_PER_ROW_MAX = 50
# In one second one process makes far fewer calls than this; above it a number is a mistake, and it
# would drown the evidence of all other processes.
COUNT_MAX = 10_000_000
NUMBER_MAX = 2**53  # sequence numbers and generations stay exact in every JSON reader


class LeftOut(Exception):
    """Why one row, unit or late score is left out; never seen outside of the wire."""


def checked_name(value: object) -> str:
    """The value as a name. Raises LeftOut."""
    if type(value) is not str or not 0 < len(value) <= NAME_CHARS_MAX or not value.isprintable():
        raise LeftOut("not a name")
    return value


def checked_count(value: object, most: int = COUNT_MAX) -> int:
    """The value as a count of at most `most`. Raises LeftOut."""
    if type(value) is not int:  # a bool is not a count either
        raise LeftOut("not a whole number")
    if 0 <= value <= most:
        return value
    raise LeftOut("negative count" if value < 0 else "count too large")


def checked_number(value: object) -> float:
    """The value as a finite number. Raises LeftOut."""
    if type(value) is int:
        # Compared as an integer: a huge one does not fit a float.
        if abs(value) > NUMBER_MAX:
            raise LeftOut("number too large")
        return float(value)
    if type(value) is not float or not isfinite(value):
        raise LeftOut("not a number")
    return value
