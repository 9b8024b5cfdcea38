"""Doing one step of a run: looking, waiting, and giving orders, each order once and only once.

An order is carried out together with its line of history, in one transaction, on the very revision
that was looked at. Whoever finds a step begun looks for that line first: an order that stands there
is not given again.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from knowngood.core.errors import KnowngoodError, StaleState
from knowngood.core.expectation import Expectation, Judged, judge_metric
from knowngood.core.expectation_facts import judge_fact
from knowngood.core.explain import tally_words
from knowngood.core.look import is_blind
from knowngood.core.measure import measure
from knowngood.core.model import Action, Notify, Record, Severity, State, Verdict
from knowngood.core.runbook import UNKNOWN, Act, Runbook, Step, StepKind, Tell
from knowngood.core.runbook_fill import fill
from knowngood.core.runbook_run import Mark, Run
from knowngood.core.runbook_words import does
from knowngood.core.steps.case import QUIET_ENVIRONMENTS, Case
from knowngood.core.units import duration_ms
from knowngood.engine.observe import unfit
from knowngood.server import act, rollouts
from knowngood.server.desk import Desk

KIND = "runbook.step"
ATTEMPTS = 5  # the engine writes to a prompt in trouble each second; five looks are enough
LINES_MAX = 10_000  # since a step was begun; beyond it nobody can say whether it was done


class CannotTell(KnowngoodError):
    """Nobody can say whether the step was done."""

    code = "cannot_tell"


# --- Looking


def judge(
    desk: Desk, run: Run, expect: Expectation, version: str, over_ms: int, now_ms: int
) -> Judged:
    """Whether something holds now, by a fresh look."""
    wanted = fill(version, run.values)
    if UNKNOWN in wanted and not expect.fact:
        return Judged(Verdict.UNSURE, f"which version that is, is unknown: {version}")
    if expect.suite:
        return _evaluated(desk, run, expect, wanted)
    state = desk.store.states.get(run.environment, run.prompt)
    case, trouble = act.case_of(desk, state, now_ms)
    if trouble is not None:
        return Judged(Verdict.BLIND, f"the evidence is unavailable: {trouble}")
    poor = unfit(desk.store, state, case.policy, now_ms)
    case = replace(case, observed=replace(case.observed, unfit=poor))
    if expect.fact:
        return judge_fact(expect.fact, case, wanted)
    return _measured(case, expect, wanted, over_ms)


def _measured(case: Case, expect: Expectation, version: str, over_ms: int) -> Judged:
    assert expect.condition is not None
    window = case.observed.evidence(version).since(case.observed.until_ms - over_ms)
    found = measure(expect.condition.metric, window, (), case.policy.scores)
    return judge_metric(expect.condition, found, is_blind(case.state, case.observed, version))


def _evaluated(desk: Desk, run: Run, expect: Expectation, version: str) -> Judged:
    newest = desk.store.evaluations.of(run.prompt, version, expect.suite, limit=1)
    if not newest:
        return Judged(Verdict.UNSURE, f"{version} has no evaluation by {expect.suite}")
    tally = newest[0].tally
    share = tally.passed_count / tally.case_count
    holds = Verdict.CLEAR if share >= expect.at_least else Verdict.BREACH
    return Judged(holds, f"{expect.suite} of {version}: {tally_words(tally)}")


# --- Giving orders


def carry_out(
    desk: Desk, run: Run, runbook: Runbook, step: Step, ask: act.Ask, now_ms: int
) -> tuple[Mark, str, bool]:
    """Give the step's order; how it ended, in words, and whether its line of history is written."""
    if isinstance(step.work, Tell):
        return _ordered(desk, run, step, run.prompt, _telling(desk, run, step.work), ask, now_ms)
    assert isinstance(step.work, Act)
    order = step.work
    missing = [text for text in (order.prompt, *order.options.values()) if _unknown(text, run)]
    if missing:
        return Mark.FAILED, f"unknown: {', '.join(missing)}; do it by hand", False
    prompt = fill(order.prompt, run.values)
    if words := _is_over(desk, run, order, prompt):
        return Mark.PASSED, words, False
    because = fill(order.because, run.values) or f"runbook {runbook.id}, step {step.name}"
    asked = replace(ask, because=f"{because}: {ask.because}" if ask.because else because)
    return _ordered(desk, run, step, prompt, _order(desk, run, order, prompt), asked, now_ms)


def _unknown(text: str, run: Run) -> bool:
    return UNKNOWN in fill(text, run.values)


def _is_over(desk: Desk, run: Run, order: Act, prompt: str) -> str:
    """Words when the bad version is off the route already: this run is about no other."""
    if order.verb not in ("rollback", "gradual_rollback") or prompt != run.prompt:
        return ""
    bad = run.values.get("bad_version", "")
    route = desk.store.states.get(run.environment, prompt).route
    if not bad or route is None or route.weight_bp(bad):
        return ""
    return f"{bad} is off the route already; nothing was changed"


Order = Callable[[act.Ask, int], dict[str, Any]]


def _order(desk: Desk, run: Run, order: Act, prompt: str) -> Order:
    """The verb as a function of who asks and when."""
    environment = run.environment
    said = {key: fill(text, run.values) for key, text in order.options.items()}
    version = said.get("version")
    bad = run.values.get("bad_version", "") if prompt == run.prompt else ""
    first = act.only_from(desk, bad) if bad else act.nothing_first
    match order.verb:
        case "rollback":
            return lambda ask, at: act.rollback(
                desk, environment, prompt, version, ask, at, first=first
            )
        case "gradual_rollback":
            hold = duration_ms(said["hold"]) if "hold" in said else None
            steps = act.Gradual(hold_ms=hold)
            return lambda ask, at: act.rollback(
                desk, environment, prompt, version, ask, at, gradual=steps, first=first
            )
        case "automation_off" | "automation_on":
            off_ms = duration_ms(said["for"]) if "for" in said else None
            return lambda ask, at: act.automation(desk, environment, prompt, off_ms, ask, at)
        case "vouch":
            return lambda ask, at: act.vouch(desk, environment, prompt, version or "", ask, at)
        case "unquarantine":
            return lambda ask, at: act.unquarantine(
                desk, environment, prompt, version or "", ask, at
            )
    move = {
        "pause": rollouts.pause,
        "resume": rollouts.resume,
        "skip": rollouts.skip,
        "abort": rollouts.abort,
    }[order.verb]
    return lambda ask, at: move(desk, environment, prompt, ask, at)


def _telling(desk: Desk, run: Run, tell: Tell) -> Order:
    """A message as an order: queued in the transaction of its line of history."""
    severities = [each.value for each in Severity]
    known = run.values.get("severity", "")
    severity = Severity(known) if known in severities else Severity.MEDIUM
    note = Notify(
        key=f"{run.id}:{tell.audience}:{len(run.steps)}",
        audience=tell.audience,
        severity=severity,
        subject=fill(tell.subject, run.values),
        body=fill(tell.text or tell.subject, run.values),
        thread=run.incident,
    )

    def decide(state: State) -> tuple[Action, ...]:
        return () if state.environment in QUIET_ENVIRONMENTS else (note,)

    def order(ask: act.Ask, now_ms: int) -> dict[str, Any]:
        done = act.carry_out(desk, run.environment, run.prompt, ask, decide, now_ms)
        return act.result_of(desk, done, now_ms)

    return order


def _ordered(
    desk: Desk, run: Run, step: Step, prompt: str, order: Order, ask: act.Ask, now_ms: int
) -> tuple[Mark, str, bool]:
    """Give the order once, however often it is begun: see the module's words."""
    words = fill(does(step), run.values)
    record = Record(KIND, f"{step.title}: {words}", line_detail(run, step, Mark.PASSED, words))
    changed = ""
    for _ in range(ATTEMPTS):
        state = desk.store.states.get(run.environment, prompt)
        if not ask.dry_run and _stands(desk, run, step):
            return Mark.PASSED, f"{words} (found done)", True
        try:
            result = order(replace(ask, revision=state.revision, also=(record,)), now_ms)
        except StaleState as error:
            changed = error.message
            continue  # somebody wrote meanwhile: perhaps this very order
        except KnowngoodError as error:
            hint = f"; {error.next_step}" if error.next_step else ""
            return Mark.FAILED, f"{error.message}{hint}", False
        outcome = str(result["outcome"])
        if step.kind is StepKind.NOTIFY and outcome == "unchanged":
            return Mark.PASSED, f"not sent: {run.environment} tells nobody", False
        return Mark.PASSED, f"{words}: {outcome}", outcome not in ("unchanged", "would_switch")
    raise StaleState(
        f"the step {step.name} was not done: {changed}",
        next_step="look again, and try it again if you still mean it",
    )


def _stands(desk: Desk, run: Run, step: Step) -> bool:
    """Whether the order's line of history is written. Raises CannotTell."""
    there = run.of(step.name)
    since = there.log_id if there else 0
    lines = desk.store.log.read(run.environment, None, since, LINES_MAX)
    attempt = there.attempt_count if there else 1
    key = (run.id, step.name, attempt)
    if any(_key(line.detail) == key for line in lines if line.kind == KIND):
        return True
    if len(lines) == LINES_MAX:
        raise CannotTell(
            f"the step {step.name} was begun more than {LINES_MAX:,} lines of history ago",
            next_step="look in the audit log whether it was done, then skip it with that reason",
        )
    return False


def _key(detail: Any) -> tuple[Any, Any, Any]:
    return detail.get("run"), detail.get("step"), detail.get("attempt")


def line_detail(run: Run, step: Step, mark: Mark, words: str) -> dict[str, Any]:
    """What a line of history says of a step."""
    there = run.of(step.name)
    return {
        "incident": run.incident,
        "run": run.id,
        "runbook": run.runbook,
        "digest": run.digest,
        "step": step.name,
        "step_kind": step.kind.value,
        "mark": mark.value,
        "words": words,
        "attempt": there.attempt_count if there else 1,
    }
