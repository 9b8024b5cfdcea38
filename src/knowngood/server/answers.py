"""A person's answers: roll back, investigate, or take the page.

An answer names the prompt, or the incident or page that it is about. It is bound to the question
that was seen: another one that is open by now refuses it, and says what has changed.
"""

from dataclasses import dataclass
from typing import Any

from knowngood.core.asking import Answer
from knowngood.core.errors import BadRequest, KnowngoodError, NothingAsked, StaleAnswer
from knowngood.core.model import FLEET, Action, Observed, State
from knowngood.core.steps.answers import acknowledge, approved, decline, question_of
from knowngood.core.steps.case import Case
from knowngood.core.steps.words import asked_words
from knowngood.engine.ingest import closed_until_ms
from knowngood.server import act
from knowngood.server.act import Ask, Gradual
from knowngood.server.desk import Desk
from knowngood.server.words import iso

DECIDED = ("question.", "rollback.", "route.moved", "incident.resolved", "page.acknowledged")
LINES_COUNT = 50  # of history in which the earlier decision is looked for


@dataclass(frozen=True, slots=True)
class About:
    """What an answer is about. `incident` and `thread` are empty when a prompt was named."""

    environment: str
    prompt: str
    incident: str = ""
    thread: str = ""


def about(named: str, environment: str) -> About:
    """What was named: a prompt, an incident's id, or one of its threads. Raises BadRequest."""
    incident, _, _ = named.partition(":")
    parts = incident.split("/")
    if len(parts) == 1:
        return About(environment, named)
    of_prompt = len(parts) == 2 and incident != named  # a page that is about no route
    if (len(parts) != 3 and not of_prompt) or not all(parts):
        raise BadRequest(
            f"{named!r} is neither a prompt nor an incident",
            next_step="name a prompt, or an incident such as production/support-bot/g7.1",
        )
    return About(parts[0], parts[1], incident, named)


def answer(
    desk: Desk,
    named: str,
    said: Answer,
    number: int | None,
    ask: Ask,
    now_ms: int,
    environment: str = "production",
    *,
    alone: bool = False,
) -> dict[str, Any]:
    """Carry the answer out; `number` is the question that was seen, None for whichever is open.

    Whoever acknowledges an incident looks at all of its pages, unless it is said of one `alone`.

    Raises Unknown…, BadRequest, NothingAsked or StaleAnswer when it comes too late, and for an
    approval what a rollback raises.
    """
    what = about(named, environment)
    desk.check_environment(what.environment)
    prompt = FLEET if what.prompt == FLEET and what.thread else desk.resolve(what.prompt)[0]
    what = About(what.environment, prompt, what.incident, what.thread)
    try:
        if said is Answer.APPROVE:
            done = _approve(desk, what, number, ask, now_ms)
        else:
            done = _other(desk, what, said, number, ask, now_ms, alone)
    except NothingAsked as error:
        raise _with_history(desk, what, error) from None
    return {"answer": said.value, **done}


def _approve(desk: Desk, what: About, number: int | None, ask: Ask, now_ms: int) -> dict[str, Any]:
    state = desk.store.states.get(what.environment, what.prompt)
    _check_incident(state, what)
    question = question_of(state, number)
    if question.target is None:
        raise BadRequest(
            f"nothing is known to be good in place of {question.version}: say what to serve",
            known=[e.version for e in state.ledger if e.version != question.version],
            next_step=f"knowngood rollback {what.prompt} VERSION --env {what.environment}",
        )

    def first(case: Case) -> tuple[Action, ...]:
        _check_incident(case.state, what)
        return approved(case, question_of(case.state, question.number), ask.because)

    return act.rollback(
        desk,
        what.environment,
        what.prompt,
        question.target,
        ask,
        now_ms,
        gradual=Gradual() if question.gradual else None,
        first=first,
    )


def _other(
    desk: Desk,
    what: About,
    said: Answer,
    number: int | None,
    ask: Ask,
    now_ms: int,
    alone: bool,
) -> dict[str, Any]:
    if said is Answer.DECLINE:
        act.check_ask(ask, because=True)
    thread = what.thread if alone or what.thread != what.incident else ""

    def decide(state: State) -> tuple[Action, ...]:
        _check_incident(state, what)
        case = _case(desk, state, now_ms)
        if said is Answer.DECLINE:
            return decline(case, number, ask.because, ask.actor)
        return acknowledge(case, thread or None, ask.because, ask.actor)

    done = act.carry_out(desk, what.environment, what.prompt, ask, decide, now_ms)
    return act.result_of(desk, done, now_ms)


def _case(desk: Desk, state: State, now_ms: int) -> Case:
    """An answer that moves nothing needs no evidence."""
    policy = desk.policy.for_prompt(state.prompt)
    return Case(state, Observed(closed_until_ms(now_ms)), policy, (), now_ms)


def _check_incident(state: State, what: About) -> None:
    """Whoever names an incident means that one, not a later one of the same prompt."""
    now = state.incident
    if not what.incident or (now is not None and now.id == what.incident):
        return
    if what.thread != what.incident and any(a.thread == what.thread for a in state.alarms):
        return  # a page that belongs to no incident, such as blindness
    if now is None:
        raise NothingAsked(f"incident {what.incident} is over")
    asked = f"; it asks: {asked_words(state.question)}" if state.question else ""
    raise StaleAnswer(
        f"incident {what.incident} is over; now {now.id} is open{asked}",
        known=[now.id],
        next_step="look again, and answer that one if you still mean it",
    )


def _with_history(desk: Desk, what: About, error: NothingAsked) -> KnowngoodError:
    """The refusal with who has decided already, and when."""
    lines = desk.store.log.read(what.environment, what.prompt, limit=LINES_COUNT)
    decided = [e for e in lines if e.kind.startswith(DECIDED)]
    if not decided:
        return error
    last = decided[-1]
    said = f"{last.kind} by {last.actor} at {iso(last.at_ms)}: {last.because}"
    return NothingAsked(f"{error.message}; the last was {said}", next_step=error.next_step)
