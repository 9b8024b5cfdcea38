"""Recorded calls played back: what would have happened, and what would not."""

import json
import random

import pytest
import yaml

from knowngood.core.errors import BadRequest
from knowngood.core.policy import parse
from knowngood.engine.loop import Engine
from knowngood.sim.backtest import OVERLAP_MS, answer, deploys, replay
from knowngood.sim.trace import Call, Trace

POLICY = parse({})
START_MS = 1_700_049_600_000


def calls(
    version: str, begin_s: float, count: int, per_s: float, fail: float = 0.0, seed: int = 1
) -> list[Call]:
    """`count` calls at a steady rate; failures are drawn."""
    rng = random.Random(seed)
    return [
        Call(
            START_MS + round((begin_s + number / per_s) * 1000),
            version,
            "",
            "provider" if rng.random() < fail else "ok",
            400.0 + rng.random() * 100,
            None,
            10,
            10,
        )
        for number in range(count)
    ]


def played(*parts: list[Call], policy=POLICY):
    """The answer to the calls, as the command prints it."""
    trace = Trace([call for part in parts for call in part])
    data = answer(replay(trace.calls, policy, "support-bot"), trace)
    return json.loads(json.dumps(data, allow_nan=False))


def finding(data, version, trigger):
    return next(f for f in data["findings"] if (f["version"], f["trigger"]) == (version, trigger))


HEALTHY = calls("v1", 0, 3000, 10)  # five minutes
SECOND_HALF = 300


def test_healthy_traffic_finds_nothing():
    """A new version that is as good as the old one is left alone."""
    data = played(HEALTHY, calls("v2", SECOND_HALF, 3000, 10, seed=2))
    assert (data["rollbacks"], data["questions"], data["ignored"]) == ([], [], {})
    assert data["calls"] == 6000
    assert [v["version"] for v in data["versions"]] == ["v1", "v2"]
    assert finding(data, "v2", "error_critical")["verdict"] == "clear"
    assert [d["kind"] for d in data["decisions"]] == ["route.moved", "route.moved"]


def test_a_bad_deploy_is_rolled_back_once_and_soon():
    """A fifth failing from the switch on: one rollback, within half a minute."""
    data = played(HEALTHY, calls("v2", SECOND_HALF, 3000, 10, fail=0.2, seed=2))
    (back,) = data["rollbacks"]
    assert (back["from_version"], back["to_version"]) == ("v2", "v1")
    assert (back["prompt"], back["environment"]) == ("support-bot", "production")
    assert 0 < back["after_s"] <= 30
    assert "errors" in back["because"]
    bad = data["versions"][1]
    assert bad["standing"] == "quarantined"
    assert bad["off_route"] == pytest.approx(3000 - 10 * back["after_s"], abs=20)
    assert f"{bad['off_route']} calls of v2" in data["note"]
    assert finding(data, "v2", "error_critical")["verdict"] == "breach"
    assert finding(data, "v2", "error_critical")["first_breach_at"] <= back["at"]


def test_one_failure_of_three_is_an_anecdote():
    """Too little evidence is unsure, and the answer says what is missing."""
    few = [*calls("v2", SECOND_HALF, 2, 1), *calls("v2", SECOND_HALF + 2, 1, 1, fail=1.0)]
    data = played(HEALTHY, few)
    assert (data["rollbacks"], data["questions"]) == ([], [])
    found = finding(data, "v2", "error_critical")
    assert (found["verdict"], found["n"], found["bad"]) == ("unsure", 3, 1)
    assert found["waiting_on"]
    assert any(words.startswith("error_critical on v2 is unsure") for words in data["waiting_on"])


def test_a_trace_of_one_version_has_nothing_to_go_back_to():
    """The rollback is held for want of a target, and people are told."""
    data = played(calls("v1", 0, 600, 10, fail=0.3))
    assert data["rollbacks"] == []
    held = [d for d in data["decisions"] if d["kind"] == "rollback.held"]
    assert len(held) == 1
    assert "no known-good version" in held[0]["because"]


def test_order_in_the_file_does_not_matter():
    """Rows are sorted before they are played."""
    mixed = [*HEALTHY, *calls("v2", SECOND_HALF, 1000, 10, fail=0.2, seed=2)]
    shuffled = random.Random(3).sample(mixed, len(mixed))
    assert played(shuffled)["rollbacks"] == played(mixed)["rollbacks"]


def test_a_rolled_back_version_that_comes_back_is_a_deploy():
    """Whoever deployed it again stepped over the quarantine; the replay says so and judges anew."""
    data = played(
        HEALTHY,
        calls("v2", 300, 600, 10, fail=0.2, seed=2),
        calls("v1", 360, 9000, 10, seed=3),  # 15 minutes: the flap guard's cooldown is over
        calls("v2", 1260, 600, 10, fail=0.2, seed=4),
    )
    assert [back["from_version"] for back in data["rollbacks"]] == ["v2", "v2"]
    assert "v2 was deployed again" in data["note"]
    assert data["versions"][1]["deploys"] == 2


def test_a_rollback_held_by_the_flap_guard_is_told():
    """A second rollback right after the first is not made by itself, in a replay as in life."""
    data = played(
        HEALTHY,
        calls("v2", 300, 600, 10, fail=0.2, seed=2),
        calls("v3", 360, 600, 10, fail=0.2, seed=4),
    )
    assert [back["from_version"] for back in data["rollbacks"]] == ["v2"]
    held = [d["because"] for d in data["decisions"] if d["kind"] == "rollback.held"]
    assert len(held) == 1
    assert "flap guard" in held[0]
    assert any("brake" in words for words in data["waiting_on"])


def test_a_question_is_told_with_how_it_ended():
    """Three percent failing is a question to people, not a rollback."""
    second = [
        call._replace(outcome="provider") if number % 30 == 29 else call
        for number, call in enumerate(calls("v2", SECOND_HALF, 6000, 10))
    ]
    data = played(HEALTHY, second)
    assert data["rollbacks"] == []
    (question,) = data["questions"]
    assert (question["action"], question["version"]) == ("ask", "v2")
    assert question["triggers"] == ["error_high"]
    assert question["ended"] == "open"


def test_a_call_that_timed_out_failed_and_was_slow():
    """More than one call in a hundred without an answer in time is a p99 that went up, too."""
    second = [
        call._replace(outcome="timeout", latency_ms=30_000.0) if number % 30 == 29 else call
        for number, call in enumerate(calls("v2", SECOND_HALF, 6000, 10))
    ]
    data = played(HEALTHY, second)
    assert data["rollbacks"] == []
    (question,) = data["questions"]
    assert set(question["triggers"]) == {"error_high", "latency_high"}


def test_processes_that_change_over_one_by_one_make_one_deploy():
    """Calls of both versions interleave for a while; that is not a deploy each time."""
    old, new = calls("v1", 0, 400, 10), calls("v2", 20, 400, 10)
    mixed = sorted([*old, *new])
    assert list(deploys(mixed)) == [(START_MS, "v1"), (START_MS + 20_000, "v2")]
    data = played(mixed)
    assert data["versions"][0]["off_route"] == pytest.approx(200, abs=10)
    assert "while another version was deployed" in data["note"]


def test_going_back_is_a_deploy():
    """When the newer version is called no more, the older one was deployed again."""
    gap_s = OVERLAP_MS / 1000
    trace = [*calls("v1", 0, 50, 1), *calls("v2", 50, 50, 1), *calls("v1", 100 + gap_s, 50, 1)]
    assert [version for _, version in deploys(trace)] == ["v1", "v2", "v1"]


def test_the_policy_decides():
    """Another policy, another answer: this one only watches."""
    watching = parse(
        yaml.safe_load("""
        policy: 1
        defaults: {triggers: {error_critical: {dry_run: true}}}
    """)
    )
    bad = calls("v2", SECOND_HALF, 1000, 10, fail=0.2, seed=2)
    data = played(HEALTHY, bad, policy=watching)
    assert data["rollbacks"] == []
    assert "dry_run" in [d["kind"] for d in data["decisions"]]


def test_excluded_calls_are_no_evidence():
    """What the caller did wrong does not roll a prompt back."""
    wrong = [
        call._replace(outcome="caller") if number % 2 else call
        for number, call in enumerate(calls("v2", SECOND_HALF, 2000, 10))
    ]
    data = played(HEALTHY, wrong)
    assert data["rollbacks"] == []
    assert data["versions"][1]["excluded"] == 1000


@pytest.mark.parametrize(
    ("trace", "most"),
    [
        ([*calls("v1", 0, 144, 1 / 600)], 18_000),  # a day, a call every ten minutes
        ([*calls("v1", 0, 10, 1), *calls("v1", 10 * 365 * 86_400, 10, 1)], 3_000),  # ten years
    ],
)
def test_silence_costs_no_time(monkeypatch, trace, most):
    """Time is virtual: where nothing is reported and nothing due, nobody looks."""
    ticks = []
    tick = Engine.tick

    def counted(self, now_ms):
        ticks.append(now_ms)
        return tick(self, now_ms)

    monkeypatch.setattr(Engine, "tick", counted)
    data = played(trace)
    assert len(ticks) <= most
    assert ticks == sorted(set(ticks))
    assert "blind" not in [d["kind"] for d in data["decisions"]]


def test_progress_is_told():
    """Whoever waits sees how far it is."""
    seen: list[tuple[int, int]] = []
    replay(HEALTHY, POLICY, "x", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3000, 3000)
    assert len(seen) == 300


def test_no_calls_and_no_name_are_refused():
    """A replay needs something to play and a name for it."""
    with pytest.raises(BadRequest, match="no calls"):
        replay([], POLICY, "x")
    with pytest.raises(BadRequest, match="prompt name"):
        replay(HEALTHY, POLICY, "No Name")
