"""What the detectors of a version show at one moment, as plain numbers that can be frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RateSign:
    """One detector of a share of calls: failures, slow calls, a counter.

    `bad` of `n` were seen in the last `window_ms` (0: since the beginning), the window that decides
    whether the plain threshold is passed (`over`, since `over_since_ms`). `limit` is the share that
    the evidence asks for, above the policy's own where that is not `separable` from the baseline;
    `healthy` is the share that a healthy version may show. `log_e` is the evidence in nats, and
    `alpha` how often a healthy version may reach 1/alpha.
    """

    n: int
    bad: int
    window_ms: int
    over: bool
    limit: float
    healthy: float
    alpha: float
    log_e: float
    over_since_ms: int | None = None
    separable: bool = True
    above: int = 0  # of a latency: the bucket that a slow call lies above
    threshold: float | None = None  # the plain threshold; below `limit` where not separable
    calm_n: int = 0  # where `n` is too few to say that all is well: the newest calls that are not,
    calm_bad: int = 0  # or all that there are, and how many of them were bad


@dataclass(frozen=True, slots=True)
class ScoreSign:
    """One detector of a score, in the score's declared units.

    `mean` is that of the newest labels (`recent_n` of all `n` since the beginning); `move` is how
    far all of them have moved in the bad direction as the policy's limit counts it, with its
    standard error.
    """

    n: int
    recent_n: int
    mean: float
    over: bool
    alpha: float
    log_e: float
    baseline: float | None = None
    source: str = ""
    move: float = 0.0
    move_se: float = 0.0
    needed_n: int = 0  # labels a side that one fixed test would need to tell this move from noise


@dataclass(frozen=True, slots=True)
class Reading:
    """All detectors of a version, by their watch's key.

    `waiting` are detectors that have no baseline yet; `inseparable` those whose limit is too close
    to what the baseline does by chance. `relative` is the evidence in nats that the candidate does
    worse than the control on the same metric (`error_rate`, with its kinds, or a latency), or under
    a `replaced` key that the target of a gradual rollback does worse than what it replaces.
    """

    rates: Mapping[str, tuple[RateSign, ...]] = field(default_factory=dict)
    scores: Mapping[str, ScoreSign] = field(default_factory=dict)
    relative: Mapping[str, float] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    inseparable: tuple[str, ...] = ()
    calls_per_s: float = 0.0
    since_ms: int = 0


NOTHING_READ = Reading()


@dataclass(frozen=True, slots=True)
class TimeToDetect:
    """About how long a true rate would take to be found at today's traffic; None: it never is."""

    rate: float
    after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """The evidence behind a finding: E = e^log_e, of which 1/alpha is proof.

    `limit` and `healthy` are the shares that were told apart (None for scores), `n` and `bad` what
    was seen of them in the last `window_ms` (0: since the beginning), `over` whether the plain
    threshold is passed. Not `separable`: the policy's own limit cannot be told from health.
    `time_to_detect` says it for some true rates; empty without traffic, and for other than calls.
    """

    alpha: float
    log_e: float
    over: bool
    limit: float | None = None
    healthy: float | None = None
    n: int = 0
    bad: int = 0
    window_ms: int = 0
    over_since_ms: int | None = None
    log_e_relative: float | None = None
    separable: bool = True
    above: int = 0  # of a latency: the bucket that a slow call lies above
    time_to_detect: tuple[TimeToDetect, ...] = ()
