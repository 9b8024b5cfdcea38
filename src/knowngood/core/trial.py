"""The nouns of an A/B comparison: what is asked, what was laid down, what is answered.

They are remembered with a rollout, so nothing that judges belongs here: core/experiment.py does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from knowngood.core.basics import ScoreRange, Wait


class Aim(StrEnum):
    """What a comparison of two arms has to show on its primary metric."""

    SUPERIORITY = "superiority"
    NON_INFERIORITY = "non_inferiority"


class Looks(StrEnum):
    """When the numbers may be looked at: at any time, or once, at a size named beforehand."""

    ANYTIME = "anytime"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse a candidate may be on a metric, as a fraction.

    Absolute for a share of calls (0.005 is half a percentage point), relative to the control for
    everything else (0.02 is two percent of its mean, 0.1 a tenth more of its p99).
    """

    metric: str
    margin: float


@dataclass(frozen=True, slots=True)
class ExperimentRule:
    """What a candidate has to show beside its control before it may be promoted.

    Units are counted in the smaller arm, by those that have a value of the primary metric.
    `max_units_count` is the size at which somebody has to decide; with one look only, it is the
    size at which that look is taken.
    """

    primary: str = "quality"
    aim: Aim = Aim.NON_INFERIORITY
    looks: Looks = Looks.ANYTIME
    alpha: float = 0.05
    guardrails: tuple[Margin, ...] = (
        Margin("error_rate", 0.005),
        Margin("latency_p99", 0.10),
        Margin("quality", 0.02),
    )
    min_units_count: int = 200
    max_units_count: int = 20_000
    min_time_ms: int = 24 * 3_600_000

    def margin_of(self, metric: str) -> float | None:
        """The margin of a guardrail; None if the metric is none."""
        return next((each.margin for each in self.guardrails if each.metric == metric), None)


class ExperimentState(StrEnum):
    """What the gate says. All but CONTINUE are final."""

    PASS = "pass"  # noqa: S105  # a verdict, no password
    FAIL = "fail"
    CONTINUE = "continue"
    INVALID = "invalid"  # the arms cannot be compared
    INSUFFICIENT = "insufficient"  # as many units as were planned, and nothing is shown


@dataclass(frozen=True, slots=True)
class MetricResult:
    """What a comparison says of one metric.

    `margin` is how much worse the candidate may be; None: it has to be better. `estimate`, with
    `low` and `high`, is candidate - control as a share for errors, candidate / control - 1 for
    means, and for a p99 the candidate's own share of slow units, which has to stay below
    SLOW_LIMIT; each is None while there is too little. `p` speaks against "not better", or "worse
    by the margin", `harm_p` against "not worse", or "not worse by more than the margin"; for exact
    evidence p is 1 / E. `further_units` is about how many more units the smaller arm needs if it
    goes on like this; None: not foreseeable.
    """

    metric: str
    margin: float | None
    control_units: int
    candidate_units: int
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    p: float = 1.0
    harm_p: float = 1.0
    shown: bool = False
    harmed: bool = False
    further_units: int | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """What was laid down before the first unit, and may not change afterwards.

    Keep it where the comparison was begun, in the same transaction as the route, and hand in the
    same one at every look: a policy that changes meanwhile holds for the next comparison. A change
    of the share begins a new one, with sums from zero. `share_bp` is the candidate's, above 0 and
    below 10 000. `slow_above` is the latency bucket above which a call is slow; None: not known, so
    a p99 is never shown.
    """

    rule: ExperimentRule
    share_bp: int
    began_ms: int
    scores: Mapping[str, ScoreRange]
    slow_above: int | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the gate says what it says: `kind` is a word that explain_experiment.py knows.

    Of a metric, `margin` is how much worse it may be; None: it has to be better. One metric may be
    asked both.
    """

    kind: str
    metric: str = ""
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """The gate's answer, with everything needed to check it.

    `units_count` are the units of the smaller arm that have a value of the primary metric. The
    primary metric's result comes first. `sample_ratio_p` is the smallest so far.
    """

    state: ExperimentState
    reasons: tuple[Reason, ...] = ()
    waits: tuple[Wait, ...] = ()
    metrics: tuple[MetricResult, ...] = ()
    units_count: int = 0
    sample_ratio_p: float = 1.0

    @property
    def is_final(self) -> bool:
        """Whether nothing that comes later can change it."""
        return self.state is not ExperimentState.CONTINUE
