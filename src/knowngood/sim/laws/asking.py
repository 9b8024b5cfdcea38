"""Laws of questions and pages: nobody waits for an answer unheard, and whoever looks is heard."""

from typing import TYPE_CHECKING

from knowngood.core.asking import Purpose, Stage
from knowngood.core.evolve import incident_of
from knowngood.core.model import Change, Confirming, Notify, Record, SetQuestion, State, Steady
from knowngood.core.steps.case import QUIET_ENVIRONMENTS
from knowngood.engine.ingest import closed_until_ms
from knowngood.sim.engines import SimEngine
from knowngood.sim.laws.base import Checker, StateKey, name_of, records_of, silence_answers
from knowngood.sim.laws.following import Following
from knowngood.sim.laws.processes import Timely
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World


class Unanswered(Following, Timely):
    """A question that nobody answers in time is told further, while what it is about lasts."""

    WITHIN_MS = 15_000

    def judge(self, event: Applied) -> None:
        """Whoever tells a question further tells people, in a thread that no answer has closed."""
        for change, before in zip(event.changes, event.before, strict=True):
            overdue = records_of(change, "question.overdue")
            if not overdue:
                continue
            pages = [a for a in change.actions if isinstance(a, Notify)]
            held = any(notice.startswith("held:") for notice in before.told)
            held = held or bool(records_of(change, "rollback.held"))
            if not (pages or held) and change.environment not in QUIET_ENVIRONMENTS:
                self.fail(f"{change.prompt}: a question is overdue, and nobody is told")
            proven = any(f["verdict"] == "breach" for f in overdue[0].detail["findings"])
            rules = self.world.policy.for_prompt(before.prompt)
            goes = silence_answers(rules, before, change, event.now_ms)
            back = records_of(change, "rollback.switched") or records_of(change, "rollback.gradual")
            if goes and proven and not (back or held):
                self.fail(f"{name_of(before)}: silence is an answer, and nothing is rolled back")

    def wrong(self, state: State, engine: SimEngine) -> str | None:
        """A question whose time is over, about a version that fails beyond doubt."""
        question = state.question
        if question is None:
            return None
        if question.due_ms > engine.clock_ms and not self._in_vain(state):
            return None
        if not isinstance(state.phase, Steady | Confirming):
            return None
        fails = self.fails_beyond_doubt(state, question.version, closed_until_ms(engine.clock_ms))
        return f"question {question.number} is overdue" if fails else None

    def _in_vain(self, state: State) -> bool:
        """Whether everybody was called for the question, and that is an answer to it."""
        rules, question = self.world.policy.for_prompt(state.prompt), state.question
        if rules.escalation.on_exhausted != "rollback" or question is None:
            return False
        limits = [t.limit_ms or 0 for t in rules.triggers if t.name == question.trigger]
        asked_ms = question.due_ms - (limits[0] if limits else 0)
        return question.stage is Stage.ASKED and any(
            alarm.exhausted and alarm.told_ms > asked_ms
            for alarm in state.alarms
            if state.incident and incident_of(alarm.thread) == state.incident.id
        )


class Heard(Checker):
    """Of a page that somebody looks at nobody is told further, until it is over."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen nobody look."""
        super().__init__(world)
        self.looked_at: dict[StateKey, set[str]] = {}  # threads

    def applied(self, event: Applied) -> None:
        """Hold each escalation against the answers, then note the answers."""
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            theirs = self.looked_at.setdefault((change.environment, change.prompt), set())
            for line in change.actions:
                if not isinstance(line, Record):
                    continue
                if line.kind in ("page.escalated", "page.exhausted"):
                    if line.detail["thread"] in theirs:
                        self.fail(f"{name_of(before)}: {line.kind}, though somebody looks at it")
                elif line.kind == "page.acknowledged":
                    theirs |= set(line.detail["threads"])
                elif line.kind == "question.declined":
                    theirs |= {alarm.thread for alarm in before.alarms}
            # What is over may begin again under its name, as a second blindness does.
            theirs &= {alarm.thread for alarm in after.alarms} - _over(change)


def _over(change: Change) -> set[str]:
    notes = (a for a in change.actions if isinstance(a, Notify))
    return {note.thread for note in notes if note.purpose is Purpose.RESOLVED}


class AskedOnce(Checker):
    """Nothing is asked twice: each question has a number of its own, and each page its key."""

    def __init__(self, world: "World") -> None:
        """A checker that has heard no question."""
        super().__init__(world)
        self.numbers: dict[StateKey, int] = {}
        self.keys: set[str] = set()

    def applied(self, event: Applied) -> None:
        """Follow the numbers, and the keys of what people are asked."""
        for change, before in zip(event.changes, event.before, strict=True):
            key = (change.environment, change.prompt)
            for action in change.actions:
                if isinstance(action, SetQuestion) and action.question is not None:
                    self._asked(key, before, action.question.number, action.question.stage)
                if isinstance(action, Notify) and action.question is not None:
                    if action.key in self.keys:
                        self.fail(f"{name_of(before)}: asked twice: {action.key}")
                    self.keys.add(action.key)

    def _asked(self, key: StateKey, before: State, number: int, stage: Stage) -> None:
        known, open_now = self.numbers.get(key, 0), before.question
        same = open_now is not None and open_now.number == number
        if same and open_now is not None and open_now.stage is stage:
            return
        investigates = same and stage is Stage.INVESTIGATING
        if not investigates and number <= known:
            self.fail(f"{name_of(before)}: question {number} is asked again")
        self.numbers[key] = max(known, number)
