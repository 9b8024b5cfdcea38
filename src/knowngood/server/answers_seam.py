"""Where an answer that comes from outside is handed on: the one place to join."""

from dataclasses import replace
from typing import Any

from knowngood.core.asking import Answer
from knowngood.core.errors import BadRequest
from knowngood.core.evolve import incident_of
from knowngood.core.model import Action, Record, SetAlarm, State
from knowngood.server.act import Ask, carry_out, check_ask, result_of
from knowngood.server.desk import Desk


class NothingWaits(BadRequest):
    """Nothing waits for this answer: it is over, or somebody was quicker."""

    code = "nothing_waits"


def answer(
    desk: Desk, thread: str, said: Answer, number: int | None, ask: Ask, now_ms: int
) -> dict[str, Any]:
    """Somebody acknowledges the page of a thread; again changes nothing.

    Raises NothingWaits, Unknown… for a thread that is none of ours, BadRequest for what cannot be
    answered from outside, or StaleState.
    """
    environment, prompt = place_of(thread)
    desk.state(environment, prompt)
    check_ask(ask, because=True)
    if said is not Answer.ACK:
        raise BadRequest(
            f"`{said.value}` is not taken from here",
            next_step=f"knowngood rollback {prompt} --env {environment} --because ...",
        )

    def decide(state: State) -> tuple[Action, ...]:
        return acknowledge(state, thread, ask.actor, ask.because, now_ms)

    return result_of(desk, carry_out(desk, environment, prompt, ask, decide, now_ms), now_ms)


def acknowledge(
    state: State, thread: str, actor: str, because: str, now_ms: int
) -> tuple[Action, ...]:
    """Whoever acts looks at what the thread is about. Raises NothingWaits."""
    alarm = next((each for each in state.alarms if each.thread == thread), None)
    if alarm is None:
        raise NothingWaits
    if alarm.acked_ms is not None:
        return ()
    acked = replace(alarm, acked_by=actor, acked_ms=now_ms)
    return SetAlarm(acked), Record("page.acknowledged", because, {"thread": thread})


def place_of(thread: str) -> tuple[str, str]:
    """The environment and prompt of a thread. Raises NothingWaits for one that is none of ours."""
    parts = incident_of(thread).split("/")
    if len(parts) != 3 or not all(parts):
        raise NothingWaits("this is about no incident of ours")
    return parts[0], parts[1]
