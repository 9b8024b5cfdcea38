"""Policies tested by their owners: what is expected and holds, and what does not and is told."""

from typing import Any

import pytest

from knowngood.core.policy import parse
from knowngood.sim.policy_test import run, stories

DEFAULT = parse({})
BAD_DEPLOY: dict[str, Any] = {
    "name": "a version that always fails",
    "calls": "20",
    "versions": {"v1": {"error_rate": "0.3%"}, "v2": {"error_rate": "100%"}},
    "events": [{"at": "3m", "deploy": "v2"}],
}
HEALTHY: dict[str, Any] = {
    "name": "healthy",
    "calls": "20",
    "versions": {"v1": {"error_rate": "0.3%"}},
}


def failures(test, *expect, policy=DEFAULT, **changes):
    """What does not hold, each as (what, expected, seen)."""
    (story,) = stories({"tests": [{**test, **changes, "expect": list(expect)}]}, policy)
    return [(f.what, f.expected, f.seen) for f in run(story, policy)]


def test_a_bad_deploy_is_rolled_back_and_recovers():
    """From the deploy to the recovery: the real traffic goes to the version that the route says."""
    assert not failures(
        BAD_DEPLOY,
        {"at": "3m", "route": "v1", "action": "none", "paged": "nobody", "incident": "none"},
        {"at": "4m", "route": "v1", "standing": {"v1": "good", "v2": "quarantined"}},
        {"at": "4m", "action": "rollback", "paged": ["on-call", "incidents"]},
        {"at": "8m", "action": ["rollback", "recovered"], "phase": "steady", "incident": "none"},
        {"never": ["not_recovered", "blind", "held"]},
    )


@pytest.mark.parametrize(
    ("expect", "difference"),
    [
        ({"at": "4m", "route": "v2"}, ("route", "v2 100%", "v1 100%")),
        (
            {"at": "4m", "route": {"v1": "50%", "v2": "50%"}},
            ("route", "v1 50% + v2 50%", "v1 100%"),
        ),
        ({"at": "4m", "standing": {"v1": "candidate"}}, ("standing.v1", "candidate", "good")),
        ({"at": "3m", "action": "rollback"}, ("action", "rollback", "none")),
        ({"at": "3m", "paged": "on-call"}, ("paged", "on-call", "nobody")),
        ({"at": "3m", "phase": "verifying"}, ("phase", "verifying", "steady")),
        ({"at": "3m", "incident": "open"}, ("incident", "open", "none")),
    ],
)
def test_what_does_not_hold_is_told_with_what_was_seen(expect, difference):
    """Each expectation can fail, and says what there was instead."""
    assert failures(BAD_DEPLOY, expect) == [difference]


def test_a_rollback_that_must_never_happen_is_told_with_its_time():
    """`never` holds for the whole test or, with a time, until then."""
    ((what, expected, seen),) = failures(BAD_DEPLOY, {"never": "rollback"}, calls="20x5m")
    assert (what, expected) == ("never rollback", "none")
    assert seen.startswith("rollback at 3 min")
    assert not failures(BAD_DEPLOY, {"at": "3m", "never": "rollback"}, events=[])


def test_actions_are_counted_from_the_last_deploy():
    """After the next deploy the slate is clean, and `none` means none since then."""
    events = [*BAD_DEPLOY["events"], {"at": "10m", "deploy": "v3"}]
    versions = {**BAD_DEPLOY["versions"], "v3": {}}
    test = {**BAD_DEPLOY, "events": events, "versions": versions}
    assert not failures(
        test,
        {"at": "10m", "action": "rollback"},
        {"at": "12m", "route": "v3", "action": "none", "paged": "nobody"},
    )


def test_a_failure_shows_what_was_seen_and_decided():
    """Whoever reads it need not run it again: the findings, the decision and the waits."""
    expect = [{"at": "2m", "verdict": {"error_critical": "blind"}}]
    (story,) = stories({"tests": [{**HEALTHY, "expect": expect}]}, DEFAULT)
    (failure,) = run(story, DEFAULT)
    data = failure.data()
    assert data["path"] == "tests[0].expect[0].verdict"
    assert (data["at_s"], data["what"]) == (120, "verdict.error_critical")
    (found,) = data["findings"]
    assert (found["trigger"], found["version"]) == ("error_critical", "v1")
    assert found["words"].startswith("errors ")
    assert data["decided"].endswith(".")


# --- Missing data


def test_silence_is_blind_and_changes_nothing():
    """`_` calls: the processes say nothing and said no goodbye; on-call is paged once."""
    assert not failures(
        HEALTHY,
        {"at": "6m", "verdict": {"error_critical": "blind"}, "action": "blind", "paged": "on-call"},
        {"at": "6m", "waiting_on": "reports"},
        {"never": ["rollback", "held", "ask"]},
        calls="20x5m _x2m",
    )


def test_silence_of_a_version_that_failed_is_no_recovery_and_no_rollback():
    """Calls of the version go unreported from the deploy on: nobody may decide about it."""
    assert not failures(
        BAD_DEPLOY,
        {"at": "6m", "route": "v2", "incident": "none"},
        {"at": "6m", "never": ["rollback", "ask"]},
        versions={"v1": {}, "v2": {"error_rate": "_"}},
    )


def test_nobody_calling_is_idle_and_pages_nobody():
    """`0` calls: the processes say that they live."""
    assert not failures(
        HEALTHY,
        {"at": "12m", "action": "none", "paged": "nobody", "phase": "steady"},
        {"never": "blind"},
        calls="20x5m 0",
    )


def test_a_goodbye_is_not_silence():
    """`stale` calls: the processes have stopped as they should."""
    calls = "20x5m stale"
    assert not failures(HEALTHY, {"at": "12m", "paged": "nobody", "never": "blind"}, calls=calls)


def test_one_silent_process_among_others_blinds_nobody():
    """Two of three go on: no verdict is blind, and a bad deploy is found all the same."""
    assert not failures(
        BAD_DEPLOY,
        {"at": "4m", "route": "v1"},
        {"at": "8m", "action": "recovered", "never": "blind"},
        processes="3x2m 2",
    )


def test_processes_that_all_stop_reporting_are_blind():
    """No process is left that reports."""
    assert not failures(HEALTHY, {"at": "4m", "action": "blind"}, processes="3x2m 0")


def test_late_reports_count_late():
    """Reports ten seconds late make the rollback ten seconds later, and blind nobody."""

    def rolled_back(**changes):
        found = failures(BAD_DEPLOY, {"at": "6m", "never": ["rollback", "blind"]}, **changes)
        ((_, _, seen),) = found
        return int(seen.removeprefix("rollback at 3 min ").removesuffix(" s"))

    assert rolled_back(late="10s") == pytest.approx(rolled_back() + 10, abs=2)


def test_reports_that_are_very_late_are_a_silence_first():
    """Later than a process may be silent: blind until they arrive."""
    late = {"late": "0sx2m 30s"}
    assert not failures(HEALTHY, {"at": "2m25s", "action": "blind"}, **late)
    assert not failures(HEALTHY, {"at": "4m", "never": "rollback"}, **late)


# --- Routes, policies, determinism


def test_a_split_judges_both_arms_and_rolls_back_the_candidate():
    """A tenth of the calls is enough to see a version that always fails."""
    split = [{"at": "3m", "split": {"v1": "90%", "v2": "10%"}}]
    assert not failures(
        BAD_DEPLOY,
        {"at": "4m", "route": "v1", "action": "rollback", "standing": {"v2": "quarantined"}},
        events=split,
    )
    healthy = {"v1": {"error_rate": "0.3%"}, "v2": {"error_rate": "0.3%"}}
    assert not failures(
        BAD_DEPLOY,
        {"at": "20m", "route": {"v1": "90%", "v2": "10%"}, "action": "none"},
        {"at": "20m", "version": "v1", "verdict": {"error_critical": "clear"}},
        events=split,
        versions=healthy,
    )


def test_the_policy_of_the_file_decides():
    """In dry run the same deploy only leaves a line."""
    watching = parse({"defaults": {"triggers": {"error_critical": {"dry_run": True}}}})
    expect = {"at": "5m", "route": "v2", "action": "dry_run"}
    assert not failures(BAD_DEPLOY, expect, policy=watching)
    assert not failures(BAD_DEPLOY, {"at": "5m", "never": "rollback"}, policy=watching)


def test_staging_pages_nobody():
    """As in life: breaches there are recorded."""
    expect = {"at": "4m", "action": "rollback", "paged": "nobody"}
    assert not failures(BAD_DEPLOY, expect, environment="staging")


def test_a_version_that_was_good_for_a_day_is_asked_about():
    """`served`: what broke so long after its deploy is held by a brake of its own."""
    test = {**HEALTHY, "versions": {"v1": {"error_rate": "0%x5m 100%"}}}
    broken = {"at": "7m", "action": "held", "waiting_on": "was good for 2 d"}
    assert not failures(test, broken, served="2d")
    young = {"at": "7m", "action": "held", "waiting_on": "no known-good version"}
    assert not failures(test, young)


def test_a_score_is_held_against_the_version_before():
    """Half the quality, scored every other call, against what the good version had."""
    versions = {"v1": {"quality": "0.8~0.1"}, "v2": {"quality": "0.4~0.1"}}
    for version in versions.values():
        version["labels"] = "10"
    assert not failures(
        BAD_DEPLOY,
        {"at": "15m", "verdict": {"quality_high": "breach"}, "action": "ask"},
        {"never": "rollback"},
        versions=versions,
        events=[{"at": "10m", "deploy": "v2"}],
    )


def test_the_same_test_says_the_same():
    """No lots are drawn: two runs differ in nothing."""
    expect = [{"at": f"{m}m", "waiting_on": "nothing at all"} for m in range(1, 6)]
    (story,) = stories({"tests": [{**BAD_DEPLOY, "expect": expect}]}, DEFAULT)
    first, second = run(story, DEFAULT), run(story, DEFAULT)
    assert [f.data() for f in first] == [f.data() for f in second]
    assert len(first) == 5
