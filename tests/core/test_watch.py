"""What is watched over: from a policy's triggers to detectors, each asked for once."""

from typing import Any

import pytest

from knowngood.core.model import Comparison
from knowngood.core.policy import parse
from knowngood.core.rules import PromptPolicy
from knowngood.core.watch import (
    Watch,
    alert_triggers,
    elevated,
    is_rate,
    is_score,
    watch_of,
    watches,
)
from tests.core.build import DEFAULT, MINUTE
from tests.core.policies import trigger, trigger_of


def watched(**keys: Any) -> Watch | None:
    """The detector of a trigger that is complete but for what is said here."""
    return watch_of(trigger_of(parse(trigger(**keys)).for_prompt("cs"), "mine"))


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param({"evidence": "none"}, id="evidence: none"),
        pytest.param({"evidence": "none", "min_requests": 20}, id="a minimum of one's own"),
        pytest.param({"when": "tokens_per_call increase > 50%"}, id="tokens have no spread"),
        pytest.param({"when": "cost_per_call > 0.10"}, id="money has none either"),
        pytest.param({"when": "cost_per_call increase > 50%"}, id="nor has more money"),
    ],
)
def test_what_the_plain_rule_judges(keys):
    """No detector: `evidence: none`, and sums of which nobody knows how they vary."""
    assert watched(**keys) is None


@pytest.mark.parametrize(
    ("when", "metric", "comparison", "limit"),
    [
        ("error_rate > 4%", "error_rate", Comparison.ABOVE, 0.04),
        ("error_rate increase > 50%", "error_rate", Comparison.INCREASE, 0.5),
        ("refusal_rate > 4%", "refusal_rate", Comparison.ABOVE, 0.04),
        ("counter.fallback > 4%", "counter.fallback", Comparison.ABOVE, 0.04),
        ("latency_p99 increase > 100%", "latency_p99", Comparison.INCREASE, 1.0),
        ("latency_p50 > 2s", "latency_p50", Comparison.ABOVE, 2000.0),
        ("first_token_p99 > 300ms", "first_token_p99", Comparison.ABOVE, 300.0),
        ("quality drop > 20%", "quality", Comparison.DROP, 0.2),
        ("score.stars below 3", "score.stars", Comparison.BELOW, 3.0),
        ("score.toxicity increase > 20%", "score.toxicity", Comparison.INCREASE, 0.2),
        ("score.toxicity > 0.4", "score.toxicity", Comparison.ABOVE, 0.4),
    ],
)
def test_what_has_a_detector(when, metric, comparison, limit):
    """Shares of calls, latencies and scores, in every way that a policy may limit them."""
    found = watched(when=when)
    assert found is not None
    assert (found.metric, found.comparison) == (metric, comparison)
    assert found.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("keys", "alpha"),
    [
        ({"action": "rollback"}, 0.001),
        ({"action": "ask"}, 0.01),
        ({"action": "observe", "for": "1h"}, 0.02),
        ({"action": "alert"}, 0.01),
        ({"action": "ask", "when": "quality drop > 20%"}, 0.005),
        ({"action": "observe", "for": "1h", "when": "quality drop > 20%"}, 0.02),
        ({"action": "rollback", "when": "quality drop > 20%"}, 0.001),
        ({"action": "rollback", "evidence": {"alpha": 0.0001}}, 0.0001),
        ({"action": "ask", "evidence": {"alpha": 0.05}}, 0.05),
        ({"action": "ask", "evidence": {"q0": "1%"}}, 0.01),
    ],
)
def test_the_budget_for_false_alarms(keys, alpha):
    """The more a response does, the less often a healthy version may cause it."""
    found = watched(**keys)
    assert found is not None and found.alpha == alpha


def test_figures_of_ones_own():
    """`evidence: {alpha, q0}` and `min_labels` are what their owner wrote, in whatever form."""
    for q0 in ("1%", 0.01):
        found = watched(evidence={"alpha": 0.02, "q0": q0}, kinds=["prompt"], window="10m")
        assert found == Watch(
            "error_rate", Comparison.ABOVE, 0.04, 0.02, 10 * MINUTE, ("prompt",), 0.01
        )
    labelled = watched(when="quality drop > 20%", min_labels=30)
    assert labelled is not None and labelled.min_labels == 30
    assert Watch("quality", Comparison.DROP, 0.2, 0.005, MINUTE).min_labels == 10


def test_a_prompts_own_figures_take_the_place_of_the_defaults():
    """A file may say figures for all prompts and `auto` for one."""
    file = trigger(evidence={"alpha": 0.02, "q0": "1%"})
    file["prompts"] = {
        "plain": {"triggers": {"mine": {"evidence": "none"}}},
        "usual": {"triggers": {"mine": {"evidence": "auto"}}},
        "other": {"triggers": {"mine": {"evidence": {"q0": "2%"}}}},
    }
    policy = parse(file)
    found = {
        name: watch_of(trigger_of(policy.for_prompt(name), "mine"))
        for name in ("plain", "usual", "other", "cs")
    }
    assert found["plain"] is None
    shown = {name: (w.alpha, w.healthy) for name, w in found.items() if w}
    assert shown["usual"] == (0.01, None)
    assert shown["other"][1] == 0.02
    assert shown["cs"] == (0.02, 0.01)


def keys_of(policy: PromptPolicy) -> list[str]:
    return [watch.key for watch in watches(policy)]


def test_the_default_policy_watches_each_thing_once():
    """Triggers and alerts of every age, and 2 % errors: two that ask for the same share one."""
    asked = [watch_of(t) for t in DEFAULT.triggers]
    for rule in DEFAULT.alerts:
        asked += [watch_of(t) for t in alert_triggers(rule, DEFAULT)]
    keys = keys_of(DEFAULT)
    assert len(keys) == len(set(keys)) < len(asked)
    assert {watch.key for watch in asked if watch} | {elevated(5 * MINUTE).key} == set(keys)


def test_the_gate_of_a_cascade_is_always_watched():
    """Also by a policy without a single trigger."""
    bare = parse(
        {
            "defaults": {
                "triggers": {t.name: None for t in DEFAULT.triggers},
                "alerts": {rule.name: None for rule in DEFAULT.alerts},
            }
        }
    ).for_prompt("cs")
    assert watches(bare) == (elevated(5 * MINUTE),)
    assert elevated(5 * MINUTE) == Watch("error_rate", Comparison.ABOVE, 0.02, 0.01, 5 * MINUTE)


BASE: dict[str, Any] = {
    "metric": "error_rate",
    "comparison": Comparison.ABOVE,
    "limit": 0.05,
    "alpha": 0.001,
    "window_ms": 5 * MINUTE,
    "kinds": ("prompt",),
    "healthy": 0.01,
}


@pytest.mark.parametrize(
    "other",
    [
        {"metric": "refusal_rate"},
        {"comparison": Comparison.INCREASE},
        {"limit": 0.050001},
        {"alpha": 0.0010001},
        {"window_ms": 5 * MINUTE + 1},
        {"kinds": ("prompt", "timeout")},
        {"kinds": ()},
        {"healthy": 0.02},
        {"healthy": None},
    ],
)
def test_a_key_tells_detectors_apart(other):
    """A detector that asks for something else begins anew: it never takes another's evidence."""
    assert Watch(**{**BASE, **other}).key != Watch(**BASE).key
    assert Watch(**BASE).key == Watch(**BASE).key


def test_a_score_s_minimum_belongs_to_its_key():
    """Of a score the least labels count too; of a rate they mean nothing."""
    score = {**BASE, "metric": "quality", "kinds": (), "healthy": None}
    assert Watch(**score, min_labels=9).key != Watch(**score).key
    assert Watch(**BASE, min_labels=9).key == Watch(**BASE).key


@pytest.mark.parametrize(
    ("metric", "rate", "score"),
    [
        ("error_rate", True, False), ("refusal_rate", True, False), ("counter.x", True, False),
        ("quality", False, True), ("score.x", False, True), ("latency_p99", False, False),
        ("cost_per_call", False, False),
    ],
)  # fmt: skip
def test_what_kind_of_metric_it_is(metric, rate, score):
    """Shares of calls, declared scores, and the rest."""
    assert (is_rate(metric), is_score(metric)) == (rate, score)
