"""The file of a policy's tests: what is understood, and what is refused with its path."""

from fractions import Fraction
from typing import Any

import pytest

from knowngood.core.errors import BadPolicy
from knowngood.core.model import Arm
from knowngood.core.policy import parse
from knowngood.sim.series import Sample
from knowngood.sim.story import LENGTH_MAX_MS, instant_ms, policy_named, stories

POLICY = parse(
    {"policy": 1, "prompts": {"billing": {"triggers": {"error_high": None}}}, "counters": ["x"]}
)
TEST: dict[str, Any] = {
    "name": "a test",
    "calls": "20",
    "versions": {"v1": {"error_rate": "1%"}, "v2": ""},
    "events": [{"at": "2m", "deploy": "v2"}],
    "expect": [{"at": "3m", "route": "v2"}],
}


def read(**changes):
    """The one test, with these changes."""
    (story,) = stories({"tests": [{**TEST, **changes}]}, POLICY)
    return story


def refused(**changes) -> str:
    with pytest.raises(BadPolicy) as raised:
        read(**changes)
    return raised.value.message


def test_what_is_left_out_has_a_usual_value():
    """A test is short: one process, no delay, steps of a second, production."""
    story = read()
    assert (story.prompt, story.environment) == ("prompt", "production")
    assert (story.step_ms, story.served_ms, story.length_ms) == (1_000, 0, 180_000)
    usual = [Sample(Fraction(1)), Sample(Fraction(0))]
    assert [story.processes.at(9), story.late.at(9)] == usual
    assert list(story.versions) == ["v1", "v2"]
    assert story.versions["v2"] == {}


def test_a_split_names_the_control_first():
    """`{v1: 95%, v2: 5%}` is a route of two arms."""
    (event,) = read(events=[{"at": "1m", "split": {"v1": "95%", "v2": "5%"}}]).events
    assert event.arms == (Arm("v1", 9_500), Arm("v2", 500))


@pytest.mark.parametrize(
    ("text", "ms"), [("0", 0), ("90s", 90_000), ("2m30s", 150_000), ("1h5s", 3_605_000)]
)
def test_times_since_the_beginning(text, ms):
    """One unit, or several in a row."""
    assert instant_ms(text) == ms


def test_a_test_ends_with_its_last_expectation():
    """Unless one is for the whole test: then it ends when everything is over."""
    always = {"never": "rollback"}
    assert read(calls="20x10m").length_ms == 180_000
    assert read(calls="20x10m", expect=[always]).length_ms == 600_000
    assert read(calls="20x1m", expect=[always]).length_ms == 120_000  # the deploy
    assert read(calls="20x1m", step="1m", expect=[always, *TEST["expect"]]).length_ms == 180_000


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"names": "x"}, "tests[0].names: unknown key 'names'"),
        ({"calls": ""}, "tests[0]: a test needs calls"),
        ({"expect": []}, "tests[0]: a test needs expect"),
        ({"calls": "2y"}, "tests[0].calls: '2y' is not a share"),
        ({"calls": ["1", "2"]}, "tests[0].calls: ['1', '2'] is not one value"),
        ({"step": "500ms"}, "tests[0].step: a step of 500ms is no whole number of seconds"),
        ({"prompt": "Big Name"}, "tests[0].prompt: "),
        ({"environment": "a b"}, "tests[0].environment: "),
        ({"versions": {"v1": {"calls": "1"}}}, "tests[0].versions.v1.calls: calls belong to"),
        ({"versions": {"v1": {"qualty": "1"}}}, "versions.v1.qualty: unknown key 'qualty'"),
        ({"versions": {"v:1": {}}}, "tests[0].versions.v:1: "),
        (
            {"versions": {"v1": {"errors": "1", "error_rate": "1%"}}},
            "tests[0].versions.v1.errors: error_rate says it already",
        ),
        ({"events": [{"deploy": "v2"}]}, "tests[0].events[0]: an event has `at` and either"),
        ({"events": [{"at": "1m", "deploy": "v9"}]}, "events[0].deploy: unknown word 'v9'"),
        (
            {"events": [{"at": "1m", "split": {"v1": "50%", "v2": "40%"}}]},
            "tests[0].events[0].split: the weights sum to 9000",
        ),
        ({"events": [{"at": "4m", "deploy": "v2"}]}, "tests[0].events: an event comes after"),
        ({"events": [{"at": "x", "deploy": "v2"}]}, "tests[0].events[0].at: 'x' is no time"),
        ({"expect": [{"at": "1m"}]}, "tests[0].expect[0]: nothing is expected here"),
        ({"expect": [{"route": "v1"}]}, "tests[0].expect[0]: when?"),
        ({"expect": [{"at": "1m", "actions": "x"}]}, "expect[0].actions: unknown key 'actions'"),
        ({"expect": [{"at": "1m", "action": "rollbak"}]}, "action: unknown word 'rollbak'"),
        ({"expect": [{"at": "1m", "verdict": "breach"}]}, "verdict: 'breach' is not a mapping"),
        ({"expect": [{"at": "1m", "verdict": {"x": "clear"}}]}, "verdict: unknown word 'x'"),
        ({"expect": [{"at": "1m", "verdict": {"error_high": "ok"}}]}, "verdict: unknown word 'ok'"),
        ({"expect": [{"at": "1m", "standing": {"v1": "fine"}}]}, "standing: unknown word 'fine'"),
        ({"expect": [{"at": "1500ms", "route": "v1"}]}, "at: 1500ms is no whole number of s"),
        ({"expect": [{"at": "26h", "route": "v1"}]}, "at: 26h is beyond the longest test, 25h"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_path(changes, reason):
    """A test with a typing error would test nothing."""
    assert reason in refused(**changes)


def test_every_problem_is_told_at_once_and_what_is_known():
    """A line for each, and for the first of them what could stand there."""
    with pytest.raises(BadPolicy) as raised:
        stories({"tests": [{**TEST, "cals": "1", "step": "x"}, {}]}, POLICY)
    assert [line.partition(":")[0] for line in raised.value.message.splitlines()] == [
        "tests[0].cals", "tests[0].step", "tests[1]",
    ]  # fmt: skip
    assert {"calls", "versions", "expect"} <= set(raised.value.known)
    assert raised.value.next_step == "did you mean calls?"


def test_the_policy_of_the_prompt_says_which_triggers_there_are():
    """A trigger that is taken out for this prompt cannot be expected; an alert can be."""
    expect = [{"at": "3m", "verdict": {"error_high": "clear"}}]
    assert read(expect=expect).expectations[0].checks["verdict"] == {"error_high": ("clear",)}
    assert "unknown word 'error_high'" in refused(expect=expect, prompt="billing")
    read(expect=[{"at": "3m", "verdict": {"first_hour.error_rate": "breach"}}])


@pytest.mark.parametrize("data", ["x", [], {"tests": [], "x": 1}, {"policy": []}])
def test_a_file_of_another_form_is_refused(data):
    """The policy's name, and a list of tests."""

    def load():
        policy_named(data)
        stories(data, POLICY)

    with pytest.raises(BadPolicy):
        load()


def test_a_test_has_an_end():
    """A day and an hour: what lies beyond it is a typing error, or takes too long."""
    assert LENGTH_MAX_MS == 25 * 3_600_000
    assert "longer than 25h" in refused(calls="1x99999", expect=[{"never": "ask"}])
