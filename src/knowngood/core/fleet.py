"""What concerns all prompts of an environment: who fails too, and an engine that cannot work."""

from collections.abc import Iterable, Mapping

from knowngood.core.asking import Purpose
from knowngood.core.explain import duration
from knowngood.core.model import (
    Action,
    Confirming,
    Finding,
    Notify,
    Observed,
    Record,
    Response,
    Severity,
    State,
    Told,
    Verdict,
)
from knowngood.core.people import ON_CALL
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.case import QUIET_ENVIRONMENTS, Case, to_first_level
from knowngood.core.steps.escalate import escalate

# A store that is locked or restarted is back within seconds; a minute of blindness is worth a page.
PATIENCE_MS = 60_000

MEANING = {
    "ingest": "reports are not written, so every prompt is as good as blind",
    "reconcile": "no prompt is judged, and nothing is rolled back by itself",
    "checkpoint": "detectors are not saved: a restart would forget what they have learnt",
    "deliver": "messages to people are not sent",
    "compact": "old reports are not rolled up, and the disk fills",
}


def breaching_since_ms(
    state: State, found: Iterable[Finding], known_ms: int | None, now_ms: int
) -> int | None:
    """Since when a prompt has been in critical breach, for its siblings; None if it is not.

    `known_ms` is what the last look said. A breach that is being confirmed says it itself, so that
    a new engine knows it as well.
    """
    if not any(f.verdict is Verdict.BREACH and f.response is Response.ROLLBACK for f in found):
        return None
    if isinstance(state.phase, Confirming):
        return state.phase.began_ms
    return now_ms if known_ms is None else known_ms


def trouble(
    fleet: State, failing: Mapping[str, int], policy: PromptPolicy, now_ms: int
) -> tuple[Action, ...]:
    """Tell people once of each part of the engine that has failed for a minute, and of its end.

    What nobody acknowledges goes to the next level. `failing` gives since when each part has
    failed, in ms. The fleet's state remembers what was told, so that several engines on one store
    page once.
    """
    actions: list[Action] = []
    for part, meaning in MEANING.items():
        notice = f"engine:{part}"
        since_ms = failing.get(part)
        told = notice in fleet.told
        if since_ms is not None and now_ms - since_ms >= PATIENCE_MS and not told:
            words = f"the engine fails at `{part}` for {duration(now_ms - since_ms)}: {meaning}"
            actions += [Told(notice), Record("engine.failing", words, {"part": part})]
            pages = _page(fleet, f"{notice}:{since_ms}", words, notice, Purpose.PAGE)
            actions += [to_first_level(page, policy.escalation) for page in pages]
        elif since_ms is None and told:
            words = f"the engine does `{part}` again"
            actions += [Told(notice, forget=True), Record("engine.working", words, {"part": part})]
            if any(alarm.thread == _thread(fleet, notice) for alarm in fleet.alarms):
                key = f"{notice}:working:{now_ms}"
                actions += _page(fleet, key, words, notice, Purpose.RESOLVED)
    if actions:
        return tuple(actions)
    return escalate(Case(fleet, Observed(now_ms), policy, (), now_ms)).actions


def _thread(fleet: State, notice: str) -> str:
    return f"{fleet.environment}/{fleet.prompt}:{notice}"


def _page(fleet: State, key: str, words: str, notice: str, purpose: Purpose) -> tuple[Notify, ...]:
    if fleet.environment in QUIET_ENVIRONMENTS:
        return ()
    subject = f"knowngood ({fleet.environment}): {words}"
    body = f"{words}. `knowngood doctor` says more; a person's rollback works all the same."
    key = f"{fleet.environment}/{fleet.prompt}:{key}"
    thread = _thread(fleet, notice)
    note = Notify(key, ON_CALL, Severity.CRITICAL, subject, body, purpose, thread, evidence=body)
    return (note,)
