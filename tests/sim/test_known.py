"""What the simulator found and the product does not keep yet, each as the shortest story.

Every test states the law. One that is marked is expected to fail; when it passes, take its mark
away and the fault out of `faults.WITHHELD`.
"""

import pytest

from knowngood import wire
from knowngood.core.window import Window
from knowngood.sim.clients import ENVIRONMENT
from knowngood.sim.plan import START_MS
from knowngood.sim.scenarios import Scenario, StoryFailed

OLD, NEW = "v1.9.0", "v2.0.0"


def not_yet(why: str):
    return pytest.mark.xfail(reason=why, raises=StoryFailed, strict=True)


def test_failed_rollback_does_not_disarm_the_next_deploy():
    """After a rollback that did not recover, a version that is promoted later is watched again."""
    story = Scenario(versions=(OLD, NEW))
    story.at("0:00").promote(OLD)
    story.at("1:00").promote(NEW)
    story.at("1:05").outage(0.5, "1m")
    story.expect("2:30").recorded("rollback.not_recovered", 1).serving(OLD).candidate(NEW)
    story.at("2:40").promote(NEW)
    story.at("2:50").error_rate(1.0)
    story.expect("16:00").serving(OLD).rolled_back(2)
    story.run()


def test_late_switch_is_verified_by_what_came_after_it():
    """An engine held between its decision and the apply verifies from the switch on, not before."""
    story = Scenario(versions=(OLD, NEW))
    story.at("0:00").promote(OLD)
    story.at("1:00").canary(NEW, 50)
    story.at("1:10").error_rate(0.5, NEW)
    story.at("1:10").stall("30s", writing="rollback.switched")
    story.expect("4:00").rolled_back(1).verified(1)
    story.run()


def test_old_calls_reported_late_do_not_verify():
    """Calls that were made before the switch and reported after it prove no recovery."""
    story = Scenario(versions=(OLD, NEW), clients=2, calls_per_s=4)
    story.at("0:00").promote(OLD)
    story.at("0:30").cut("client-1")
    story.at("1:00").promote(NEW)
    story.at("1:01").error_rate(0.5)
    story.at("1:18").heal("client-1")
    story.expect("1:40").rolled_back(1)
    story.run()


def test_write_with_a_lost_answer_counts_once():
    """When the store has written and the answer is lost, the evidence is not written again."""
    story = Scenario(versions=(OLD,))
    story.at("0:00").promote(OLD)
    story.at("0:30").lost_ack("append.after")
    story.expect("0:40").serving(OLD)
    story.run()


def test_flush_of_an_earlier_life_counts_once():
    """A flush that the network repeats after its process began again is still the same flush."""
    story = Scenario(versions=(OLD,))
    story.at("0:00").promote(OLD)
    story.at("0:30").do(lambda: deliver(story, boot="one", seq=1))
    story.at("0:35").do(lambda: deliver(story, boot="two", seq=1))
    story.at("0:40").do(lambda: deliver(story, boot="one", seq=1))
    story.expect("0:45").serving(OLD)
    story.run()


@not_yet("each intake remembers on its own what it heard, and asks the store only once")
def test_flush_that_reaches_two_intakes_counts_once():
    """A process that fails over repeats its flush to another server, where it is known already."""
    story = Scenario(versions=(OLD,), engines=2)
    story.at("0:00").promote(OLD)
    story.at("0:30").do(lambda: deliver(story, boot="one", seq=1, engine=1))
    story.at("0:35").do(lambda: deliver(story, boot="one", seq=2, engine=0))
    story.at("0:40").do(lambda: deliver(story, boot="one", seq=2, engine=1))
    story.expect("0:45").serving(OLD)
    story.run()


def test_flush_of_an_earlier_life_after_a_restart_counts_once():
    """The network repeats an old flush after both the process and its server began again."""
    story = Scenario(versions=(OLD,))
    story.at("0:00").promote(OLD)
    story.at("0:30").do(lambda: deliver(story, boot="one", seq=1))
    story.at("0:35").do(lambda: deliver(story, boot="two", seq=1))
    story.at("0:37").stop("1s")
    story.at("0:40").do(lambda: deliver(story, boot="one", seq=1))
    story.expect("0:45").serving(OLD)
    story.run()


@not_yet("each engine judges by its own clock, and nobody's clock is the authority")
def test_two_engines_with_clocks_half_a_minute_apart():
    """Two engines whose clocks differ by half a minute do not undo each other's work."""
    story = Scenario(versions=(OLD,), clients=1, engines=2)
    story.at("0:00").promote(OLD)
    story.at("0:20").wall_clock(30, engine=1).stop("1s", engine=1)
    story.expect("2:00").serving(OLD).recorded("blind", 0)
    story.run()


def test_an_outage_that_is_over_does_not_hide_the_next_bad_deploy():
    """The level of health is taken from what was healthy, not from an outage of the same day."""
    story = Scenario(versions=(OLD, NEW))
    story.at("0:00").promote(OLD)
    story.at("1:00").outage(0.5, "1m")
    story.at("6:00").promote(NEW)
    story.at("6:01").error_rate(0.12)
    story.expect("5:50").incident(is_open=False)
    story.expect("9:00").serving(OLD).rolled_back(1)
    story.run()


@not_yet("a process that counts each retry as a failure of its own is taken at its word")
def test_raw_retries_do_not_condemn_a_healthy_version():
    """Nine retries of every failing call, counted as calls, do not roll a healthy version back."""
    story = Scenario(versions=(OLD, NEW), calls_per_s=40, faults=("raw_retries",))
    story.at("0:00").promote(OLD)
    story.at("1:00").promote(NEW)
    story.at("1:30").retries(10).error_rate(0.01)
    story.expect("6:00").serving(NEW).rolled_back(0)
    story.run()


def deliver(story: Scenario, boot: str, seq: int, engine: int = 0) -> None:
    """One flush of ten calls arrives at one intake."""
    world, taker = story.world, story.world.engines[engine]
    made_ms = 30_000 * seq  # the same flush has the same calls
    row = wire.Row(story.prompt, OLD, world.now_ms - START_MS - made_ms, Window(ok=10))
    batch = wire.Batch("walker", boot, seq, ENVIRONMENT, 1, rows=(row,))
    world.truth.count((ENVIRONMENT, story.prompt, OLD), 10, 0)
    receipt = taker.take(batch)
    assert receipt is not None
    for checker in world.checkers:
        checker.taken(taker, batch, receipt, world.now_ms)
