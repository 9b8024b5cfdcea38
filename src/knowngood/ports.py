"""What the engine needs from the outside, as small protocols; the memory store is the reference.

What belongs here: Protocols of at most five methods each, and nothing that runs. A port's contract
is its docstrings; `knowngood.conformance` holds every implementation to them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from knowngood.core.asking import Answer, Purpose
from knowngood.core.evaluation import Evaluation, Results, Scale
from knowngood.core.history import AuditEntry, Delivery, Outgoing
from knowngood.core.incident import Filed
from knowngood.core.model import (
    Change,
    ClientSeen,
    Severity,
    State,
    Version,
)
from knowngood.core.outside import OutsideAlert
from knowngood.core.people import Person
from knowngood.core.purge import Purge
from knowngood.core.release import Release
from knowngood.core.retention import Pin
from knowngood.core.runbook_run import Run
from knowngood.core.unit_sums import Tally
from knowngood.core.window import Bucket

VersionKey = tuple[str, str, str]  # environment, prompt, version
UnitArm = tuple[VersionKey, int]  # a version by one generation of its route
UnitKey = tuple[UnitArm, int, str]  # arm, 64-bit hash of the unit, a score's name or CALLS
NO_UNITS: Mapping[UnitKey, tuple[int, int]] = MappingProxyType({})


class Registry(Protocol):
    """Prompt versions: immutable; only a purge (`Retention`) takes one away."""

    def put(self, version: Version) -> bool:
        """Add a version; True if it is new, False if the same content was there already.

        Raises ContentConflict when the version's name is taken by other content (digest), also of
        a version that was purged; the same content again brings that one back.
        """

    def get(self, prompt: str, version: str) -> Version:
        """The version. Raises UnknownPrompt or UnknownVersion, with the list of known names."""

    def versions(self, prompt: str) -> list[Version]:
        """All versions of a prompt, oldest first. Raises UnknownPrompt."""

    def prompts(self) -> list[str]:
        """The names of all prompts, sorted."""

    def contents(self, keys: Iterable[tuple[str, str]]) -> list[Version]:
        """The versions with these (prompt, version) names, in one read; unknown ones left out."""


class States(Protocol):
    """The control state: one fenced revision per prompt and environment."""

    def get(self, environment: str, prompt: str) -> State:
        """The state; a fresh one at revision 0 when none was written.

        Raises UnknownEnvironment.
        """

    def all(self, environment: str | None = None) -> list[State]:
        """Every written state but the fleet's (prompt `*`), by environment and prompt."""

    def apply(self, changes: Sequence[Change], now_ms: int) -> list[State]:
        """Apply all changes with their audit lines and outgoing messages, or nothing.

        One transaction. Raises StaleState when a state's revision is not the one that was seen. If
        a change moves a route, the environment's generation rises by one. A message whose key was
        queued before is not queued again. Returns the new states in the order of the changes.
        Raises UnknownVersion when a change that is not stale names a version that was purged: what
        is purged is never routed.
        """

    def generation(self, environment: str) -> int:
        """The environment's generation, 0 before its first route. Raises UnknownEnvironment."""

    def environments(self, add: str | None = None) -> list[str]:
        """All environments, sorted, after adding `add` if given.

        `production` and `staging` always exist.
        """


class Log(Protocol):
    """The audit log: append-only history, each line chained to the one before (core.chain).

    Whoever writes lines, here or with a state's change, is alone until they are written.
    """

    def append(self, entries: Iterable[AuditEntry]) -> None:
        """Add lines that belong to no state, such as a push."""

    def read(
        self,
        environment: str | None = None,
        prompt: str | None = None,
        after_id: int = 0,
        limit: int = 100,
        before_id: int | None = None,
        kind: str = "",
    ) -> list[AuditEntry]:
        """The newest `limit` lines after `after_id` that match, oldest first.

        Before `before_id`, if given, and of the kinds whose name contains `kind`.
        """

    def get(self, entry_id: int) -> AuditEntry:
        """One line. Raises UnknownEntry."""

    def follow(self, after_id: int = 0, limit: int = 100) -> list[AuditEntry]:
        """The oldest `limit` lines after `after_id`, oldest first."""

    def between(
        self,
        environment: str,
        prompt: str,
        since_ms: int,
        until_ms: int,
        limit: int,
        kinds: Collection[str] = (),
    ) -> list[AuditEntry]:
        """The oldest `limit` lines with since_ms <= at_ms <= until_ms that match, oldest first.

        Of these kinds, or of all.
        """


class Outbox(Protocol):
    """Messages to people, queued in the transaction of their reason."""

    def due(self, now_ms: int, limit: int) -> list[Outgoing]:
        """Unsent messages whose next try has come, oldest first."""

    def sent(self, message_id: int, receipt: str, now_ms: int) -> None:
        """The message was delivered."""

    def retry(self, message_id: int, next_try_ms: int, error: str) -> None:
        """The delivery failed and is tried again; counts the attempt."""

    def gave_up(self, message_id: int, error: str, now_ms: int) -> None:
        """The delivery failed for good."""

    def waiting_count(self) -> int:
        """How many messages are unsent."""


class Deliveries(Protocol):
    """The delivery log: what each channel answered, try by try. Only ever added to."""

    def add(self, delivery: Delivery) -> None:
        """Add a try. A message of which a channel's last word is written takes no more of it.

        Every outcome but `retry` is a last word. Tests of a channel (message id 0) have no end.
        """

    def of(self, message_ids: Iterable[int]) -> dict[int, list[Delivery]]:
        """The tries of each of these messages, oldest first."""

    def receipts(self, thread: str) -> dict[str, str]:
        """By channel, the newest receipt of the thread that is not empty; none without thread."""

    def recent(self, limit: int, thread: str | None = None) -> list[Delivery]:
        """The newest `limit` tries, of a thread or of all, newest first."""


class Series(Protocol):
    """Observations: additive windows by version and time."""

    def append(
        self,
        rows: Sequence[tuple[VersionKey, Bucket]],
        heard: Sequence[ClientSeen],
        scored: Mapping[tuple[str, str], tuple[int, int]],
        units: Mapping[UnitKey, tuple[int, int]] = NO_UNITS,
    ) -> None:
        """Add windows, the clients' last sequence numbers and late scores, in one transaction.

        Several rows of the same version and bucket add up. `scored` maps (call id, score name) to
        (bin, arrival ms). `units` are added to what is kept of each unit: (count, total).
        """

    def read(self, key: VersionKey, since_ms: int, until_ms: int) -> list[Bucket]:
        """The buckets with since_ms <= at_ms < until_ms, oldest first, rows merged."""

    def touched(self, since_ms: int) -> list[tuple[VersionKey, int]]:
        """Versions with a bucket at or after `since_ms`, each with its newest bucket's at_ms."""

    def scores(self, calls: Iterable[str]) -> dict[tuple[str, str], int]:
        """The bins of late scores that are remembered for these call ids, by (call id, name)."""

    def compact(self, now_ms: int) -> int:
        """Roll old buckets up (1 s to 1 min after 2 h, to 1 h after 30 days), drop after 13 months.

        Forgets late scores after 24 h and clients after 24 h of silence. A window's totals do not
        change. Returns how many rows went away; it may leave a part for the next call, and 0 says
        that nothing is left.
        """


class Units(Protocol):
    """What single units have shown, kept while arms are compared. `Series.append` adds to it."""

    def tally(self, arm: UnitArm) -> list[Tally]:
        """How many of the arm's units have each sum; sorted."""

    def arms(self) -> list[UnitArm]:
        """The arms of which anything is kept, sorted."""

    def forget(self, arm: UnitArm) -> int:
        """Drop an arm's sums, or a portion of them; how many went away. 0: nothing is left."""


class Clients(Protocol):
    """The processes that were heard of."""

    def clients(self, environment: str, since_ms: int) -> list[ClientSeen]:
        """Clients heard at or after `since_ms`, by id."""

    def client(self, client_id: str) -> ClientSeen | None:
        """The last that was heard of one client."""


class Incidents(Protocol):
    """The incidents, open and over. `States.apply` files them with the change of their state."""

    def get(self, incident_id: str) -> Filed:
        """One incident. Raises UnknownIncident, with the newest that are known."""

    def find(
        self,
        environment: str | None = None,
        prompt: str | None = None,
        *,
        is_open: bool | None = None,
        before_ms: int | None = None,
        limit: int = 100,
    ) -> list[Filed]:
        """The newest `limit` incidents that match, newest first; opened before `before_ms`."""

    def parts(self, incident_id: str) -> list[Filed]:
        """The incidents of other prompts that are part of this one, oldest first."""


class Policies(Protocol):
    """Every policy that was ever in force, by the digest of its canonical JSON."""

    def put(self, digest: str, policy: Mapping[str, Any], now_ms: int) -> None:
        """Keep a policy; the same digest again changes nothing."""

    def get(self, digest: str) -> Mapping[str, Any] | None:
        """The policy with this digest."""


class Evaluations(Protocol):
    """What suites have found of versions: only ever added."""

    def record(self, evaluation: Evaluation, policy_revision: str) -> Evaluation:
        """Add an evaluation together with its line of history, in one transaction.

        Returns it with its id; ids rise in the order of recording. The line is
        `core.evaluation.history_line` of what is returned.
        """

    def of(
        self,
        prompt: str,
        version: str | None = None,
        suite: str | None = None,
        limit: int = 100,
    ) -> list[Evaluation]:
        """The newest `limit` evaluations that match, newest first, without their examples."""

    def get(self, evaluation_id: int) -> Evaluation:
        """One evaluation with its examples. Raises UnknownEvaluation."""


class Releases(Protocol):
    """Named sets of versions: immutable, only ever added."""

    def put(self, release: Release) -> bool:
        """Add a release; True if it is new, False if it is there with the same members.

        Raises ReleaseConflict when the name is taken by other members.
        """

    def get(self, name: str) -> Release:
        """The release. Raises UnknownRelease, with the newest names that are known."""

    def all(self, limit: int = 100) -> list[Release]:
        """The newest `limit` releases, newest first."""


class Retention(Protocol):
    """What a person keeps, and what goes."""

    def pins(self, prompt: str | None = None) -> list[Pin]:
        """The pins of a prompt, or of all, by prompt and version."""

    def pin(self, pin: Pin, policy_revision: str) -> bool:
        """Keep a version, with its line of history; False if it is pinned already.

        Raises UnknownVersion, or BadRequest when the prompt has as many pins as it may have.
        """

    def unpin(self, pin: Pin, policy_revision: str) -> bool:
        """End a pin, with its line of history; False if there is none.

        `pin` says who ends it, why and when.
        """

    def purge(self, order: Purge, now_ms: int) -> list[str]:
        """Take versions away for good, with their lines of history and of the ledger, or none.

        One transaction, during which no state of the prompt changes: see core.purge.settle, which
        raises StaleState or InUse. Returns the versions that went; those that went before are left
        out. Their evaluations stay, and so does their digest (see Registry.put).
        """


class Runs(Protocol):
    """Runs of runbooks: each a row that goes forward together with its lines of history."""

    def save(self, run: Run, entries: Iterable[AuditEntry] = ()) -> Run:
        """Keep a run with its lines of history, in one transaction; returns it one revision on.

        `run.revision` is the one that was seen: 0 for a run that is new. Raises StaleState, with
        nothing kept, when somebody else has saved it meanwhile.
        """

    def get(self, run_id: str) -> Run:
        """The run. Raises UnknownRun, with the newest that are known."""

    def of(self, incident: str | None = None, limit: int = 100) -> list[Run]:
        """The newest `limit` runs of an incident, or of all, newest first."""


class OutsideAlerts(Protocol):
    """What other systems say of our prompts."""

    def record(self, alerts: Sequence[OutsideAlert], policy_revision: str) -> list[OutsideAlert]:
        """Remember the alerts with their lines of history, in one transaction; those that are news.

        What is news says core.outside.remember, in the order of the alerts.
        """

    def of(
        self, environment: str, prompt: str, since_ms: int, limit: int = 100
    ) -> list[OutsideAlert]:
        """The prompt's alerts that still fire or ended since (core.outside.is_shown), newest first.

        By when they began.
        """

    def has_taken(self, source: str, key: str) -> bool:
        """Whether this was taken."""

    def take_once(self, source: str, key: str, now_ms: int) -> bool:
        """Take something that must not be taken twice; False if it was taken already."""

    def forget(self, before_ms: int, taken_before_ms: int) -> int:
        """Drop alerts not heard of since, and what was taken before; how many went away."""


class Checkpoints(Protocol):
    """Where the folds over observations stood a moment ago, so that a new engine can go on."""

    def save(self, rows: Mapping[VersionKey, tuple[int, Mapping[str, Any]]]) -> None:
        """Keep each version's newest fold: (the end of what it has read, in ms; its state).

        One transaction; a fold replaces what was kept for its version. An older one never replaces
        a newer one; of two that end at the same time the later write wins. A state is JSON data,
        in which a float may also be infinite. Raises TypeError, with nothing kept, for others.
        """

    def load(self, key: VersionKey) -> tuple[int, Mapping[str, Any]] | None:
        """What was saved last for the version. Floats come back to the last bit, infinities too."""

    def forget(self, before_ms: int) -> int:
        """Drop folds that ended before `before_ms`; how many went away."""


@dataclass(frozen=True, slots=True)
class Button:
    """An answer that a message offers: `url` is a signed link that ends."""

    answer: Answer
    text: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """An image, with the words for whoever cannot see it."""

    png: bytes = field(repr=False)
    words: str


@dataclass(frozen=True, slots=True)
class Page:
    """A message as a notifier gets it.

    `thread` is empty or what this and other messages are about. `people` are those it is for.
    `incident` is the thread's incident; `question` the number of what `buttons` answer. `url` is
    where a browser shows more. `drill`: an exercise, to be marked as one. `picture` is for channels
    that carry images: it takes seconds, never raises, and there may be none.
    """

    key: str
    audience: str
    severity: Severity
    subject: str
    body: str
    environment: str
    prompt: str
    purpose: Purpose = Purpose.NOTE
    thread: str = ""
    people: tuple[Person, ...] = ()
    incident: str = ""
    question: int | None = None
    buttons: tuple[Button, ...] = ()
    url: str = ""
    created_ms: int = 0
    drill: bool = False
    picture: Callable[[], Picture | None] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The provider took the message; `answer` is what it said.

    `receipt` is what the channel needs to go on with the same thread.
    """

    answer: str
    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again, not before `after_ms` from now."""

    error: str
    after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The provider will never take this message."""

    error: str


class Notifier(Protocol):
    """One way to reach people."""

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered | Retry | Rejected:
        """Hand the page over; `receipt` is this channel's last one in the page's thread, or "".

        Never raises for what the provider answers. The same page may come again after a crash:
        whatever the provider deduplicates by is derived from `page.key` or `page.thread`.
        """


class ResultReader(Protocol):
    """One form in which suites leave their results."""

    def __call__(self, data: bytes, scale: Scale) -> Results:
        """The results in a file's bytes. Raises BadEvaluation for whatever is wrong with it."""


class Clock(Protocol):
    """Where the time comes from."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch."""


@dataclass(frozen=True, slots=True)
class Store:
    """One store, seen through its ports."""

    registry: Registry
    states: States
    log: Log
    outbox: Outbox
    series: Series
    clients: Clients
    policies: Policies
    checkpoints: Checkpoints
    evaluations: Evaluations
    releases: Releases
    retention: Retention
    units: Units
    runs: Runs
    outside: OutsideAlerts
    deliveries: Deliveries
    incidents: Incidents
