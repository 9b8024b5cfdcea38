"""A run of a runbook: which step is next, what was said of each, and what a word of a person does.

A run is a row that only ever goes forward: what it may do next is read from it and from nothing
else, so that a crash, a second browser or another server goes on where it stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from knowngood.core.errors import BadRequest, KnowngoodError
from knowngood.core.runbook import Runbook, Step, StepKind

WORDS_KEPT_MAX = 2_000


class RunState(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    STOPPED = "stopped"  # a step failed or was declined; a person may try again, or skip it
    DONE = "done"


class Mark(StrEnum):
    """How a step stands."""

    BEGUN = "begun"  # an action whose end nobody has written down yet, or a wait
    PASSED = "passed"
    FAILED = "failed"
    DECLINED = "declined"
    SKIPPED = "skipped"


class Word(StrEnum):
    """What a person says to the step that is next."""

    GO = "go"  # do it; it is done; I approve
    DECLINE = "decline"  # no: the run stops
    SKIP = "skip"  # go on without it
    AGAIN = "again"  # of a step that failed: try it once more


class RunClosed(KnowngoodError):
    """The run is over."""

    code = "run_closed"


PASSES = (Mark.PASSED, Mark.SKIPPED)
# A person starts these; the others look or tell, which harms nobody.
NEEDS_WORD = (StepKind.READ, StepKind.ACTION, StepKind.APPROVE, StepKind.MANUAL)


@dataclass(frozen=True, slots=True)
class StepRun:
    """What became of a step. `goes_on`: it failed, and the run goes on all the same.

    `log_id` is the newest line of history before it was begun: whether an action was carried out
    stands after it.
    """

    step: str
    mark: Mark
    words: str
    actor: str
    began_ms: int
    ended_ms: int | None = None
    because: str = ""
    attempt_count: int = 1
    goes_on: bool = False
    log_id: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `text` is the runbook as it was when the run began: it goes on with that.

    `values` are the incident's own names and numbers, pinned at the beginning too. The id is
    derived from the incident, the runbook and `number`.
    """

    incident: str
    runbook: str
    number: int
    environment: str
    prompt: str
    digest: str
    text: str
    values: Mapping[str, str]
    actor: str
    began_ms: int
    state: RunState = RunState.RUNNING
    steps: tuple[StepRun, ...] = ()
    ended_ms: int | None = None
    revision: int = 0

    @property
    def id(self) -> str:
        """Derived, never random: `<incident>/<runbook>.<n>`."""
        return run_id(self.incident, self.runbook, self.number)

    def of(self, step: str) -> StepRun | None:
        """What became of a step so far."""
        return next((each for each in self.steps if each.step == step), None)


def run_id(incident: str, runbook: str, number: int) -> str:
    """The name of a run."""
    return f"{incident}/{runbook}.{number}"


def next_step(run: Run, runbook: Runbook) -> Step | None:
    """The first step that is not behind us, or None at the end."""
    for step in runbook.steps:
        there = run.of(step.name)
        if there is None or not (there.mark in PASSES or there.goes_on):
            return step
    return None


def refuse_word(run: Run, step: Step, word: Word | None, because: str) -> None:
    """Raise RunClosed or BadRequest for a word that means nothing here."""
    if run.state is RunState.DONE:
        raise RunClosed(f"{run.id} is done", next_step="begin another: knowngood runbook run")
    there = run.of(step.name)
    failed = there is not None and there.mark in (Mark.FAILED, Mark.DECLINED)
    if word is Word.SKIP and not because.strip():
        raise BadRequest("skipping a step needs a reason", next_step="say why with `because`")
    if word is Word.AGAIN and not failed:
        raise BadRequest(f"the step {step.name} has not failed", known=[Word.GO, Word.SKIP])
    if run.state is RunState.STOPPED and word not in (Word.AGAIN, Word.SKIP):
        raise RunClosed(
            f"{run.id} stopped at {step.name}: {there.words if there else ''}",
            known=[Word.AGAIN, Word.SKIP],
            next_step=f"knowngood runbook answer {run.id} again, or skip --because ...",
        )


def waits_for_word(run: Run, step: Step) -> bool:
    """Whether nothing happens before a person says a word."""
    there = run.of(step.name)
    begun = there is not None and there.mark is Mark.BEGUN
    return run.state is RunState.STOPPED or (step.kind in NEEDS_WORD and not begun)


def marked(run: Run, runbook: Runbook, step: Step, done: StepRun, now_ms: int) -> Run:
    """The run after a step was written down."""
    kept = replace(done, words=done.words[:WORDS_KEPT_MAX], because=done.because[:WORDS_KEPT_MAX])
    if kept.mark is Mark.FAILED and step.goes_on:
        kept = replace(kept, goes_on=True)
    others = tuple(each for each in run.steps if each.step != step.name)
    after = replace(run, steps=(*others, kept), state=RunState.RUNNING)
    if kept.mark in (Mark.FAILED, Mark.DECLINED) and not kept.goes_on:
        return replace(after, state=RunState.STOPPED)
    if next_step(after, runbook) is None:
        return replace(after, state=RunState.DONE, ended_ms=now_ms)
    return after
