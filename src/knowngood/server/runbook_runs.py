"""Runs of runbooks: begun, gone on with step by step, and seen. What a step does is in its work."""

from dataclasses import replace
from typing import Any

from knowngood.core.errors import BadRequest, Forbidden, StaleState
from knowngood.core.explain import duration
from knowngood.core.history import AuditEntry
from knowngood.core.runbook import Approve, Check, Runbook, Step, StepKind, Until
from knowngood.core.runbook_run import (
    Mark,
    Run,
    RunState,
    StepRun,
    Word,
    marked,
    next_step,
    refuse_word,
    waits_for_word,
)
from knowngood.core.runbook_words import does
from knowngood.server import incident_values
from knowngood.server.act import Ask, check_ask
from knowngood.server.desk import Desk
from knowngood.server.incident_values import Place
from knowngood.server.runbook_file import parse
from knowngood.server.runbook_work import KIND, carry_out, judge, line_detail
from knowngood.server.runbooks import Library, known_of, step_data
from knowngood.server.words import when

RUNS_MAX = 100  # of one incident: more than anybody begins
LOOK_AGAIN_MS = 2_000
UNVERIFIED = " (unverified)"


def begin(
    desk: Desk, library: Library, name: str, place: Place, ask: Ask, now_ms: int
) -> dict[str, Any]:
    """Begin a run, or go on with the one of this runbook and incident that is not over.

    With `dry_run` nothing is kept, and every step is rehearsed at once. Raises Unknown….
    """
    kept = library.get(name)
    check_ask(ask, because=False)
    runs = [r for r in desk.store.runs.of(place.incident, RUNS_MAX) if r.runbook == name]
    if not ask.dry_run:
        for run in runs:
            if run.state is not RunState.DONE:
                return run_data(desk, run, now_ms)
    values = {
        **kept.runbook.constants,
        **incident_values.values_of(desk, place, now_ms),
        "runbook": name,
    }
    run = Run(
        incident=place.incident,
        runbook=name,
        number=1 + max((r.number for r in runs), default=0),
        environment=place.environment,
        prompt=place.prompt,
        digest=kept.runbook.digest,
        text=kept.text,
        values=values,
        actor=ask.actor,
        began_ms=now_ms,
    )
    if ask.dry_run:
        return _rehearsed(desk, run, kept.runbook, ask, now_ms)
    words = f"{kept.runbook.title}: {ask.because or 'begun'}"
    line = _line(desk, run, "runbook.started", words, ask.actor, _place_detail(run), now_ms)
    return run_data(desk, desk.store.runs.save(run, [line]), now_ms)


def answer(
    desk: Desk,
    run_id: str,
    word: Word | None,
    ask: Ask,
    now_ms: int,
    *,
    step: str | None = None,
) -> dict[str, Any]:
    """Go on with the step that is next, by a person's word where it needs one.

    Without a word, what needs none is done and what needs one is left. `step`, if given, is the one
    that is meant. Raises UnknownRun, RunClosed, Forbidden, BadRequest or StaleState.
    """
    run = desk.store.runs.get(run_id)
    runbook = runbook_of(desk, run)
    check_ask(ask, because=False)
    if step is not None:
        _refuse_another(run, runbook, step)
    return _answered(desk, run, runbook, word, ask, now_ms)


def _answered(
    desk: Desk, run: Run, runbook: Runbook, word: Word | None, ask: Ask, now_ms: int
) -> dict[str, Any]:
    step = next_step(run, runbook)
    if step is None:
        return run_data(desk, run, now_ms)
    if word is None and waits_for_word(run, step):
        return run_data(desk, run, now_ms)
    refuse_word(run, step, word, ask.because)
    after = _done(desk, run, runbook, step, word, ask, now_ms)
    return run_data(desk, after, now_ms)


def _refuse_another(run: Run, runbook: Runbook, name: str) -> Step:
    """The step that is meant, if it is the next. Raises BadRequest or StaleState."""
    step = next((each for each in runbook.steps if each.name == name), None)
    if step is None:
        raise BadRequest(
            f"{run.runbook} has no step {name[:80]!r}", known=[each.name for each in runbook.steps]
        )
    following = next_step(run, runbook)
    if following is not None and following.name == name:
        return step
    there = run.of(name)
    if there is None:
        before = following.title if following else "nothing"
        raise StaleState(f"it is not the turn of {step.title!r} yet: {before!r} comes first")
    raise StaleState(
        f"{step.title!r} is {there.mark.value} already, by {there.actor}: {there.words}",
        next_step="look again: the run has gone on",
    )


def runbook_of(desk: Desk, run: Run) -> Runbook:
    """The runbook as it was when the run began."""
    return parse(run.text, run.runbook, known_of(desk.policy))


# --- One step


def _done(
    desk: Desk, run: Run, runbook: Runbook, step: Step, word: Word | None, ask: Ask, now_ms: int
) -> Run:
    there = run.of(step.name)
    if word is Word.SKIP:
        return _write(
            desk, run, runbook, step, Mark.SKIPPED, f"skipped: {ask.because}", ask, now_ms
        )
    if word is Word.DECLINE:
        said = f"declined: {ask.because or 'no reason given'}"
        return _write(desk, run, runbook, step, Mark.DECLINED, said, ask, now_ms)
    if there is None or there.mark is not Mark.BEGUN:
        run = _begun(desk, run, runbook, step, ask, now_ms)
    match step.kind:
        case StepKind.READ | StepKind.MANUAL:
            return _write(desk, run, runbook, step, Mark.PASSED, "done", ask, now_ms)
        case StepKind.APPROVE:
            words = _approved(desk, step, ask.actor)
            return _write(desk, run, runbook, step, Mark.PASSED, words, ask, now_ms)
        case StepKind.CHECK | StepKind.WAIT:
            return _looked(desk, run, runbook, step, ask, now_ms)
        case StepKind.ACTION | StepKind.NOTIFY:
            mark, words, written = carry_out(desk, run, runbook, step, ask, now_ms)
            return _write(desk, run, runbook, step, mark, words, ask, now_ms, written=written)


def _begun(desk: Desk, run: Run, runbook: Runbook, step: Step, ask: Ask, now_ms: int) -> Run:
    """The run with the step claimed: of two who begin it at once, one is refused."""
    there = run.of(step.name)
    if isinstance(step.work, Approve):
        _approved(desk, step, ask.actor)  # a refusal leaves no trace
    newest = desk.store.log.read(limit=1)
    claim = StepRun(
        step.name,
        Mark.BEGUN,
        "begun",
        ask.actor,
        now_ms,
        because=ask.because,
        attempt_count=1 + (there.attempt_count if there else 0),
        log_id=newest[-1].id if newest else 0,
    )
    return desk.store.runs.save(marked(run, runbook, step, claim, now_ms))


def _looked(desk: Desk, run: Run, runbook: Runbook, step: Step, ask: Ask, now_ms: int) -> Run:
    """A check or a wait: passed, failed, or to be looked at again; the time stands in the row."""
    there = run.of(step.name)
    assert there is not None
    match step.work:
        case Check(expect, version, over_ms, within_ms):
            found = judge(desk, run, expect, version, over_ms, now_ms)
        case Until(within_ms, None):
            over = now_ms >= there.began_ms + within_ms
            words = f"waited {duration(now_ms - there.began_ms)}"
            return (
                _write(desk, run, runbook, step, Mark.PASSED, words, ask, now_ms) if over else run
            )
        case Until(within_ms, expect, version, over_ms):
            assert expect is not None
            found = judge(desk, run, expect, version, over_ms, now_ms)
        case _:
            raise AssertionError(f"{step.kind} is not looked at")
    words = f"{found.verdict.value}: {found.words}" if not found.holds else found.words
    if found.holds:
        return _write(desk, run, runbook, step, Mark.PASSED, words, ask, now_ms)
    if now_ms < there.began_ms + within_ms:
        return (
            desk.store.runs.save(marked(run, runbook, step, replace(there, words=words), now_ms))
            if words != there.words
            else run
        )
    return _write(desk, run, runbook, step, Mark.FAILED, words, ask, now_ms)


def _write(
    desk: Desk,
    run: Run,
    runbook: Runbook,
    step: Step,
    mark: Mark,
    words: str,
    ask: Ask,
    now_ms: int,
    *,
    written: bool = False,
) -> Run:
    """The run with the step's end, and its line of history unless that stands already."""
    there = run.of(step.name)
    done = StepRun(
        step.name,
        mark,
        words,
        ask.actor,
        there.began_ms if there else now_ms,
        now_ms,
        ask.because,
        there.attempt_count if there else 1,
        log_id=there.log_id if there else 0,
    )
    after = marked(run, runbook, step, done, now_ms)
    said = f"{step.title}: {words}"
    detail = line_detail(run, step, mark, words)
    lines = [] if written else [_line(desk, run, KIND, said, ask.actor, detail, now_ms)]
    if after.state is not RunState.RUNNING:
        end = f"{runbook.title}: {after.state.value}" + (
            f" at {step.title}" if after.state is RunState.STOPPED else ""
        )
        more = {**_place_detail(run), "state": after.state.value}
        lines.append(_line(desk, run, "runbook.ended", end, ask.actor, more, now_ms))
    try:
        return desk.store.runs.save(after, lines)
    except StaleState:
        if written:  # somebody else found it done and went on
            return desk.store.runs.get(run.id)
        raise


def _approved(desk: Desk, step: Step, actor: str) -> str:
    """Words of an approval. Raises Forbidden for somebody without the role."""
    assert isinstance(step.work, Approve)
    role = step.work.role
    holders = [person.name for person in desk.policy.people_for(role)]
    who = actor.removesuffix(UNVERIFIED).partition(" via ")[0]
    if not holders:
        return f"approved (the policy names nobody as {role})"
    if who not in holders:
        raise Forbidden(
            f"{who} is not {role}",
            known=holders,
            next_step=f"ask one of them to approve {step.name}",
        )
    return f"approved as {role}"


def _line(
    desk: Desk,
    run: Run,
    kind: str,
    words: str,
    actor: str,
    detail: dict[str, Any],
    now_ms: int,
) -> AuditEntry:
    state = desk.store.states.get(run.environment, run.prompt)
    return AuditEntry(
        at_ms=now_ms,
        environment=run.environment,
        prompt=run.prompt,
        kind=kind,
        because=words,
        actor=actor,
        revision=state.revision,
        generation=state.route.generation if state.route else 0,
        policy_revision=desk.policy.revision,
        detail=detail,
    )


def _place_detail(run: Run) -> dict[str, Any]:
    return {
        "incident": run.incident,
        "run": run.id,
        "runbook": run.runbook,
        "digest": run.digest,
    }


# --- Rehearsing


def _rehearsed(desk: Desk, run: Run, runbook: Runbook, ask: Ask, now_ms: int) -> dict[str, Any]:
    """Every step as it would go now: looks are real, orders and messages are only thought out."""
    steps = []
    for step in runbook.steps:
        mark, words = _rehearse(desk, run, runbook, step, ask, now_ms)
        steps.append({**step_data(step, run.values), "mark": mark, "words": words})
    return {
        "id": None,
        "dry_run": True,
        "incident": run.incident,
        "runbook": run.runbook,
        "title": runbook.title,
        "digest": run.digest,
        "state": "dry_run",
        "steps": steps,
        "next": None,
    }


def rehearse(desk: Desk, run_id: str, name: str, word: Word, ask: Ask, now_ms: int) -> list[str]:
    """What the word would do to the step that is next, in words. Raises as `answer` would."""
    run = desk.store.runs.get(run_id)
    runbook = runbook_of(desk, run)
    step = _refuse_another(run, runbook, name)
    refuse_word(run, step, word, ask.because)
    if word is Word.SKIP:
        return [f"{step.title}: it is skipped, and the run goes on"]
    if word is Word.DECLINE:
        return [f"{step.title}: it is declined, and the run stops"]
    if isinstance(step.work, Approve):
        return [f"{step.title}: approved as {step.work.role}, and the run goes on"]
    mark, words = _rehearse(desk, run, runbook, step, replace(ask, dry_run=True), now_ms)
    fails = mark == Mark.FAILED.value
    return [f"{step.title}: {'it would fail: ' if fails else ''}{words or 'done'}"]


def _rehearse(
    desk: Desk, run: Run, runbook: Runbook, step: Step, ask: Ask, now_ms: int
) -> tuple[str, str]:
    match step.work:
        case Check(expect, version, over_ms):
            found = judge(desk, run, expect, version, over_ms, now_ms)
            return ("passed" if found.holds else found.verdict.value), found.words
        case Until(_, expect, version, over_ms) if expect is not None:
            found = judge(desk, run, expect, version, over_ms, now_ms)
            return ("passed" if found.holds else "would_wait"), found.words
        case Until():
            return "would_wait", does(step)
    if step.kind in (StepKind.ACTION, StepKind.NOTIFY):
        mark, words, _ = carry_out(desk, run, runbook, step, ask, now_ms)
        return ("would_do" if mark is Mark.PASSED else mark.value), words
    return "would_ask", ""


# --- What may be seen


def runs(desk: Desk, incident: str | None, limit: int, now_ms: int) -> dict[str, Any]:
    """The newest runs, of an incident or of all."""
    found = desk.store.runs.of(incident, limit)
    return {"runs": [run_data(desk, run, now_ms) for run in found]}


def one(desk: Desk, run_id: str, now_ms: int) -> dict[str, Any]:
    """One run. Raises UnknownRun."""
    return run_data(desk, desk.store.runs.get(run_id), now_ms)


def run_data(desk: Desk, run: Run, now_ms: int) -> dict[str, Any]:
    """A run as data: every step with what became of it, and what is next."""
    runbook = runbook_of(desk, run)
    step = next_step(run, runbook)
    return {
        "id": run.id,
        "dry_run": False,
        "incident": run.incident,
        "runbook": run.runbook,
        "title": runbook.title,
        "digest": run.digest,
        "environment": run.environment,
        "prompt": run.prompt,
        "actor": run.actor,
        "state": run.state.value,
        "revision": run.revision,
        **when("began", run.began_ms),
        **when("ended", run.ended_ms),
        "steps": [{**step_data(s, run.values), **_step_run(run.of(s.name))} for s in runbook.steps],
        "next": None if step is None else _next(run, step, now_ms),
    }


def _step_run(there: StepRun | None) -> dict[str, Any]:
    if there is None:
        return {"mark": None, "words": "", "actor": None, "because": "", "attempts": 0}
    return {
        "mark": there.mark.value,
        "words": there.words,
        "actor": there.actor,
        "because": there.because,
        "attempts": there.attempt_count,
        **when("ended", there.ended_ms),
    }


def _next(run: Run, step: Step, now_ms: int) -> dict[str, Any]:
    there = run.of(step.name)
    needs = waits_for_word(run, step)
    stopped = run.state is RunState.STOPPED
    words: list[str] = [Word.AGAIN.value] if stopped else [Word.GO.value, Word.DECLINE.value]
    begun_ms = there.began_ms if there and there.mark is Mark.BEGUN else None
    return {
        **step_data(step, run.values),
        "needs_word": needs,
        "answers": [*words, Word.SKIP.value] if needs else [Word.SKIP.value],
        "words": there.words if there else "",
        "recheck_after_ms": None if needs else LOOK_AGAIN_MS if begun_ms is not None else 0,
    }
