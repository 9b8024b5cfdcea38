"""One policy, one canonical text, one revision."""

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.errors import BadPolicy
from knowngood.core.model import Severity
from knowngood.core.policy import DEFAULT_POLICY, parse, warnings
from knowngood.core.policy_parse import FILE, PROMPT
from knowngood.core.tree import render_tree, tree
from tests.core.policies import trigger


def test_the_default_file_says_nothing_new():
    """The default policy written out is the same policy."""
    assert parse(DEFAULT_POLICY) == parse({})


def test_parsing_leaves_the_default_alone():
    """A file never changes what the next file starts from."""
    before = json.dumps(DEFAULT_POLICY)
    parse({"defaults": {"keep": {"hot": 9}, "triggers": {"error_high": None}}})
    assert json.dumps(DEFAULT_POLICY) == before


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(item) for item in value] if isinstance(value, list) else value


def test_revision_is_stable_under_key_order():
    """Two people who write the same policy in another order get the same revision."""
    file = trigger() | {
        "prompts": {"b": {"window": "6m"}, "a": {"keep": {"hot": 4, "archive": "9d"}}}
    }
    one, other = parse(file), parse(reversed_keys(file))
    assert one.revision == other.revision
    assert one.for_prompt("a").triggers == other.for_prompt("a").triggers


def test_revision_is_that_of_the_text():
    """The revision tells policies apart and is carried by every prompt's policy."""
    file = parse({"defaults": {"keep": {"hot": 4}}})
    assert len(file.revision) == 64
    assert file.revision != parse({}).revision
    assert file.for_prompt("x").revision == file.revision


DURATIONS = st.sampled_from(["90s", "5m", "1.5h", "24h"])
WHEN = st.sampled_from(
    ["error_rate > 3%", "quality drop > 15%", "latency_p99 > 2s", "score.stars below 2"]
)
ACTIONS = st.sampled_from(
    [
        {"action": "ask", "who": "on-call", "on_timeout": "rollback"},
        {"action": "observe", "for": "1h", "then": "ask", "who": "Ana"},
        {"action": "rollback", "dry_run": True},
        {"action": "alert", "who": "on-call"},
    ]
)
COMPLETE = st.builds(
    lambda when, severity, action, more: {"when": when, "severity": severity, **action, **more},
    WHEN,
    st.sampled_from([s.value for s in Severity]),
    ACTIONS,
    st.fixed_dictionaries({}, optional={"limit": DURATIONS, "window": DURATIONS}),
)
PARTIAL = st.fixed_dictionaries(
    {},
    optional={
        "when": WHEN,
        "limit": DURATIONS,
        "dry_run": st.booleans(),
        "action": st.sampled_from(["ask", "rollback", "alert"]),
        "who": st.just("on-call"),
    },
)
TRIGGERS = st.dictionaries(
    st.sampled_from(["error_critical", "error_high", "quality_medium"]),
    st.one_of(PARTIAL, COMPLETE, st.none(), st.just(False)),
)
OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "triggers": TRIGGERS,
        "keep": st.fixed_dictionaries(
            {}, optional={"hot": st.integers(1, 9), "archive": DURATIONS}
        ),
        "alerts": st.dictionaries(st.sampled_from(["first_hour", "settled"]), st.none()),
        "verify": st.fixed_dictionaries({}, optional={"deadline": DURATIONS, "goal": DURATIONS}),
        "window": DURATIONS,
        "ab": st.one_of(
            st.none(),
            st.just(False),
            st.fixed_dictionaries(
                {},
                optional={
                    "primary": st.sampled_from(["quality", "score.stars", "error_rate"]),
                    "mode": st.sampled_from(["superiority", "non_inferiority"]),
                    "guardrails": st.dictionaries(
                        st.sampled_from(["quality", "score.stars", "latency_p99"]),
                        st.sampled_from(["1%", 0.02, None, False]),
                    ),
                    "min_units": st.integers(1, 300),
                    "max_units": st.integers(100, 400),
                },
            ),
        ),
    },
)
FILES = st.fixed_dictionaries(
    {"scores": st.just({"stars": {"min": 1, "max": 5}})},
    optional={
        "defaults": st.builds(
            lambda sections, mine: {**sections, "triggers": sections.get("triggers", {}) | mine},
            OVERRIDES,
            st.dictionaries(st.sampled_from(["mine", "yours"]), COMPLETE),
        ),
        "prompts": st.dictionaries(st.sampled_from(["a", "ab", "*", "a*", "*b", "?"]), OVERRIDES),
        "people": st.dictionaries(st.sampled_from(["Ana", "Bo"]), st.just({"roles": ["on-call"]})),
        "related": st.just([["a", "ab"]]),
        "counters": st.lists(st.sampled_from(["fallback", "retry"])),
    },
)


@given(FILES)
def test_canonical_text_is_a_fixpoint(file):
    """A policy that parses at all parses again from its canonical text, to the same policy."""
    try:
        policy = parse(file)
    except BadPolicy:
        return  # contradictions are refused, and tested above
    again = parse(json.loads(policy.canonical))
    assert again == policy
    assert again.revision == policy.revision
    for name in ("a", "ab", "b", "xyz", "cb", "q"):
        assert again.for_prompt(name) == policy.for_prompt(name)


@given(FILES)
def test_whatever_parses_can_be_used(file):
    """After loading, no policy fails: every prompt's can be built, warned of and drawn."""
    try:
        policy = parse(file)
    except BadPolicy:
        return
    assert all(isinstance(line, str) for line in warnings(policy))
    for name in ("a", "ab", "b", "xyz", "cb", "q"):
        assert render_tree(tree(policy.for_prompt(name))).startswith("START")


def test_an_entry_may_need_its_glob():
    """A name may refine a trigger that only a glob defines."""
    brought = {"when": "error_rate > 3%", "severity": "critical", "action": "rollback"}
    file = {
        "defaults": {"triggers": {"error_critical": None}},
        "prompts": {
            "a": {"triggers": {"error_critical": {"limit": "9m"}}},
            "*": {"triggers": {"error_critical": brought}},
        },
    }
    assert parse(file).for_prompt("a").triggers[0].limit_ms == 540_000
    assert warnings(parse(file)) == []  # it is no mistake, and reading it raises nothing


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)


@given(
    st.sampled_from([*FILE]), st.sampled_from([*PROMPT, "quality", "a", "*"]), JSON, st.booleans()
)
def test_nonsense_is_refused_in_words(top, key, value, nested):
    """Whatever stands in a file, the answer is a policy or BadPolicy, never a crash."""
    file = {top: {key: value}} if nested else {top: value}
    made = None
    with suppress(BadPolicy):
        made = parse(file)
    if made is not None:  # what is taken can be used, and means the same when it is read again
        assert made.for_prompt("any").revision == made.revision
        assert parse(made.data).canonical == made.canonical
