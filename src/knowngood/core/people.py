"""People, how they are reached, and how long anybody waits for them: the nouns of the policy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from knowngood.core.asking import Purpose

ON_CALL = "on-call"  # whose page it is when nobody else has to decide
AUTHOR = "author"  # who pushed the versions, and whoever the policy names, besides the bearers
CHANGES = "changes"  # the audience that hears of each move of a route
# What a kind of channel takes unless its `purposes` say otherwise; the others take everything. A
# pager is not for notes. Moves of routes are for what keeps them by themselves: a person's channel
# takes them only if it says so, or is listed for them.
_LETTERS = (Purpose.PAGE, Purpose.NOTE, Purpose.ACKNOWLEDGED, Purpose.RESOLVED)
_TAKES: Mapping[str, tuple[Purpose, ...]] = {
    "pagerduty": (Purpose.PAGE, Purpose.ACKNOWLEDGED, Purpose.RESOLVED, Purpose.CHANGE),
    "slack": _LETTERS,
    "slack_webhook": _LETTERS,
    "email": _LETTERS,
    "apprise": _LETTERS,
}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is told and asked; addresses are empty when unknown."""

    name: str
    mail: str = ""
    slack: str = ""
    pagerduty: str = ""
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to reach people. `options` are those of its kind; secrets only by reference."""

    name: str
    kind: str
    options: Mapping[str, Any]

    @property
    def takes(self) -> tuple[Purpose, ...]:
        """The purposes of messages that it takes."""
        named = self.options.get("purposes")
        if named is None:
            return _TAKES.get(self.kind, tuple(Purpose))
        return tuple(Purpose(name) for name in named)

    @property
    def escalates(self) -> bool:
        """Whether it calls the next person by itself."""
        return self.kind == "pagerduty"

    @property
    def refuses_changes(self) -> bool:
        """Whether it says itself that it takes no moves of routes."""
        return "purposes" in self.options and Purpose.CHANGE not in self.takes


@dataclass(frozen=True, slots=True)
class Level:
    """Who is told next, where (empty: as the audience), and how long they have to acknowledge."""

    targets: tuple[str, ...]
    channels: tuple[str, ...]
    ack_timeout_ms: int


@dataclass(frozen=True, slots=True)
class EscalationRule:
    """How a page that nobody acknowledges goes on.

    All levels are told `1 + repeat_count` times. `delegates`: where a pager that escalates by
    itself (PagerDuty) is paged, it escalates and we do not, so that nobody is called by two.
    """

    levels: tuple[Level, ...]
    repeat_count: int = 1
    on_exhausted: str = "broadcast"
    delegates: bool = True

    def first_call(self, audience: str) -> Level | None:
        """The level that a page to the audience tells first: the lowest, if that is its own.

        None when somebody else has to decide: they are told first, and the lowest level is next.
        """
        lowest = self.levels[0]
        return lowest if audience == ON_CALL or audience in lowest.targets else None


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """How many people a promotion needs; None: two wherever people can be told apart by tokens.

    An approval holds for `valid_ms`, in `environments`.
    """

    people_count: int | None = None
    valid_ms: int = 24 * 3_600_000
    environments: tuple[str, ...] = ("production",)


DEFAULT_ESCALATION = EscalationRule(
    (Level(("on-call",), (), 300_000), Level(("on-call", "author"), (), 600_000))
)
DEFAULT_APPROVALS = ApprovalRule()
