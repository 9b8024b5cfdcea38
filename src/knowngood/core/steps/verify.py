"""Verifying: a rollback is not done until fresh evidence on the target proves recovery."""

from dataclasses import dataclass, replace

from knowngood.core.asking import Purpose, Question
from knowngood.core.explain import NAMES_KEPT, duration, few, percent
from knowngood.core.levels import HEALTHY_MAX
from knowngood.core.look import breaches, is_blind
from knowngood.core.model import (
    Action,
    Census,
    Change,
    CountRollback,
    Enter,
    Incident,
    Notify,
    Outcome,
    Record,
    Response,
    SetIncident,
    SetQuestion,
    Severity,
    Stand,
    Standing,
    Steady,
    Told,
    Verifying,
    Wait,
)
from knowngood.core.people import AUTHOR
from knowngood.core.stats import is_safe, safe_calls, upper_rate
from knowngood.core.steps.ask import ask_on_call
from knowngood.core.steps.case import (
    Case,
    Step,
    incident_for,
    name_of,
    page,
    resolved,
    title,
    with_authors,
)
from knowngood.core.steps.recovery import Recovery, recovery
from knowngood.core.steps.switch import switch_actions
from knowngood.core.steps.target import choose_target
from knowngood.core.steps.together import Back, back_together
from knowngood.core.steps.words import answer_words
from knowngood.core.track import GATE_BAD, GATE_REQUESTS
from knowngood.core.window import to_row

STRAGGLER_MS = 60_000  # a live process that runs the old route for longer is worth a page
RETRY_MS = 15 * 60_000  # an inconclusive verification asks again after this
MAX_ATTEMPTS = 96  # a day of asking; after that the incident closes as inconclusive
TOLD_ATTEMPTS = 4  # the first hour of attempts is told to people, later ones are only recorded
# The engine looks again within a second of its switch. A first look later than this means that it
# was held in between: when the switch really happened is unknown, so the proof begins now.
PROMPT_LOOK_MS = 3_000
# The plain critical gate: what no recovering target shows once its first minute is over.
HOPELESS_RATE = 0.05


@dataclass(frozen=True, slots=True)
class Seen:
    """What the target shows since the switch."""

    n: int
    bad: int
    rate: float
    healthy_below: float
    safe: bool


def verify(case: Case, phase: Verifying) -> Step:
    """Recovered, not recovered, inconclusive, or what is still waited on."""
    seen = _errors(case, phase)
    metrics = tuple(recovery(case, phase, name) for name in phase.triggers)
    if phase.unseen and case.now_ms <= phase.began_ms:
        return Step(waiting_on=_waits(case, phase, seen, metrics))
    if phase.unseen:
        return _first_look(case, phase)
    spread = _propagation(case, phase)
    if spread is not None and phase.propagated_ms is None:
        return Step((Enter(replace(phase, propagated_ms=case.now_ms)), spread))
    healthy = seen.safe and seen.rate < seen.healthy_below
    if spread is not None and healthy and all(m is Recovery.BACK for m in metrics):
        return _recovered(case, phase, seen)
    if _failed(case, phase, seen, metrics):
        return _not_recovered(case, phase, seen, metrics)
    if case.now_ms >= phase.deadline_ms:
        return _inconclusive(case, phase, seen)
    return Step(_straggler(case, phase), _waits(case, phase, seen, metrics))


def _first_look(case: Case, phase: Verifying) -> Step:
    """The switch has happened: when is known if this look comes soon after the decision."""
    seen = replace(phase, unseen=False)
    if case.now_ms - phase.began_ms > PROMPT_LOOK_MS:
        deadline_ms = case.now_ms + case.policy.verify.deadline_ms
        seen = replace(seen, began_ms=case.now_ms, deadline_ms=deadline_ms)
    return Step((Enter(seen),))


def _errors(case: Case, phase: Verifying) -> Seen:
    window = case.observed.evidence(phase.to_version).since(phase.began_ms)
    # Calls that were reported late may be from before the switch: they prove nothing good, and a
    # failure among them still speaks against recovery.
    bad = window.error_count
    n = window.ok - window.late_ok + bad
    entry = case.state.entry(phase.to_version)
    before = entry.baseline if entry else None
    own = upper_rate(before.error_count, before.call_count) if before else 0.0
    known = before is not None and before.call_count >= case.policy.baseline.min_requests
    limit = max(case.policy.verify.error_rate_below, own if known else 0.0)
    rate = bad / n if n else 0.0
    return Seen(n, bad, rate, limit, is_safe(bad, n, _unsafe_rate(limit)))


def _unsafe_rate(limit: float) -> float:
    """The rate to be excluded: 5 %, or twice the target's own where that is no healthy 5 %.

    What is close to the limit cannot be told from it, so the proof would never come (the same rule
    as for a threshold that is not separable).
    """
    return HOPELESS_RATE if limit < HEALTHY_MAX * HOPELESS_RATE else 2 * limit


def _failed(case: Case, phase: Verifying, seen: Seen, metrics: tuple[Recovery, ...]) -> bool:
    """Whether the target is provably ill: early if hopeless, at the deadline if past its limit."""
    since_ms = case.now_ms - phase.began_ms
    hopeless = max(HOPELESS_RATE, seen.healthy_below)
    if _enough(seen) and seen.rate > hopeless and since_ms >= case.policy.verify.goal_ms:
        return True
    if case.now_ms < phase.deadline_ms:
        return False
    return (_enough(seen) and seen.rate >= seen.healthy_below) or Recovery.STILL_BAD in metrics


def _enough(seen: Seen) -> bool:
    return seen.n >= GATE_REQUESTS and seen.bad >= GATE_BAD


def _propagation(case: Case, phase: Verifying) -> Record | None:
    """The line that says that the route has arrived everywhere, or None while it has not."""
    census = case.observed.census
    took = duration(case.now_ms - phase.began_ms)
    if census.live_count == 0:
        if census.silent:
            return None
        return Record("rollback.propagated", "no census: no process reports here", {"clients": 0})
    if census.behind:
        return None
    quiet = f"; silent: {_silent_words(census)}" if census.silent else ""
    words = f"{census.current_count} of {census.live_count} clients on generation"
    return Record(
        "rollback.propagated",
        f"{words} {case.generation} after {took}{quiet}",
        {"clients": census.live_count, "generation": case.generation},
    )


def _straggler(case: Case, phase: Verifying) -> tuple[Action, ...]:
    census = case.observed.census
    late = case.now_ms - phase.began_ms >= STRAGGLER_MS
    if not census.behind or not late or case.told("straggler"):
        return ()
    because = f"still on an older generation: {_behind_words(census)}"
    key = f"{_name(case)}:straggler:{case.generation}"
    return (
        Told("straggler"),
        Record("rollback.straggler", because, {"clients": list(census.behind[:NAMES_KEPT])}),
        *page(
            case,
            key,
            "on-call",
            Severity.HIGH,
            f"{title(case)}: {because}",
            because,
            purpose=Purpose.PAGE,
            thread=_thread(case),
        ),
    )


def _recovered(case: Case, phase: Verifying, seen: Seen) -> Step:
    took = duration(case.now_ms - phase.began_ms)
    because = f"verified: errors {_rate_words(seen)}, {took} after the switch"
    actions = _close(case, phase, Outcome.RECOVERED, because)
    key = f"{_name(case)}:recovered:{case.generation}"
    subject, body = f"{title(case)}: recovered on {phase.to_version}", f"{because}. Stand down."
    incident = case.state.incident
    told = (
        resolved(case, incident, key, Severity.LOW, subject, body)
        if incident
        else page(case, key, "incidents", Severity.LOW, subject, body)
    )
    return Step((Enter(Steady()), SetIncident(None), *actions, *told))


def _not_recovered(case: Case, phase: Verifying, seen: Seen, metrics: tuple[Recovery, ...]) -> Step:
    ill = _enough(seen) and seen.rate >= seen.healthy_below
    same_way = (ill and "error_rate" in _metrics_of(case, phase)) or Recovery.STILL_BAD in metrics
    because = f"not recovered: {phase.to_version} shows errors {_rate_words(seen)}"
    if Recovery.STILL_BAD in metrics:
        because += "; a metric that had breached is not back"
    lifted: tuple[Action, ...] = ()
    if same_way:
        because += f"; it fails in the same way as {phase.from_version}: upstream"
        if case.state.standing(phase.from_version) is Standing.QUARANTINED:
            words = "quarantine lifted: its rollback target failed in the same way"
            lifted = (Stand(phase.from_version, Standing.CANDIDATE, words),)
    found = breaches(case.findings, phase.to_version)
    incident = incident_for(case, found, Severity.CRITICAL, Response.ROLLBACK)
    kept = replace(incident, outcome=Outcome.NOT_RECOVERED)
    onward, companions = ((), ()) if same_way else _next_good(case, phase, incident, because)
    question = None if same_way or onward else _offer(case, phase)
    return Step(
        (
            *(onward or (Enter(Steady()), SetIncident(kept))),
            *((SetQuestion(question),) if question else ()),
            *lifted,
            *_close(case, phase, Outcome.NOT_RECOVERED, because),
            *_escalate(case, phase, because, question),
        ),
        companions=companions,
    )


def _offer(case: Case, phase: Verifying) -> Question | None:
    """The next known-good version, as a question to on-call (R15)."""
    target = choose_target(case.state, phase.to_version, case.observed.unfit)
    if target is None:
        return None
    return ask_on_call(case, "rollback-failed", phase.to_version, target)


def _next_good(
    case: Case, phase: Verifying, incident: Incident, because: str
) -> tuple[tuple[Action, ...], tuple[Change, ...]]:
    """On to the next known-good version, where the policy says so and there is one (R15).

    The target that failed is quarantined, so this ends with the last good version. An upstream
    failure never gets here: the next one would fail in the same way.
    """
    target = choose_target(case.state, phase.to_version, case.observed.unfit)
    if not case.policy.verify.takes_next or target is None:
        return (), ()
    switch = switch_actions(case, target, because, incident, quarantine=True, automatic=True)
    along = back_together(case, target, Back(because, automatic=True))
    return (SetIncident(incident), *switch, CountRollback(), *along.actions), along.changes


def _escalate(
    case: Case, phase: Verifying, because: str, question: Question | None
) -> tuple[Action, ...]:
    """A failed rollback is a critical incident of its own: a second key, and whom to reach."""
    good = [
        e.version
        for e in case.state.ledger
        if e.standing is Standing.GOOD and e.version != phase.to_version
    ]
    options = f"Other known-good versions: {', '.join(good)}." if good else "No other good version."
    notes = page(
        case,
        f"{_name(case)}:rollback-failed:{case.generation}",
        "on-call",
        Severity.CRITICAL,
        f"{title(case)}: ROLLBACK FAILED {phase.from_version} -> {phase.to_version}",
        f"{because}. {options} Contact: {_contacts(case, phase)}.",
        answers=answer_words(case.state, question) if question else "",
        purpose=Purpose.PAGE,
        thread=f"{_name(case)}:rollback-failed-g{case.generation}",
        question=question.number if question else None,
    )
    return tuple(_to_authors(case, note) for note in notes)


def _to_authors(case: Case, note: Notify) -> Notify:
    """The page, also for whoever wrote the versions; a drill's is nobody else's."""
    if note.purpose is not Purpose.PAGE:
        return note
    targets = (*(note.targets or (note.audience,)), AUTHOR)
    return replace(note, targets=with_authors(case, targets))


def _contacts(case: Case, phase: Verifying) -> str:
    """Who pushed the two versions, and whom the policy names besides."""
    pushed = {
        version: name_of(case.observed.authors[version])
        for version in (phase.from_version, phase.to_version)
        if version in case.observed.authors
    }
    named = [name for name in case.policy.authors if name not in pushed.values()]
    words = [f"{author}, who pushed {version}" for version, author in pushed.items()]
    return "; ".join((*words, *named)) or "the authors of both versions"


def _inconclusive(case: Case, phase: Verifying, seen: Seen) -> Step:
    blind = is_blind(case.state, case.observed, phase.to_version)
    why = "no reports" if blind else f"{seen.n} calls since the switch"
    because = f"inconclusive: {why}; asking again in {duration(RETRY_MS)}"
    if phase.attempt_count >= MAX_ATTEMPTS:
        done = _close(case, phase, Outcome.INCONCLUSIVE, "inconclusive for a day: closed unproven")
        return Step((Enter(Steady()), SetIncident(None), *done))
    again = replace(
        phase, deadline_ms=case.now_ms + RETRY_MS, attempt_count=phase.attempt_count + 1
    )
    incident = case.state.incident
    kept = replace(incident, outcome=Outcome.INCONCLUSIVE) if incident else None
    told = (
        ()
        if phase.attempt_count > TOLD_ATTEMPTS
        else page(
            case,
            f"{_name(case)}:inconclusive:{case.generation}:{phase.attempt_count}",
            "on-call",
            Severity.HIGH,
            f"{title(case)}: rollback to {phase.to_version} not verified yet",
            because,
            thread=_thread(case),
        )
    )
    detail = {"outcome": Outcome.INCONCLUSIVE.value, "attempt_count": phase.attempt_count}
    record = Record("rollback.inconclusive", because, detail)
    return Step((Enter(again), SetIncident(kept), record, *told))


def _close(case: Case, phase: Verifying, outcome: Outcome, because: str) -> tuple[Action, ...]:
    window = case.observed.evidence(phase.to_version).since(phase.began_ms)
    detail = {
        "outcome": outcome.value,
        "from": phase.from_version,
        "to": phase.to_version,
        "incident": case.state.incident.id if case.state.incident else None,
        "took_ms": case.now_ms - phase.began_ms,
        "windows": [{"version": phase.to_version, "sum": to_row(window)}],
    }
    kind = "rollback.verified" if outcome is Outcome.RECOVERED else f"rollback.{outcome.value}"
    return (Record(kind, because, detail),)


def _waits(
    case: Case, phase: Verifying, seen: Seen, metrics: tuple[Recovery, ...]
) -> tuple[Wait, ...]:
    census = case.observed.census
    waits: list[Wait] = []
    if census.behind:
        total = census.live_count
        waits.append(Wait("clients", total, census.current_count, _behind_words(census)))
    elif census.live_count == 0 and census.silent:
        waits.append(Wait("census", detail=f"silent: {_silent_words(census)}"))
    if not seen.safe:
        need = safe_calls(seen.bad, _unsafe_rate(seen.healthy_below))
        waits.append(Wait("verify_requests", need, seen.n))
    elif seen.rate >= seen.healthy_below:
        words = f"errors {_rate_words(seen)}, must be below {percent(seen.healthy_below)}"
        waits.append(Wait("verify_limit", detail=words))
    waits += [
        Wait("verify_metric", detail=name)
        for name, how in zip(phase.triggers, metrics, strict=True)
        if how is not Recovery.BACK
    ]
    return tuple(waits)


def _behind_words(census: Census) -> str:
    return few(census.behind, census.unnamed_behind_count)


def _silent_words(census: Census) -> str:
    return few(census.silent, census.unnamed_silent_count)


def _rate_words(seen: Seen) -> str:
    return f"{percent(seen.rate)} ({seen.bad} of {seen.n})"


def _metrics_of(case: Case, phase: Verifying) -> set[str]:
    return {t.when.metric for t in case.policy.triggers if t.name in phase.triggers}


def _thread(case: Case) -> str:
    return case.state.incident.id if case.state.incident else ""


def _name(case: Case) -> str:
    """The incident's id, or for a rollback without one what it would have been called."""
    if case.state.incident:
        return case.state.incident.id
    return f"{case.state.environment}/{case.state.prompt}/g{case.generation}.0"
