"""What every law is made of: the hooks at which it may look, and how it says what does not hold."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from knowngood import wire
from knowngood.core.asking import Stage
from knowngood.core.evolve import incident_of
from knowngood.core.model import Change, MoveRoute, Record, State, Version
from knowngood.core.rules import PromptPolicy
from knowngood.engine.reconcile import Look
from knowngood.ports import Page, UnitKey
from knowngood.sim.clients import SimClient
from knowngood.sim.engines import SimEngine
from knowngood.sim.people import Asked
from knowngood.sim.watch import Applied, Purged, Refused

if TYPE_CHECKING:
    from knowngood.sim.world import World

StateKey = tuple[str, str]  # environment, prompt


class Checker:
    """A law. Each hook may call `fail`; the world stops at the first failure."""

    def __init__(self, world: "World") -> None:
        """A checker of one world."""
        self.world = world

    def fail(self, message: str) -> None:
        """Say what does not hold."""
        self.world.fail(type(self).__name__, message)

    def applied(self, event: Applied) -> None:
        """A transaction was carried out."""

    def refused(self, event: Refused) -> None:
        """A transaction was refused as stale."""

    def pushed(self, version: Version) -> None:
        """A version was pushed, perhaps again after a purge."""

    def purged(self, event: Purged) -> None:
        """Versions were purged; the lines of the ledger that went with them come as applies."""

    def taken(
        self, engine: SimEngine, batch: wire.Batch, receipt: wire.Receipt, sent_ms: int
    ) -> None:
        """An intake has answered a flush that was sent at `sent_ms`."""

    def summed(self, units: Mapping[UnitKey, tuple[int, int]]) -> None:
        """What single units have shown was added to the store's sums."""

    def heard(self, client_id: str, boot: str, seq: int) -> None:
        """The store has a client's flushes up to `seq`."""

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """An engine's tick is over."""

    def beat(self, client: SimClient) -> None:
        """A process has done its second's work."""

    def serves(self, client: SimClient, before: int) -> None:
        """A process serves from another snapshot; `before` was the generation it had."""

    def paged(self, notifier: str, page: Page) -> None:
        """A message was delivered."""

    def settled(self, key: str, sent: bool, words: str) -> None:
        """A message is done with: sent with a receipt, or given up for a reason."""

    def asked(self, asked: Asked) -> None:
        """A person wanted a rollback."""

    def ended(self) -> None:
        """The world is over, after a calm in which everything had to settle."""


def key_of(state: State) -> StateKey:
    """What names a state."""
    return state.environment, state.prompt


def generation_of(state: State) -> int:
    """The generation of the state's route, 0 without one."""
    return state.route.generation if state.route else 0


def name_of(state: State) -> str:
    """The state in a message."""
    return f"{state.environment}/{state.prompt}"


def records(event: Applied, kind: str) -> list[tuple[Record, State, State]]:
    """The audit lines of a kind that an apply wrote, each with its state before and after."""
    return [
        (action, before, after)
        for change, before, after in zip(event.changes, event.before, event.after, strict=True)
        for action in change.actions
        if isinstance(action, Record) and action.kind == kind
    ]


def rollbacks(event: Applied) -> list[tuple[Record, State, State]]:
    """The audit lines of the rollbacks that an apply began, at once or stage by stage."""
    return [*records(event, "rollback.switched"), *records(event, "rollback.gradual")]


def kinds_of(change: Change) -> set[str]:
    """The kinds of the audit lines that a change writes."""
    return {action.kind for action in change.actions if isinstance(action, Record)}


def records_of(change: Change, kind: str) -> list[Record]:
    """The audit lines of a kind that a change writes."""
    return [a for a in change.actions if isinstance(a, Record) and a.kind == kind]


def lead_of(change: Change) -> str | None:
    """The prompt whose decision this change followed, in the same transaction."""
    lines = (action for action in change.actions if isinstance(action, Record))
    led = (line.detail["together"] for line in lines if "together" in line.detail)
    return next((source["lead"] for source in led), None)


def went_along(change: Change) -> bool:
    """Whether the change followed another prompt's decision."""
    return lead_of(change) is not None


def moved(event: Applied) -> list[tuple[State, State]]:
    """The states whose route an apply moved, before and after."""
    return [
        (before, after)
        for change, before, after in zip(event.changes, event.before, event.after, strict=True)
        if any(isinstance(action, MoveRoute) for action in change.actions)
    ]


def silence_answers(rules: PromptPolicy, before: State, change: Change, now_ms: int) -> bool:
    """Whether the policy has the change roll back because nobody has answered.

    Its question's time is over where that says `on_timeout: rollback`, or everybody was called in
    vain for its incident where the policy says `on_exhausted: rollback`.
    """
    question, incident = before.question, before.incident
    if question is None or incident is None or question.stage is not Stage.ASKED:
        return False
    if "question.overdue" not in kinds_of(change):
        return False
    mine = [t for t in rules.triggers if t.name == question.trigger]
    if question.due_ms <= now_ms and any(t.on_timeout == "rollback" for t in mine):
        return True
    in_vain = any(a.exhausted and incident_of(a.thread) == incident.id for a in before.alarms)
    return rules.escalation.on_exhausted == "rollback" and in_vain
