"""Rollouts as stories: a canary climbs on proof, people hold it, nothing masks a rollback."""

from dataclasses import replace

import pytest

from knowngood.core.errors import (
    AlreadyServed,
    BadLadder,
    BadRequest,
    InProgress,
    NoRollout,
    Quarantined,
)
from knowngood.core.explain import wait_words
from knowngood.core.gate import Answer
from knowngood.core.model import (
    Census,
    Confirming,
    Hold,
    Standing,
    Steady,
    Verifying,
    whole,
)
from knowngood.core.rollout import Ladder
from knowngood.core.steps import operator, rollouts
from knowngood.core.steps.stage import stage_gates
from knowngood.core.window import Window, latency_bucket
from tests.core.build import (
    ALL_SILENT,
    BAD,
    DAY,
    FAIR,
    FINE,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    Story,
    calls,
    entry,
    kinds,
    latencies,
    pages,
    policy,
    state,
)
from tests.core.climb import OLD, STEPS, began, case, giving_way, shares

# --- Climbing


def test_a_canary_climbs_on_proof_bakes_and_is_good():
    """1, 5, 25 %, then all but the holdback, then everybody; each stage in its own line."""
    story = began()
    story.goes_on(80, v1=FINE, v2=FINE)
    assert shares(story) == [100, 500, 2_500, 9_500, 10_000]
    assert kinds(story.done).count("rollout.stage") == 3
    assert story.state.standing("v2") is Standing.GOOD and story.state.rollout is None
    assert story.state.route.arms == whole("v2")
    assert "version.good" in kinds(story.done)


def test_a_stage_lasts_its_time_however_good_it_looks():
    """Proof in the first second opens no stage before its hold is over."""
    story = began()
    story.goes_on(9, v1=FINE, v2=FINE)
    assert shares(story) == [100] and "stage_time" in story.waits()
    story.goes_on(1, v1=FINE, v2=FINE)
    assert shares(story) == [100, 500]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"v1": FINE}, id="nobody calls it"),
        pytest.param({"v1": FINE, "v2": calls(ok=1)}, id="too few calls"),
    ],
)
def test_the_absence_of_harm_is_no_proof(second):
    """Without enough calls a stage waits, says for how many, and after its time asks a person."""
    story = began()
    story.goes_on(40, **second)
    assert shares(story) == [100] and "stage_proof" in story.waits()
    story.goes_on(21, **second)
    assert shares(story) == [100]
    assert kinds(story.done).count("rollout.waiting") == 1
    assert [page.audience for page in pages(story.done)] == ["on-call"]
    story.goes_on(60, **second)
    assert kinds(story.done).count("rollout.waiting") == 1


def test_no_stage_is_left_on_the_proof_of_a_smaller_one():
    """Some harm comes with the load: each stage is proven by calls of its own, the bake as well."""
    story = began()
    story.goes_on(10, v1=FINE, v2=FINE)
    assert shares(story) == [100, 500]
    story.goes_on(60, v1=FINE)
    assert shares(story) == [100, 500] and "stage_proof" in story.waits()
    while shares(story)[-1] < 9_500:
        story.sees(v1=FINE, v2=FINE)
    story.goes_on(60, v1=FINE)
    assert story.state.standing("v2") is Standing.CANDIDATE


def test_how_long_it_still_takes_at_this_traffic():
    """Two calls a second of the seventy that are needed, since the first look: half a minute."""
    story = began()
    story.goes_on(20, v1=FINE, v2=calls(ok=2))
    (wait,) = [w for w in story.decision().waiting_on if w.kind == "stage_proof"]
    assert (wait.need, wait.have) == (70, 38) and wait.eta_ms == 16_000


def test_a_timed_ladder_gives_up_the_proof_and_nothing_else():
    """It climbs without a call; a breach still stops it."""
    timed = replace(STEPS, timed=True)
    story = began(timed)
    story.goes_on(31, v1=FINE)
    assert shares(story) == [100, 500, 2_500, 9_500]
    story = began(timed)
    story.until("rollback.switched", v1=FINE, v2=BAD)
    assert story.state.route.arms == whole("v1")


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_breach_at_any_stage_rolls_back_at_once(stage):
    """From wherever it stands, the bake included: everybody has the old version again."""
    story = began()
    story.goes_on(10 * stage + 2, v1=FINE, v2=FINE)
    assert story.state.rollout.stage == stage
    story.until("rollback.switched", v1=FINE, v2=BAD)
    assert story.state.route.arms == whole("v1") and story.state.rollout is None
    assert story.state.standing("v2") is Standing.QUARANTINED
    assert isinstance(story.state.phase, Verifying)


def test_a_question_holds_the_stage():
    """3 % is asked about: while the incident is open nobody else gets the version."""
    story = began()
    story.goes_on(30, v1=FINE, v2=FAIR)
    assert story.state.incident is not None and shares(story)[-1] < 10_000
    held = shares(story)
    story.goes_on(20, v1=FINE, v2=FAIR)
    assert shares(story) == held


def test_blind_advances_nothing():
    """When every process falls silent the stage stays."""
    story = began()
    story.goes_on(8, v1=FINE, v2=FINE)
    story.census = ALL_SILENT
    story.goes_on(30)
    assert shares(story) == [100]


def test_a_stage_that_has_not_arrived_is_not_judged():
    """A process that runs the generation before holds the next stage."""
    story = began()
    story.census = Census(4, 3, ("web-4",))
    story.goes_on(20, v1=FINE, v2=FINE)
    assert shares(story) == [100] and "clients" in story.waits()
    story.census = Census(4, 4)
    story.goes_on(1, v1=FINE, v2=FINE)
    assert shares(story) == [100, 500]


def test_slow_labels_hold_a_stage_that_has_begun_to_be_judged():
    """Quality that somebody scores is waited for until there are enough labels."""
    first = calls(ok=20, quality=0.8, n_labels=2)
    day = calls(ok=19_900, errors=100, p99=800, quality=0.8, n_labels=400)
    start = state("v1", entry("v0", "good", -9 * DAY, day), entry("v1"), since=-2 * DAY)
    story = began(start=start)
    story.sees(v1=FINE, v2=first)
    story.goes_on(14, v1=FINE, v2=calls(ok=20))
    assert shares(story) == [100] and "labels" in story.waits()
    story.goes_on(5, v1=FINE, v2=first)
    assert shares(story)[:2] == [100, 500]


def test_a_change_freeze_holds_stages_and_no_rollback():
    """Nothing climbs during the freeze; what breaks is rolled back all the same."""
    frozen = policy(
        freeze=[{"from": "2027-01-15", "until": "2027-01-16", "because": "the sale"}],
        bake={"for": "30s", "holdback": "5%"},
    )
    story = began(rules=frozen)
    story.goes_on(20, v1=FINE, v2=FINE)
    assert shares(story) == [100] and "freeze" in story.waits()
    story.until("rollback.switched", v1=FINE, v2=BAD)


# --- People


def test_a_pause_holds_the_stage_and_no_rollback():
    """Nobody gets more of it until it is resumed; a breach rolls it back while it is paused."""
    story = began()
    story.does(rollouts.pause(story.state, "lunch", "bob", story.now_ms))
    story.goes_on(30, v1=FINE, v2=FINE)
    assert shares(story) == [100] and "gate" in story.waits()
    assert rollouts.pause(story.state, "again", "bob", story.now_ms) == ()
    story.does(rollouts.resume(story.state, "back", story.now_ms))
    assert rollouts.resume(story.state, "again", story.now_ms) == ()
    story.goes_on(11, v1=FINE, v2=FINE)
    assert shares(story) == [100, 500]
    story.does(rollouts.pause(story.state, "home", "bob", story.now_ms))
    story.until("rollback.switched", v1=FINE, v2=BAD)


def test_automation_off_holds_the_stage():
    """A person who turns automation off does not expect traffic to move."""
    story = began()
    story.state = replace(story.state, automation=Hold(NOW + HOUR, "a demo", "bob"))
    story.goes_on(20, v1=FINE, v2=FINE)
    assert shares(story) == [100]


def test_skip_goes_on_without_proof_and_ends_a_bake():
    """Each skip is one stage; the last one makes the version good by a person's word."""
    story = began()
    for _ in range(3):
        story.does(rollouts.skip(case(story), "we are sure", "ann"))
    assert shares(story) == [100, 500, 2_500, 9_500]
    story.does(rollouts.skip(case(story), "we are sure", "ann"))
    assert story.state.route.arms == whole("v2") and story.state.rollout is None
    assert story.state.standing("v2") is Standing.GOOD
    with pytest.raises(NoRollout):
        rollouts.skip(case(story), "once more", "ann")


def test_abort_takes_it_off_and_condemns_nothing():
    """The old version has everybody again, and the new one may be promoted another time."""
    story = began()
    story.goes_on(12, v1=FINE, v2=FINE)
    story.does(rollouts.abort(story.state, "second thoughts"))
    assert story.state.route.arms == whole("v1") and story.state.rollout is None
    assert story.state.standing("v2") is Standing.CANDIDATE
    assert isinstance(story.state.phase, Steady)
    with pytest.raises(NoRollout):
        rollouts.abort(story.state, "again")
    began(start=story.state)


def test_another_plan_in_flight():
    """The stage in force stays; what comes after it is the new plan."""
    story = began()
    story.goes_on(12, v1=FINE, v2=FINE)
    other = Ladder((200, 1_000, 5_000, 10_000), 5 * SECOND, 60 * SECOND)
    story.does(rollouts.replan(story.state, other, "faster", story.now_ms))
    assert story.state.rollout.ladder.stages_bp == (500, 1_000, 5_000, 10_000)
    story.goes_on(17, v1=FINE, v2=FINE)
    assert shares(story) == [100, 500, 1_000, 5_000, 9_500]
    with pytest.raises(BadLadder, match="bakes"):
        rollouts.replan(story.state, other, "too late", story.now_ms)
    with pytest.raises(BadLadder, match="do not rise"):
        rollouts.replan(began().state, Ladder((500, 100), 1, 1), "wrong", NOW)


def test_one_rollout_at_a_time():
    """A second promotion is refused and told what ends the first, its bake included."""
    story = began()
    third = rollouts.Promotion("v3", STEPS, 500, "another", "bob")
    for seconds in (0, 35):
        story.goes_on(seconds, v1=FINE, v2=FINE)
        with pytest.raises(InProgress) as refused:
            rollouts.begin(story.state, third, None, story.now_ms)
        assert "knowngood skip cs" in refused.value.next_step
    forced = replace(third, override=("in_progress",))
    story.does(rollouts.begin(story.state, forced, None, story.now_ms))
    assert story.state.rollout.to_version == "v3"


def test_who_serves_everybody_has_nothing_to_climb():
    """A canary of what is at 100 % changes nothing; one of the control is refused."""
    story = began()
    story.goes_on(1, v1=FINE)
    with pytest.raises(BadRequest, match="tried against"):
        rollouts.begin(
            story.state, rollouts.Promotion("v1", STEPS, 500, "?", "ann"), None, story.now_ms
        )
    same = rollouts.Promotion("v1", STEPS, 500, "?", "ann")
    assert rollouts.begin(OLD, same, None, NOW) == ()


def test_who_serves_everybody_is_promoted_no_further():
    """Whoever promotes it again reads since when it does, and what to do instead."""
    with pytest.raises(AlreadyServed, match=r"since 2027-01-13 08:00:00Z \(2 d\)") as refused:
        rollouts.refuse_served(OLD, "v1", NOW)
    assert refused.value.known == ["v0"] and "knowngood rollback cs" in refused.value.next_step
    rollouts.refuse_served(OLD, "v2", NOW)
    rollouts.refuse_served(replace(OLD, route=None), "v1", NOW)
    rollouts.refuse_served(began().state, "v1", NOW)


def test_the_refusal_says_what_is_still_under_way():
    """A bake, or the verification of the rollback that brought it back."""
    story = began(rollouts.AT_ONCE)
    with pytest.raises(AlreadyServed, match="it bakes, and is not known good yet"):
        rollouts.refuse_served(story.state, "v2", story.now_ms)
    story.does(operator.roll_back(case(story), operator.RollbackRequest("no")))
    with pytest.raises(AlreadyServed, match="the rollback to it from v2 is being verified"):
        rollouts.refuse_served(story.state, "v1", story.now_ms)


def test_what_bakes_beside_its_holdback_has_nothing_to_climb():
    """Its bake can be ended or aborted, and the refusal says how."""
    story = began()
    story.goes_on(31, v1=FINE, v2=FINE)
    assert story.state.rollout.is_baking and shares(story)[-1] == 9_500
    again = rollouts.Promotion("v2", STEPS, 500, "again", "ann", ("in_progress",))
    with pytest.raises(InProgress, match="v2 bakes: everybody but 5% has it") as refused:
        rollouts.begin(story.state, again, None, story.now_ms)
    assert "knowngood skip cs" in refused.value.next_step


def test_the_first_version_has_nobody_beside_it():
    """It serves everybody at once and is good as declared."""
    empty = replace(OLD, route=None, ledger=())
    story = Story(empty)
    story.does(
        rollouts.begin(empty, rollouts.Promotion("v1", STEPS, 500, "hello", "ann"), None, NOW)
    )
    assert story.state.route.arms == whole("v1") and story.state.rollout is None
    assert story.state.standing("v1") is Standing.GOOD


def test_at_once_bakes_without_a_control():
    """`--now` gives it to everybody, and it is good after the same bake."""
    story = began(rollouts.AT_ONCE)
    assert story.state.route.arms == whole("v2") and story.state.rollout.is_baking
    story.goes_on(29, v2=FINE)
    assert story.state.standing("v2") is Standing.CANDIDATE
    story.goes_on(1, v2=FINE)
    assert story.state.standing("v2") is Standing.GOOD and story.state.rollout is None


def test_a_split_by_hand_is_taken_over_where_it_stands():
    """Who has the version already keeps it."""
    split = state(
        "v1", entry("v1", "good", -DAY), entry("v2", "candidate", -MINUTE), trial=("v2", 1_000)
    )
    story = began(start=split)
    assert story.state.rollout.ladder.stages_bp == (1_000, 2_500, 10_000)
    assert story.state.route.salt == "salt"


def test_a_second_promotion_of_the_same_version_is_no_new_ladder():
    """It would undo a pause and another plan; and a version that gives way would climb again."""
    story = began()
    story.goes_on(12, v1=FINE, v2=FINE)
    story.does(rollouts.pause(story.state, "lunch", "bob", story.now_ms))
    again = rollouts.Promotion("v2", STEPS, 500, "again", "bob")
    with pytest.raises(InProgress):
        rollouts.begin(story.state, again, None, story.now_ms)
    back = giving_way()
    with pytest.raises(InProgress):
        rollouts.begin(back.state, again, None, back.now_ms)
    forced = replace(again, override=("in_progress",))
    with pytest.raises(Quarantined):
        rollouts.begin(back.state, forced, None, back.now_ms)
    both = replace(again, override=("in_progress", "quarantined"))
    back.goes_on(12, v1=FINE, v2=FINE)
    back.does(rollouts.begin(back.state, both, None, back.now_ms))
    assert back.state.standing("v2") is Standing.CANDIDATE
    assert back.state.rollout.ladder.stages_bp == (5_000, 10_000)


def test_at_once_takes_a_split_by_hand_to_everybody():
    """`--now` leaves no stage before 100 %, whatever share the version has already."""
    split = state(
        "v1", entry("v1", "good", -DAY), entry("v2", "candidate", -MINUTE), trial=("v2", 1_000)
    )
    assert began(rollouts.AT_ONCE, start=split).state.route.arms == whole("v2")


# --- The bake


def test_without_proof_the_holdback_ends_and_the_ledger_waits():
    """The hour is over and too few called: everybody has it, and it is good once it is proven."""
    story = began()
    for _ in range(3):
        story.does(rollouts.skip(case(story), "go", "ann"))
    story.goes_on(31, v2=calls(ok=1))
    assert shares(story)[-1] == 10_000 and "rollout.released" in kinds(story.done)
    assert story.state.standing("v2") is Standing.CANDIDATE
    assert "bake_evidence" in story.waits()
    story.goes_on(2, v2=FINE)
    assert story.state.standing("v2") is Standing.GOOD


def test_an_open_question_keeps_the_control():
    """While somebody is asked about it, the holdback stays beside it."""
    story = began()
    for _ in range(3):
        story.does(rollouts.skip(case(story), "go", "ann"))
    story.goes_on(45, v1=FINE, v2=FAIR)
    assert story.state.incident is not None
    assert shares(story)[-1] == 9_500 and story.state.standing("v2") is Standing.CANDIDATE


# --- Clocks


@pytest.mark.parametrize("seconds", [5, 35])
def test_a_clock_that_was_set_back_restarts_the_stage(seconds):
    """What began in the clock's future begins now, instead of waiting for it."""
    story = began()
    story.goes_on(seconds, v1=FINE, v2=FINE)
    story.state = replace(
        story.state, rollout=replace(story.state.rollout, stage_ms=story.now_ms + HOUR)
    )
    story.goes_on(1, v1=FINE, v2=FINE)
    assert story.state.rollout.stage_ms <= story.now_ms
    assert not isinstance(story.state.phase, Confirming)


def test_a_stage_that_came_into_force_late_lasts_its_time():
    """An engine was held before the move: the time begins at the first look after it."""
    story = began()
    story.goes_on(12, v1=FINE, v2=FINE)
    late = replace(story.state.rollout, stage_ms=story.now_ms - 40 * SECOND, unseen=True)
    story.state = replace(story.state, rollout=late)
    story.goes_on(9, v1=FINE, v2=FINE)
    assert shares(story) == [100, 500] and "rollout.stage_anew" in kinds(story.done)
    story.goes_on(3, v1=FINE, v2=FINE)
    assert shares(story) == [100, 500, 2_500]


def test_a_reader_that_is_late_itself_shortens_no_stage():
    """Whoever still has an old time finds the stage in its future; the next look puts it right."""
    story = began()
    story.goes_on(2, v1=FINE, v2=FINE)
    back = replace(story.state.rollout, stage_ms=story.now_ms - 40 * SECOND, unseen=True)
    story.state = replace(story.state, rollout=back)  # as such a reader leaves it
    story.goes_on(9, v1=FINE, v2=FINE)
    assert shares(story) == [100]


def test_blind_on_the_control_is_blind():
    """A timed ladder does not climb in the dark, though nobody has called the new version yet."""
    story = began(replace(STEPS, timed=True))
    story.goes_on(8, v1=FINE)
    story.census = ALL_SILENT
    story.goes_on(20)
    assert shares(story) == [100]


# --- What must not be hidden


@pytest.mark.parametrize("verb", ["skip", "abort"])
def test_nobody_hides_a_breach_that_is_being_confirmed(verb):
    """Rollback wins: whoever skips or aborts now is told to roll back."""
    story = began()
    story.goes_on(3, v1=FINE, v2=FINE)
    story.until("rollback.suspected", v1=FINE, v2=BAD)
    orders = {
        "skip": lambda: rollouts.skip(case(story), "hurry", "ann"),
        "abort": lambda: rollouts.abort(story.state, "never mind"),
    }
    with pytest.raises(InProgress, match="is being confirmed") as refused:
        orders[verb]()
    assert "knowngood rollback" in refused.value.next_step


def test_a_rollout_that_was_paused_for_days_is_no_old_version():
    """A canary of a version that is known good is rolled back like any other."""
    start = state(
        "v1", entry("v1", "good", -9 * DAY), entry("v2", "good", -5 * DAY), since=-2 * DAY
    )
    story = began(start=start)
    story.does(rollouts.pause(story.state, "weekend", "ann", story.now_ms))
    story.sees(2 * DAY, v1=FINE)
    story.until("rollback.switched", v1=FINE, v2=BAD)
    assert story.state.route.arms == whole("v1")


def test_a_hold_of_nothing_still_takes_a_look_and_proof_at_each_stage():
    """One tick never climbs two stages on the calls of the first."""
    story = began(replace(STEPS, hold_ms=0))
    story.goes_on(1, v1=FINE, v2=FINE)
    assert shares(story) == [100]
    story.goes_on(1, v1=FINE, v2=FINE)
    assert shares(story) == [100, 500]


def test_a_fix_during_the_bake_is_tried_beside_what_nearly_everybody_has():
    """The old version's holdback is no control for the next one, nor where all users go."""
    story = began()
    for _ in range(3):
        story.does(rollouts.skip(case(story), "go", "ann"))
        story.goes_on(1, v1=FINE, v2=FINE)
    fix = rollouts.Promotion("v3", STEPS, 500, "a fix", "ann", ("in_progress",))
    story.does(rollouts.begin(story.state, fix, None, story.now_ms))
    assert [(a.version, a.weight_bp) for a in story.state.route.arms] == [
        ("v2", 9_900),
        ("v3", 100),
    ]


# --- A thin canary, and a suspicion that goes away

NORMAL_DAY = Window(ok=20_000, latency={latency_bucket(500): 19_900, latency_bucket(900): 100})
KNOWN = state(
    "v1",
    entry("v0", "good", -9 * DAY, NORMAL_DAY),
    entry("v1", "good", -2 * DAY, NORMAL_DAY),
    since=-2 * DAY,
)
BUSY = calls(ok=20, latency=latencies(500, 20))
QUICK, LATE = (calls(ok=1, latency=latencies(ms, 1)) for ms in (500, 2_000))


def trickle(story: Story, count: int, call: Window = QUICK) -> None:
    """So many calls of the new version, one each five seconds: 60 in five minutes."""
    for _ in range(count):
        story.sees(5 * SECOND, v1=BUSY, v2=call)


def test_a_thin_canary_climbs():
    """It never has the hundred calls in one window that its p99 needs, and has them in the end."""
    story = began(Ladder((100, 500, 10_000), 10 * SECOND, 6 * HOUR), start=KNOWN)
    trickle(story, 90)
    assert shares(story) == [100]
    (metrics,) = [g for g in stage_gates(case(story), story.state.rollout) if not g.is_open]
    assert "more requests for p99 latency" in metrics.because
    assert metrics.waiting_on[0].eta_ms is not None
    trickle(story, 15)
    assert shares(story) == [100, 500]


def test_a_question_by_chance_lets_a_thin_canary_go_on():
    """The slow calls do not come again: the incident closes, and it climbs, without a person."""
    story = began(Ladder((100, 500, 10_000), 10 * SECOND, 6 * HOUR), start=KNOWN)
    trickle(story, 20)
    trickle(story, 6, LATE)
    assert story.state.incident is not None
    gates = {g.name: g for g in stage_gates(case(story), story.state.rollout)}
    assert gates["incident"].answer is Answer.DENY  # it is breached as long as they come
    trickle(story, 60)
    assert story.state.incident is not None and shares(story) == [100]
    gates = {g.name: g for g in stage_gates(case(story), story.state.rollout)}
    assert gates["incident"].answer is Answer.NOT_YET
    said = [wait_words(wait) for wait in story.decision().waiting_on if wait.kind == "settle"]
    assert any("to settle by itself: p99 latency of v2 to be found well" in words for words in said)
    assert not any(wait.kind == "operator" for wait in story.decision().waiting_on)
    trickle(story, 190)
    assert "incident.resolved" in kinds(story.done) and story.state.incident is None
    assert shares(story)[:2] == [100, 500]


def test_slow_calls_that_go_on_hold_a_thin_canary():
    """One in twenty is slow all the time: that is no chance, and more of them close nothing."""
    story = began(Ladder((100, 500, 10_000), 10 * SECOND, 6 * HOUR), start=KNOWN)
    for _ in range(20):
        trickle(story, 19)
        trickle(story, 1, LATE)
    assert shares(story) == [100] and "incident.resolved" not in kinds(story.done)
