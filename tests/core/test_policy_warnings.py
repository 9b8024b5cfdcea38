"""`policy check` tells what is allowed and perhaps not meant."""

from typing import Any

import pytest

from knowngood.core.policy import own_warnings, parse, warnings
from tests.core.policies import trigger


def said(file: dict[str, Any]) -> list[str]:
    return warnings(parse(file))


def defaults(**sections: Any) -> dict[str, Any]:
    return {"defaults": sections}


def test_default_policy():
    """Of the default policy there is nothing to tell."""
    assert warnings(parse({})) == []


ANA = {"Ana": {"roles": ["on-call", "product-owner"]}}
LOOSE = {"first_hour": {"when": ["error_rate > 3%"]}}


@pytest.mark.parametrize(
    ("file", "path", "words"),
    [
        (
            defaults(triggers={"error_high": {"when": "error_rate > 5%"}}),
            "defaults.triggers.error_high",
            "never reached before error_critical (error_rate > 5%)",
        ),
        (
            defaults(triggers={"quality_medium": {"when": "quality drop > 30%"}}),
            "defaults.triggers.quality_medium",
            "never reached before quality_high (quality drop > 20%)",
        ),
        (
            trigger(action="observe", **{"for": "1h"}),
            "defaults.triggers.mine",
            "nothing follows when the breach persists",
        ),
        (trigger(), "defaults.triggers.mine", "asks without a time limit"),
        (
            trigger(action="rollback", limit="2m"),
            "defaults.triggers.mine",
            "rolls back by itself although its severity is high",
        ),
        (
            trigger(who="Bo", limit="5m") | {"people": ANA},
            "defaults.triggers.mine",
            "who: Bo reaches nobody; there is no such person or role",
        ),
        (
            {
                "people": {"Ana": {"roles": ["on-call"]}},
                "defaults": {"triggers": {"quality_medium": None}},
            },
            "defaults.triggers.quality_high",
            "who: product-owner reaches nobody; no one has this role",
        ),
        (
            trigger(limit="5m", evidence="none"),
            "defaults.triggers.mine",
            "with a probability of 0.35 to 1.00",
        ),
        (
            defaults(alerts=LOOSE),
            "defaults.alerts.first_hour",
            "error_rate > 3% is looser for a new version than error_rate > 2% in settled",
        ),
        (defaults(verify={"deadline": "6m"}), "defaults.verify.deadline", "more than 5 minutes"),
        (
            defaults(flap={"per_prompt_hour": 11}),
            "defaults.flap.per_prompt_hour",
            "more often than the whole fleet",
        ),
        (
            {"prompts": {"a*": {"window": "5m"}}},
            "prompts.a*",
            "it changes nothing: what it says holds already",
        ),
        (
            {"prompts": {"a*": {"window": "6m"}, "*b": {"window": "6m"}}},
            "prompts.*b",
            "it says the same as prompts.a*, which overlaps with it",
        ),
        (
            {"prompts": {"a": {"alerts": LOOSE}}},
            "prompts.a.alerts.first_hour",
            "looser for a new version",
        ),
        (defaults(ab={}), "defaults.ab.min_time", "longer than canary.wait_at_most"),
        (defaults(ab={}, canary={"stages": ["100%"]}), "defaults.ab", "nothing is ever compared"),
        (
            defaults(ab={"guardrails": {"tokens_per_call": "10%"}}),
            "defaults.ab.guardrails.tokens_per_call",
            "clients report no tokens_per_call by unit",
        ),
        (
            defaults(ab={"primary": "cost_per_call", "mode": "superiority"}),
            "defaults.ab.primary",
            "the gate would never open",
        ),
    ],
)
def test_warning(file, path, words):
    """What was perhaps not meant is told once, with its path."""
    lines = [line for line in said(file) if words in line]
    assert [line.split(": ")[0] for line in lines] == [path]


@pytest.mark.parametrize(
    "file",
    [
        {"people": ANA},
        trigger(limit="5m"),
        {"prompts": {"a*": {"window": "6m"}, "b*": {"window": "6m"}}},
        {"prompts": {"a*": {"window": "6m"}, "ab": {"window": "7m"}}},
        defaults(triggers={"error_high": {"when": "error_rate > 6%", "kinds": ["prompt"]}}),
        defaults(triggers={"error_critical": None}),
    ],
)
def test_no_warning(file):
    """What is plainly meant is not questioned."""
    assert said(file) == []


def test_nobody_is_warned_of_what_they_did_not_write():
    """A server on the built-in policy starts without warnings; a file's own are told."""
    assert own_warnings(parse({})) == []
    mine = own_warnings(parse(defaults(triggers={"error_high": {"when": "error_rate > 5%"}})))
    assert len(mine) == 1
    assert "error_high" in mine[0]
