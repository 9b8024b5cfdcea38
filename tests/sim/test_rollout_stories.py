"""Stories of rollouts: races between people and engines, crashes and standstills at every stage."""

import pytest

from knowngood.sim.faults import POINTS
from knowngood.sim.scenarios import Scenario
from knowngood.sim.traps_rollouts import NEW, OLD, RULES, SALE, THIRD


def climbing(policy=None, calls_per_s=60.0, **options) -> Scenario:
    """A good version for a minute, then a new one that climbs 10, 50, 100 %."""
    rules = {**RULES, **(policy or {})}
    story = Scenario(versions=(OLD, NEW, THIRD), calls_per_s=calls_per_s, policy=rules, **options)
    story.at("0:00").promote(OLD)
    story.at("1:00").climb(NEW)
    return story


def giving_way(**options) -> Scenario:
    """A version that is good by a person's word, and a newer one that gives way to it."""
    story = Scenario(versions=(OLD, NEW), calls_per_s=20, policy=RULES, **options)
    story.at("0:00").promote(OLD)
    story.at("0:30").promote(NEW)
    story.at("1:00").give_way()
    return story


# --- Up


def test_a_healthy_canary_climbs_and_becomes_good():
    """Each stage lasts its time; after the bake the holdback goes and the version is good."""
    story = climbing()
    story.expect("1:19").climbing(NEW, 10).waiting_on("stage_time")
    story.expect("1:25").climbing(NEW, 50)
    story.expect("1:50").climbing(NEW, 95).candidate(NEW)
    story.expect("2:30").serving(NEW).good(NEW).no_rollout().rolled_back(0)
    story.run()


@pytest.mark.parametrize("at", ["1:05", "1:25", "1:50"])
def test_a_canary_that_fails_at_any_stage_is_rolled_back(at):
    """From 10 %, from 50 % and from its bake: everybody has the old version again, proven."""
    story = climbing()
    story.at(at).error_rate(0.4, NEW)
    story.expect("2:30").serving(OLD).quarantined(NEW).rolled_back(1).no_rollout()
    story.expect("3:30").verified(1).steady().incident(is_open=False)
    story.run()


@pytest.mark.parametrize("point", POINTS)
def test_a_crash_at_any_point_of_a_stage_change_resumes_where_it_was(point):
    """The ladder goes on from its row: no stage is left out, and none is taken twice."""
    story = climbing()
    story.at("1:19").crash(point, writing="rollout.stage" if point.startswith("apply") else "")
    story.expect("4:00").serving(NEW).good(NEW).recorded("rollout.stage", 2).no_rollout()
    story.run()


def test_a_write_whose_answer_is_lost_is_one_stage():
    """The store has moved the stage and says that it did not: it is not moved again."""
    story = climbing()
    story.at("1:19").lost_ack("apply.after")
    story.expect("1:30").climbing(NEW, 50)
    story.expect("3:00").good(NEW).recorded("rollout.stage", 2)
    story.run()


@pytest.mark.parametrize("length", ["20s", "60s"])
def test_a_server_that_is_gone_for_a_stage_goes_on_where_it_was(length):
    """Nothing moved meanwhile, nothing is made up for, and the proof is taken anew."""
    story = climbing()
    story.at("1:25").stop(length)
    story.expect("1:40").climbing(NEW, 50)
    story.expect("4:30").good(NEW).recorded("rollout.stage", 2).no_rollout()
    story.run()


def test_two_engines_at_one_stage_advance_it_once():
    """One is held with the next stage in its hands, the other takes it: the first is stale."""
    story = climbing(engines=2)
    story.at("1:19").stall("15s", writing="rollout.stage")
    story.expect("1:38").climbing(NEW, 50).recorded("rollout.stage", 1)
    story.expect("3:30").good(NEW).recorded("rollout.stage", 2)
    story.run()


def test_a_stage_that_came_into_force_late_lasts_its_time():
    """An engine is held before it moves a stage: the time begins when the stage is in force."""
    story = climbing()
    story.at("1:19").stall("40s", writing="rollout.stage")
    story.expect("1:55").climbing(NEW, 10)
    story.expect("2:15").climbing(NEW, 50).recorded("rollout.stage_anew", 1)
    story.expect("4:00").good(NEW).recorded("rollout.stage", 2)
    story.run()


def test_too_little_traffic_waits_and_asks_a_person():
    """Without proof a stage stays, on-call is asked once, and a person's skip goes on."""
    story = climbing(calls_per_s=4)
    story.expect("1:50").climbing(NEW, 10).waiting_on("stage_proof")
    story.expect("2:10").climbing(NEW, 10).recorded("rollout.waiting", 1).paged("waits at 10%")
    story.at("2:20").skip()
    story.expect("2:21").climbing(NEW, 50)
    story.run()


def test_a_change_freeze_holds_the_climb_and_no_rollback():
    """Nothing goes up during the freeze; what breaks is rolled back all the same."""
    story = climbing(policy={"freeze": [SALE]})
    story.expect("1:50").climbing(NEW, 10).waiting_on("freeze")
    story.at("1:50").error_rate(0.4, NEW)
    story.expect("2:20").serving(OLD).rolled_back(1)
    story.run()


# --- People who race


def test_rollback_wins_over_a_promotion_at_the_same_moment():
    """Whoever asks first, everybody has the old version, and the promotion is refused."""
    for first in ("promotion", "rollback"):
        story = climbing()
        acts = {
            "promotion": lambda s: s.at("1:30").climb(THIRD),
            "rollback": lambda s: s.at("1:30").roll_back(),
        }
        for name in (first, *(n for n in acts if n != first)):
            acts[name](story)
        story.expect("1:31").serving(OLD).quarantined(NEW).no_rollout().verifying()
        story.run()


def test_a_promotion_that_was_thought_over_does_not_undo_a_rollback():
    """What was read before the rollback is stale after it."""
    story = climbing()
    story.at("1:10").fault("slow_hands").climb(THIRD, override=("in_progress",))
    story.at("1:10").roll_back()
    story.expect("2:00").serving(OLD).no_rollout()
    story.run()


def test_pause_skip_and_abort_of_several_people():
    """Each acts on what is there: a pause holds, a skip goes on, an abort ends it unharmed."""
    story = climbing()
    story.at("1:05").pause()
    story.at("1:06").pause()
    story.expect("1:50").climbing(NEW, 10).paused(by="ann").recorded("rollout.paused", 1)
    story.at("1:55").skip()
    story.expect("1:56").climbing(NEW, 50)
    story.at("1:57").abort()
    story.at("1:57").resume()
    story.expect("1:58").serving(OLD).candidate(NEW).no_rollout().steady()
    story.at("2:00").climb(NEW)
    story.expect("2:01").climbing(NEW, 10)
    story.run()


def test_another_plan_in_flight():
    """Who has the version keeps it; from here on the new stages and times are in force."""
    story = climbing()
    story.at("1:05").replan(30, 100, hold_ms=40_000)
    story.expect("1:30").climbing(NEW, 10)
    story.expect("1:45").climbing(NEW, 30)
    story.expect("2:30").climbing(NEW, 95)
    story.run()


def test_a_second_promotion_is_refused_while_the_first_is_under_way():
    """Of another version and of the same: the pause and the plan in force stay."""
    story = climbing()
    story.at("1:05").pause().climb(THIRD).climb(NEW).now(NEW)
    story.expect("1:06").climbing(NEW, 10).paused(by="ann")
    story.run()


def test_a_pause_masks_no_breach():
    """A canary that is paused and fails is rolled back like any other."""
    story = climbing()
    story.at("1:25").pause()
    story.at("1:30").error_rate(0.4, NEW)
    story.expect("2:00").serving(OLD).quarantined(NEW).rolled_back(1).no_rollout()
    story.run()


# --- Down


def test_a_gradual_rollback_gives_way_and_is_verified():
    """75, 50, 25, 0 %, twenty seconds each; then it is proven like any other."""
    story = giving_way()
    for time, percent in (("1:10", 75), ("1:30", 50), ("1:50", 25)):
        story.expect(time).giving_way(NEW, percent)
    story.expect("3:00").serving(OLD).quarantined(NEW).verified(1).no_rollout()
    story.run()


def test_a_gradual_rollback_stops_where_its_target_fails():
    """More than 2 % on the target: it is paused, on-call is paged, and it can be resumed."""
    story = giving_way()
    story.at("1:22").error_rate(0.3, OLD)
    story.expect("2:30").giving_way(NEW, 50).paused(by="system")
    story.expect("2:30").paged("gradual rollback paused")
    story.at("2:30").error_rate(0.0, OLD)
    story.run()


@pytest.mark.parametrize("at", ["1:05", "1:25", "1:45"])
def test_a_gradual_rollback_is_made_instant(at):
    """A rollback without stages goes all the way now, from wherever it is."""
    story = giving_way()
    story.at(at).roll_back()
    story.expect("2:00").serving(OLD).quarantined(NEW).no_rollout().rolled_back(1)
    story.run()


def test_what_gives_way_and_fails_outright_goes_at_once():
    """Stages are for a version that is a little worse, not for one that fails half its calls."""
    story = giving_way()
    story.at("1:05").error_rate(0.5, NEW)
    story.expect("1:40").serving(OLD).no_rollout().rolled_back(1)
    story.run()


@pytest.mark.parametrize("point", ["apply.before", "apply.after"])
def test_a_crash_at_a_stage_of_the_way_down_resumes_where_it_was(point):
    """No stage is left out, none is taken twice, and nobody gets the bad version back."""
    story = giving_way()
    story.at("1:15").crash(point, writing="rollout.stage")
    story.expect("4:00").serving(OLD).recorded("rollout.stage", 2).verified(1)
    story.expect("4:00").recorded("rollback.completed", 1)
    story.run()
