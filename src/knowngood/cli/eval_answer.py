"""What the verbs of `knowngood eval` share that record something: results, and the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from knowngood.cli.backend import Backend
from knowngood.cli.errors import EXIT_REFUSED, Usage
from knowngood.cli.output import print_json, say, verdict
from knowngood.cli.suite_process import RESULT_BYTES_MAX
from knowngood.core.errors import BadEvaluation, BadRequest, KnowngoodError
from knowngood.core.evaluation import (
    Evaluation,
    Requirement,
    Results,
    Scale,
    Tally,
    meets,
    tally_of,
)
from knowngood.core.explain import answer_words, few
from knowngood.core.gate import Answer
from knowngood.core.units import exact_fraction


@dataclass(frozen=True, slots=True)
class Recorded:
    """What an evaluation is recorded as. `at_least`, if said, is the accuracy that it needs."""

    suite: str
    prompt: str
    version: str
    because: str
    at_least: str
    dry_run: bool
    digest: str | None = None

    def requirement(self) -> Requirement | None:
        """The accuracy that was asked for. Raises BadRequest for one that is none."""
        if not self.at_least:
            return None
        return Requirement(self.suite, float(exact_fraction(self.at_least)))


def scale_of(score_range: str, pass_at: float | None) -> Scale:
    """The declared range of scores, `0..10`, and where passing begins. Raises Usage."""
    if not score_range:
        return Scale(pass_at=pass_at)
    low, _, high = score_range.partition("..")
    try:
        return Scale(float(low), float(high), pass_at)
    except ValueError:
        raise Usage(f"{score_range!r} is no range", next_step="write it as 0..10") from None


def read_results(file: Path, form: str, scale: Scale) -> Results:
    """The results in a file. Raises BadRequest or BadEvaluation, which name the file."""
    try:
        if file.stat().st_size > RESULT_BYTES_MAX:
            raise BadRequest(f"{file} has more than {RESULT_BYTES_MAX:,} bytes")
        data = file.read_bytes()
    except OSError as error:
        raise BadRequest(f"cannot read {file}: {error.strerror}") from error
    return parsed(data, str(file), form, scale)


def parsed(data: bytes, file: str, form: str, scale: Scale) -> Results:
    """The results in these bytes, counted once so that what cannot be is told before it is sent."""
    from knowngood.adapters.catalog import result_reader  # it brings the server's logging along

    reader = result_reader(form)
    try:
        results = reader(data, scale)
        tally_of(results)
    except BadEvaluation as error:
        raise BadEvaluation(
            f"{file}: {error.message}", known=error.known, next_step=error.next_step
        ) from error
    return results


def examples_data(results: Results, source: str) -> dict[str, Any]:
    """The results as the API takes them: each example once, and what is as usual left out."""
    rows: list[dict[str, Any]] = []
    for example in results.examples:
        row: dict[str, Any] = {"id": example.id}
        if example.error:
            row["error"] = True
        else:
            row["passed"] = example.passed
            if example.score is not None:
                row["score"] = example.score
        rows.append(row)
    return {"examples": rows, "skipped": results.skipped_count, "source": source}


def conclude(backend: Backend, recorded: Recorded, found: dict[str, Any], as_json: bool) -> None:
    """Record what was found and say so; exit 1 if it is less than what was asked for."""
    requirement = recorded.requirement()  # a typing error is told before anything is recorded
    body = {
        "suite": recorded.suite,
        "prompt": recorded.prompt,
        "version": recorded.version,
        "digest": recorded.digest,
        "because": recorded.because or None,
        "dry_run": recorded.dry_run or None,
        **found,
    }
    answer = backend.post("/api/evaluations", body)
    if as_json:
        print_json(answer)
    else:
        _print(answer, found.get("examples", ()))
    if requirement is None:
        return
    found_enough = meets([_evaluation(answer)], requirement, answer["recorded_ms"])
    if not as_json:
        say(verdict(found_enough.answer.value, f"  {answer_words(found_enough)}"))
    if found_enough.answer is not Answer.ALLOW:
        raise typer.Exit(EXIT_REFUSED)


def _print(answer: dict[str, Any], examples: Sequence[dict[str, Any]]) -> None:
    say(f"{answer['prompt']}:{answer['version']}  {answer['suite']}  {answer['words']}")
    failed = [row["id"] for row in examples if row.get("passed") is False]
    unjudged = [row["id"] for row in examples if row.get("error")]
    for title, ids in (("failed", failed), ("could not be judged", unjudged)):
        if ids:
            say(f"  {title}: {few(ids)}")
    if answer["dry_run"]:
        say("  dry run, nothing was recorded")
    else:
        say(f"  recorded as evaluation {answer['id']}")


def _evaluation(answer: dict[str, Any]) -> Evaluation:
    """The evaluation that the API answered with."""
    return Evaluation(
        prompt=answer["prompt"],
        version=answer["version"],
        suite=answer["suite"],
        digest=answer["digest"],
        tally=Tally(answer["passed"], answer["failed"]),
        recorded_ms=answer["recorded_ms"],
        actor=answer["actor"],
    )


def with_hint(error: KnowngoodError, hint: str) -> KnowngoodError:
    """The same error with one thing more to do next."""
    steps = "; ".join(step for step in (error.next_step, hint) if step)
    return type(error)(error.message, known=error.known, next_step=steps)
