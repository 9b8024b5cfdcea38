"""The A/B gate as it is lived: told as timelines, with every law watching."""

import pytest

from knowngood.core.unit_sums import CALLS
from knowngood.sdk.compared import ComparedArm
from knowngood.sim.laws.comparing import is_skewed
from knowngood.sim.traps_comparison import (
    NEW,
    OLD,
    astray,
    compared,
    losses,
    skipped,
    too_early,
    two_stages,
)
from knowngood.sim.units import HeldUnits
from knowngood.wire.units import SUMS_PER_FLUSH_MAX


def test_what_is_shown_goes_on():
    """Two arms that are alike: the gate lets through, and the canary is served to everybody."""
    story = compared()
    story.expect("1:50").climbing(NEW, 50).recorded("rollout.compared", 0)
    story.expect("2:10").climbing(NEW, 95).recorded("rollout.compared", 1)
    story.run()


def test_a_day_has_a_night():
    """What is shown early waits for the rest of the time."""
    too_early().run()


def test_the_last_stage_is_asked():
    """By the rule that the first one began with."""
    two_stages().run()


def test_what_cannot_be_compared_stays():
    """Whatever sorts the units may be the difference; a person is asked."""
    astray().run()


def test_a_person_may_go_on_all_the_same():
    """The answer stays, the history names who skipped it."""
    late = astray()
    late.at("2:40").skip()
    late.expect("2:41").climbing(NEW, 95)
    for story in (late, skipped()):
        words = [line.because for line in story.run().store.log.read(limit=1_000)]
        assert any("skipped by ann" in each for each in words)


def test_units_count_once_whatever_is_lost():
    """Flushes, receipts and answers of the store are lost; the laws count units by themselves."""
    world = losses().run()
    arms = world.store.units.arms()
    assert {arm[0][2] for arm in arms} == {OLD, NEW}
    assert all(world.store.units.tally(arm)[0].name == CALLS for arm in arms)


def test_a_flush_has_room_for_so_many_sums():
    """The rest follows with the next one."""
    held, arm = HeldUnits(), ComparedArm(3, "salt", 0, 10_000, ("quality",))
    users = [f"user-{number}" for number in range(SUMS_PER_FLUSH_MAX)]
    second = held.of("bot", NEW, arm, users)
    second.failed(2)
    second.scored("quality", 80, 10)
    (first,), (rest,) = held.next_groups(), held.next_groups()
    assert sum(each.sum_count for each in first.sums) == SUMS_PER_FLUSH_MAX
    assert len(first.sums) + len(rest.sums) == len(users)
    assert [each.error_count for each in first.sums[:3]] == [1, 1, 0]
    assert first.sums[2].scores == {"quality": (1, 8_000)}
    assert held.next_groups() == ()


@pytest.mark.parametrize(
    ("candidate", "control", "skewed"),
    [(500, 500, False), (480, 520, False), (300, 700, True), (0, 20, False), (0, 100, True)],
)
def test_skew_beyond_doubt(candidate, control, skewed):
    """Chance never looks like this, and few units say nothing."""
    assert is_skewed(candidate, control, 5_000) is skewed
