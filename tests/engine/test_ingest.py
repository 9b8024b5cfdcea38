"""Observations on their way in: nothing is counted twice, and no closed bucket changes."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood import wire
from knowngood.core.errors import UnknownEnvironment
from knowngood.core.model import ScoreRange
from knowngood.core.window import Bucket, Window, score_moments, total
from knowngood.engine.ingest import WATERMARK_MS, Ingest, closed_until_ms
from tests.engine.shop import SECOND, START, batch, row, stocked

RANGES = {"quality": ScoreRange(0, 1)}
KEY = ("production", "cs", "v1")
CALL = "production:cs:v1:6b49d200:r1"


class Shaky:
    """A series that fails while it is told to, and may call back in the middle of a write."""

    def __init__(self, series):
        self.series = series
        self.down = False
        self.meanwhile = None

    def append(self, *what):
        if self.down:
            raise OSError("the disk is away")
        if self.meanwhile:
            self.meanwhile()
        self.series.append(*what)

    def scores(self, calls):
        if self.down:
            raise OSError("the disk is away")
        return self.series.scores(calls)

    def __getattr__(self, name):
        return getattr(self.series, name)


class Intake:
    """An ingest over a store that may fail."""

    def __init__(self):
        store = stocked("cs")
        self.series = Shaky(store.series)
        self.store = replace(store, series=self.series)
        self.restart()

    def restart(self):
        self.ingest = Ingest(self.store, lambda: RANGES)

    def take(self, got: wire.Batch, now_ms: int = START) -> wire.Receipt:
        return self.ingest.take(got, {}, now_ms)

    def written(self, key=KEY) -> Window:
        return total(b.window for b in self.buckets(key))

    def label(self) -> Any:
        """How many labels of quality there are, and their mean."""
        return score_moments(self.written().scores["quality"])[:2]

    def buckets(self, key=KEY):
        return self.store.series.read(key, 0, START * 2)


@pytest.fixture
def intake() -> Intake:
    return Intake()


def test_what_is_taken_is_written_by_the_next_flush(intake):
    """A batch is answered at once and stands in the store after the tick."""
    receipt = intake.take(batch(1, row(ok=41, errors={"provider": 3}), row("v2")))
    assert (receipt.accepted, dict(receipt.ignored), receipt.generation) == (2, {}, 0)
    assert intake.written() == Window()
    intake.ingest.flush(START)
    assert intake.written() == Window(ok=41, errors={"provider": 3})


@pytest.mark.parametrize(
    ("then", "counted"),
    [
        pytest.param(batch(5, row()), False, id="the same again"),
        pytest.param(batch(4, row()), False, id="an older one, late"),
        pytest.param(batch(6, row()), True, id="the next"),
        pytest.param(batch(9, row()), True, id="one was lost"),
        pytest.param(batch(0, row(), boot="b2"), True, id="a new boot begins anew"),
        pytest.param(batch(5, row(), client="web-2"), True, id="another process"),
    ],
)
@pytest.mark.parametrize("restarted", [False, True], ids=["same server", "restarted server"])
def test_a_repeated_batch_changes_nothing(intake, then, counted, restarted):
    """Dropping loses evidence, repeating would invent it; a restart remembers who said what."""
    intake.take(batch(5, row()))
    intake.ingest.flush(START)
    if restarted:
        intake.restart()
    receipt = intake.take(then)
    intake.ingest.flush(START)
    assert intake.written().ok == 1 + counted
    assert (receipt.accepted == 1) is counted
    assert ("duplicate or out of order" in receipt.ignored) is not counted


@given(st.permutations(range(8)), st.integers(0, 8))
@settings(max_examples=50, deadline=None)
def test_duplicates_and_reordering_never_add(order, restart_at):
    """However batches are shuffled and repeated: each counts once or not at all."""
    intake = Intake()
    for number, seq in enumerate([*order, *order]):
        if number == restart_at:
            intake.ingest.flush(START)
            intake.restart()
        intake.take(batch(seq, row(ok=2**seq)))
    intake.ingest.flush(START)
    highest = [seq for place, seq in enumerate(order) if seq >= max(order[: place + 1])]
    assert intake.written().ok == sum(2**seq for seq in highest)


@pytest.mark.parametrize(
    ("rows", "ignored"),
    [
        ([row(prompt="nobody")], {"unknown prompt": 1}),
        ([row("v9")], {"unknown version": 1}),
        ([row("v9"), row("v8"), row(prompt="nobody")], {"unknown version": 2, "unknown prompt": 1}),
        ([row(ok=1, scores={"charm": {5: 1}})], {"unknown score": 1}),
    ],
)
def test_what_is_unknown_is_counted_and_left_out(intake, rows, ignored):
    """The rest of the batch is evidence still."""
    receipt = intake.take(batch(1, *rows, row(ok=7)))
    intake.ingest.flush(START)
    assert dict(receipt.ignored) == ignored
    assert intake.written().ok >= 7 and intake.written().scores == {}


def test_an_unknown_environment_is_refused_whole(intake):
    """And may be sent again: it was not heard."""
    with pytest.raises(UnknownEnvironment):
        intake.take(batch(1, row(), environment="mars"))
    assert intake.take(batch(1, row())).accepted == 1


def test_a_version_that_was_just_pushed_is_known_after_a_tick(intake):
    """The registry is asked again once a tick, not once a row."""
    first = intake.store.registry.get("cs", "v1")
    intake.take(batch(1, row("v9")))
    intake.store.registry.put(replace(first, version="v9", digest="other"))
    assert intake.take(batch(2, row("v9"))).accepted == 0
    intake.ingest.refresh()
    assert intake.take(batch(3, row("v9"))).accepted == 1


# --- Time


@pytest.mark.parametrize(
    ("ago_ms", "bucket"),
    [
        pytest.param(0, START, id="now"),
        pytest.param(1_400, START - 2_000, id="measured on the client's monotonic clock"),
        pytest.param(2_000, START - 2_000, id="at the watermark"),
        pytest.param(2_001, START, id="too late: it joins the open bucket"),
        pytest.param(3_600_000, START, id="an hour late"),
    ],
)
def test_a_row_falls_into_the_bucket_of_its_second(intake, ago_ms, bucket):
    """By the server's clock, minus how long ago the client says it was."""
    intake.take(batch(1, row(ago_ms=ago_ms)))
    intake.ingest.flush(START)
    assert [b.at_ms for b in intake.buckets()] == [bucket]


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(0, 10_000)), max_size=15))
@settings(max_examples=60, deadline=None)
def test_a_closed_bucket_never_changes(steps):
    """Whatever comes late: what was final stays as it was, and nothing is lost."""
    intake, now_ms = Intake(), START
    final: dict[int, Bucket] = {}
    for seq, (pause_ms, ago_ms) in enumerate(steps):
        now_ms += pause_ms
        intake.take(batch(seq, row(ago_ms=ago_ms)), now_ms)
        until_ms = intake.ingest.flush(now_ms)
        buckets = {b.at_ms: b for b in intake.buckets()}
        assert all(buckets[at_ms] == bucket for at_ms, bucket in final.items())
        final = {at_ms: bucket for at_ms, bucket in buckets.items() if at_ms < until_ms}
    assert intake.written().ok == len(steps)


def test_a_clock_that_steps_back_reopens_nothing(intake):
    """The closed border only rises, whatever the wall clock does."""
    border = intake.ingest.flush(START)
    assert intake.ingest.flush(START - 60 * SECOND) == border
    intake.take(batch(1, row()), START - 60 * SECOND)
    intake.ingest.flush(START - 60 * SECOND)
    assert [b.at_ms for b in intake.buckets()] == [border]


def test_a_bucket_is_final_two_seconds_after_its_end():
    """The border is a whole second, and never in the future."""
    assert closed_until_ms(START + 999) == START - WATERMARK_MS
    assert closed_until_ms(START + SECOND) == START - WATERMARK_MS + SECOND


# --- Late scores


def scored(seq: int, *values: float, call: str = CALL, name: str = "quality") -> wire.Batch:
    late = tuple(wire.LateScore(call, name, value) for value in values)
    return batch(seq, late_scores=late)


@pytest.mark.parametrize("flushes", [False, True], ids=["within a tick", "over ticks"])
@pytest.mark.parametrize("restarts", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize(
    ("values", "mean"), [((0.9, 0.2), 0.2), ((0.9, 0.9), 0.9), ((0.1, 0.5, 0.1), 0.1)]
)
def test_the_last_score_of_a_call_wins(intake, values, mean, flushes, restarts):
    """One label per call and name: a later value takes the earlier one's place."""
    for seq, value in enumerate(values):
        intake.take(scored(seq, value))
        if flushes or restarts:
            intake.ingest.flush(START)
        if restarts:
            intake.restart()
    intake.ingest.flush(START)
    assert intake.label() == (1, pytest.approx(mean))


def test_one_batch_may_correct_itself(intake):
    """Two values of one call in one batch are one label too."""
    intake.take(scored(1, 0.9, 0.2))
    intake.ingest.flush(START)
    assert intake.label() == (1, 0.2)


def test_a_score_that_comes_during_the_write_is_no_second_label(intake):
    """Between the flush and the store's answer a correction still finds the earlier value."""
    intake.take(scored(1, 0.9))
    intake.series.meanwhile = lambda: intake.take(scored(2, 0.2))
    intake.ingest.flush(START)
    intake.series.meanwhile = None
    intake.ingest.flush(START)
    assert intake.label() == (1, 0.2)


@pytest.mark.parametrize(
    ("got", "reason"),
    [
        (scored(1, 0.5, name="charm"), "unknown score"),
        (scored(1, 1.5), "score outside its range"),
        (scored(1, 0.5, call="nonsense"), "not a call id"),
        (scored(1, 0.5, call="production:cs:v9:6b49d200:r"), "unknown version"),
        (scored(1, 0.5, call="production:nobody:v1:6b49d200:r"), "unknown prompt"),
        (scored(1, 0.5, call="mars:cs:v1:6b49d200:r"), "unknown environment"),
    ],
)
def test_a_bad_score_is_counted_and_left_out(intake, got, reason):
    """Under a plain reason; it makes no label."""
    assert dict(intake.take(got).ignored) == {reason: 1}
    intake.ingest.flush(START)
    assert intake.written().scores == {}


# --- A store that fails


def test_a_store_that_refuses_loses_and_doubles_nothing(intake):
    """The next flush that succeeds writes it all, once: rows, scores and who was heard."""
    intake.take(batch(1, row(ok=5), late_scores=(wire.LateScore(CALL, "quality", 0.9),)))
    intake.series.down = True
    for _ in range(3):
        with pytest.raises(OSError, match="away"):
            intake.ingest.flush(START)
    intake.take(batch(2, row(ok=7)))
    intake.series.down = False
    intake.ingest.flush(START + SECOND)
    intake.ingest.flush(START + 2 * SECOND)
    assert intake.written().ok == 12
    assert score_moments(intake.written().scores["quality"])[0] == 1
    assert intake.store.clients.client("web-1").seq == 2


def test_a_batch_that_cannot_be_taken_may_be_sent_again(intake):
    """If the store fails in the middle, the client's repetition is no duplicate."""
    both = batch(1, row(ok=5), late_scores=(wire.LateScore(CALL, "quality", 0.9),))
    intake.series.down = True
    with pytest.raises(OSError, match="away"):
        intake.take(both)
    intake.series.down = False
    assert intake.take(both).accepted == 2
    intake.ingest.flush(START)
    assert intake.written() == Window(ok=5, scores={"quality": {90: 1}})


def test_a_registry_that_failed_once_is_asked_again(intake):
    """A version is unknown only if the registry says so, not if it did not answer."""
    registry = intake.store.registry

    class Down:
        def __getattr__(self, name):
            raise OSError("away")

    intake.ingest._store = replace(intake.store, registry=Down())
    with pytest.raises(OSError, match="away"):
        intake.take(batch(1, row()))
    intake.ingest._store = replace(intake.store, registry=registry)
    assert intake.take(batch(1, row())).accepted == 1


def test_counts_of_what_was_left_out_add_up(intake):
    """What the client dropped or refused is counted with what the server ignored."""
    intake.take(batch(1, row("v9"), dropped=3, refused={"not a number": 2}))
    assert intake.ingest.ignored_counts == {
        "unknown version": 1, "not a number": 2, "dropped by the client": 3,
    }  # fmt: skip


def test_what_cannot_be_written_is_kept_added_up(intake):
    """However long the store is away: one window for each version and second, not one a report."""
    intake.series.down = True
    for seq in range(50):
        intake.take(batch(seq, row(ok=2)))
        with pytest.raises(OSError, match="away"):
            intake.ingest.flush(START)
    assert [len(windows) for windows in intake.ingest._pending.values()] == [1]
    intake.series.down = False
    intake.ingest.flush(START)
    assert intake.written().ok == 100


def test_scores_that_cannot_be_written_are_bounded(intake, monkeypatch):
    """What finds no room is left out and counted, and never remembered by halves."""
    monkeypatch.setattr("knowngood.engine.ingest.MAX_PENDING_SCORES", 2)
    calls = [f"production:cs:v1:6b49d200:r{i}" for i in range(3)]
    late = tuple(wire.LateScore(call, "quality", 0.5) for call in calls)
    receipt = intake.take(batch(1, late_scores=late))
    assert (receipt.accepted, dict(receipt.ignored)) == (2, {"store unavailable for too long": 1})
    intake.ingest.flush(START)
    assert intake.label() == (2, 0.5)


def test_the_client_silent_for_longest_is_forgotten_first(intake, monkeypatch):
    """The memory of who said what is bounded; a store that remembers them is asked again."""
    monkeypatch.setattr("knowngood.engine.ingest.MAX_CLIENTS", 2)
    for seq, client in enumerate(("a", "b", "a", "c")):
        intake.take(batch(seq, row(), client=client))
        intake.ingest.flush(START)
    assert list(intake.ingest._heard) == ["a", "c"]
    assert dict(intake.take(batch(1, client="b")).ignored) == {"duplicate or out of order": 1}


# --- Threads


def test_only_what_is_in_memory_is_taken_without_waiting(intake):
    """A new process, environment or version, and every late score, may have to ask the store."""
    known = batch(2, row())
    assert not intake.ingest.is_ready_for(known)
    intake.take(batch(1, row()))
    assert intake.ingest.is_ready_for(known)
    assert not intake.ingest.is_ready_for(batch(2, row("v9")))
    assert not intake.ingest.is_ready_for(batch(2, row(), client="web-2"))
    assert not intake.ingest.is_ready_for(scored(2, 0.5))
    intake.ingest.refresh()
    assert not intake.ingest.is_ready_for(known)


def test_a_tick_in_the_middle_of_a_batch_does_no_harm(intake):
    """The engine's thread forgets what it read a tick ago at any moment."""
    states = intake.store.states

    class Ticking:
        def generation(self, environment):
            found = states.generation(environment)
            intake.ingest.refresh()
            return found

    intake.ingest._store = replace(intake.store, states=Ticking())
    intake.ingest._generations = _Forgetful()
    assert intake.take(batch(1, row())).accepted == 1


class _Forgetful(dict):
    """A dictionary that another thread clears right after every write."""

    def __setitem__(self, key, value):
        super().__setitem__(key, value)
        self.clear()


def test_a_score_whose_write_ends_while_it_is_looked_up_is_no_second_label(intake):
    """The answer of the store was older than the write: it is asked again."""
    intake.take(scored(1, 0.9))
    scores = intake.series.series.scores

    def slow(calls):
        found = scores(calls)
        intake.series.series.scores = scores
        intake.ingest.flush(START)
        return found

    intake.series.series.scores = slow
    intake.take(scored(2, 0.2))
    intake.ingest.flush(START + SECOND)
    assert intake.label() == (1, 0.2)
