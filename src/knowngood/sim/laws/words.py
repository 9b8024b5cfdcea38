"""Laws of what is told: every action explained (P8), nobody paged twice or from staging."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from knowngood.core.asking import Purpose
from knowngood.core.history import AuditEntry
from knowngood.core.model import (
    Change,
    Notify,
    Record,
    State,
)
from knowngood.core.news import news_key
from knowngood.core.rollout import Rollout
from knowngood.core.steps.case import QUIET_ENVIRONMENTS
from knowngood.ports import Page
from knowngood.sim.clients import ENVIRONMENT
from knowngood.sim.laws.base import Checker, name_of
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World

# Lines of the system that rest on findings: these have to be frozen with them.
JUDGED = ("rollback.suspected", "rollback.confirmed", "rollback.held", "incident.opened", "alert")
SAID = ("trigger", "version", "verdict", "n", "limit", "words")
MANY = 1_000_000


class Explained(Checker):
    """P8: whatever is done says why, under which policy, and keeps what it rests on.

    That the frozen evidence gives the same verdict again is a law of its own: it belongs here, as
    `Replayed`, and has to read nothing but the audit log and the policies.
    """

    def applied(self, event: Applied) -> None:
        """Every deed has its line, every line its reason, every judgement its evidence."""
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            lines = [a for a in change.actions if isinstance(a, Record)]
            for deed in _deeds(before, after):
                if not lines:
                    self.fail(f"{name_of(before)}: {deed}, and nothing says why")
            for line in lines:
                self._line(change, line)
            for note in change.actions:
                if isinstance(note, Notify) and not (note.subject and note.body and lines):
                    self.fail(f"{name_of(before)}: the message {note.key} explains nothing")

    def _line(self, change: Change, line: Record) -> None:
        where = f"{change.environment}/{change.prompt}: {line.kind}"
        if not line.because.strip() or not change.actor:
            self.fail(f"{where}: nobody did it for no reason")
        if line.kind not in JUDGED:
            return
        if change.policy_revision != self.world.policy.revision:
            self.fail(f"{where}: judged by the policy {change.policy_revision!r}")
        findings = line.detail.get("findings") or []
        if not findings or not line.detail.get("windows"):
            self.fail(f"{where}: no evidence is frozen")
        for finding in findings:
            self._finding(where, finding)

    def _finding(self, where: str, finding: Mapping[str, Any]) -> None:
        missing = [name for name in SAID if finding.get(name) in (None, "")]
        if missing:
            self.fail(f"{where}: its evidence lacks {', '.join(missing)}")


def _deeds(before: State, after: State) -> list[str]:
    """What a change did that somebody will ask about."""
    standings = {e.version: e.standing for e in before.ledger}
    newcomers = {e.version for e in after.ledger} - set(standings)
    deeds = [
        f"{e.version} stands as {e.standing.value}"
        for e in after.ledger
        if e.version not in newcomers and standings[e.version] is not e.standing
    ]
    if before.route != after.route:
        deeds.append("the route moved")
    if type(before.phase) is not type(after.phase):
        deeds.append(f"the phase is {type(after.phase).__name__}")
    if (before.incident is None) != (after.incident is None):
        deeds.append("an incident came or went")
    if _without_looks(before) != _without_looks(after):
        deeds.append("a rollout came, went or changed")
    if before.automation != after.automation:
        deeds.append("automation was turned")
    return deeds


def _without_looks(state: State) -> Rollout | None:
    """That a stage was looked at is no deed."""
    rollout = state.rollout
    return replace(rollout, unseen=False, before_count=0, before_bad_count=0) if rollout else None


class Pages(Checker):
    """Nobody is paged twice for one key, from staging, or for what was marked as sent to nobody.

    A second delivery needs an answer that was lost, or a process that died before it noted one.
    """

    def __init__(self, world: "World") -> None:
        """A checker that has seen no page."""
        super().__init__(world)
        self.queued: set[str] = set()
        self.over: set[str] = set()  # threads of pages that a change ended without a word
        self.moves: set[str] = set()  # keys of change events
        self.done: dict[str, str] = {}  # key -> the receipt, or why it was given up

    def applied(self, event: Applied) -> None:
        """Note every message; there is none from a quiet environment."""
        for change in event.changes:
            for note in change.actions:
                if isinstance(note, Notify):
                    self.queued.add(note.key)
                    if change.environment in QUIET_ENVIRONMENTS:
                        self.fail(f"{change.environment} pages {note.audience}: {note.subject}")
        for before, after in zip(event.before, event.after, strict=True):
            left = {alarm.thread for alarm in after.alarms}
            self.over |= {alarm.thread for alarm in before.alarms} - left
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            self._moved(change, before, after)

    def _moved(self, change: Change, before: State, after: State) -> None:
        """A move of the shares is told to whatever keeps such, once and as no page."""
        same = before.route is not None and after.route and before.route.arms == after.route.arms
        if after.route is None or same or after.route is before.route:
            return
        wanted = bool(self.world.policy.takers_of_changes)
        wanted = wanted and change.environment not in QUIET_ENVIRONMENTS
        if wanted is not bool(change.news_to):
            self.fail(
                f"{name_of(after)}: the route moved; told of it: {change.news_to or 'nobody'}"
            )
        if wanted:
            self.moves.add(news_key(after))
            self.queued.add(news_key(after))

    def paged(self, notifier: str, page: Page) -> None:
        """Count the deliveries of one key by one notifier."""
        ends = page.purpose is Purpose.RESOLVED and page.key.partition(":ended:")[0] in self.over
        if (page.purpose is Purpose.CHANGE) is not (page.key in self.moves):
            self.fail(f"a move of a route that is told as {page.purpose.value}: {page.key}")
        if page.key not in self.queued and not ends:
            self.fail(f"a page that nothing queued: {page.key}")
        died = sum(engine.died_count for engine in self.world.engines)
        lost = self.world.nemesis.unanswered.get(page.key, 0)
        if self.world.delivered[notifier, page.key] > 1 + died + lost:
            self.fail(f"paged twice: {page.key}")

    def settled(self, key: str, sent: bool, words: str) -> None:
        """What counts as sent was taken by every notifier, what was given up has a reason."""
        self.done[key] = words
        takers = [n for n in self.world.plan.notifiers if (n, key) in self.world.delivered]
        if sent and len(takers) < len(self.world.plan.notifiers):
            self.fail(f"sent, and {', '.join(takers) or 'nobody'} has it: {key}")
        if not sent and not words.strip():
            self.fail(f"given up for no reason: {key}")

    def ended(self) -> None:
        """Liveness: every message has reached the notifiers, or was given up with a reason."""
        if not self.world.settles:
            return
        overdue_ms = self.world.clock_ms - 2 * self.world.plan.tick_ms
        for message in self.world.store.outbox.due(overdue_ms, MANY):
            self.fail(f"never handed over: {message.key}")
        # What failed again and again waits for its next try, longer each time.
        waiting = {m.key for m in self.world.store.outbox.due(2 * overdue_ms, MANY)}
        for key in sorted(self.queued - set(self.done) - waiting):
            self.fail(f"neither sent nor given up nor tried again: {key}")


def history(world: "World", prompt: str | None = None) -> list[AuditEntry]:
    """The whole audit log of a world's production."""
    return world.store.log.read(ENVIRONMENT, prompt, limit=MANY)
