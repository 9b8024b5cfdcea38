"""Laws of contents, names and diffs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.content import (
    CONFIG_DEPTH_MAX,
    CONTENT_BYTES_MAX,
    MESSAGES_MAX,
    ConfigChange,
    check_environment_name,
    check_prompt_name,
    check_version_name,
    content_data,
    diff,
    digest,
    parse_content,
    split_name,
)
from knowngood.core.errors import BadContent, BadRequest
from knowngood.core.model import Content, Message, Version

plain = st.text(alphabet="abc {\n", min_size=1, max_size=20).filter(lambda t: "{{" not in t)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(plain, inner, max_size=3),
    max_leaves=8,
)
configs = st.dictionaries(plain.filter(lambda k: k not in ("provider", "model")), json_values)
contents = st.builds(lambda t, c: {"text": t, "config": c}, plain, configs) | st.builds(
    lambda m, c: {"messages": m, "config": c},
    st.lists(
        st.builds(
            lambda r, t: {"role": r, "content": t},
            st.sampled_from(["system", "user", "assistant", "tool", "developer"]),
            plain,
        ),
        min_size=1,
        max_size=3,
    ),
    configs,
)


def version(name: str, data: dict) -> Version:
    content = parse_content(data)
    return Version("bot", name, content, digest(content), "ada", 0)


@given(contents)
def test_content_survives_its_data(data):
    """Content and its JSON data say the same, and so does the digest."""
    content = parse_content(data)
    assert content_data(content) == data
    assert parse_content(content_data(content)) == content
    assert digest(parse_content(content_data(content))) == digest(content)


def test_digest_is_of_the_canonical_content():
    """The digest does not depend on the order of keys, and is known from the outside."""
    one = parse_content({"text": "hé", "config": {"b": 1, "a": [True, None]}})
    two = parse_content({"config": {"a": [True, None], "b": 1}, "text": "hé"})
    assert digest(one) == digest(two)
    # printf '{"config":{"a":[true,null],"b":1},"text":"hé"}' | sha256sum
    assert digest(one) == "ff6f0b4184ceeb08a648140425471d63f5d84ee97c51b547c56e32191b66687f"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "must be an object"),
        ([], "must be an object"),
        ({}, "either `text` or `messages`"),
        ({"text": "x", "messages": []}, "either `text` or `messages`"),
        ({"text": "x", "tekst": "y"}, "unknown field 'tekst'"),
        ({"text": 1}, "`text` must be a text"),
        ({"text": ""}, "`text` is empty"),
        ({"text": "a\0b"}, "NUL"),
        ({"text": "\ud800"}, "not valid Unicode at character 0"),
        ({"text": "{{ a.b }}"}, "line 1, column 1"),
        ({"messages": []}, "at least one message"),
        ({"messages": "hi"}, "must be a list"),
        ({"messages": ["hi"]}, r"messages\[0\]` must be an object"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\]` must be an object"),
        ({"messages": [{"role": "robot", "content": ""}]}, r"messages\[0\].role` is 'robot'"),
        ({"messages": [{"role": "user", "content": 1}]}, r"messages\[0\].content` must be a text"),
        ({"messages": [{"role": "user", "content": "a\n{{"}]}, r"messages\[0\].content`, line 2"),
        ({"messages": [{"role": "user", "content": "x"}] * (MESSAGES_MAX + 1)}, "the limit is"),
        ({"text": "x", "config": []}, "`config` must be an object"),
        ({"text": "x", "config": {"a": float("nan")}}, "`config.a` is nan"),
        ({"text": "x", "config": {"a": [1, float("inf")]}}, r"`config.a\[1\]` is inf"),
        ({"text": "x", "config": {"a": {1: 2}}}, "`config.a` has the key 1"),
        ({"text": "x", "config": {"a": object()}}, "`config.a` is a object"),
        ({"text": "x", "config": {"a": 2**63}}, "`config.a` is a whole number"),
        ({"text": "x", "config": {"provider": 1}}, "`config.provider` must be a text"),
        ({"text": "x", "config": {"model": ""}}, "`config.model` must be a text"),
        ({"text": "x" * CONTENT_BYTES_MAX}, "the limit is"),
    ],
)
def test_bad_content_says_what_is_wrong(data, message):
    """Every refusal names the field."""
    with pytest.raises(BadContent, match=message):
        parse_content(data)


def test_a_config_that_contains_itself_is_refused():
    """Depth is bounded, so nothing recurses for ever."""
    config: dict = {}
    config["again"] = config
    with pytest.raises(BadContent, match=f"deeper than {CONFIG_DEPTH_MAX}"):
        parse_content({"text": "x", "config": config})


def test_content_is_a_copy():
    """What was digested cannot be changed through what was handed in."""
    config = {"a": [1]}
    content = parse_content({"text": "x", "config": config})
    config["a"].append(2)
    assert content.config == {"a": [1]}


@pytest.mark.parametrize("name", ["a", "0", "support-bot", "a.b_c-d", "x" * 128])
def test_names_follow_the_rule(name):
    """`[a-z0-9][a-z0-9._-]*`, 128 characters at most."""
    assert check_prompt_name(name) == name
    assert check_environment_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "-a", ".a", "a b", "a/b", "a:b", "*", "é", "a\n", "x" * 129, None, 7, b"a"]
)
def test_other_names_are_refused(name):
    """Neither colon nor slash, nothing that needs quoting."""
    with pytest.raises(BadRequest, match="cannot be a prompt name"):
        check_prompt_name(name)
    with pytest.raises(BadRequest, match="cannot be an environment name"):
        check_environment_name(name)


@pytest.mark.parametrize("name", ["v1", "2024-06-01 évaluation", "a/b", "*", "x" * 128])
def test_a_version_is_any_text_without_a_colon(name):
    """Teams name versions as they like."""
    assert check_version_name(name) == name


@pytest.mark.parametrize("name", ["", "a:b", " a", "a ", "a\nb", "a\0", "\ud800", "x" * 129, None])
def test_other_versions_are_refused(name):
    """No colon, nothing invisible."""
    with pytest.raises(BadRequest):
        check_version_name(name)


def test_a_name_that_is_too_long_is_not_repeated():
    """Somebody who passed a file instead of a name gets a line, not the file."""
    with pytest.raises(BadRequest) as refused:
        check_version_name("x" * 5_000)
    assert refused.value.message == "a version is a text of 1 to 128 characters, got 5000"


def test_a_name_may_carry_its_version():
    """`name:version` is accepted wherever a version is named."""
    assert split_name("bot") == ("bot", None)
    assert split_name("bot:v1") == ("bot", "v1")
    for bad in ("bot:", ":v1", "bot:v1:x", "Bot:v1"):
        with pytest.raises(BadRequest):
            split_name(bad)


def test_a_diff_reads_like_one():
    """Lines by message, config key by key, unchanged parts left out."""
    a = version(
        "v1",
        {
            "messages": [
                {"role": "system", "content": "a\nb\nc"},
                {"role": "user", "content": "{{ q }}"},
            ],
            "config": {"model": "x", "params": {"t": 1, "top": 2}},
        },
    )
    b = version(
        "v2",
        {
            "messages": [
                {"role": "system", "content": "a\nB\nc"},
                {"role": "assistant", "content": "hi"},
                {"role": "user", "content": "{{ q }}"},
            ],
            "config": {"model": "y", "params": {"t": 1}, "stop": ["."]},
        },
    )
    found = diff(a, b)
    assert found.config == (
        ConfigChange("model", '"x"', '"y"'),
        ConfigChange("params.top", "2", None),
        ConfigChange("stop", None, '["."]'),
    )
    assert found.unified().splitlines() == [
        "--- bot:v1",
        "+++ bot:v2",
        "@@ messages[0] system @@",
        " a",
        "-b",
        "+B",
        " c",
        "@@ messages[1] assistant @@",
        "+hi",
        "@@ config @@",
        '-model: "x"',
        '+model: "y"',
        "-params.top: 2",
        '+stop: ["."]',
    ]


@given(contents)
def test_nothing_differs_from_itself(data):
    """The diff of a version with itself is empty."""
    found = diff(version("v1", data), version("v1", data))
    assert found.identical
    assert found.unified() == ""


@given(contents, contents)
def test_a_diff_is_empty_only_for_the_same_content(a, b):
    """Whatever changes the digest shows in the diff; sides swap when the versions do."""
    one, two = version("v1", a), version("v2", b)
    found, back = diff(one, two), diff(two, one)
    # 1 and 1.0, or an empty object and nothing, are told apart by the digest and by the diff.
    assert found.identical == (one.digest == two.digest)
    assert [c.before for c in found.config] == [c.after for c in back.config]


def test_a_text_that_becomes_messages_is_shown_whole():
    """A change of kind shows both sides."""
    text = version("v1", {"text": "hello"})
    chat = Version("bot", "v2", Content(messages=(Message("user", "bye"),)), "", "ada", 0)
    assert "@@ text -> messages[0] user @@\n-hello\n+bye" in diff(text, chat).unified()
