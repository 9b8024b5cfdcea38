"""Policies in the tests' words."""

from typing import Any

import pytest

from knowngood.core.errors import BadPolicy
from knowngood.core.policy import parse
from knowngood.core.rules import Condition, PromptPolicy, Trigger

DECLARED: dict[str, Any] = {
    "scores": {
        "accuracy": {"min": 0, "max": 1, "better": "higher"},
        "toxicity": {"min": 0, "max": 1, "better": "lower"},
        "stars": {"min": 1, "max": 5},
        "balance": {"min": -1, "max": 1},
    },
    "counters": ["fallback"],
}


def trigger_of(policy: PromptPolicy, name: str) -> Trigger:
    return next(t for t in policy.triggers if t.name == name)


def policy_of(name: str = "support", **file: Any) -> PromptPolicy:
    return parse(file).for_prompt(name)


def trigger(**keys: Any) -> dict[str, Any]:
    """A file whose trigger `mine` is complete but for what is said here."""
    whole = {"when": "error_rate > 4%", "severity": "high", "action": "ask", "who": "on-call"}
    return {**DECLARED, "defaults": {"triggers": {"mine": whole | keys}}}


def refused(file: Any) -> BadPolicy:
    with pytest.raises(BadPolicy) as caught:
        parse(file)
    return caught.value


def condition(when: str) -> Condition:
    return trigger_of(parse(trigger(when=when)).for_prompt("x"), "mine").when
