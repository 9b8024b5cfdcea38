"""What people are told and asked: messages, questions with deadlines, alarms that escalate."""

from dataclasses import dataclass
from enum import StrEnum

UNAPPROVED = "unapproved"


class Purpose(StrEnum):
    """What a message is for."""

    PAGE = "page"  # somebody has to look now
    NOTE = "note"  # good to know
    ACKNOWLEDGED = "acknowledged"  # somebody looks at what the thread is about
    RESOLVED = "resolved"  # what the thread is about is over
    CHANGE = "change"  # a route moved: context for whoever looks, and no page


class Answer(StrEnum):
    """What a person may say to a question or a page."""

    APPROVE = "approve"  # do what is asked
    DECLINE = "decline"  # do not; somebody investigates, and is reminded
    ACK = "ack"  # somebody looks: no further level is told


class Stage(StrEnum):
    """Where a question stands."""

    OBSERVING = "observing"  # nothing is asked yet: what persists at `due_ms` is
    ASKED = "asked"  # an answer is due at `due_ms`
    INVESTIGATING = "investigating"  # a person has declined, and is reminded at `due_ms`


@dataclass(frozen=True, slots=True)
class Question:
    """What `who` has to decide about the open incident: roll `version` back, or not.

    `number` rises whenever what is asked changes, and an answer names the one it saw. `target` is
    what an approval would serve, None while nothing is known to be good; `gradual`: stage by stage.
    `due_ms` is the next step's time: it stands in the state, so that no restart forgets it.
    """

    number: int
    stage: Stage
    trigger: str
    version: str
    target: str | None
    gradual: bool
    who: str
    asked_ms: int
    due_ms: int
    overdue_count: int = 0  # how often the limit has passed without an answer
    answered_by: str = ""  # who investigates
    because: str = ""  # what they said


@dataclass(frozen=True, slots=True)
class Alarm:
    """A page that waits for somebody: told to the levels of the escalation policy in turn.

    `thread` is what every later message about it goes under, and the key that a pager deduplicates
    by: the incident's id, or `<incident>:rollback-failed`, which an acknowledged page cannot
    swallow. `level` and `round_count` say who was told last, at `told_ms`; level -1: only whoever
    has to decide. `evidence` is what the first page rested on, for whoever is told later.
    """

    thread: str
    audience: str
    severity: str
    subject: str
    told_ms: int
    level: int = 0
    round_count: int = 0
    acked_by: str = ""
    acked_ms: int | None = None
    undelivered: bool = False  # no channel took the last page: the next level is told at once
    exhausted: bool = False  # every level was told as often as the policy says
    evidence: str = ""
    is_ours: bool = False  # the pager that escalates by itself has not got it: we do


def unapproved(environment: str, prompt: str, version: str, revision: int) -> str:
    """The thread of the page that a version was promoted without a second person.

    It is over once somebody has seen it, once the version is approved, or once it is served no
    more.
    """
    return f"{environment}/{prompt}:{UNAPPROVED}:{version}:r{revision}"


def unapproved_version(thread: str) -> str | None:
    """The version that such a thread is about; None for any other thread."""
    parts = thread.split(":")
    return parts[2] if len(parts) == 4 and parts[1] == UNAPPROVED else None


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's word that a version may be promoted; it ends at `until_ms`."""

    version: str
    actor: str
    because: str
    at_ms: int
    until_ms: int
