"""What cannot be meant is refused, with its path, what is known, and what was probably meant."""

from typing import Any

import pytest

from knowngood.core.policy import DEFAULT_POLICY
from knowngood.core.policy_condition import known_metrics
from tests.core.policies import DECLARED, refused, trigger


@pytest.mark.parametrize(
    ("when", "words", "advice"),
    [
        ("eror_rate > 5%", "unknown metric 'eror_rate'", "did you mean error_rate?"),
        ("accuracy below 60%", "unknown metric 'accuracy'", "did you mean score.accuracy?"),
        ("fallback > 3%", "unknown metric 'fallback'", "did you mean counter.fallback?"),
        ("score.acuracy < 1", "unknown metric 'score.acuracy'", "did you mean score.accuracy?"),
        ("score.zeal < 1", "unknown metric 'score.zeal'", "declare zeal in scores:"),
        ("counter.xyzzy > 1", "unknown metric 'counter.xyzzy'", "declare xyzzy in counters:"),
        ("error_rate", "the comparison and the limit are missing", "error_rate > 5%"),
        ("error_rate >= 5%", "unknown comparison '>='", "write >"),
        ("error_rate is 5%", "unknown comparison 'is'", ""),
        ("quality drop 20%", "unknown comparison 'drop'", "write drop >"),
        ("quality drops > 20%", "unknown comparison 'drops >'", "did you mean drop >?"),
        ("error_rate 5%", "no comparison in '5%'", "error_rate > 5%"),
        ("error_rate >", "the limit is missing", "error_rate > 5%"),
        ("error_rate > many", "'many' is not a number or a percentage", "error_rate > 5%"),
        ("error_rate > 5", "not between 0% and 100%", "did you mean 5%?"),
        ("error_rate > 0%", "not between 0% and 100%", ""),
        ("error_rate > 100%", "not between 0% and 100%", ""),
        ("error_rate < 5%", "would fire on an improvement", "use increase > or > with error_rate"),
        ("latency_p99 drop > 5%", "would fire on an improvement", "use increase > or >"),
        ("quality increase > 5%", "would fire on an improvement", "use drop > or below"),
        ("quality > 0.9", "would fire on an improvement", "use drop > or below with quality"),
        ("score.toxicity below 0.1", "would fire on an improvement", "use increase > or >"),
        ("counter.fallback below 1%", "would fire on an improvement", "use increase > or >"),
        ("quality drop > 100%", "not between 0% and 100%", ""),
        ("quality drop > 0.2", "'0.2' is not a percentage", "quality drop > 20%"),
        ("latency_p99 increase > 2", "'2' is not a percentage", "latency_p99 increase > 20%"),
        ("latency_p99 increase > 20000%", "not between 0% and 10000%", ""),
        ("latency_p99 > 2500", "'2500' is not a duration", "latency_p99 > 2500ms"),
        ("latency_p99 > 5 lightyears", "unknown unit 'lightyears'", "latency_p99 > 2500ms"),
        ("latency_p99 > 5%", "not a percentage", "write latency_p99 increase > 5%"),
        ("tokens_per_call > 30%", "not a percentage", "write tokens_per_call increase > 30%"),
        ("cost_per_call > 0", "not above zero", ""),
        ("quality below 3", "not within its declared range, 0 to 1", "the score's own units"),
        ("score.stars below 60%", "not within its declared range, 1 to 5", "own units"),
        ("score.balance drop > 5%", "its range goes below zero", "an absolute limit"),
    ],
)
def test_refused_conditions(when, words, advice):
    """A condition that means nothing, or only good news, is refused with its path and advice."""
    error = refused(trigger(when=when))
    assert error.message.startswith("defaults.triggers.mine.when: ")
    assert words in error.message
    assert advice in error.next_step
    if "unknown metric" in words:
        assert error.known == known_metrics(DECLARED["scores"], ["fallback"])
        assert "score.accuracy" in error.known


TOP = [
    "policy",
    "defaults",
    "scores",
    "counters",
    "people",
    "channels",
    "audiences",
    "inbound",
    "related",
    "prompts",
]
SECTIONS = [
    "window", "baseline", "triggers", "alerts", "verify", "soak", "canary", "gradual", "bake",
    "flap", "keep", "freeze", "evaluations", "ab", "escalation",
    "approvals",
]  # fmt: skip
TRIGGER_KEYS = [
    "when", "severity", "action", "who", "limit", "window", "method", "kinds", "for", "then",
    "on_timeout", "evidence", "min_requests", "min_labels", "dry_run",
]  # fmt: skip
UNITS = ["ms", "s", "m", "h", "d"]


def defaults(**sections: Any) -> dict[str, Any]:
    return {"defaults": sections}


@pytest.mark.parametrize(
    ("file", "message", "known", "advice"),
    [
        ({"environments": {}}, "environments: unknown key 'environments'", TOP, ""),
        ({"default": {}}, "default: unknown key 'default'", TOP, "did you mean defaults?"),
        ({"policy": 2}, "policy: unknown policy format 2", ["1"], "write policy: 1"),
        ({"defaults": None}, "defaults: nothing is not a mapping", SECTIONS, ""),
        (defaults(windows="5m"), "defaults.windows: unknown key 'windows'", SECTIONS, "window?"),
        (defaults(flap={"cool": "1m"}), "defaults.flap.cool: unknown key 'cool'",
         ["cooldown", "per_prompt_hour", "fleet_hour"], "did you mean cooldown?"),
        (trigger(whem="x"), "defaults.triggers.mine.whem: unknown key 'whem'", TRIGGER_KEYS,
         "did you mean when?"),
        (trigger(severity="hgih"), "defaults.triggers.mine.severity: unknown severity 'hgih'",
         ["critical", "high", "medium", "low"], "did you mean high?"),
        (trigger(action="page"), "defaults.triggers.mine.action: unknown action 'page'",
         ["rollback", "ask", "observe", "alert"], ""),
        (trigger(method="slow"), "defaults.triggers.mine.method: unknown method 'slow'",
         ["instant", "gradual"], ""),
        (trigger(kinds=["promt"]), "defaults.triggers.mine.kinds[0]: unknown error kind 'promt'",
         ["prompt", "provider", "timeout"], "did you mean prompt?"),
        (trigger(on_timeout="roll back"),
         "defaults.triggers.mine.on_timeout: unknown answer to a time-out 'roll back'",
         ["escalate", "rollback"], "did you mean rollback?"),
        (trigger(evidence="some"), "defaults.triggers.mine.evidence: unknown evidence 'some'",
         ["auto", "none"], ""),
        (trigger(evidence={}), "defaults.triggers.mine.evidence: it names neither alpha nor q0",
         ["alpha", "q0"], "say auto"),
        (trigger(evidence={"alfa": 0.01}),
         "defaults.triggers.mine.evidence.alfa: unknown key 'alfa'", ["alpha", "q0"],
         "did you mean alpha?"),
        (trigger(evidence={"alpha": 0}),
         "defaults.triggers.mine.evidence.alpha: 0 is not a level between 0 and 0.5", [],
         "once in 2,000 days"),
        (trigger(evidence={"alpha": "1%"}),
         "defaults.triggers.mine.evidence.alpha: '1%' is not a level between 0 and 0.5", [], ""),
        (trigger(evidence={"alpha": 0.6}),
         "defaults.triggers.mine.evidence.alpha: 0.6 is not a level between 0 and 0.5", [], ""),
        (trigger(evidence={"q0": "100%"}),
         "defaults.triggers.mine.evidence.q0: '100%' is not between 0% and 100%", [], ""),
        (trigger(evidence={"q0": "4%"}),
         "defaults.triggers.mine.evidence.q0: 4% is not below the limit, error_rate > 4%", [],
         "leave it out"),
        (trigger(when="latency_p99 > 2s", evidence={"q0": "1%"}),
         "defaults.triggers.mine.evidence.q0: only a limit on a share of calls has a q0",
         ["error_rate >", "refusal_rate >", "counter.NAME >"], ""),
        (trigger(limit="5 parsecs"),
         "defaults.triggers.mine.limit: '5 parsecs' has the unknown unit 'parsecs'", UNITS, ""),
        (trigger(limit=5), "defaults.triggers.mine.limit: 5 is not a duration", UNITS, "90s"),
        (trigger(window="1s"), "defaults.triggers.mine.window: a window of 1s is not between",
         [], ""),
        (trigger(dry_run="yes"), "defaults.triggers.mine.dry_run: 'yes' is not true or false",
         ["true", "false"], ""),
        (defaults(triggers={"eror_high": None}),
         "defaults.triggers.eror_high: unknown trigger 'eror_high'",
         sorted(DEFAULT_POLICY["defaults"]["triggers"]), "did you mean error_high?"),
        (defaults(alerts={"setled": False}), "defaults.alerts.setled: unknown alert 'setled'",
         ["first_hour", "settled"], "did you mean settled?"),
        (defaults(alerts={"settled": {"age": "> 60m"}}),
         "defaults.alerts.settled.age: '> 60m' is not an age", ["<", ">="], ""),
        (defaults(baseline={"from": ["controll"]}),
         "defaults.baseline.from[0]: unknown source of a baseline 'controll'",
         ["control", "previous_good"], "did you mean control?"),
        (defaults(baseline={"min_requests": 1.5}),
         "defaults.baseline.min_requests: 1.5 is not a whole number", [], ""),
        (defaults(flap={"fleet_hour": 0}), "defaults.flap.fleet_hour: 0 is not between 1 and",
         [], ""),
        (defaults(verify={"error_rate": "1%"}), "defaults.verify.error_rate: '1%' is not a limit",
         [], '"< 1%"'),
        (defaults(gradual={"pause_above": "quality below 50%"}),
         "defaults.gradual.pause_above: only error_rate can be watched here", ["error_rate"], ""),
        (defaults(bake={"holdback": "60%"}),
         "defaults.bake.holdback: a holdback of 60% is more than one half", [], ""),
        ({"scores": {"stars": {"better": "more"}}}, "scores.stars.better: unknown direction 'more'",
         ["higher", "lower"], ""),
        ({"scores": {"stars": {"max": 5}}}, "scores.stars.min: a score declares its range", [], ""),
        ({"scores": {"stars": {"min": 5, "max": 1}}}, "scores.stars.max: 1 is not above 5", [], ""),
        ({"scores": {"stars": {"min": True, "max": 5}}}, "scores.stars.min: True is not a number",
         [], ""),
        ({"counters": ["Fall back"]}, "counters[0]: 'Fall back' is not a name", [], "a-z"),
        ({"people": {"Ana": {"email": "a@b"}}}, "people.Ana.email: unknown key 'email'",
         ["mail", "slack", "pagerduty", "roles"], "did you mean mail?"),
        ({"related": [["one"]]}, "related[0]: a group of related prompts names two or more",
         [], ""),
        ({"related": ["one", "two"]}, "related[0]: 'one' is not a list", [], ""),
        ({"prompts": {"a:b": {}}}, "prompts.a:b: 'a:b' is not a name", [], "a-z"),
        ({"prompts": {"a": {"trigger": {}}}}, "prompts.a.trigger: unknown key 'trigger'",
         [*SECTIONS, "auto_rollback_stale", "authors"], "did you mean triggers?"),
        ({"defaults": {"authors": []}}, "defaults.authors: unknown key 'authors'", SECTIONS, ""),
        ({"scores": {"quality": {"better": "lower"}}},
         "defaults.triggers.quality_high.when: drop on quality would fire on an improvement",
         [], "use increase > or > with quality"),
        ([], "policy: [] is not a mapping", TOP, ""),
    ],
)  # fmt: skip
def test_refusals(file, message, known, advice):
    """What is not known is refused with its path, the known names, and the closest of them."""
    error = refused(file)
    assert error.message.startswith(message)
    assert error.known == known
    assert advice in error.next_step


@pytest.mark.parametrize(
    ("section", "stages", "words"),
    [
        ("canary", ["5%", "1%", "100%"], "the stages do not rise"),
        ("canary", ["5%", "5%", "100%"], "the stage 5% is there twice"),
        ("canary", ["0%", "100%"], "the first stage, 0%, changes nothing"),
        ("canary", ["1%", "50%"], "the last stage is 50%, not 100%"),
        ("canary", ["1%", "120%"], "not between 0% and 100%"),
        ("canary", ["0.001%", "100%"], "not a whole number of basis points"),
        ("canary", [], "a ladder has at least one stage"),
        ("canary", "100%", "is not a list of shares"),
        ("gradual", ["50%", "75%", "0%"], "the stages do not fall"),
        ("gradual", ["100%", "0%"], "the first stage, 100%, changes nothing"),
        ("gradual", ["75%", "25%"], "the last stage is 25%, not 0%"),
    ],
)
def test_refused_stages(section, stages, words):
    """A canary rises to all of the traffic, a gradual rollback falls to none of it."""
    error = refused(defaults(**{section: {"stages": stages}}))
    assert error.message.startswith(f"defaults.{section}.stages: ")
    assert words in error.message


@pytest.mark.parametrize(
    ("keys", "path", "words"),
    [
        ({"for": "1h"}, "for", "only action: observe waits"),
        ({"then": "ask"}, "then", "only action: observe waits"),
        ({"action": "observe"}, "for", "an observation needs a length"),
        ({"action": "rollback", "on_timeout": "rollback"}, "on_timeout", "only a question"),
        ({"when": "latency_p99 > 2s", "kinds": ["prompt"]}, "kinds", "only error_rate has kinds"),
        ({"min_requests": 30}, "min_requests", "say evidence: none"),
        ({"min_labels": 30}, "min_labels", "only a score that is judged by evidence has labels"),
        ({"who": "system"}, "who", "the system cannot answer a question"),
    ],
)
def test_refused_combinations(keys, path, words):
    """Keys of a trigger that say nothing together are refused."""
    error = refused(trigger(**keys))
    assert error.message.startswith(f"defaults.triggers.mine.{path}: ")
    assert words in error.message


@pytest.mark.parametrize("key", ["when", "severity", "action", "who"])
def test_new_trigger_is_complete(key):
    """A trigger of one's own says when, how bad, what to do and whom to ask."""
    file = trigger()
    del file["defaults"]["triggers"]["mine"][key]
    assert refused(file).message.startswith(f"defaults.triggers.mine.{key}: ")


def test_verify_goal_is_before_its_deadline():
    """A goal that comes after the deadline is no goal."""
    error = refused({"prompts": {"a": {"verify": {"goal": "6m"}}}})
    assert error.message == "prompts.a.verify.goal: 6m is longer than deadline, 5m"


def test_all_problems_are_told_at_once():
    """The owner of a file mends it in one go: a line for each problem."""
    error = refused({"policy": 3, "defaults": {"window": 5, "keep": {"hut": 1}}})
    assert [line.split(":")[0] for line in error.message.splitlines()] == [
        "policy",
        "defaults.window",
        "defaults.keep.hut",
    ]
