"""Units on their way in and out: taken while arms are compared, read once a minute, then gone."""

from dataclasses import replace
from typing import Any

import pytest

from knowngood import wire
from knowngood.core.model import Change, ScoreRange
from knowngood.core.policy import parse
from knowngood.core.rollout import Ladder
from knowngood.core.steps import rollouts
from knowngood.core.unit_sums import CALLS, Tally
from knowngood.core.window import Window, latency_bucket
from knowngood.engine import ingest as ingest_module
from knowngood.engine.compared import Comparisons
from knowngood.engine.ingest import MAX_COMPARED_ANEW, Ingest
from knowngood.engine.loop import Engine
from knowngood.engine.reconcile import new_reconciler
from tests.engine.shop import MINUTE, SECOND, START, batch, row, stocked

AB = {"min_time": "1m", "min_units": 10}
POLICY = parse({"defaults": {"ab": AB, "canary": {"stages": ["50%", "100%"], "hold": "10s"}}})
RANGES = {"quality": ScoreRange(0, 1), "tone": ScoreRange(0, 1)}
STEPS = Ladder((5_000, 10_000), 10 * SECOND, 60 * MINUTE)
HEALTHY_DAY = Window(ok=10_000, latency={latency_bucket(500): 10_000})


def group(version="v2", generation=2, **sums):
    """Units `u1`, `u2`, … of a version: (calls, errors), and a score of quality if given."""
    units = tuple(
        wire.UnitSum(int(name[1:]), s[0], s[1], {"quality": s[2]} if len(s) > 2 else {})
        for name, s in sums.items()
    )
    return wire.UnitGroup("cs", version, generation, units)


class Comparing:
    """A store in which v2 is compared with v1, and an intake over it."""

    def __init__(self, day=None):
        self.store = stocked("cs")
        self.ingest = Ingest(self.store, lambda: RANGES)
        self.apply(rollouts.begin(self.state, self.asked("v1"), None, START))
        self.apply(rollouts.begin(self.state, self.asked("v2"), day, START))

    @property
    def state(self):
        return self.store.states.get("production", "cs")

    def asked(self, version):
        policy = POLICY.for_prompt("cs")
        return rollouts.Promotion(version, STEPS, 0, "test", "ann", policy=policy)

    def apply(self, actions, *, ticks=True):
        change = Change("production", "cs", self.state.revision, actions, "ann")
        self.store.states.apply([change], START)
        if ticks:
            self.ingest.refresh()

    def take(self, seq, *groups, **more):
        return self.ingest.take(batch(seq, units=groups, **more), {}, START)

    def tally(self, version="v2", generation=2):
        self.ingest.flush(START)
        return self.store.units.tally((("production", "cs", version), generation))


@pytest.fixture
def comparing():
    return Comparing()


def test_units_are_added_up_flush_by_flush(comparing):
    """From every process, under the arm that served them."""
    comparing.take(1, group(u1=(2, 1), u2=(1, 0, (1, 9_000))), group("v1", u3=(1, 0)))
    comparing.take(1, group(u1=(1, 0)), client="web-2")
    assert comparing.tally() == [
        Tally(CALLS, 1, 0, 1), Tally(CALLS, 3, 1, 1), Tally("quality", 1, 9_000, 1)
    ]  # fmt: skip
    comparing.take(2, group(u1=(1, 1)))
    assert Tally(CALLS, 4, 2, 1) in comparing.tally()
    assert comparing.tally("v1") == [Tally(CALLS, 1, 0, 1)]


def test_a_repeated_batch_counts_no_unit_twice(comparing):
    """The rule of its rows: by client, boot and sequence number, across restarts."""
    for _ in range(2):
        comparing.take(1, group(u1=(1, 0)))
    comparing.ingest.flush(START)
    comparing.ingest = Ingest(comparing.store, lambda: RANGES)
    comparing.take(1, group(u1=(1, 0)))
    assert comparing.tally() == [Tally(CALLS, 1, 0, 1)]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(group(generation=1, u1=(1, 0)), id="of the stage before"),
        pytest.param(group(generation=3, u1=(1, 0)), id="of a stage that never was"),
        pytest.param(group("v3", u1=(1, 0)), id="of a version that is no arm"),
        pytest.param(replace(group(u1=(1, 0)), prompt="nobody"), id="of no prompt"),
    ],
)
def test_units_of_no_comparison_are_left_out(comparing, sent):
    """Silently: they were on their way when it ended. The rest of the batch counts."""
    receipt = comparing.ingest.take(batch(1, row(), units=(sent,)), {}, START)
    assert (receipt.accepted, receipt.ignored) == (1, {})
    comparing.ingest.flush(START)
    assert comparing.store.units.arms() == []


def test_a_report_waits_for_the_store_only_once_a_tick(comparing):
    """Whether arms are compared is remembered until the next tick."""
    first = batch(1, row(), units=(group(u1=(1, 0)),))
    comparing.ingest.take(first, {}, START)
    assert comparing.ingest.is_ready_for(replace(first, seq=2))
    comparing.ingest.refresh()
    assert not comparing.ingest.is_ready_for(replace(first, seq=2))


def late(value, unit=5, generation=2, name="quality"):
    tag = wire.tagged("0" * 16, generation, unit)
    return wire.LateScore(wire.call_id("production", "cs", "v2", 17, tag), name, value)


def test_a_late_score_from_anywhere_counts_for_its_unit(comparing):
    """By the call's id; the last value takes the earlier one's place, before and after a tick."""
    for seq, value in enumerate((0.2, 0.8), start=1):
        comparing.take(seq, late_scores=(late(value),), client="judge")
    assert comparing.tally() == [Tally("quality", 1, 8_000, 1)]
    comparing.take(3, late_scores=(late(0.5),), client="judge")
    assert comparing.tally() == [Tally("quality", 1, 5_000, 1)]
    comparing.take(4, late_scores=(late(0.5),), client="judge")
    assert comparing.tally() == [Tally("quality", 1, 5_000, 1)]


def test_a_late_score_of_another_stage_counts_for_no_unit(comparing):
    """It is a label of its version all the same."""
    comparing.take(1, late_scores=(late(0.5, generation=1),), client="judge")
    assert comparing.tally() == []
    (found,) = comparing.store.series.read(("production", "cs", "v2"), 0, 2 * START)
    assert found.window.scores == {"quality": {50: 1}}


def test_a_stage_is_known_as_soon_as_it_is_reported(comparing, monkeypatch):
    """Else its first label would be left out of its unit, and a correction taken from nothing.

    Also of the second that begins before a tick: an engine may be held while its intake goes on.
    Whoever names generations that never were makes the intake read a few times a tick all the same.
    """
    comparing.take(1, group(u1=(1, 0)))
    for generation in (4, 6):
        comparing.apply(rollouts.abort(comparing.state, "again"), ticks=False)
        again = rollouts.begin(comparing.state, comparing.asked("v2"), None, START)
        comparing.apply(again, ticks=False)
        of_stage = batch(2, units=(group(generation=generation, u1=(1, 0)),))
        assert not comparing.ingest.is_ready_for(of_stage)
        for seq, value in enumerate((0.2, 0.8), start=10 * generation):
            label = late(value, unit=1, generation=generation)
            sent = batch(seq, client="judge", late_scores=(label,))
            comparing.ingest.take(sent, {}, START)
        assert comparing.tally(generation=generation) == [Tally("quality", 1, 8_000, 1)]
    states, reads = comparing.store.states, []
    real = states.get

    def counted(*key):
        reads.append(key)
        return real(*key)

    monkeypatch.setattr(states, "get", counted)
    for seq in range(100, 150):
        comparing.take(seq, group(generation=seq, u1=(1, 0)))
    assert len(reads) <= MAX_COMPARED_ANEW


def test_a_store_that_fails_loses_and_doubles_no_unit(comparing, monkeypatch):
    """What could not be written is kept, added up, and written once."""
    comparing.take(1, group(u1=(1, 1)))
    with monkeypatch.context() as broken:
        broken.setattr(comparing.store.series, "append", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            comparing.ingest.flush(START)
    comparing.take(2, group(u1=(2, 0), u2=(1, 0)))
    assert comparing.tally() == [Tally(CALLS, 1, 0, 1), Tally(CALLS, 3, 1, 1)]


def test_units_that_wait_are_bounded(comparing, monkeypatch):
    """New ones are left out and counted; those that wait already go on."""
    monkeypatch.setattr(ingest_module, "MAX_PENDING_UNITS", 1)
    receipt = comparing.take(1, group(u1=(1, 0), u2=(1, 0)))
    assert receipt.ignored == {"store unavailable for too long": 1}
    comparing.take(2, group(u1=(1, 0)))
    assert comparing.tally() == [Tally(CALLS, 2, 0, 1)]


# --- Reading


class Counted:
    """A port that counts who asks."""

    def __init__(self, inner):
        self.inner = inner
        self.asked = 0

    def __getattr__(self, name):
        self.asked += 1
        return getattr(self.inner, name)


def read(seen, *when) -> Any:
    return seen.arms(*when)


def test_both_arms_are_read_once_a_minute(comparing):
    """In between, the last answer stands; another stage is read at once."""
    units = Counted(comparing.store.units)
    seen = Comparisons(comparing.store.series, units)
    comparing.take(1, group(u1=(2, 1, (1, 9_000))), group("v1", u2=(1, 0), u3=(1, 0)))
    comparing.ingest.flush(START)
    first = read(seen, comparing.state, START, START)
    assert (first.control.unit_count, first.candidate.unit_count) == (2, 1)
    assert first.candidate.of("quality").mean == 0.9
    assert first.candidate.of("error_rate").mean == 0.5
    comparing.take(2, group(u4=(1, 0)))
    comparing.ingest.flush(START)
    assert seen.arms(comparing.state, START, START + MINUTE - 1) is first
    assert units.asked == 2
    later = read(seen, comparing.state, START, START + MINUTE)
    assert later.candidate.unit_count == 2
    moved = replace(comparing.state, route=replace(comparing.state.route, generation=9))
    assert read(seen, moved, START, START + MINUTE).candidate.unit_count == 0


def test_nothing_is_read_while_nothing_is_asked(comparing):
    """No rollout, none that is compared, or one that was answered."""
    units = Counted(comparing.store.units)
    seen = Comparisons(comparing.store.series, units)
    state = comparing.state
    for other in (
        replace(state, rollout=None),
        replace(state, rollout=replace(state.rollout, begun=None)),
        replace(state, rollout=replace(state.rollout, ladder=Ladder((5_000, 7_000, 10_000), 1, 1))),
    ):
        assert seen.arms(other, START, START) is None
    assert units.asked == 0


def test_slow_calls_are_added_up_from_the_windows():
    """From the whole seconds of the stage, however often it is read."""
    comparing = Comparing(HEALTHY_DAY)
    seen = Comparisons(comparing.store.series, comparing.store.units)
    whole = Comparisons(comparing.store.series, comparing.store.units)
    slow, fast = latency_bucket(5_000), latency_bucket(100)
    for minute in range(3):
        now_ms = START + (minute + 1) * MINUTE
        rows = [row("v2", ok=3, latency={slow: 1, fast: 2}), row("v1", ok=5, latency={fast: 5})]
        comparing.ingest.take(batch(minute, *rows), {}, now_ms - 10 * SECOND)
        until_ms = comparing.ingest.flush(now_ms)
        found = read(seen, comparing.state, until_ms, now_ms)
    assert found == whole.arms(comparing.state, until_ms, now_ms)
    mine = found.candidate.of("latency_p99")
    assert (mine.unit_count, mine.total) == (9, 3.0)
    assert found.control.of("latency_p99").total == 0


def test_what_is_over_is_dropped(comparing):
    """With the next compaction after the stage; what is compared now stays."""
    comparing.take(1, group(u1=(1, 0)))
    comparing.ingest.flush(START)
    engine = Engine(
        comparing.store, comparing.ingest, new_reconciler(comparing.store, POLICY, START), {}
    )
    engine._compact(START)
    assert comparing.store.units.arms() == [(("production", "cs", "v2"), 2)]
    comparing.apply(rollouts.abort(comparing.state, "enough"))
    while engine._forget_units():
        pass
    assert comparing.store.units.arms() == []
