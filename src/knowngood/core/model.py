"""The nouns: what is known of prompts, versions, routes and policies, and what may be done to them.

Everything is a frozen value. `State` is all that is remembered of one prompt in one environment;
`Observed` is all that was seen of it; `Decision` is what to do about it, and why, or why nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from knowngood.core.asking import Alarm, Approval, Purpose, Question
from knowngood.core.basics import ScoreRange as ScoreRange
from knowngood.core.basics import Wait as Wait
from knowngood.core.reading import NOTHING_READ, Proof, Reading
from knowngood.core.release import Release
from knowngood.core.rollout import Rollout
from knowngood.core.route import WHOLE_BP as WHOLE_BP
from knowngood.core.route import Arm as Arm
from knowngood.core.route import Route as Route
from knowngood.core.route import ShareStep as ShareStep
from knowngood.core.route import whole as whole
from knowngood.core.unit_sums import Arms
from knowngood.core.window import EMPTY, Bucket, Window, since

FLEET = "*"  # the prompt name of an environment's own state: brakes that hold for all its prompts


class Verdict(StrEnum):
    """What a trigger says of a version: never two values, always one of four."""

    BREACH = "breach"
    CLEAR = "clear"
    UNSURE = "unsure"
    BLIND = "blind"


class Severity(StrEnum):
    """How bad a breach of a trigger is, worst first."""

    CRITICAL = "critical"
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Response(StrEnum):
    """What a trigger asks for when it is breached, strongest first."""

    ROLLBACK = "rollback"
    ASK = "ask"
    OBSERVE = "observe"
    ALERT = "alert"


class Method(StrEnum):
    """How traffic moves in a rollback."""

    INSTANT = "instant"
    GRADUAL = "gradual"


class Standing(StrEnum):
    """What the ledger says of a version in an environment."""

    CANDIDATE = "candidate"
    GOOD = "good"
    QUARANTINED = "quarantined"


class Outcome(StrEnum):
    """How an incident stands after its rollback."""

    RECOVERED = "recovered"
    NOT_RECOVERED = "not_recovered"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message of a prompt."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a version consists of: a text or chat messages (exactly one), and its configuration."""

    text: str | None = None
    messages: tuple[Message, ...] | None = None
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """An immutable version of a prompt; `digest` is the sha256 of its canonical content."""

    prompt: str
    version: str
    content: Content
    digest: str
    author: str
    created_ms: int
    note: str = ""


class Comparison(StrEnum):
    """How a metric is held against its limit."""

    ABOVE = "above"  # absolute: metric > limit
    BELOW = "below"  # absolute: metric < limit
    DROP = "drop"  # relative to the baseline b: (b - x) / b > limit
    INCREASE = "increase"  # relative to the baseline b: (x - b) / b > limit


@dataclass(frozen=True, slots=True)
class Entry:
    """A version's line in the ledger of one prompt and environment.

    `baseline` is its healthy day, frozen when it last left the whole of the traffic.
    """

    version: str
    standing: Standing
    since_ms: int
    routed_ms: int | None = None  # when it last came onto the route
    fresh_ms: int | None = None  # an alarm ended here: its evidence begins anew
    because: str = ""
    actor: str = ""
    baseline: Window | None = None
    left_ms: int | None = None  # when it last left the route
    release: Release | None = None  # what it was promoted with


@dataclass(frozen=True, slots=True)
class Steady:
    """Nothing is under way."""


@dataclass(frozen=True, slots=True)
class Confirming:
    """A rollback trigger was breached on data up to `seen_ms`; the next look must see it again."""

    trigger: str
    version: str
    seen_ms: int
    began_ms: int


@dataclass(frozen=True, slots=True)
class Verifying:
    """Traffic was switched at `began_ms`; recovery is not proven yet.

    `triggers` are those that had breached; `attempt_count` rises each time the question of recovery
    ended inconclusive and is asked again until `deadline_ms`. `unseen` holds until the first look
    after the switch.
    """

    from_version: str
    to_version: str
    triggers: tuple[str, ...]
    began_ms: int
    deadline_ms: int
    by: str
    automatic: bool
    propagated_ms: int | None = None
    attempt_count: int = 1
    unseen: bool = False


Phase = Steady | Confirming | Verifying


@dataclass(frozen=True, slots=True)
class Incident:
    """A breach that people are told of; one per prompt and generation at the highest severity.

    The id is derived (`<environment>/<prompt>/g<generation>.<n>`), never random, so that two
    engines name the same incident the same way.
    """

    id: str
    version: str
    generation: int
    severity: Severity
    response: Response
    triggers: tuple[str, ...]
    opened_ms: int
    outcome: Outcome | None = None
    part_of: str = ""  # the incident of another prompt that this one belongs to


@dataclass(frozen=True, slots=True)
class Spell:
    """A stretch of time in which an incident was open, and the version that it was about."""

    since_ms: int
    until_ms: int
    version: str = ""


@dataclass(frozen=True, slots=True)
class Hold:
    """Automation is off until `until_ms`, by a person's word."""

    until_ms: int
    because: str
    actor: str


@dataclass(frozen=True, slots=True)
class State:
    """All that is remembered of one prompt in one environment. `revision` fences every change.

    The prompt `*` is the environment itself: its `automation` holds for all prompts and its
    `rollbacks_ms` are those of the whole fleet.
    """

    environment: str
    prompt: str
    revision: int = 0
    route: Route | None = None
    ledger: tuple[Entry, ...] = ()
    phase: Phase = field(default_factory=Steady)
    incident: Incident | None = None
    incident_count: int = 0  # incidents opened in the route's generation
    told: tuple[str, ...] = ()  # notices given since the route last moved
    automation: Hold | None = None
    rollbacks_ms: tuple[int, ...] = ()  # automatic rollbacks of the last hour
    spells: tuple[Spell, ...] = ()  # incidents that are over, oldest first
    rollout: Rollout | None = None  # a ladder, its bake, or a gradual rollback
    question: Question | None = None  # what a person has to decide about the incident
    question_count: int = 0  # numbers given to questions so far
    alarms: tuple[Alarm, ...] = ()  # pages about what is not over yet, oldest first
    approvals: tuple[Approval, ...] = ()  # of promotions, oldest first

    def entry(self, version: str) -> Entry | None:
        """The version's line in the ledger, if it has one."""
        return next((e for e in self.ledger if e.version == version), None)

    def standing(self, version: str) -> Standing | None:
        """What the ledger says of the version; None when it was never routed or vouched for."""
        entry = self.entry(version)
        return entry.standing if entry else None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was reported of one version: closed buckets in order, oldest first.

    `lifetime` sums everything since the version came onto the route, and `reading` is what its
    detectors show. `sums` remembers each sum that was asked for: they are what a decision rests on,
    and all that has to be kept to make it again.
    """

    buckets: tuple[Bucket, ...] = ()
    lifetime: Window = EMPTY
    reading: Reading = NOTHING_READ
    sums: dict[int, Window] = field(default_factory=dict, compare=False, repr=False)
    is_frozen: bool = False  # only the sums are left, the buckets are gone

    def since(self, since_ms: int) -> Window:
        """The sum of the buckets that begin at `since_ms` or later.

        Raises LookupError for a sum that the frozen decision never asked for.
        """
        if since_ms not in self.sums:
            if self.is_frozen:
                raise LookupError(f"no sum since {since_ms} was frozen")
            self.sums[since_ms] = since(self.buckets, since_ms)
        return self.sums[since_ms]

    @property
    def last_ms(self) -> int | None:
        """Where the newest bucket that holds any report begins."""
        return self.buckets[-1].at_ms if self.buckets else None


@dataclass(frozen=True, slots=True)
class ClientSeen:
    """A process that reports: the generation it runs and when it was last heard."""

    id: str
    environment: str
    boot: str
    seq: int
    generation: int
    seen_ms: int
    closed: bool = False  # it said goodbye: its silence is expected
    ended: tuple[str, ...] = ()  # the boots of its earlier lives, oldest first


@dataclass(frozen=True, slots=True)
class Census:
    """Which processes run which generation. `behind` are live, `silent` were live a while ago.

    A census that was frozen names the first of them and counts the rest as `unnamed`.
    """

    live_count: int = 0
    current_count: int = 0
    behind: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    unnamed_behind_count: int = 0
    unnamed_silent_count: int = 0


@dataclass(frozen=True, slots=True)
class Sibling:
    """Another prompt on the same provider that is in critical breach, and since when."""

    prompt: str
    breaching_since_ms: int
    routed_ms: int


@dataclass(frozen=True, slots=True)
class Related:
    """A prompt that is declared related and fails more often than a healthy one would."""

    prompt: str
    elevated_since_ms: int


@dataclass(frozen=True, slots=True)
class Partner:
    """A prompt that serves its part of a release, and what its own rollback would rest on."""

    state: State
    unfit: Mapping[str, str] = field(default_factory=dict)
    deadline_ms: int = 0  # of the verification, by its own policy
    is_due: bool = False  # it is looked at next: what it said last may be taken back at once


@dataclass(frozen=True, slots=True)
class Observed:
    """All that was seen of one prompt. Buckets that begin before `until_ms` are final."""

    until_ms: int
    versions: Mapping[str, Evidence] = field(default_factory=dict)
    census: Census = field(default_factory=Census)
    fleet: State | None = None
    siblings: tuple[Sibling, ...] = ()
    provider: str | None = None
    related: tuple[Related, ...] = ()
    unrelated_clear: tuple[str, ...] = ()  # prompts of the provider that are known to be well
    partners: tuple[Partner, ...] = ()  # what is served was released with these
    unfit: Mapping[str, str] = field(default_factory=dict)  # no targets, by their evaluations: why
    arms: Arms | None = None  # of a comparison that is asked now
    authors: Mapping[str, str] = field(default_factory=dict)  # by version: who pushed it

    def evidence(self, version: str) -> Evidence:
        """What was reported of the version; empty when nothing was."""
        return self.versions.get(version) or Evidence()


@dataclass(frozen=True, slots=True)
class Finding:
    """What one trigger says of one version, with everything needed to check it."""

    trigger: str
    version: str
    metric: str
    comparison: Comparison
    limit: float
    verdict: Verdict
    response: Response
    severity: Severity
    n: int
    bad: int | None = None  # failed calls, for rates
    estimate: float | None = None
    baseline: float | None = None
    baseline_source: str = ""
    since_ms: int = 0
    until_ms: int = 0
    waiting_on: tuple[Wait, ...] = ()
    proof: Proof | None = None
    related: tuple[str, ...] = ()  # of a cascade: the prompts that fail with this one,
    well: str = ""  # and one of the provider's others that does not


@dataclass(frozen=True, slots=True)
class MoveRoute:
    """Serve these arms from now on; the store gives the route its generation."""

    arms: tuple[Arm, ...]
    salt: str = ""


@dataclass(frozen=True, slots=True)
class Stand:
    """Write a version's standing into the ledger."""

    version: str
    standing: Standing
    because: str


@dataclass(frozen=True, slots=True)
class Freeze:
    """Keep a version's healthy day as its baseline."""

    version: str
    baseline: Window


@dataclass(frozen=True, slots=True)
class Join:
    """Remember what a version was promoted with; it goes back with it, too."""

    version: str
    release: Release


@dataclass(frozen=True, slots=True)
class Renew:
    """Begin a version's evidence anew: the alarm that it gave has ended."""

    version: str


@dataclass(frozen=True, slots=True)
class Strike:
    """Take a candidate's line out of the ledger: its version is purged."""

    version: str


@dataclass(frozen=True, slots=True)
class Enter:
    """Go to another phase."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class SetIncident:
    """Open, amend or (None) close the incident."""

    incident: Incident | None


@dataclass(frozen=True, slots=True)
class SetRollout:
    """Begin a rollout, go on, or (None) end it. A moved route ends it, unless this follows."""

    rollout: Rollout | None


@dataclass(frozen=True, slots=True)
class Notify:
    """Queue a message to people, in the same transaction; queued at most once per `key`.

    A page with a `thread` raises an alarm, unless that thread has one. `question` is the number of
    the question that the message asks. `targets` and `channels` are those of an escalation level;
    empty: those of the audience. `level` is the one that a first page tells (-1: none), and
    `evidence` what of the body is kept for the next ones.
    """

    key: str
    audience: str
    severity: Severity
    subject: str
    body: str
    purpose: Purpose = Purpose.NOTE
    thread: str = ""
    question: int | None = None
    targets: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    level: int = 0
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class SetQuestion:
    """Ask, change what is asked, or (None) ask no more. The incident's end ends it, too."""

    question: Question | None


@dataclass(frozen=True, slots=True)
class SetAlarm:
    """Amend the alarm of its thread."""

    alarm: Alarm


@dataclass(frozen=True, slots=True)
class Approve:
    """Add a person's word for a promotion; what has ended goes."""

    approval: Approval


@dataclass(frozen=True, slots=True)
class Told:
    """Remember (or, with `forget`, forget) that a notice was given for the current route."""

    notice: str
    forget: bool = False


@dataclass(frozen=True, slots=True)
class SetAutomation:
    """Turn automation off until the hold ends, or (None) on."""

    hold: Hold | None


@dataclass(frozen=True, slots=True)
class CountRollback:
    """Count an automatic rollback for the flap guard."""


@dataclass(frozen=True, slots=True)
class Record:
    """Write a line into the audit log; `detail` is JSON data, frozen with the decision."""

    kind: str
    because: str
    detail: Mapping[str, Any] = field(default_factory=dict)


Action = (
    MoveRoute
    | Stand
    | Freeze
    | Join
    | Renew
    | Strike
    | Enter
    | SetIncident
    | SetRollout
    | SetQuestion
    | SetAlarm
    | Approve
    | Notify
    | Told
    | SetAutomation
    | CountRollback
    | Record
)


@dataclass(frozen=True, slots=True)
class Change:
    """Actions on one prompt's state, valid only while its revision is still `revision_seen`.

    And only before `before_ms`, if that is given: a change freeze begins then. `news_to` is the
    audience that hears of it when it moves a route (core.news); empty: nobody does.
    """

    environment: str
    prompt: str
    revision_seen: int
    actions: tuple[Action, ...]
    actor: str
    policy_revision: str = ""
    before_ms: int | None = None
    news_to: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, what was found, and what it waits on.

    `fleet_actions` go to the fleet's state in the same transaction, and `companions` to the prompts
    that were released with this one. `recheck_after_ms` is when to look again even if nothing is
    reported. `before_ms`: all of it holds only before that moment.
    """

    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()
    waiting_on: tuple[Wait, ...] = ()
    fleet_actions: tuple[Action, ...] = ()
    companions: tuple[Change, ...] = ()
    recheck_after_ms: int = 5_000
    before_ms: int | None = None
