"""What a plan rests on: how much comes along, and how the version that is served does."""

import math
from collections.abc import Mapping

from knowngood.core.basics import ScoreRange
from knowngood.core.experiment_metric import LATENCY, slow_above, slow_calls
from knowngood.core.plan import Spread, Today
from knowngood.core.rules import ExperimentRule
from knowngood.core.stats import DAY_MS
from knowngood.core.window import Window, score_moments

# From fewer calls nobody should plan.
CALLS_MIN = 100


def today(
    served: Window,
    everybody: Window,
    width_ms: int,
    scores: Mapping[str, ScoreRange],
    rule: ExperimentRule | None,
) -> Today | None:
    """What the calls of `width_ms` show: traffic of `everybody`, health of the version `served`.

    None for too few calls. Units are counted second by second and process by process, so who comes
    back is counted again: it is the most that there may be. A score's spread is that of single
    calls, which is no narrower than that of users.
    """
    if served.call_count < CALLS_MIN or width_ms <= 0:
        return None
    margin = rule.margin_of(LATENCY) if rule else None
    above = slow_above(served, margin) if margin is not None else None
    slow = slow_calls(served, above) if above is not None else None
    spreads = {}
    for name, declared in sorted(scores.items()):
        count, mean, variance = score_moments(served.scores.get(name, {}))
        if count > 1:
            width = declared.max - declared.min
            metric = name if name == "quality" else f"score.{name}"
            spreads[metric] = Spread(declared.min + width * mean, width * math.sqrt(variance))
    return Today(
        calls_per_s=1000 * everybody.call_count / width_ms,
        units_per_day=everybody.units * DAY_MS / width_ms,
        error_rate=served.error_count / served.call_count,
        slow_share=slow.mean if slow and slow.unit_count else None,
        spreads=spreads,
    )
