"""Escalation: a page that nobody acknowledges is told to the next level, until somebody does.

Who was told when stands in the state (`Alarm`), so that it goes on after a restart, and an
acknowledgement, which changes the same state, stops it in the same breath.
"""

from dataclasses import replace

from knowngood.core.asking import Alarm, Purpose, Question
from knowngood.core.evolve import incident_of
from knowngood.core.explain import duration, few
from knowngood.core.handing import onward_key
from knowngood.core.model import FLEET, Action, Notify, Record, SetAlarm, Severity, State, Wait
from knowngood.core.people import EscalationRule, Level
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.case import Case, Step, page, with_authors
from knowngood.core.steps.words import answer_words

EVERYBODY = "*"  # whom the end of an escalation tells


def escalate(case: Case) -> Step:
    """The next level of the first page that is due; what is waited on before that."""
    waits: list[Wait] = []
    for alarm in case.state.alarms:
        if alarm.acked_ms is not None or alarm.exhausted:
            continue
        if is_delegated(case.policy, alarm) and not (alarm.undelivered or alarm.is_ours):
            continue
        left_ms = _due_ms(case.policy.escalation, alarm) - case.now_ms
        if left_ms <= 0 or _goes_on_at_once(case.policy.escalation, alarm):
            return Step(_onward(case, alarm))
        waits.append(Wait("ack", detail=alarm.audience, need=left_ms, eta_ms=left_ms))
    return Step(waiting_on=tuple(waits[:1]))


def is_delegated(policy: PromptPolicy, alarm: Alarm) -> bool:
    """Whether a pager that escalates by itself calls this audience."""
    listed = policy.listed_audiences
    name = alarm.audience if alarm.audience in listed else EVERYBODY
    return policy.escalation.delegates and name in policy.delegated


def _goes_on_at_once(rule: EscalationRule, alarm: Alarm) -> bool:
    """Whether nobody was reached and somebody is left who was not tried in this round.

    Whoever was tried a second ago is not reached by trying again: a new round, and what follows
    when all were tried, take the level's time.
    """
    return alarm.undelivered and alarm.level + 1 < len(rule.levels)


def _due_ms(rule: EscalationRule, alarm: Alarm) -> int:
    level = rule.levels[max(0, min(alarm.level, len(rule.levels) - 1))]
    return alarm.told_ms + level.ack_timeout_ms


def _onward(case: Case, alarm: Alarm) -> tuple[Action, ...]:
    rule = case.policy.escalation
    level, rounds = alarm.level + 1, alarm.round_count
    if level >= len(rule.levels):
        level, rounds = 0, rounds + 1
    if rounds > rule.repeat_count:
        return _exhausted(case, alarm)
    told = replace(
        alarm,
        level=level,
        round_count=rounds,
        told_ms=case.now_ms,
        undelivered=False,
        is_ours=False,
    )
    chosen = rule.levels[level]
    why = _why(case, alarm)
    words = f"{why}: level {level + 1} is told, {few(chosen.targets)}"
    return (
        SetAlarm(told),
        Record("page.escalated", words, _detail(told)),
        *_call(case, told, chosen, why),
    )


def _exhausted(case: Case, alarm: Alarm) -> tuple[Action, ...]:
    """Every level was told as often as the policy says."""
    rule = case.policy.escalation
    told = replace(alarm, exhausted=True, undelivered=False, told_ms=case.now_ms)
    words = f"{_why(case, alarm)}, and every level was told {_times(rule.repeat_count + 1)}"
    record = Record("page.exhausted", f"{words}: {rule.on_exhausted}", _detail(told))
    everybody: tuple[Notify, ...] = ()
    if rule.on_exhausted != "hold":
        everybody = _call(case, told, Level((EVERYBODY,), (), 0), words)
    return (SetAlarm(told), record, *everybody)


def _call(case: Case, alarm: Alarm, level: Level, why: str) -> tuple[Notify, ...]:
    question = _question_of(case, alarm)
    notes = page(
        case,
        # The time tells one episode of a thread that comes back from the next.
        f"{onward_key(alarm.thread)}{alarm.level}:{alarm.round_count}:{alarm.told_ms}",
        alarm.audience,
        Severity(alarm.severity),
        alarm.subject,
        f"{why}. {_evidence(alarm)} {_commands(case.state, alarm)}",
        answers=answer_words(case.state, question) if question else "",
        purpose=Purpose.PAGE,
        thread=alarm.thread,
        question=question.number if question else None,
    )
    targets = with_authors(case, level.targets)
    return tuple(replace(n, targets=targets, channels=level.channels) for n in notes)


def _commands(state: State, alarm: Alarm) -> str:
    thread, look = alarm.thread, f"knowngood explain {state.prompt} --env {state.environment}"
    if state.prompt == FLEET:  # a shell takes its name for a pattern
        thread, look = f"'{thread}'", "knowngood doctor"
    return f"`{look}` says how it stands; `knowngood ack {thread}` takes it."


def _evidence(alarm: Alarm) -> str:
    """What it is about, as a sentence or more."""
    said = alarm.evidence.strip() or alarm.subject
    return said if said.endswith((".", "`", "…")) else f"{said}."


def _question_of(case: Case, alarm: Alarm) -> Question | None:
    """The open question, on a page of its own incident only: others ask nothing."""
    incident = case.state.incident
    mine = incident is not None and incident_of(alarm.thread) == incident.id
    return case.state.question if mine else None


def _why(case: Case, alarm: Alarm) -> str:
    if alarm.undelivered:
        return f"the page to {alarm.audience} could not be delivered"
    return f"nobody has acknowledged for {duration(case.now_ms - alarm.told_ms)}"


def _detail(alarm: Alarm) -> dict[str, object]:
    return {"thread": alarm.thread, "level": alarm.level, "round": alarm.round_count}


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
