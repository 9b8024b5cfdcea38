"""The laws of runs of runbooks."""

from dataclasses import replace

import pytest

from knowngood.conformance.examples import AWKWARD, NOW_MS
from knowngood.core.errors import StaleState, UnknownRun
from knowngood.core.history import AuditEntry
from knowngood.core.runbook_run import Mark, Run, StepRun
from knowngood.ports import Store

INCIDENT = "production/support/g3.1"


def run(number: int = 1, incident: str = INCIDENT) -> Run:
    """A run that was begun."""
    values = {"prompt": "support", "because": AWKWARD}
    place = (incident, "error-spike", number, "production", "support")
    return Run(*place, "d1", AWKWARD, values, AWKWARD, NOW_MS)


def line(words: str) -> AuditEntry:
    """A line of history about a run."""
    return AuditEntry(NOW_MS, "production", "support", "runbook.step", words, "ana", 0, 0)


class RunsConformance:
    """Runs of runbooks."""

    def test_everything_of_a_run_survives(self, store: Store) -> None:
        """With any string in it, and its steps."""
        step = StepRun("look", Mark.PASSED, AWKWARD, AWKWARD, NOW_MS, NOW_MS + 1, AWKWARD)
        kept = store.runs.save(replace(run(), steps=(step,)))
        assert kept == replace(run(), steps=(step,), revision=1)
        assert store.runs.get(kept.id) == kept
        assert kept.id == f"{INCIDENT}/error-spike.1"

    def test_a_run_goes_forward_only(self, store: Store) -> None:
        """Who has seen an older one is refused, and leaves no line of history behind."""
        first = store.runs.save(run(), [line("begun")])
        second = store.runs.save(first, [line("one")])
        for old in (run(), first):
            with pytest.raises(StaleState):
                store.runs.save(old, [line("late")])
        assert store.runs.get(first.id) == second
        assert [entry.because for entry in store.log.read()] == ["begun", "one"]

    def test_the_newest_come_first(self, store: Store) -> None:
        """Of one incident or of all, and an unknown one is refused with those that are known."""
        names = [store.runs.save(run(number)).id for number in (1, 2)]
        other = store.runs.save(run(1, "staging/faq/g1.1")).id
        assert [each.id for each in store.runs.of(INCIDENT)] == [names[1], names[0]]
        assert [each.id for each in store.runs.of(limit=2)] == [other, names[1]]
        with pytest.raises(UnknownRun) as refused:
            store.runs.get("nothing")
        assert refused.value.known == [other, names[1], names[0]]
