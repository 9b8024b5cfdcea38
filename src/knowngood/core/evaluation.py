"""Evaluations: what a suite of examples has found of a version, and whether that is enough.

An evaluation is recorded once and never changed; of several of one suite the newest counts. It
belongs to a version, not to an environment: the examples are the same wherever the version serves.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from hashlib import sha256
from math import fsum, isfinite

from knowngood.core.errors import BadEvaluation
from knowngood.core.gate import Answer
from knowngood.core.history import AuditEntry

# One body of the API (1 MiB) holds so many with ids of that length. Suites of prompts have hundreds
# of examples, since each costs a call and a judge.
EXAMPLES_MAX = 5_000
ID_CHARS_MAX = 100
COUNT_MAX = 10**9  # of cases: no suite is larger, and every database and JSON reader holds it
RECORDED = "evaluation.recorded"  # the kind of the line of history


@dataclass(frozen=True, slots=True)
class Example:
    """What came of one example: passed or failed, and its score from 0 (worst) to 1 if it has one.

    With `error` it could not be judged (the provider was down, the test itself broke): that counts
    as failed, because nothing has shown that the version can do it, and is in no pair of a
    comparison. Raises BadEvaluation for an id or a score that is none.
    """

    id: str
    passed: bool
    score: float | None = None
    error: bool = False

    def __post_init__(self) -> None:
        if not 0 < len(self.id) <= ID_CHARS_MAX:
            raise BadEvaluation(
                f"the id of an example has 1 to {ID_CHARS_MAX} characters, {self.id[:40]!r} has "
                f"{len(self.id)}"
            )
        if self.score is not None and not 0 <= self.score <= 1:
            raise BadEvaluation(
                f"the score of {self.id!r} is {str(self.score)[:40]}, which is not from 0 to 1",
                next_step="declare the range of the scores",
            )
        if self.error and self.passed:
            raise BadEvaluation(f"{self.id!r} cannot have passed: it could not be judged")


@dataclass(frozen=True, slots=True)
class Scale:
    """The declared range of scores, and from which score on an example has passed.

    By default from the middle on. Raises BadEvaluation for a range that is none.
    """

    min: float = 0.0
    max: float = 1.0
    pass_at: float | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.max - self.min) and self.min < self.max):
            raise BadEvaluation(f"scores from {self.min:g} to {self.max:g} are no range")
        if self.pass_at is not None and not self.min <= self.pass_at <= self.max:
            raise BadEvaluation(
                f"an example cannot pass at {self.pass_at:g}: its score is from {self.min:g} to "
                f"{self.max:g}"
            )

    def example(self, id_: str, score: float) -> Example:
        """The example with this score. Raises BadEvaluation for a score outside of the range."""
        if not self.min <= score <= self.max:  # also for NaN
            raise BadEvaluation(
                f"the score of {id_!r} is {str(score)[:40]}, outside of the declared "
                f"{self.min:g} to {self.max:g}",
                next_step="declare the range of the scores, or mend what gave this one",
            )
        bar = (self.min + self.max) / 2 if self.pass_at is None else self.pass_at
        share = (score - self.min) / (self.max - self.min)
        return Example(id_, score >= bar, min(1.0, max(0.0, share)))


UNIT = Scale()


@dataclass(frozen=True, slots=True)
class Results:
    """What a run of a suite left behind: each example's outcome, and how many were skipped."""

    examples: tuple[Example, ...]
    skipped_count: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """How many examples passed, failed and were skipped.

    `error_count` of the failed could not be judged; `score_mean` is the mean of what was scored,
    None where nothing was. `example_count` says of how many the outcome is kept one by one: of all
    that passed or failed, or of none. Raises BadEvaluation for counts that cannot be.
    """

    passed_count: int
    failed_count: int
    skipped_count: int = 0
    error_count: int = 0
    example_count: int = 0
    score_mean: float | None = None

    def __post_init__(self) -> None:
        for name in ("passed", "failed", "skipped", "error", "example"):
            count = getattr(self, f"{name}_count")
            if not 0 <= count <= COUNT_MAX:
                raise BadEvaluation(
                    f"{count} cannot be the number of {name} examples: it is from 0 to "
                    f"{COUNT_MAX:,}"
                )
        if self.case_count == 0:
            raise BadEvaluation(
                "no example passed or failed, so nothing was evaluated",
                next_step="see why the suite ran none of its examples",
            )
        if self.error_count > self.failed_count:
            raise BadEvaluation(
                f"{self.error_count} examples without a verdict are more than the "
                f"{self.failed_count} that failed"
            )
        if self.example_count not in (0, self.case_count):
            raise BadEvaluation(
                f"{self.example_count} examples were given for {self.case_count} cases"
            )
        if self.score_mean is not None and not 0 <= self.score_mean <= 1:
            raise BadEvaluation(f"{self.score_mean} is no mean of scores from 0 to 1")

    @property
    def case_count(self) -> int:
        """How many passed or failed."""
        return self.passed_count + self.failed_count


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One run of a suite against a version, which had the content of this digest.

    `source` is where the results are from (`record`, `promptfoo`, `junit`, `scores`). In a list the
    `examples` are left out; the tally says how many there are. `id` is given by the store.
    """

    prompt: str
    version: str
    suite: str
    digest: str
    tally: Tally
    recorded_ms: int
    actor: str
    because: str = ""
    source: str = "record"
    examples: tuple[Example, ...] = ()
    id: int = 0

    @property
    def accuracy(self) -> float:
        """The share that passed, from 0 to 1, of what passed or failed."""
        return self.tally.passed_count / self.tally.case_count

    def head(self) -> "Evaluation":
        """The evaluation as it is in a list: without its examples."""
        return replace(self, examples=())


def fitting_id(name: str) -> str:
    """The name as the id of an example; a long one is cut and told apart by its digest."""
    if len(name) <= ID_CHARS_MAX:
        return name
    mark = f" #{sha256(name.encode(errors='backslashreplace')).hexdigest()[:8]}"
    return name[: ID_CHARS_MAX - len(mark)] + mark


def distinct_id(id_: str, taken: set[str]) -> str:
    """The id, or with a number behind it the first that is not taken yet; it is taken now."""
    found, number = id_, 1
    while found in taken:
        number += 1
        mark = f" ({number})"
        found = id_[: ID_CHARS_MAX - len(mark)] + mark
    taken.add(found)
    return found


def tally_of(results: Results) -> Tally:
    """The counts of these results. Raises BadEvaluation for none, too many, or two of one id."""
    examples = results.examples
    if len(examples) > EXAMPLES_MAX:
        raise BadEvaluation(
            f"{len(examples):,} examples are more than the {EXAMPLES_MAX:,} that are kept one by "
            "one",
            next_step="record how many passed and failed instead",
        )
    ids: set[str] = set()
    for example in examples:
        if example.id in ids:
            raise BadEvaluation(f"the example {example.id!r} is there twice")
        ids.add(example.id)
    passed = sum(example.passed for example in examples)
    scores = [example.score for example in examples if example.score is not None]
    return Tally(
        passed_count=passed,
        failed_count=len(examples) - passed,
        skipped_count=results.skipped_count,
        error_count=sum(example.error for example in examples),
        example_count=len(examples),
        score_mean=min(1.0, fsum(scores) / len(scores)) if scores else None,
    )


def tally_of_counts(
    passed_count: int, failed_count: int | None, case_count: int | None, skipped_count: int = 0
) -> Tally:
    """The tally that a person states: how many passed, and how many failed or were tried in all.

    `case_count` is without the skipped ones. Raises BadEvaluation for counts that are missing or
    contradict each other.
    """
    if failed_count is None and case_count is None:
        raise BadEvaluation(
            "how many failed?", known=["failed", "cases"], next_step="say how many failed"
        )
    if case_count is not None and passed_count > case_count:
        raise BadEvaluation(f"{passed_count} passed of {case_count} cases: that cannot be")
    failed = failed_count if failed_count is not None else (case_count or 0) - passed_count
    if case_count is not None and passed_count + failed != case_count:
        raise BadEvaluation(f"{passed_count} passed and {failed} failed are not {case_count} cases")
    return Tally(passed_count, failed, skipped_count)


def history_line(evaluation: Evaluation, policy_revision: str) -> AuditEntry:
    """The line of history that a store writes together with the evaluation, which has its id."""
    tally = evaluation.tally
    detail: Mapping[str, object] = {
        "evaluation": evaluation.id,
        "version": evaluation.version,
        "suite": evaluation.suite,
        "digest": evaluation.digest,
        "passed": tally.passed_count,
        "failed": tally.failed_count,
        "skipped": tally.skipped_count,
        "source": evaluation.source,
    }
    return AuditEntry(
        at_ms=evaluation.recorded_ms,
        environment="",
        prompt=evaluation.prompt,
        kind=RECORDED,
        because=evaluation.because or "recorded",
        actor=evaluation.actor,
        revision=0,
        generation=0,
        policy_revision=policy_revision,
        detail=detail,
    )


# --- Is it enough?


@dataclass(frozen=True, slots=True)
class Requirement:
    """What a suite has to have shown: an accuracy of at least this, not longer ago than that.

    `at_least` is a rate from 0 to 1 (0.75 for the article's "accuracy >= 75 %"). Raises
    BadEvaluation for one that is none.
    """

    suite: str
    at_least: float
    max_age_ms: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.at_least <= 1:
            raise BadEvaluation(f"{self.at_least} is no accuracy from 0 to 1")


class Why(StrEnum):
    """What the answer rests on."""

    MET = "met"
    BELOW = "below"
    NONE = "none"
    OLD = "old"


@dataclass(frozen=True, slots=True)
class Met:
    """Whether a requirement is met, and by which evaluation; `age_ms` is how old that one is.

    Its words are in core/explain.py.
    """

    answer: Answer
    why: Why
    requirement: Requirement
    evaluation: Evaluation | None = None
    age_ms: int = 0


def newest(evaluations: Iterable[Evaluation], suite: str) -> Evaluation | None:
    """The evaluation of the suite that counts: the one recorded last."""
    of_suite = (e for e in evaluations if e.suite == suite)
    return max(of_suite, key=lambda e: (e.recorded_ms, e.id), default=None)


def meets(evaluations: Sequence[Evaluation], requirement: Requirement, now_ms: int) -> Met:
    """Whether the evaluations, all of one version, meet the requirement; the newest one counts.

    A version that was never evaluated, or too long ago, is not denied: it is waited on.
    """
    found = newest(evaluations, requirement.suite)
    if found is None:
        return Met(Answer.NOT_YET, Why.NONE, requirement)
    age_ms = max(0, now_ms - found.recorded_ms)
    if requirement.max_age_ms is not None and age_ms > requirement.max_age_ms:
        return Met(Answer.NOT_YET, Why.OLD, requirement, found, age_ms)
    # Exact, as people wrote it: in floats 7 of 100 would be less than 0.07.
    bar = Fraction(str(requirement.at_least)) * found.tally.case_count
    if found.tally.passed_count >= bar:
        return Met(Answer.ALLOW, Why.MET, requirement, found, age_ms)
    return Met(Answer.DENY, Why.BELOW, requirement, found, age_ms)
