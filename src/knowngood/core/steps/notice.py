"""Words to people that change nothing: alerts on young versions, and blindness."""

from knowngood.core.asking import Purpose
from knowngood.core.explain import NAMES_KEPT
from knowngood.core.look import blind_notice, is_blind
from knowngood.core.model import (
    Action,
    Finding,
    Record,
    Response,
    Severity,
    Steady,
    Told,
    Verdict,
)
from knowngood.core.steps.case import IDLE, Case, Step, evidence, page, sentence, title


def alert(case: Case) -> Step:
    """Tell the team once of each alert in breach; while an incident is open it is but evidence."""
    if case.state.incident or not isinstance(case.state.phase, Steady):
        return IDLE
    actions: list[Action] = []
    for finding in case.findings:
        notice = f"alert:{finding.trigger}:{finding.version}"
        alerting = finding.response is Response.ALERT and finding.verdict is Verdict.BREACH
        if alerting and not case.told(notice):
            actions += _alert(case, finding, notice)
    return Step(tuple(actions))


def _alert(case: Case, finding: Finding, notice: str) -> tuple[Action, ...]:
    because = f"{finding.version}: {sentence((finding,))}"
    key = f"{case.state.environment}/{case.state.prompt}/g{case.generation}:{notice}"
    return (
        Told(notice),
        Record("alert", because, {"alert": finding.trigger, **evidence(case, (finding,))}),
        *page(case, key, "team", Severity.LOW, f"{title(case)}: {because}", because),
    )


def blindness(case: Case) -> Step:
    """Page once when reports that we expect are missing; forget it when they are back."""
    assert case.state.route is not None
    actions: list[Action] = []
    for arm in case.state.route.arms:
        notice = blind_notice(arm.version)
        blind = is_blind(case.state, case.observed, arm.version)
        if blind and not case.told(notice):
            actions += _blind(case, arm.version, notice)
        elif not blind and case.told(notice):
            words = f"reports of {arm.version} are back, or no longer expected"
            actions += [Told(notice, forget=True), Record("blind.ended", words)]
            actions += _seen_again(case, notice, words)
    return Step(tuple(actions))


def _thread(case: Case, notice: str) -> str:
    return f"{case.state.environment}/{case.state.prompt}/g{case.generation}:{notice}"


def _seen_again(case: Case, notice: str, words: str) -> tuple[Action, ...]:
    """The end of the page, if there was one."""
    thread = _thread(case, notice)
    if not any(alarm.thread == thread for alarm in case.state.alarms):
        return ()
    return page(
        case,
        f"{thread}:ended:{case.now_ms}",
        "on-call",
        Severity.LOW,
        f"{title(case)}: {words}",
        words,
        purpose=Purpose.RESOLVED,
        thread=thread,
    )


def _blind(case: Case, version: str, notice: str) -> tuple[Action, ...]:
    census = case.observed.census
    count = len(census.silent) + census.unnamed_silent_count
    last_ms = case.observed.evidence(version).last_ms
    because = f"blind on {version}: {count} processes fell silent, no reports arrive"
    detail = {"silent": list(census.silent[:NAMES_KEPT]), "last_report_ms": last_ms}
    # The last report names the episode, so that a second blindness pages again.
    key = f"{case.state.environment}/{case.state.prompt}/g{case.generation}:{notice}:{last_ms}"
    return (
        Told(notice),
        Record("blind", because, detail),
        *page(
            case,
            key,
            "on-call",
            Severity.HIGH,
            f"{title(case)}: {because}",
            because,
            purpose=Purpose.PAGE,
            thread=_thread(case, notice),
        ),
    )
