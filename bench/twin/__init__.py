"""The product's decision on error rates, for many simulated days at once.

It says what `core.track`, `core.detect`, `core.steps.attribution` and `core.steps.confirm` say of
the same counts, in arrays with one column for each day; tests/core/test_twin.py holds it to them.
Evidence is kept as it is and not as a logarithm: fresh weight keeps it above 1e-7, and it is right
up to e^700, far above any alarm. Gates and decisions are worked out just where evidence is enough.

Left out, since nothing else fails here: brakes other than attribution, detectors on the control,
the renewal of evidence after an incident that closed by itself.

`days` and `levels` are what goes in; `ticks`, `absolute` and `relative` weigh it, all days at once;
`one_day` and `breaches` look closer at the days with enough evidence; `verdicts` says what came of
each.
"""

from bench.twin.absolute import evidence
from bench.twin.arrays import DAY_S, HOUR_S, LAG_S, SECOND_MS, WINDOW_S, Bools, Floats, Ints
from bench.twin.days import Days, Phase, traffic
from bench.twin.levels import DEFAULT_LIMITS, Level, default_levels, flat_level, level
from bench.twin.one_day import day_of, passed_since
from bench.twin.relative import beside, relative_evidence
from bench.twin.ticks import Ticks, fold, ticks_of
from bench.twin.verdicts import Verdicts, judge

__all__ = [
    "DAY_S", "DEFAULT_LIMITS", "HOUR_S", "LAG_S", "SECOND_MS", "WINDOW_S", "Bools", "Days",
    "Floats", "Ints", "Level", "Phase", "Ticks", "Verdicts", "beside", "day_of", "default_levels",
    "evidence", "flat_level", "fold", "judge", "level", "passed_since", "relative_evidence",
    "ticks_of", "traffic",
]  # fmt: skip
