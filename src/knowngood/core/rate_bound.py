"""How often something happens in a week, when it was watched for less or more than one."""

import math

WEEK_MS = 7 * 24 * 3_600_000
LEVEL = 0.05
Z = 1.6448536269514722  # the one-sided 95 % point of the normal distribution


def per_week(count: int, span_ms: int) -> float:
    """The rate that was seen: `count` times in `span_ms`, which is above zero."""
    return count * WEEK_MS / span_ms


def most_per_week(count: int, span_ms: int) -> float:
    """The upper 95 % limit of the rate behind `count` times in `span_ms`, which is above zero.

    The exact limit of a Poisson count, within 0.4 % (Wilson and Hilferty's cube root of chi-square,
    1931). Of something never seen it is the rule of three: three times in the span, at most.
    """
    if count == 0:
        return per_week(1, span_ms) * -math.log(LEVEL)
    n = count + 1
    return per_week(1, span_ms) * n * (1 - 1 / (9 * n) + Z / (3 * math.sqrt(n))) ** 3
