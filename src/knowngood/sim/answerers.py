"""What simulated people say when they are asked: they look, agree, investigate, or come too late.

The activity `answers`: a world whose questions and pages wait for seconds, not for minutes.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from knowngood.core.asking import Question
from knowngood.core.model import Action, Observed, State
from knowngood.core.steps.answers import acknowledge, approved, decline, question_of
from knowngood.core.steps.case import Case
from knowngood.core.steps.operator import RollbackRequest
from knowngood.engine.ingest import closed_until_ms
from knowngood.sim.people import THINK_MS, Person
from knowngood.sim.plan import Plan

if TYPE_CHECKING:
    from knowngood.sim.world import World

ANSWERS = "answers"
ANSWERERS_SHARE = (150, 40)  # people see to what they are asked so many times in a world's life
THINK_SHARE, STALE_SHARE, ALONE_SHARE = 0.3, 0.15, 0.3
LIMIT_S, ACK_S = (20, 90), (10, 60)
# Mostly they let it wait, so that its time comes.
VERBS: Mapping[str, int] = {"wait": 50, "ack": 20, "approve": 15, "decline": 15}


def with_answers(plan: Plan, rng: random.Random) -> Plan:
    """The same world, where whoever is asked has little time."""
    defaults = dict(plan.policy["defaults"])
    triggers = dict(defaults["triggers"])
    for name in ("error_critical", "error_high"):
        limit = {"limit": f"{rng.randint(*LIMIT_S)}s"}
        triggers[name] = {**triggers.get(name, {}), **limit}
    ack = [f"{rng.randint(*ACK_S)}s" for _ in range(2)]
    levels = [
        {"targets": ["on-call"], "ack_timeout": ack[0]},
        {"targets": ["on-call", "author"], "ack_timeout": ack[1]},
    ]
    repeat = rng.choice((0, 1, 3))
    triggers["error_high"]["on_timeout"] = rng.choice(("escalate", "escalate", "rollback"))
    end = rng.choice(("broadcast", "hold", "rollback"))
    defaults |= {
        "triggers": triggers,
        "escalation": {"levels": levels, "repeat": repeat, "on_exhausted": end},
    }
    # Nobody of this world reads it, and what hears everything hears of each move of a route.
    feed = {"feed": {"kind": "webhook", "url": "https://example.com/moves", "purposes": ["change"]}}
    return replace(plan, policy={**plan.policy, "defaults": defaults, "channels": feed})


def begin_answering(world: "World") -> None:
    """From now on somebody is asked, until the calm."""
    if world.plan.people:
        Answerer(Person("joe", world), world.rng(ANSWERS)).later()


@dataclass(frozen=True, slots=True)
class Answerer:
    """Somebody who is asked."""

    person: Person
    rng: random.Random

    def later(self) -> None:
        """Look at the pages after a while."""
        most, least = ANSWERERS_SHARE
        end_ms = self.person.world.plan.end_ms
        self.person.world.later(self.rng.randint(end_ms // most, end_ms // least), self._look)

    def _look(self) -> None:
        world, rng = self.person.world, self.rng
        if world.nemesis.calm:
            return
        prompt = rng.choice(world.plan.prompts).name
        state = world.state(prompt, self.person.environment)
        verb = rng.choices(list(VERBS), list(VERBS.values()))[0]
        think_ms = rng.randint(*THINK_MS) if rng.random() < THINK_SHARE else 0
        number = state.question.number if state.question else 1
        if rng.random() < STALE_SHARE:
            number += rng.choice((-1, 1))
        thread = rng.choice(state.alarms).thread if state.alarms else None
        if rng.random() >= ALONE_SHARE:
            thread = None
        self.later()
        if verb != "wait" and (state.question or state.alarms):
            world.later(think_ms, lambda: self._say(verb, state, number, thread))

    def _say(self, verb: str, seen: State, number: int, thread: str | None) -> None:
        """Answer what was seen; by now something else may be so."""
        name = self.person.name
        match verb:
            case "approve" if seen.question is not None and seen.question.target is not None:
                self._approve(seen.prompt, seen.question, number)
            case "decline":
                self._do(seen, lambda case: decline(case, number, "let me look", name))
            case "ack":
                self._do(seen, lambda case: acknowledge(case, thread, "", name))

    def _approve(self, prompt: str, question: Question, number: int) -> None:
        rules = self.person.world.policy.for_prompt(prompt)
        request = RollbackRequest(
            "go ahead",
            question.target,
            gradual=rules.gradual if question.gradual else None,
            actor=self.person.name,
        )

        def first(case: Case) -> tuple[Action, ...]:
            return approved(case, question_of(case.state, number), request.because)

        self.person.roll_back(prompt, request, first=first)

    def _do(self, seen: State, say: Callable[[Case], tuple[Action, ...]]) -> None:
        """As server.answers: an answer that moves nothing needs no evidence."""
        world, person = self.person.world, self.person
        state, now_ms = world.state(seen.prompt, seen.environment), world.clock_ms
        rules = world.policy.for_prompt(state.prompt)
        case = Case(state, Observed(closed_until_ms(now_ms)), rules, (), now_ms)
        person.apply(state, lambda: person.changes(state, say(case)), think_ms=0)
