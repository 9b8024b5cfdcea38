"""What is found of prompts now: `status` of many, `explain` of one, with core's own words."""

from typing import Any

from knowngood.core.explain import decision_words, doing_words, duration, finding_words, wait_words
from knowngood.core.look import LOOKBACK_MS, age_ms, alert_rules, breaches, overall
from knowngood.core.measure import measure
from knowngood.core.model import (
    Confirming,
    Finding,
    Phase,
    Response,
    Standing,
    State,
    Steady,
    Verdict,
    Verifying,
    Wait,
)
from knowngood.core.rules import AlertRule, PromptPolicy
from knowngood.core.steps.brakes import brake
from knowngood.core.steps.case import USUAL_ENVIRONMENT, Case, finding_data
from knowngood.core.tree import condition_words
from knowngood.core.window import Window
from knowngood.engine.reconcile import Look
from knowngood.server.asked import alarms_data, question_data
from knowngood.server.desk import Desk
from knowngood.server.incidents import clock_of
from knowngood.server.outside import beside
from knowngood.server.read import census_of, census_words, fleet_hold, stamp
from knowngood.server.rollouts import explained
from knowngood.server.words import action_words, hold_data, iso, route_data, wait_data, when

# A look costs about a millisecond; a status is answered within a second all the same. Prompts
# beyond this come with what is remembered of them; each is looked at when asked for by name.
LOOKS_MAX = 500
RELATED_MAX = 20  # shown beside a prompt; a larger group is for `status`
WORST = (Verdict.BREACH, Verdict.BLIND, Verdict.UNSURE, Verdict.CLEAR)


def status(desk: Desk, environment: str, prompt: str | None, now_ms: int) -> dict[str, Any]:
    """The prompts that are routed or remembered in an environment, those in trouble first.

    Only prompts that were reported on in the last minutes, or under whom something is under way,
    are looked at; the others are `unsure (idle)`. Raises UnknownEnvironment or UnknownPrompt.
    """
    if prompt is None:
        desk.check_environment(environment)
        states = desk.store.states.all(environment)
    else:
        states = [desk.state(environment, prompt)]
    fleet = fleet_hold(desk, environment, now_ms)
    busy = _busy(desk, environment, states, now_ms, everything=prompt is not None)
    looked = desk.looks(environment, busy[:LOOKS_MAX], now_ms)
    seen = {each.state.prompt: each for each in looked}
    unread = set(busy[LOOKS_MAX:])
    rows = [
        seen_row(seen[state.prompt], now_ms)
        if state.prompt in seen
        else idle_row(state, state.prompt in unread, now_ms)
        for state in states
    ]
    rows.sort(key=urgency)
    return {
        "environment": environment,
        "generation": desk.store.states.generation(environment),
        **stamp(now_ms),
        "policy_revision": desk.policy.revision,
        "automation": fleet,
        "census": census_of(desk, environment, now_ms),
        "prompts": rows,
        "looked_count": len(looked),
        "unread_count": len(unread),
    }


def explain(desk: Desk, environment: str, prompt: str, now_ms: int) -> dict[str, Any]:
    """What is seen of one prompt, what follows from it, what it waits on, and what is remembered.

    Raises UnknownEnvironment or UnknownPrompt.
    """
    desk.state(environment, prompt)
    seen = desk.look(environment, prompt, now_ms)
    decision = seen.decision
    return {
        "environment": environment,
        "prompt": prompt,
        **stamp(now_ms),
        "sees": [_finding(f) for f in decision.findings],
        "decided": {
            "words": _decided(seen),
            "actions": [
                {"kind": type(action).__name__, "words": action_words(action)}
                for action in (*decision.actions, *decision.fleet_actions)
            ],
            "recheck_after_ms": decision.recheck_after_ms,
        },
        "waiting_on": [wait_data(wait) for wait in decision.waiting_on],
        "state": _remembered(desk, seen, now_ms),
        "row": seen_row(seen, now_ms),
        "related": _related(desk, environment, prompt, now_ms),
        "outside": beside(desk, environment, prompt, seen.state.incident, now_ms),
    }


def _related(desk: Desk, environment: str, prompt: str, now_ms: int) -> list[dict[str, Any]]:
    """How the prompts are that the policy declares related, and what would roll each back."""
    known = set(desk.store.registry.prompts())
    names = [name for name in desk.policy.related_to(prompt) if name in known][:RELATED_MAX]
    option = "" if environment == USUAL_ENVIRONMENT else f" --env {environment}"
    return [
        {
            **seen_row(each, now_ms),
            "rolls_back": f"knowngood rollback {each.state.prompt}{option} --because ...",
        }
        for each in desk.looks(environment, names, now_ms)
        if each.state.route is not None
    ]


def reason_of(desk: Desk, state: State) -> str:
    """What speaks for acting on the prompt now, in words that may stand in the history."""
    seen = desk.glances(state.environment).get(state.prompt)
    found = [f for f in seen.decision.findings if f.verdict is Verdict.BREACH] if seen else []
    if found:
        return f"{found[0].version}: {finding_words(found[0])}"
    incident = state.incident
    return f"{incident.version}: {', '.join(incident.triggers)}" if incident else ""


# --- Which prompts are looked at


def _busy(
    desk: Desk, environment: str, states: list[State], now_ms: int, *, everything: bool
) -> list[str]:
    """The routed prompts that may have something to say, those in trouble first."""
    routed = [state for state in states if state.route is not None]
    if everything:
        return [state.prompt for state in routed]
    touched = {
        key[1]
        for key, _ in desk.store.series.touched(now_ms - LOOKBACK_MS)
        if key[0] == environment
    }
    troubled = [s.prompt for s in routed if is_troubled(s)]
    calm = [s.prompt for s in routed if s.prompt in touched and not is_troubled(s)]
    return troubled + calm


def is_troubled(state: State) -> bool:
    """Whether something is under way that people may want to know of."""
    return bool(state.incident or state.told) or not isinstance(state.phase, Steady)


# --- Rows


def seen_row(seen: Look, now_ms: int) -> dict[str, Any]:
    """One prompt in a line of a list, as a look found it."""
    state, decision = seen.state, seen.decision
    triggers = [f for f in decision.findings if f.response is not Response.ALERT]
    alerts = [
        f.trigger
        for f in decision.findings
        if f.response is Response.ALERT and f.verdict is Verdict.BREACH
    ]
    counts = {v.value: sum(f.verdict is v for f in triggers) for v in Verdict}
    worst = overall(triggers)
    first = decision.waiting_on[0] if decision.waiting_on else None
    living = seen.observed.census
    generation = state.route.generation if state.route else 0
    return {
        **_row(state, now_ms),
        "verdict": worst.value if worst else None,
        "verdicts": counts,
        "words": _decided(seen),
        "alerts": alerts,
        "waiting_on": wait_words(first) if first else None,
        "window_ms": seen.policy.window_ms,
        "versions": [_measured(seen, arm.version) for arm in state.route.arms]
        if state.route
        else [],
        "baking": _baking(seen, now_ms),
        "census": census_words(living.current_count, living.live_count, generation),
    }


def idle_row(state: State, unread: bool, now_ms: int) -> dict[str, Any]:
    """The same without a look: what is remembered of the prompt. `unread`: it was not its turn."""
    words = "Nothing to judge: no calls in the last minutes."
    if unread:
        words = f"Not looked at: more than {LOOKS_MAX} prompts are active. Ask for it by name."
    if state.route is None:
        words = "Nothing to judge: nothing is routed here."
    return {
        **_row(state, now_ms),
        "verdict": Verdict.UNSURE.value if state.route and not unread else None,
        "verdicts": None,
        "words": words,
        "alerts": [],
        "waiting_on": None if unread else wait_words(Wait("idle" if state.route else "route")),
        "window_ms": None,
        "versions": [],
        "baking": None,
        "census": None,
    }


def _row(state: State, now_ms: int) -> dict[str, Any]:
    return {
        "prompt": state.prompt,
        **route_data(state),
        "phase": doing_words(state),
        "phase_kind": type(state.phase).__name__.lower(),
        "incident": _incident(state, now_ms),
        "question": question_data(state, now_ms),
        "pages": alarms_data(state, now_ms),
        "automation": hold_data(state.automation, now_ms),
        "age_ms": age_ms(state, state.route.suspect.version, now_ms) if state.route else None,
    }


def urgency(row: dict[str, Any]) -> tuple[bool, bool, int, str]:
    """What sorts those in trouble first."""
    order = [v.value for v in WORST]
    verdict = row["verdict"]
    rank = order.index(verdict) if verdict in order else len(order)
    # Unsure is the everyday state of a quiet prompt and no reason to be on top.
    rank = rank if verdict in (Verdict.BREACH, Verdict.BLIND) else len(order)
    return row["incident"] is None, row["phase_kind"] == "steady", rank, row["prompt"]


def _measured(seen: Look, version: str) -> dict[str, Any]:
    """The headline figures of a version's current window, each with what it rests on."""
    entry = seen.state.entry(version)
    routed_ms = entry.routed_ms if entry and entry.routed_ms is not None else 0
    since_ms = max(seen.observed.until_ms - seen.policy.window_ms, routed_ms)
    window = seen.observed.evidence(version).since(since_ms)
    p99 = measure("latency_p99", window, (), seen.policy.scores)
    return {
        "version": version,
        "n": window.call_count,
        "bad": window.error_count,
        "excluded": window.excluded,
        "error_rate": window.error_count / window.call_count if window.call_count else None,
        "p99_ms": p99.estimate,
        "p99_n": p99.n,
        **_quality(window, seen.policy),
        **when("since", since_ms),
    }


def _quality(window: Window, policy: PromptPolicy) -> dict[str, Any]:
    if "quality" not in policy.scores:
        return {"quality": None, "quality_n": 0}
    found = measure("quality", window, (), policy.scores)
    return {"quality": found.estimate, "quality_n": found.n}


def _baking(seen: Look, now_ms: int) -> str | None:
    """How far the bake of a candidate at 100 % has come."""
    route, rollout = seen.state.route, seen.state.rollout
    if route is None or (rollout is not None and not rollout.is_baking):
        return None
    if rollout is None and route.candidate is not None:
        return None
    if seen.state.standing(route.suspect.version) is not Standing.CANDIDATE:
        return None
    gone = duration(now_ms - (route.since_ms if rollout is None else rollout.stage_ms))
    return f"{gone} of {duration(seen.policy.bake.for_ms)}"


def _decided(seen: Look) -> str:
    if seen.state.route is None:
        return "Nothing to judge: nothing is routed here."
    return decision_words(seen.state, seen.decision)


# --- The parts of an explanation


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        **finding_data(finding),
        "waiting_on": [wait_data(wait) for wait in finding.waiting_on],
        "since": iso(finding.since_ms),
        "until": iso(finding.until_ms),
        "window_ms": max(0, finding.until_ms - finding.since_ms),
        "words": finding_words(finding),
    }


def _remembered(desk: Desk, seen: Look, now_ms: int) -> dict[str, Any]:
    state, policy = seen.state, seen.policy
    suspect = state.route.suspect.version if state.route else None
    age = age_ms(state, suspect, now_ms) if suspect else None
    return {
        **_row(state, now_ms),
        "phase_data": _phase(state.phase),
        "rollout": explained(Case(state, seen.observed, policy, seen.decision.findings, now_ms)),
        "ledger": [
            {
                "version": entry.version,
                "standing": entry.standing,
                "because": entry.because,
                "actor": entry.actor,
                "baseline_calls": entry.baseline.call_count if entry.baseline else None,
                **when("since", entry.since_ms),
                **when("routed", entry.routed_ms),
            }
            for entry in sorted(state.ledger, key=lambda e: -(e.routed_ms or e.since_ms))
        ],
        "brakes": _brakes(desk, seen, now_ms),
        "notices": list(state.told),
        "policy_revision": policy.revision,
        "policy_entries": list(desk.policy.entries_of(state.prompt)),
        "alert_limits": [_alert(rule) for rule in alert_rules(policy, age)] if suspect else [],
    }


def _phase(phase: Phase) -> dict[str, Any]:
    match phase:
        case Steady():
            return {"kind": "steady"}
        case Confirming(trigger, version, seen_ms, began_ms):
            return {
                "kind": "confirming",
                "trigger": trigger,
                "version": version,
                **when("seen", seen_ms),
                **when("began", began_ms),
            }
        case Verifying():
            return {
                "kind": "verifying",
                "from_version": phase.from_version,
                "to_version": phase.to_version,
                "triggers": list(phase.triggers),
                "attempt_count": phase.attempt_count,
                "by": phase.by,
                **when("began", phase.began_ms),
                **when("deadline", phase.deadline_ms),
                **when("propagated", phase.propagated_ms),
            }


def _brakes(desk: Desk, seen: Look, now_ms: int) -> list[dict[str, str]]:
    """The brakes that would hold an automatic rollback of this prompt at this moment."""
    found = [
        {"kind": "dry_run", "words": f"{trigger.name} only records what it would do"}
        for trigger in seen.policy.triggers
        if trigger.dry_run
    ]
    if seen.state.route is None:
        return found
    findings = seen.decision.findings
    case = Case(seen.state, seen.observed, seen.policy, findings, now_ms)
    phase = seen.state.phase
    began_ms = phase.began_ms if isinstance(phase, Confirming) else now_ms
    held = brake(case, breaches(findings, case.suspect, Response.ROLLBACK), began_ms)
    return [*found, {"kind": held.kind, "words": held.words}] if held else found


def _alert(rule: AlertRule) -> dict[str, Any]:
    return {
        "name": rule.name,
        "min_age_ms": rule.min_age_ms,
        "max_age_ms": rule.max_age_ms,
        "when": [condition_words(condition) for condition in rule.when],
    }


def _incident(state: State, now_ms: int) -> dict[str, Any] | None:
    incident = state.incident
    if incident is None:
        return None
    return {
        "id": incident.id,
        "version": incident.version,
        "severity": incident.severity,
        "response": incident.response,
        "triggers": list(incident.triggers),
        "outcome": incident.outcome,
        "open_for": duration(now_ms - incident.opened_ms),
        "part_of": incident.part_of or None,
        "clock": clock_of(state, now_ms),
        **when("opened", incident.opened_ms),
    }
