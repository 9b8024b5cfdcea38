"""The `ab` section of a policy: off by default, merged key by key, refused if it means nothing."""

import hashlib
import json
from typing import Any

import pytest

from knowngood.core.policy import parse
from knowngood.core.rules import Aim, ExperimentRule, Looks, Margin
from knowngood.core.tree import render_tree, tree
from tests.core.policies import DECLARED, policy_of, refused

WRITTEN: dict[str, Any] = {
    "primary": "quality",
    "mode": "superiority",
    "method": "fixed",
    "alpha": 0.01,
    "guardrails": {"error_rate": "0.2%", "latency_p99": None, "score.stars": "3%"},
    "min_units": 300,
    "max_units": 9_000,
    "min_time": "48h",
}
METRICS = [
    "error_rate", "latency_p99", "tokens_per_call", "cost_per_call", "score.accuracy",
    "score.balance", "quality", "score.stars", "score.toxicity",
]  # fmt: skip


def file(ab: Any, **prompts: Any) -> dict[str, Any]:
    entries = {"prompts": {name: {"ab": each} for name, each in prompts.items()}}
    return {**DECLARED, "defaults": {"ab": ab}, **entries}


def test_no_gate_is_asked_for_by_default():
    """Without the section nothing changes, the canonical text and its digest included."""
    policy = parse({})
    assert policy.for_prompt("x").ab is None
    assert "ab" not in json.loads(policy.canonical)["defaults"]
    assert policy.revision == hashlib.sha256(policy.canonical.encode()).hexdigest()
    for nothing in (None, False):
        assert parse({"defaults": {"ab": nothing}}) == policy
    assert "A/B GATE" not in render_tree(tree(policy.for_prompt("x")))


def test_an_empty_section_is_the_design_s_gate():
    """Not worse on errors by half a point, on p99 by a tenth, on quality by two percent."""
    rule = policy_of(defaults={"ab": {}}).ab
    assert rule == ExperimentRule(
        primary="quality",
        aim=Aim.NON_INFERIORITY,
        looks=Looks.ANYTIME,
        alpha=0.05,
        guardrails=(
            Margin("error_rate", 0.005),
            Margin("latency_p99", 0.1),
            Margin("quality", 0.02),
        ),
        min_units_count=200,
        max_units_count=20_000,
        min_time_ms=86_400_000,
    )


def test_every_key_is_read():
    """What is written holds; a guardrail that is null is taken out, others stay."""
    rule = parse(file(WRITTEN)).for_prompt("x").ab
    assert rule == ExperimentRule(
        primary="quality",
        aim=Aim.SUPERIORITY,
        looks=Looks.FIXED,
        alpha=0.01,
        guardrails=(
            Margin("error_rate", 0.002),
            Margin("quality", 0.02),
            Margin("score.stars", 0.03),
        ),
        min_units_count=300,
        max_units_count=9_000,
        min_time_ms=2 * 86_400_000,
    )


def test_a_prompt_overrides_key_by_key():
    """One margin of one prompt; another prompt without a gate; a third that alone has one."""
    policy = parse(file(WRITTEN, a={"guardrails": {"quality": "1%"}}, b=False))
    mine, none = (policy.for_prompt(name).ab for name in "ab")
    assert mine and mine.margin_of("quality") == 0.01
    assert mine.margin_of("error_rate") == 0.002 and mine.margin_of("latency_p99") is None
    assert none is None
    alone = parse(file(None, c={"primary": "score.stars", "mode": "superiority"}))
    rule = alone.for_prompt("c").ab
    assert rule and rule.primary == "score.stars"
    assert alone.for_prompt("d").ab is None


def test_the_tree_draws_it():
    """`policy show --tree` says what a candidate has to show."""
    drawn = render_tree(tree(parse(file(WRITTEN)).for_prompt("x")))
    assert "A/B GATE before a promotion: one look, at 9,000 units an arm, 2 d at least" in drawn
    assert "errors: not worse by 0.2%, p < 0.01" in drawn
    assert "quality: better, and not worse by 2%, p < 0.01" in drawn
    modest = render_tree(tree(policy_of(defaults={"ab": {}})))
    assert "A/B GATE before a promotion: to 20,000 units an arm, 1 d at least" in modest


@pytest.mark.parametrize(
    ("ab", "message", "known", "advice"),
    [
        ("yes", "ab: 'yes' is not a mapping",
         ["primary", "mode", "method", "alpha", "guardrails", "min_units", "max_units", "min_time"],
         ""),
        ({"primry": "quality"}, "ab.primry: unknown key 'primry'",
         ["primary", "mode", "method", "alpha", "guardrails", "min_units", "max_units", "min_time"],
         "did you mean primary?"),
        ({"primary": "stars"}, "ab.primary: unknown metric of a comparison 'stars'", METRICS,
         "did you mean score.stars?"),
        ({"mode": "better"}, "ab.mode: unknown mode 'better'", ["superiority", "non_inferiority"],
         ""),
        ({"method": "anytim"}, "ab.method: unknown method 'anytim'", ["anytime", "fixed"],
         "did you mean anytime?"),
        ({"alpha": 0.5}, "ab.alpha: 0.5 is not below 0.5", [], ""),
        ({"alpha": "5%"}, "ab.alpha: '5%' is not a level", [], ""),
        ({"guardrails": ["quality"]}, "ab.guardrails: ['quality'] is not a mapping", METRICS, ""),
        ({"guardrails": {"latency_p50": "5%"}},
         "ab.guardrails.latency_p50: unknown metric of a comparison 'latency_p50'", METRICS,
         "did you mean latency_p99?"),
        ({"guardrails": {"quality": "0%"}}, "ab.guardrails.quality: '0%' is not between", [], ""),
        ({"guardrails": {"quality": "100%"}}, "ab.guardrails.quality: a margin of 100% or more",
         [], ""),
        ({"guardrails": {"error_rate": 2}}, "ab.guardrails.error_rate: a margin of 100% or more",
         [], ""),
        ({"guardrails": {"latency_p99": 20}}, "ab.guardrails.latency_p99: 20 is not between", [],
         ""),
        ({"guardrails": {"score.balance": "2%"}},
         "ab.guardrails.score.balance: a relative margin of score.balance means nothing", [], ""),
        ({"guardrails": {"quality": None}},
         "ab.guardrails.quality: mode: non_inferiority needs a margin", [], "mode: superiority"),
        ({"min_units": 500, "max_units": 400}, "ab.min_units: 500 is more than max_units, 400", [],
         ""),
        ({"max_units": 49}, "ab.max_units: 49 is not between 50 and", [], ""),
        ({"min_time": 24}, "ab.min_time: 24 is not a duration", ["ms", "s", "m", "h", "d"], "90s"),
    ],
)  # fmt: skip
def test_refusals(ab, message, known, advice):
    """Unknown names come with the known ones; what contradicts itself says why."""
    error = refused(file(ab))
    assert error.message.startswith(f"defaults.{message}")
    assert error.known == known
    assert advice in error.next_step


def test_a_prompt_s_contradiction_has_its_path():
    """A prompt whose entry spoils the gate of the defaults is named."""
    error = refused(file({}, a={"primary": "score.stars"}))
    assert error.message.startswith("prompts.a.ab.guardrails.score.stars: mode: non_inferiority")
