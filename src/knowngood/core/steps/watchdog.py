"""The watchdog: a human always gets the plain threshold's signal in time, proven or not."""

import math

from knowngood.core.asking import Purpose
from knowngood.core.explain import finding_words, wait_words
from knowngood.core.look import is_blind
from knowngood.core.model import Finding, Record, Response, Severity, Told, Verdict
from knowngood.core.steps.case import IDLE, Case, Step, evidence, page, title

EVIDENCE = 20.0  # below it the threshold is passed by chance too often to wake anybody
LIMIT_MS = 120_000  # for a trigger without a limit of its own: the article's two minutes
AGAIN_MS = 3_600_000
# Where the limit is not separable from health it may be passed by chance all day long, and proof
# may never come: people hear of it all the same, and not every hour.
AGAIN_INSEPARABLE_MS = 86_400_000
NOTICE = "watchdog:"


def watchdog(case: Case) -> Step:
    """Page for a rollback trigger that was past its plain threshold for its whole limit, unproven.

    At most once an hour and version (detectors.md, 3.7), and once a day where the limit is not
    separable from health; not while an incident has told people, or somebody looks at it.
    """
    over = watchdog_over(case)
    if over.actions or case.state.incident is not None:
        return over
    due = next((f for f in case.findings if _is_due(case, f)), None)
    if due is None:
        return IDLE
    mine = [n for n in case.state.told if n.startswith(f"{NOTICE}{due.version}:")]
    again_ms = AGAIN_MS if due.proof and due.proof.separable else AGAIN_INSEPARABLE_MS
    if any(case.now_ms - int(n.rsplit(":", 1)[1]) < again_ms for n in mine):
        return IDLE
    thread = f"{_threads(case)}{due.version}"
    if any(a.thread == thread and a.acked_ms is not None for a in case.state.alarms):
        return IDLE
    notice = f"{NOTICE}{due.version}:{case.now_ms}"
    missing = "; ".join(wait_words(wait) for wait in due.waiting_on)
    because = f"{finding_words(due)}, not proven yet: needs {missing}"
    key = f"{case.state.environment}/{case.state.prompt}/g{case.generation}:{notice}"
    body = (
        f"{because}. Nothing is rolled back by itself on so little; "
        f"`knowngood explain {case.state.prompt} --env {case.state.environment}` follows it, "
        f"`knowngood rollback {case.state.prompt} --env {case.state.environment} --because ...` "
        "does not wait for proof."
    )
    return Step(
        (
            *(Told(old, forget=True) for old in mine),
            Told(notice),
            Record("watchdog", because, {"trigger": due.trigger, **evidence(case, (due,))}),
            *page(
                case,
                key,
                "on-call",
                Severity.HIGH,
                f"{title(case)}: {because}",
                body,
                purpose=Purpose.PAGE,
                thread=thread,
            ),
        )
    )


def watchdog_over(case: Case) -> Step:
    """The end of the watchdog's page: its version is within its limits, or an incident has begun.

    What nobody reports on any more is not well for that.
    """
    mine = _threads(case)
    for alarm in case.state.alarms:
        version = alarm.thread.removeprefix(mine)
        if not alarm.thread.startswith(mine):
            continue
        if case.state.incident is None and _lasts(case, version):
            continue
        words = f"{version} is within its limits again"
        if case.state.incident is not None:
            words = f"incident {case.state.incident.id} tells of it from now on"
        return Step(
            (
                Record("watchdog.ended", words, {"thread": alarm.thread}),
                *page(
                    case,
                    f"{alarm.thread}:over:{case.now_ms}",
                    alarm.audience,
                    Severity.LOW,
                    f"{title(case)}: {words}",
                    words,
                    purpose=Purpose.RESOLVED,
                    thread=alarm.thread,
                ),
            )
        )
    return IDLE


def _threads(case: Case) -> str:
    """How the watchdog's threads begin; a version follows. They end with the generation."""
    return f"{case.state.environment}/{case.state.prompt}/g{case.generation}:{NOTICE}"


def _lasts(case: Case, version: str) -> bool:
    """Whether the version is past a limit of a rollback, or cannot be seen."""
    return is_blind(case.state, case.observed, version) or any(
        f.proof is not None and f.proof.over_since_ms is not None and f.verdict is not Verdict.CLEAR
        for f in case.findings
        if f.version == version and f.response is Response.ROLLBACK
    )


def _is_due(case: Case, finding: Finding) -> bool:
    """Whether the finding was past its threshold for its whole limit, with some evidence."""
    proof = finding.proof
    if proof is None or proof.over_since_ms is None or finding.verdict is not Verdict.UNSURE:
        return False
    trigger = next((t for t in case.policy.triggers if t.name == finding.trigger), None)
    if trigger is None or trigger.dry_run or finding.response is not Response.ROLLBACK:
        return False
    long_ms = case.observed.until_ms - proof.over_since_ms
    return (
        finding.version == case.suspect
        and any(wait.kind == "evidence" for wait in finding.waiting_on)
        and long_ms >= (trigger.limit_ms or LIMIT_MS)
        and (proof.log_e >= math.log(EVIDENCE) or not proof.separable)
    )
