"""The laws of evaluations."""

from dataclasses import replace
from functools import partial

import pytest

from knowngood.conformance.examples import AWKWARD, NOW_MS, together
from knowngood.core.errors import UnknownEvaluation
from knowngood.core.evaluation import (
    RECORDED,
    Evaluation,
    Example,
    Results,
    Tally,
    history_line,
    tally_of,
)
from knowngood.ports import Store


def evaluation(version: str = "v1", suite: str = "accuracy", passed: int = 75) -> Evaluation:
    """An evaluation by `ann` of which only the counts are known."""
    tally = Tally(passed, 100 - passed)
    return Evaluation("support", version, suite, "d1", tally, NOW_MS, "ann")


class EvaluationsConformance:
    """What suites have found of versions."""

    def test_everything_of_an_evaluation_survives(self, store: Store) -> None:
        """Each example comes back exactly, with any string and to the last bit of its score."""
        examples = (
            Example(AWKWARD, True, 0.1 + 0.2),
            Example("b", False, 5e-324),
            Example("c", True),
            Example("d", False, error=True),
        )
        given = Evaluation(
            "support", "v1", "tone.v2", "d1", tally_of(Results(examples, 3)), NOW_MS, AWKWARD,
            AWKWARD, "promptfoo", examples,
        )  # fmt: skip
        kept = store.evaluations.record(given, "policy-1")
        assert kept == replace(given, id=kept.id) and kept.id > 0
        assert store.evaluations.get(kept.id) == kept
        assert store.evaluations.of("support") == [kept.head()]

    def test_recording_writes_history(self, store: Store) -> None:
        """The line says what was found, and of which evaluation; it is in the prompt's history."""
        kept = store.evaluations.record(replace(evaluation(), because="nightly"), "policy-1")
        (line,) = store.log.read(prompt="support")
        assert line == replace(history_line(kept, "policy-1"), id=line.id)
        assert (line.kind, line.because, line.detail["evaluation"]) == (
            RECORDED,
            "nightly",
            kept.id,
        )

    def test_evaluations_come_newest_first(self, store: Store) -> None:
        """By the order of recording, of the prompt, of a version, of a suite, and not too many."""
        for version, suite, passed in (
            ("v1", "accuracy", 1), ("v2", "accuracy", 2), ("v1", "tone", 3), ("v1", "accuracy", 4),
        ):  # fmt: skip
            store.evaluations.record(evaluation(version, suite, passed), "")
        store.evaluations.record(replace(evaluation(passed=9), prompt="other"), "")

        def of(version: str | None = None, suite: str | None = None, limit: int = 100) -> list[int]:
            found = store.evaluations.of("support", version, suite, limit)
            return [each.tally.passed_count for each in found]

        assert of() == [4, 3, 2, 1]
        assert of(limit=2) == [4, 3]
        assert of(limit=0) == []
        assert of("v1") == [4, 3, 1]
        assert of("v1", "accuracy") == [4, 1]
        assert of("v3") == []
        assert store.evaluations.of("nobody") == []

    def test_unknown_evaluation(self, store: Store) -> None:
        """One that is not there is not made up."""
        for number in (0, 7, 2**62):
            with pytest.raises(UnknownEvaluation, match=str(number)):
                store.evaluations.get(number)

    def test_concurrent_recordings_all_arrive(self, store: Store) -> None:
        """Each with an id of its own and a line of history."""

        def record_10(name: str) -> None:
            for i in range(10):
                store.evaluations.record(evaluation(name, passed=i), "")

        assert together([partial(record_10, f"v{n}") for n in range(4)]) == [None] * 4
        found = store.evaluations.of("support", limit=1000)
        assert len({each.id for each in found}) == 40
        assert [e.tally.passed_count for e in store.evaluations.of("support", "v2")] == [
            *reversed(range(10))
        ]
        lines = store.log.read(prompt="support", limit=1000)
        assert {line.detail["evaluation"] for line in lines} == {each.id for each in found}
