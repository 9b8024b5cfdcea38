"""The nouns of a policy: what its owner wrote, checked and with every default filled in."""

from collections.abc import Mapping
from dataclasses import dataclass

from knowngood.core.evaluation import Requirement
from knowngood.core.model import Comparison, Method, Response, ScoreRange, Severity
from knowngood.core.people import (
    DEFAULT_APPROVALS,
    DEFAULT_ESCALATION,
    ApprovalRule,
    EscalationRule,
)
from knowngood.core.rollout import Ladder
from knowngood.core.trial import Aim as Aim
from knowngood.core.trial import ExperimentRule as ExperimentRule
from knowngood.core.trial import Looks as Looks
from knowngood.core.trial import Margin as Margin


@dataclass(frozen=True, slots=True)
class Condition:
    """`metric comparison limit`; `text` is how its owner wrote it.

    The limit of a rate or of a relative change is a fraction (0.05 for 5 %), of a score it is in
    the score's declared units, of a latency in ms.
    """

    metric: str
    comparison: Comparison
    limit: float
    text: str


@dataclass(frozen=True, slots=True)
class Trigger:
    """One line of the policy's table: a condition and what follows from its breach."""

    name: str
    when: Condition
    severity: Severity
    action: Response
    who: str
    window_ms: int
    limit_ms: int | None = None
    method: Method = Method.INSTANT
    kinds: tuple[str, ...] = ()  # error kinds that count; empty means all
    for_ms: int | None = None
    then: Response | None = None
    on_timeout: str = "escalate"
    dry_run: bool = False
    evidence: str = "auto"  # `none`: the bare threshold, from `min_requests` on
    min_requests: int | None = None
    alpha: float | None = None  # how often a healthy version may be found at fault; None: by action
    healthy: float | None = None  # the share that its owner calls healthy; None: the baseline's
    min_labels: int | None = None  # of a score, before it says anything


@dataclass(frozen=True, slots=True)
class AlertRule:
    """Conditions that alert while a candidate's age is within [min_age_ms, max_age_ms)."""

    name: str
    when: tuple[Condition, ...]
    min_age_ms: int = 0
    max_age_ms: int | None = None


@dataclass(frozen=True, slots=True)
class BaselineRule:
    """Where a baseline comes from and how much it must hold."""

    sources: tuple[str, ...] = ("control", "previous_good")
    window_ms: int = 24 * 3_600_000
    min_requests: int = 1000
    min_labels: int = 50


@dataclass(frozen=True, slots=True)
class VerifyRule:
    """What a verified recovery needs."""

    error_rate_below: float = 0.01
    goal_ms: int = 60_000
    deadline_ms: int = 300_000
    takes_next: bool = False  # a target that fails too gives way to the next known-good version


@dataclass(frozen=True, slots=True)
class BakeRule:
    """How long a version must survive at 100 % before the ledger calls it good."""

    for_ms: int = 3_600_000
    holdback_bp: int = 500


@dataclass(frozen=True, slots=True)
class FlapRule:
    """The flap guard: how often automatic rollbacks may happen."""

    cooldown_ms: int = 600_000
    per_prompt_hour_count: int = 2
    fleet_hour_count: int = 10


@dataclass(frozen=True, slots=True)
class SoakRule:
    """What a version must have survived before it may be promoted elsewhere.

    `required` is `always`, `never`, or `used`: only of prompts that are served in `environment`.
    """

    environment: str = "staging"
    for_ms: int = 24 * 3_600_000
    min_calls: int = 100
    required: str = "used"


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which nothing is promoted and no stage is left, rollbacks apart.

    Either once, from `from_ms` to `until_ms` (Unix epoch), or each week: on `weekdays` (0 Monday)
    from `from_ms` to `until_ms` after midnight UTC, over midnight if that is not later.
    """

    from_ms: int
    until_ms: int
    because: str
    weekdays: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class EvaluationRule:
    """An evaluation that a version needs: to be promoted, to be a rollback's target, or both."""

    requirement: Requirement
    of_promotion: bool = True
    of_target: bool = True


@dataclass(frozen=True, slots=True)
class PromptPolicy:
    """The policy in force for one prompt."""

    window_ms: int
    baseline: BaselineRule
    triggers: tuple[Trigger, ...]
    alerts: tuple[AlertRule, ...]
    verify: VerifyRule
    bake: BakeRule
    flap: FlapRule
    scores: Mapping[str, ScoreRange]
    soak: SoakRule
    canary: Ladder
    gradual: Ladder
    pause_above: Condition  # of the target of a gradual rollback
    freezes: tuple[Freeze, ...] = ()
    evaluations: tuple[EvaluationRule, ...] = ()
    keep_hot_count: int = 3
    archive_ms: int = 180 * 24 * 3_600_000
    purges_itself: bool = True  # False: only when a person says so
    auto_rollback_stale: bool = False
    authors: tuple[str, ...] = ()
    ab: ExperimentRule | None = None  # None: no comparison is asked for
    escalation: EscalationRule = DEFAULT_ESCALATION
    approvals: ApprovalRule = DEFAULT_APPROVALS
    delegated: tuple[str, ...] = ()  # audiences of a pager that escalates by itself
    listed_audiences: tuple[str, ...] = ()  # those that say their channels
    revision: str = ""  # digest of the canonical policy it was taken from
