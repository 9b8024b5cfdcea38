"""Evaluations over a desk: recording what a suite found, and reading and comparing it again."""

from dataclasses import dataclass
from typing import Any

from knowngood.core.content import check_suite_name
from knowngood.core.errors import BadRequest, ContentConflict, NotComparable, UnknownEvaluation
from knowngood.core.evaluation import Evaluation, Example, Results, Tally, tally_of
from knowngood.core.explain import better_words, paired_words, tally_words
from knowngood.core.paired import Paired, paired
from knowngood.server.act import Ask
from knowngood.server.desk import Desk
from knowngood.server.read import ENTRY_ID_MAX, PAGE_MAX
from knowngood.server.words import when

CHANGED_MAX = 100  # examples named on each side of a comparison: as many as somebody looks at
RECENT_COUNT = 100  # evaluations in which the names of a version's suites are looked for


@dataclass(frozen=True, slots=True)
class Found:
    """What a suite found of a version: each example, or the counts alone.

    `digest`, if given, is that of the content that was evaluated.
    """

    prompt: str
    version: str
    suite: str
    results: Results | Tally
    source: str = "record"
    digest: str | None = None


def record(desk: Desk, found: Found, ask: Ask, now_ms: int) -> dict[str, Any]:
    """Keep an evaluation with its line of history, or nothing of it.

    Raises UnknownPrompt, UnknownVersion, BadRequest, BadEvaluation, or ContentConflict when the
    version's content is not what was evaluated.
    """
    suite = check_suite_name(found.suite)
    version = desk.version(found.prompt, found.version)
    if found.digest not in (None, version.digest):
        raise ContentConflict(
            f"what was evaluated ({str(found.digest)[:12]}) is not the content of "
            f"{version.prompt}:{version.version} ({version.digest[:12]})",
            next_step="evaluate the version as it is stored here: knowngood eval run",
        )
    results = found.results
    examples = () if isinstance(results, Tally) else results.examples
    evaluation = Evaluation(
        prompt=version.prompt,
        version=version.version,
        suite=suite,
        digest=version.digest,
        tally=results if isinstance(results, Tally) else tally_of(results),
        recorded_ms=now_ms,
        actor=ask.actor,
        because=ask.because,
        source=found.source,
        examples=examples,
    )
    if not ask.dry_run:
        evaluation = desk.store.evaluations.record(evaluation, desk.policy.revision)
    return {"outcome": "recorded", "dry_run": ask.dry_run, **evaluation_data(evaluation)}


def listed(
    desk: Desk,
    prompt: str,
    version: str | None = None,
    suite: str | None = None,
    limit: int = 100,
) -> dict[str, Any]:
    """The newest evaluations of a prompt, newest first, without their examples."""
    name, wanted = desk.resolve(prompt, version)
    if suite is not None:
        check_suite_name(suite)
    found = desk.store.evaluations.of(name, wanted, suite, min(int(limit), PAGE_MAX))
    return {"prompt": name, "evaluations": [evaluation_data(each) for each in found]}


def one(desk: Desk, evaluation_id: int) -> dict[str, Any]:
    """One evaluation with its examples. Raises UnknownEvaluation."""
    if not 0 < evaluation_id <= ENTRY_ID_MAX:
        raise UnknownEvaluation(f"there is no evaluation {evaluation_id}")
    found = desk.store.evaluations.get(evaluation_id)
    return {**evaluation_data(found), "examples": [_example_data(e) for e in found.examples]}


def compare(desk: Desk, prompt: str, a: str, b: str, suite: str) -> dict[str, Any]:
    """How version `b` does beside version `a` on the examples of a suite that both were judged on.

    Of each the newest evaluation counts. Raises Unknown…, or NotComparable when they have no
    example in common.
    """
    check_suite_name(suite)
    name, first = desk.resolve(prompt, a)
    _, second = desk.resolve(name, b)
    if first == second:
        raise BadRequest(f"{first} cannot be compared with itself", next_step="name two versions")
    before, after = (_newest(desk, name, str(version), suite) for version in (first, second))
    found = paired(before.examples, after.examples)
    if not found.pair_count:
        raise NotComparable(
            f"{suite}: {paired_words(before.version, after.version, found)}",
            next_step="run the same suite for both: knowngood eval run",
        )
    return {
        "prompt": name,
        "suite": suite,
        "a": evaluation_data(before),
        "b": evaluation_data(after),
        **_paired_data(before.version, after.version, found),
    }


def _newest(desk: Desk, name: str, version: str, suite: str) -> Evaluation:
    """The newest evaluation with its examples. Raises UnknownEvaluation or NotComparable."""
    evaluations = desk.store.evaluations
    for head in evaluations.of(name, version, suite, limit=1):
        if not head.tally.example_count:
            raise NotComparable(
                f"of {name}:{version} the suite {suite} has counts alone (evaluation {head.id}), "
                "and pairs need its examples",
                next_step="record them: knowngood eval run, or knowngood eval import",
            )
        return evaluations.get(head.id)
    known = sorted({each.suite for each in evaluations.of(name, version, limit=RECENT_COUNT)})
    raise UnknownEvaluation(
        f"{name}:{version} has no evaluation of the suite {suite!r}",
        known=known,
        next_step="run it: knowngood eval run, or record it: knowngood eval record",
    )


def evaluation_data(found: Evaluation) -> dict[str, Any]:
    """An evaluation as data, without its examples."""
    tally = found.tally
    return {
        "id": found.id,
        "prompt": found.prompt,
        "version": found.version,
        "suite": found.suite,
        "words": tally_words(tally),
        "accuracy": found.accuracy,
        "passed": tally.passed_count,
        "failed": tally.failed_count,
        "skipped": tally.skipped_count,
        "errors": tally.error_count,
        "examples_count": tally.example_count,
        "score_mean": tally.score_mean,
        "digest": found.digest,
        "source": found.source,
        "actor": found.actor,
        "because": found.because,
        **when("recorded", found.recorded_ms),
    }


def _example_data(example: Example) -> dict[str, Any]:
    return {
        "id": example.id,
        "passed": example.passed,
        "score": example.score,
        "error": example.error,
    }


def _paired_data(a: str, b: str, found: Paired) -> dict[str, Any]:
    better = None
    if found.is_proven:
        better = b if found.gain > 0 else a
    return {
        "words": paired_words(a, b, found),
        "better_words": better_words(a, b, found),
        "better": better,
        "pairs": found.pair_count,
        "discordant": found.discordant_count,
        "only_a_count": len(found.only_a),
        "only_b_count": len(found.only_b),
        "only_a": list(found.only_a[:CHANGED_MAX]),
        "only_b": list(found.only_b[:CHANGED_MAX]),
        "left_out": found.left_out_count,
        "p": found.p,
        "gain": found.gain,
        "log_e": found.log_e,
        "needed": found.needed_count,
    }
