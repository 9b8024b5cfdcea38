"""What was released as one stays as one: on its way back, under people's orders, in the history."""

from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from knowngood.core.model import Standing, Verifying
from tests.server.test_releases import FAQ, MEMBERS, NEW, OLD, promote, serve, shares, states
from tests.server.world import PROMPT
from tests.server.world import world as new_world

POLICY = """
policy: 1
defaults:
  canary: {stages: [5%, 50%, 100%], hold: 5s, wait_at_most: 1m}
  gradual: {stages: [75%, 50%, 0%], hold: 5s, pause_above: error_rate > 2%}
  bake: {for: 10s, holdback: 0%}
  verify: {error_rate: < 1%, goal: 10s, deadline: 30s}
prompts:
  faq:
    verify: {error_rate: < 1%, goal: 10s, deadline: 90s}
    evaluations: [{suite: accuracy, at_least: 75%, for: [target]}]
"""


@pytest.fixture
def world(tmp_path):
    """As in test_releases: two prompts, a good version and a new one each, and a release."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    with world_of(path) as made:
        yield made


@contextmanager
def world_of(path):
    """A server with this policy and the two prompts."""
    with new_world(policy=str(path)) as made:
        for prompt in (PROMPT, FAQ):
            for version in (OLD[prompt], NEW[prompt], "v99"):
                body: Any = {"version": version, "text": f"You are {version}."}
                made.post(f"/api/prompts/{prompt}/versions", 201, **body)
            order: Any = {"prompt": prompt, "version": OLD[prompt], "because": "first"}
            made.post("/api/promote", **order)
        made.post("/api/releases", 201, name="spring", members=MEMBERS, because="they belong")
        yield made


def lines(world, prompt, kind):
    """The lines of one kind in a prompt's history, oldest first."""
    entries = world.get("/api/audit", prompt=prompt, limit=500)["entries"]
    return [entry for entry in entries if entry["kind"] == kind]


def replayed(world, line):
    """The line's decision, made again."""
    return world.get(f"/api/audit/{line['id']}/replay")


def write(world, prompt, change):
    """Change what is remembered of a prompt, behind everybody's back."""
    key = ("production", prompt)
    data = vars(world.runtime.store.states)["_data"]
    data.states[key] = change(data.states[key])


def without_good(state):
    """It has no known-good version besides the one of the release."""
    ledger = tuple(e for e in state.ledger if e.version in NEW.values())
    return replace(state, ledger=ledger)


def pauses(world):
    """Whether each prompt's rollout is paused."""
    return [
        state.rollout is not None and state.rollout.pause is not None for state in all_of(world)
    ]


def all_of(world):
    return list(states(world).values())


# --- 1: its lines explain themselves


def test_a_companions_rollback_is_replayed_from_the_look_that_decided_it(world):
    """The line of the prompt that went along says whose decision it was, and replays to itself."""
    promote(world)
    serve(world, 8)
    serve(world, 12, bad=(FAQ,))
    (line,) = lines(world, PROMPT, "rollback.switched")
    assert line["detail"]["together"]["lead"] == FAQ
    again = replayed(world, line)
    assert again["same"] and again["judged_for"] == FAQ
    assert [each["kind"] for each in again["again"]] == ["rollback.switched"]
    (lead,) = lines(world, FAQ, "rollback.together")
    assert lead["detail"]["with"] == [PROMPT] and replayed(world, lead)["same"]


def test_a_companions_stage_is_replayed_and_its_own_gates_are_in_its_history(world):
    """Who was moved by another's decision had said that its own gates are open, and on what."""
    promote(world)
    serve(world, 12)
    told = {p: lines(world, p, "rollout.stage") for p in NEW}
    led = [line for each in told.values() for line in each if "together" in line["detail"]]
    assert led
    for line in led:
        assert replayed(world, line)["same"]
        ready = lines(world, line["prompt"], "rollout.ready")
        assert ready and ready[0]["id"] < line["id"]
        assert {gate["answer"] for gate in ready[0]["detail"]["gates"]} == {"allow"}
        assert replayed(world, ready[0])["same"]


def test_what_went_along_by_hand_points_to_what_was_asked(world):
    """A person's rollback judged the one prompt; the other's line leads there."""
    promote(world, now=True)
    world.post("/api/rollback", prompt=PROMPT)
    (line,) = lines(world, FAQ, "rollback.switched")
    again = replayed(world, line)
    assert again["same"] and again["judged_for"] == PROMPT


# --- 2: a gradual rollback of a release stays together


def give_way(world):
    """The release serves everybody and begins to give way, by a person's word."""
    promote(world, now=True)
    serve(world, 3)
    world.post("/api/rollback", prompt=PROMPT, gradual=True)


def test_a_release_gives_way_as_one(world):
    """Each stage is left by all of it, and the end comes for all of it."""
    give_way(world)
    seen = [tuple(shares(world))]
    for _ in range(40):
        serve(world, 1)
        if tuple(shares(world)) != seen[-1]:
            seen.append(tuple(shares(world)))
    assert seen == [(7_500, 7_500), (5_000, 5_000), (0, 0)]


def fail_target(world, seconds=14):
    """The version that FAQ goes back to fails."""
    for _ in range(seconds):
        rows = []
        for prompt, state in states(world).items():
            for arm in state.route.arms:
                bad = 15 if prompt == FAQ and arm.version == OLD[FAQ] else 0
                row = {"prompt": prompt, "version": arm.version, "ago_ms": 0, "ok": 20 - bad}
                rows.append({**row, "errors": {"prompt": bad} if bad else {}})
        world.post("/api/observations", **world.batch(rows=rows))
        world.clock.ms += 1_000
        world.runtime.heart.beat()


def test_a_target_that_fails_pauses_all_of_it_and_a_person_resumes_all_of_it(world):
    """Nobody gets half of the release while somebody looks; whoever is paged reads of both."""
    give_way(world)
    fail_target(world)
    assert pauses(world) == [True, True] and shares(world)[0] == shares(world)[1]
    (line,) = lines(world, PROMPT, "rollout.paused")
    assert line["detail"]["together"]["lead"] == FAQ and replayed(world, line)["same"]
    world.post("/api/rollouts/resume", prompt=PROMPT, because="seen")
    assert pauses(world) == [False, False]


def test_an_instant_rollback_of_one_that_gives_way_takes_all_of_it(world):
    """Asked for again without stages, it is at once for everybody."""
    give_way(world)
    answer = world.post("/api/rollback", prompt=FAQ)
    assert answer["together_with"] == [PROMPT] and shares(world) == [0, 0]


def slower(state):
    """Its stages last a minute."""
    ladder = replace(state.rollout.ladder, hold_ms=60_000, wait_ms=60_000)
    return replace(state, rollout=replace(state.rollout, ladder=ladder))


def test_a_stage_is_held_for_the_one_that_is_not_ready(world):
    """One prompt's stages last longer: the other waits for it, and says so."""
    give_way(world)
    write(world, FAQ, slower)
    serve(world, 9)
    assert shares(world) == [7_500, 7_500]
    waits = world.get(f"/api/prompts/{PROMPT}/explain")["waiting_on"]
    assert any("what it was released with: faq" in wait["words"] for wait in waits)


# --- 3: a dry run lists what would go along


@pytest.mark.parametrize("verb", ["pause", "skip", "abort"])
def test_a_dry_run_of_an_order_lists_the_others(world, verb):
    """Everything that would be done to each prompt, and nothing is done."""
    promote(world)
    before = states(world)
    answer = world.post(f"/api/rollouts/{verb}", prompt=FAQ, because="x", dry_run=True)
    assert answer["together_with"] == [PROMPT]
    assert any(words.startswith(f"{PROMPT}: ") for words in answer["did"])
    assert states(world) == before


def test_a_dry_run_of_a_rollback_lists_the_others(world):
    """Also of a whole release by its name."""
    promote(world, now=True)
    before = states(world)
    asked = world.post("/api/rollback", prompt=FAQ, dry_run=True)
    named = world.post("/api/releases/rollback", name="spring", because="x", dry_run=True)
    assert asked["together_with"] == [PROMPT] and named["together_with"]
    assert any(words.startswith(f"{PROMPT}: serve v1.9.0") for words in asked["would"])
    assert states(world) == before


def test_a_trigger_in_dry_run_says_what_would_go_along(tmp_path):
    """It has rolled nothing back, and names the others of the release."""
    path = tmp_path / "dry.yaml"
    dry = "  triggers: {error_critical: {dry_run: true}, error_high: false}\nprompts:"
    path.write_text(POLICY.replace("prompts:", dry), encoding="utf-8")
    with world_of(path) as world:
        promote(world, now=True)
        serve(world, 10, bad=(FAQ,))
        (line,) = lines(world, FAQ, "dry_run")
        assert line["detail"]["together_with"] == [PROMPT]
        assert line["because"].endswith(f"together with {PROMPT}")
        assert shares(world) == [10_000, 10_000] and replayed(world, line)["same"]
        rows = world.get("/api/policy/report")["triggers"]
        (act,) = next(row["acts"] for row in rows if row["acts"])
        assert act["together_with"] == [PROMPT]


# --- 4: an order reaches the others when the named prompt needs no change


@pytest.mark.parametrize(("verb", "paused"), [("pause", True), ("resume", False)])
def test_an_order_reaches_the_others_of_an_unchanged_prompt(world, verb, paused):
    """The named one is so already; the other is not yet."""
    promote(world)
    world.post("/api/rollouts/pause", prompt=FAQ, because="x")
    other = PROMPT if verb == "pause" else FAQ
    write(world, other, lambda s: replace(s, rollout=replace(s.rollout, pause=None)))
    assert pauses(world).count(True) == 1
    answer = world.post(f"/api/rollouts/{verb}", prompt=FAQ, because="all of it")
    assert pauses(world) == [paused, paused]
    assert answer["outcome"] == "changed" and answer["together_with"] == [PROMPT]


def test_an_order_reaches_the_others_of_a_prompt_whose_rollout_is_over(world):
    """Its bake is over, the other's is not: a skip ends that one."""
    promote(world, now=True)
    write(world, PROMPT, lambda s: replace(s, rollout=None))
    answer = world.post("/api/rollouts/skip", prompt=PROMPT, because="we are sure")
    assert answer["together_with"] == [FAQ]
    assert states(world)[FAQ].standing(NEW[FAQ]) is Standing.GOOD


@pytest.mark.parametrize("named", [PROMPT, FAQ])
def test_half_of_a_release_is_not_aborted(world, named):
    """One prompt is through: an abort would leave it behind, so nothing is done."""
    promote(world)
    serve(world, 2)
    write(world, PROMPT, lambda s: replace(s, rollout=None))
    before = states(world)
    error = world.refused("/api/rollouts/abort", 422, prompt=named, because="second thoughts")
    assert "release rollback spring" in error["next"] and states(world) == before


def test_a_rollback_reaches_what_was_left_when_it_was_made_already(world):
    """One prompt went back alone; asked for once more, the other follows in its own rollback."""
    promote(world, now=True)
    world.post("/api/rollback", prompt=PROMPT, alone=True)
    assert shares(world) == [0, 10_000]
    before = states(world)[PROMPT]
    answer = world.post("/api/rollback", prompt=PROMPT, because="the other one, too")
    assert answer["outcome"] == "unchanged" and answer["together_with"] == [FAQ]
    assert shares(world) == [0, 0] and states(world)[PROMPT].route == before.route
    assert isinstance(states(world)[FAQ].phase, Verifying)
    again = world.post("/api/rollback", prompt=PROMPT)
    assert again["outcome"] == "unchanged" and "together_with" not in again


# --- 5 and 6: what a partner goes back to, and what becomes of one that cannot


def poor(world, version):
    """An evaluation speaks against a version of FAQ."""
    body: Any = {"version": version, "suite": "accuracy", "passed": 1, "failed": 9}
    world.post("/api/evaluations", 201, prompt=FAQ, **body)


@pytest.mark.parametrize("by", ["a person", "knowngood"])
def test_a_partner_passes_over_a_target_that_is_unfit(world, by):
    """An evaluation speaks against its newest good version: it goes one further back."""
    promote(world, now=True)
    serve(world, 3)
    write(world, FAQ, lambda s: replace(s, rollout=None))
    older = replace(states(world)[FAQ].entry(OLD[FAQ]), version="v99", routed_ms=1, left_ms=2)
    write(world, FAQ, lambda s: replace(s, ledger=(older, *s.ledger)))
    poor(world, OLD[FAQ])
    if by == "a person":
        world.post("/api/rollback", prompt=PROMPT)
    else:
        serve(world, 10, bad=(PROMPT,))
    assert shares(world) == [0, 0] and states(world)[FAQ].route.control.version == "v99"


def test_a_partner_without_a_fit_target_says_which_are_unfit(world):
    """Its only good version failed its evaluation: it stays, and the answer says why."""
    promote(world, now=True)
    poor(world, OLD[FAQ])
    answer = world.post("/api/rollback", prompt=PROMPT)
    assert answer["left_behind"] == [FAQ] and shares(world) == [0, 10_000]
    assert "accuracy" in answer["why_left_behind"][FAQ]


def test_a_partners_recovery_is_given_the_time_of_its_own_policy(world):
    """Not that of the prompt that failed."""
    promote(world, now=True)
    world.post("/api/rollback", prompt=PROMPT)
    phases = [state.phase for state in all_of(world)]
    assert [phase.deadline_ms - phase.began_ms for phase in phases] == [30_000, 90_000]


def left(world):
    """FAQ cannot go back; PROMPT fails and does."""
    promote(world)
    serve(world, 8)
    write(world, FAQ, without_good)
    serve(world, 12, bad=(PROMPT,))


def test_one_that_cannot_go_back_masks_no_rollback_and_is_told(world, capsys):
    """The others go. It stays, climbs no further, is paged for once, and explains itself."""
    left(world)
    assert shares(world)[0] == 0 and shares(world)[1] > 0
    (line,) = lines(world, FAQ, "release.left_behind")
    assert "no known-good version" in line["because"] and replayed(world, line)["same"]
    assert "rollback.confirmed" in world.kinds() and "rollback.together" in world.kinds()
    told = [line for line in capsys.readouterr().out.splitlines() if "left-behind" in line]
    assert len(told) == 1 and "audience='on-call'" in told[0]
    waits = world.get(f"/api/prompts/{FAQ}/explain")["waiting_on"]
    assert any("the rest of the release spring went back" in wait["words"] for wait in waits)
    share = shares(world)[1]
    serve(world, 15)
    assert shares(world)[1] == share and pauses(world)[1]
    assert len(lines(world, FAQ, "release.left_behind")) == 1


def test_whoever_was_left_behind_goes_on_or_back_by_a_persons_word(world):
    """A resume lets it climb again; a rollback that names a version takes it off."""
    left(world)
    world.post("/api/rollouts/resume", prompt=FAQ, because="it is good by itself")
    assert not states(world)[FAQ].rollout.pause
    world.post("/api/vouch", prompt=FAQ, version="v99", because="it was fine")
    world.post("/api/rollback", prompt=FAQ, target_version="v99")
    assert shares(world) == [0, 0] and not states(world)[FAQ].told


def test_a_partner_whose_automation_is_off_is_left_to_people(world):
    """Nothing moves it by itself, and that is no reason to keep what fails; a person takes all."""
    promote(world)
    serve(world, 8)
    world.post("/api/automation", state="off", prompt=FAQ, **{"for": "1h"}, because="a demo")
    serve(world, 12, bad=(PROMPT,))
    assert shares(world)[0] == 0 and shares(world)[1] > 0
    (line,) = lines(world, FAQ, "release.left_behind")
    assert "its automation is off" in line["because"]
    answer = world.post("/api/rollback", prompt=PROMPT, target_version=OLD[PROMPT])
    assert answer["together_with"] == [FAQ] and shares(world) == [0, 0]


def test_a_part_beneath_a_newer_canary_goes_back_too(world):
    """What most users have is the release's: a newer version on trial above it hides nothing."""
    promote(world, now=True)
    for prompt in NEW:
        write(world, prompt, lambda s: replace(s, rollout=None))
    world.post("/api/promote", prompt=FAQ, version="v99", because="the next one")
    assert states(world)[FAQ].route.control.version == NEW[FAQ]
    world.post("/api/rollback", prompt=PROMPT)
    found = states(world)[FAQ]
    assert found.route.control.version == OLD[FAQ] and found.route.candidate is None
    assert found.standing(NEW[FAQ]) is Standing.QUARANTINED
    assert found.standing("v99") is Standing.CANDIDATE
