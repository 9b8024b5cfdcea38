"""A policy file: what holds without it, what it overrides, and for which prompt."""

import json

import pytest

from knowngood.core.look import alert_rules
from knowngood.core.model import Comparison, Method, Response, ScoreRange, Severity
from knowngood.core.policy import parse
from knowngood.core.policy_build import overlap
from knowngood.core.rules import BakeRule, BaselineRule, Condition, FlapRule, VerifyRule
from tests.core.policies import condition, policy_of, refused, trigger, trigger_of

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
ASK, OBSERVE, ROLLBACK = Response.ASK, Response.OBSERVE, Response.ROLLBACK
INSTANT, GRADUAL = Method.INSTANT, Method.GRADUAL


@pytest.mark.parametrize(
    ("name", "metric", "comparison", "limit", "severity", "action", "who", "limit_min", "method"),
    [
        ("error_critical", "error_rate", "above", 0.05, "critical", ROLLBACK, "system", 2, INSTANT),
        ("error_high", "error_rate", "above", 0.02, "high", ASK, "on-call", 5, INSTANT),
        ("quality_high", "quality", "drop", 0.2, "high", ASK, "product-owner", 30, INSTANT),
        ("quality_medium", "quality", "drop", 0.1, "medium", OBSERVE, "product-owner", 60, GRADUAL),
        ("latency_high", "latency_p99", "increase", 1.0, "high", ASK, "on-call", 10, INSTANT),
        (
            "latency_medium",
            "latency_p99",
            "increase",
            0.2,
            "medium",
            OBSERVE,
            "on-call",
            60,
            GRADUAL,
        ),
    ],
)
def test_default_triggers(
    name, metric, comparison, limit, severity, action, who, limit_min, method
):
    """The default triggers are the table of the requirements (R1 to R5b)."""
    found = trigger_of(policy_of(), name)
    assert (found.when.metric, found.when.comparison, found.when.limit) == (
        metric,
        comparison,
        limit,
    )
    assert (found.severity, found.action, found.who) == (severity, action, who)
    assert (found.limit_ms, found.method) == (limit_min * MINUTE_MS, method)
    assert (found.window_ms, found.evidence, found.on_timeout) == (
        5 * MINUTE_MS,
        "auto",
        "escalate",
    )
    observed = (HOUR_MS, ASK) if action is OBSERVE else (None, None)
    assert (found.for_ms, found.then) == observed
    assert (found.kinds, found.dry_run) == ((), False)


def test_default_rules():
    """Without a file, the numbers of the default policy hold."""
    policy = policy_of()
    assert len(policy.triggers) == 6
    assert policy.window_ms == 5 * MINUTE_MS
    assert policy.baseline == BaselineRule(("control", "previous_good"), 24 * HOUR_MS, 1000, 50)
    assert policy.verify == VerifyRule(0.01, MINUTE_MS, 5 * MINUTE_MS)
    assert policy.bake == BakeRule(HOUR_MS, 500)
    assert policy.flap == FlapRule(10 * MINUTE_MS, 2, 10)
    assert policy.scores == {"quality": ScoreRange(0, 1, "higher")}
    assert (policy.keep_hot_count, policy.auto_rollback_stale, policy.authors) == (3, False, ())


def test_default_sections_kept_for_later():
    """Ladders and the soak are part of the canonical policy before anything drives them."""
    defaults = parse({}).data["defaults"]
    assert defaults["soak"] == {"environment": "staging", "for": "24h", "min_calls": 100}
    assert defaults["canary"]["stages"] == ["1%", "5%", "25%", "100%"]
    assert (defaults["canary"]["hold"], defaults["canary"]["wait_at_most"]) == ("10m", "6h")
    assert defaults["gradual"]["stages"] == ["75%", "50%", "25%", "0%"]
    assert defaults["gradual"]["pause_above"] == "error_rate > 2%"
    assert defaults["keep"]["archive"] == "180d"


def test_triggers_come_most_severe_first():
    """Whoever walks the triggers meets the most severe first, in the order of the table."""
    assert [t.name for t in policy_of().triggers] == [
        "error_critical",
        "error_high",
        "quality_high",
        "latency_high",
        "quality_medium",
        "latency_medium",
    ]


@pytest.mark.parametrize(
    ("age_ms", "rule", "limits"),
    [
        (0, "first_hour", [0.005, 0.1, 0.05]),
        (HOUR_MS - 1, "first_hour", [0.005, 0.1, 0.05]),
        (HOUR_MS, "settled", [0.02, 0.2, 0.1]),
        (None, "settled", [0.02, 0.2, 0.1]),
    ],
)
def test_alerts_by_age(age_ms, rule, limits):
    """A version is watched more closely in its first hour (R7)."""
    (found,) = alert_rules(policy_of(), age_ms)
    assert (found.name, [c.limit for c in found.when]) == (rule, limits)
    assert [c.metric for c in found.when] == ["error_rate", "latency_p99", "quality"]


@pytest.mark.parametrize(
    ("when", "metric", "comparison", "limit"),
    [
        ("error_rate > 5%", "error_rate", Comparison.ABOVE, 0.05),
        ("error_rate>5%", "error_rate", Comparison.ABOVE, 0.05),
        ("error_rate above 0.5 %", "error_rate", Comparison.ABOVE, 0.005),
        ("error_rate > 0.05", "error_rate", Comparison.ABOVE, 0.05),
        ("error_rate increase > 200%", "error_rate", Comparison.INCREASE, 2.0),
        ("refusal_rate > 3%", "refusal_rate", Comparison.ABOVE, 0.03),
        ("quality drop > 20%", "quality", Comparison.DROP, 0.2),
        ("quality drop>20%", "quality", Comparison.DROP, 0.2),
        ("quality below 60 %", "quality", Comparison.BELOW, 0.6),
        ("score.quality < 0.6", "quality", Comparison.BELOW, 0.6),
        ("score.accuracy below 0.60", "score.accuracy", Comparison.BELOW, 0.6),
        ("score.toxicity above 0.1", "score.toxicity", Comparison.ABOVE, 0.1),
        ("score.toxicity increase > 50%", "score.toxicity", Comparison.INCREASE, 0.5),
        ("score.stars below 3.5", "score.stars", Comparison.BELOW, 3.5),
        ("score.balance below -0.25", "score.balance", Comparison.BELOW, -0.25),
        ("latency_p99 increase > 100%", "latency_p99", Comparison.INCREASE, 1.0),
        ("latency_p99 > 2500ms", "latency_p99", Comparison.ABOVE, 2500),
        ("latency_p50 > 2.5s", "latency_p50", Comparison.ABOVE, 2500),
        ("first_token_p99 > 800ms", "first_token_p99", Comparison.ABOVE, 800),
        ("tokens_per_call increase > 30%", "tokens_per_call", Comparison.INCREASE, 0.3),
        ("tokens_per_call > 3000", "tokens_per_call", Comparison.ABOVE, 3000),
        ("cost_per_call > 0.02", "cost_per_call", Comparison.ABOVE, 0.02),
        ("counter.fallback > 3%", "counter.fallback", Comparison.ABOVE, 0.03),
    ],
)
def test_conditions(when, metric, comparison, limit):
    """A condition means its metric, comparison and limit, and remembers how it was written."""
    assert condition(when) == Condition(metric, comparison, limit, when)


def test_method_follows_from_severity():
    """Medium severity moves gradually, everything else at once, unless the trigger says so."""
    methods = {
        severity: trigger_of(parse(trigger(severity=severity)).for_prompt("x"), "mine").method
        for severity in ("critical", "high", "medium", "low")
    }
    assert methods == {"critical": INSTANT, "high": INSTANT, "medium": GRADUAL, "low": INSTANT}
    said = parse(trigger(severity="medium", method="instant"))
    assert trigger_of(said.for_prompt("x"), "mine").method is INSTANT


def test_sections_merge_key_by_key():
    """A file says only what is different."""
    policy = policy_of(defaults={"flap": {"fleet_hour": 3}, "baseline": {"from": ["control"]}})
    assert policy.flap == FlapRule(fleet_hour_count=3)
    assert policy.baseline == BaselineRule(sources=("control",))


def test_triggers_merge_by_name():
    """A trigger keeps what its override leaves out; others stay as they are."""
    policy = policy_of(defaults={"triggers": {"error_critical": {"when": "error_rate > 8%"}}})
    found = trigger_of(policy, "error_critical")
    assert (found.when.limit, found.severity, found.action) == (0.08, Severity.CRITICAL, ROLLBACK)
    assert [t for t in policy.triggers if t != found] == list(policy_of().triggers[1:])


@pytest.mark.parametrize("nothing", [None, False])
def test_trigger_is_removed(nothing):
    """null or false takes a trigger or an alert out."""
    policy = policy_of(
        defaults={"triggers": {"error_high": nothing}, "alerts": {"first_hour": nothing}}
    )
    assert "error_high" not in [t.name for t in policy.triggers]
    assert [a.name for a in policy.alerts] == ["settled"]


def test_another_action_drops_what_it_inherits():
    """A wait or a person that was inherited goes when the action leaves it without a meaning."""
    policy = policy_of(
        defaults={
            "triggers": {"quality_medium": {"action": "ask"}, "error_high": {"action": "rollback"}}
        }
    )
    asked, rolled = (trigger_of(policy, name) for name in ("quality_medium", "error_high"))
    assert (asked.for_ms, asked.then, asked.who) == (None, None, "product-owner")
    assert rolled.who == "system"


PRECEDENCE = {
    "support-billing": {"keep": {"hot": 7}},
    "*": {"keep": {"hot": 4}, "bake": {"for": "2h"}, "window": "6m"},
    "support-*": {"keep": {"hot": 5}, "bake": {"for": "3h"}},
}


@pytest.mark.parametrize(
    ("name", "hot", "bake_h", "window_min"),
    [("search", 4, 2, 6), ("support-chat", 5, 3, 6), ("support-billing", 7, 3, 6)],
)
def test_precedence(name, hot, bake_h, window_min):
    """Defaults, then matching globs in the order of the file, then the prompt's own entry."""
    policy = policy_of(name, prompts=PRECEDENCE)
    assert policy.keep_hot_count == hot
    assert (policy.bake.for_ms, policy.window_ms) == (bake_h * HOUR_MS, window_min * MINUTE_MS)


def test_order_of_globs_decides():
    """Of two globs that match, the later one wins, also after a way through the canonical text."""
    for first, second in (("a*", "*b"), ("*b", "a*")):
        file = parse({"prompts": {first: {"keep": {"hot": 4}}, second: {"keep": {"hot": 5}}}})
        assert file.for_prompt("ab").keep_hot_count == 5
        again = parse(json.loads(file.canonical))
        assert again.for_prompt("ab").keep_hot_count == 5


def test_prompt_has_its_own_keys():
    """Authors, and the leave to roll back a long-good version, are said by prompt."""
    policy = policy_of(prompts={"support": {"authors": ["Ana"], "auto_rollback_stale": True}})
    assert (policy.authors, policy.auto_rollback_stale) == (("Ana",), True)


def test_globs_that_contradict_each_other_are_refused_at_load():
    """No prompt that is created later can end up with a policy that means nothing."""
    prompts = {"a*": {"verify": {"goal": "4m"}}, "*b": {"verify": {"deadline": "2m"}}}
    error = refused({"prompts": prompts})
    assert error.message.startswith("prompts.a* with prompts.*b.verify.goal: ")
    apart = {"a*": prompts["a*"], "b*": prompts["*b"]}
    assert parse({"prompts": apart}).for_prompt("b").verify.deadline_ms == 2 * MINUTE_MS


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("a*", "*b", True),
        ("a*", "b*", False),
        ("a?c", "abc", True),
        ("a?", "abc", False),
        ("*", "*", True),
        ("*a*", "b*b", True),
        ("a*b", "a*c", False),
        ("", "*", True),
    ],
)
def test_overlap(a, b, expected):
    """Two globs overlap when one name matches both, whichever comes first."""
    assert overlap(a, b) is overlap(b, a) is expected


def test_equal_entries_share_one_policy():
    """A thousand prompts under one glob cost one policy."""
    file = parse({"prompts": PRECEDENCE})
    assert file.for_prompt("support-a") is file.for_prompt("support-b")


def test_people_are_found_by_name_and_role():
    """`who` is a person or a role."""
    file = parse({"people": {"Ana": {"mail": "a@b", "roles": ["on-call"]}, "Bo": {}}})
    assert [p.mail for p in file.people_for("on-call")] == ["a@b"]
    assert [p.name for p in file.people_for("Bo")] == ["Bo"]
    assert file.people_for("nobody") == ()


def test_related_prompts():
    """Related prompts are declared as groups."""
    assert parse({"related": [["a", "b"], ["c", "d"]]}).related == (("a", "b"), ("c", "d"))
