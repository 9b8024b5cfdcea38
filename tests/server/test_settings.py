"""Settings and policy files: a mistake stops the start, and says what to do."""

import pytest

from knowngood.adapters.catalog import notifiers
from knowngood.core.errors import BadPolicy, BadRequest, KnowngoodError
from knowngood.core.policy import parse
from knowngood.server.app import create_app, open_store
from knowngood.server.policy_file import load_policy, parse_policy_text
from knowngood.server.settings import BadSettings, Settings, settings_from

TOKEN = "a-token-of-some-length"


def refused(**settings):
    with pytest.raises(KnowngoodError) as caught:
        settings_from(settings, {})
    return caught.value


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "prompts.example"])  # noqa: S104
def test_other_machines_need_a_token_and_a_proxy(host):
    """A server that others can reach asks who they are, and never in the clear unless told so."""
    assert "token" in refused(host=host).next_step
    error = refused(host=host, tokens=[TOKEN])
    assert "TLS proxy" in error.next_step and "--insecure-behind-proxy" in error.next_step
    assert "token" in refused(host=host, insecure_behind_proxy=True).next_step
    taken = settings_from({"host": host, "tokens": [TOKEN], "insecure_behind_proxy": True}, {})
    assert not taken.is_local


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "localhost", "::1", "[::1]"])
def test_this_machine_needs_neither(host):
    """The article's command works on a laptop."""
    assert Settings(host=host).is_local


def test_the_hosts_are_the_bound_one_and_the_allowed_ones():
    """A wildcard is no name."""
    told = {"tokens": [TOKEN], "insecure_behind_proxy": True, "allow_hosts": ["A.example"]}
    hosts = settings_from({"host": "192.0.2.7", **told}, {}).hosts
    assert hosts == {"localhost", "127.0.0.1", "::1", "192.0.2.7", "a.example"}
    assert "0.0.0.0" not in settings_from({"host": "0.0.0.0", **told}, {}).hosts  # noqa: S104


def test_tokens_come_from_the_environment_too():
    """KNOWNGOOD_TOKEN, several with commas; what was said outright comes first."""
    environ = {"KNOWNGOOD_TOKEN": f"{TOKEN}, ci:{TOKEN}"}
    assert settings_from({}, environ).tokens == (TOKEN, f"ci:{TOKEN}")
    assert settings_from({"tokens": ["b" * 20]}, environ).tokens == ("b" * 20,)


@pytest.mark.parametrize("token", ["short", "name:short", "with blanks in the token", "ü" * 20])
def test_a_token_that_cannot_protect_is_refused_and_not_quoted(token):
    """Too short to be safe, or nothing that a header can carry."""
    error = refused(tokens=[token])
    assert error.code == "bad_settings"
    assert token not in str(error)


def test_unknown_settings_are_refused_with_the_known_ones():
    """A typing error does not start a server with a default."""
    error = refused(databse="x")
    assert "databse" in error.message and "db" in error.known


@pytest.mark.parametrize(
    "settings", [{"port": -1}, {"port": 65_536}, {"db": ""}, {"host": ""}, {"environments": ["A"]}]
)
def test_values_out_of_range_are_refused(settings):
    """Each with a message of its own."""
    assert refused(**settings).message


def test_unknown_notifiers_stop_the_start():
    """Not the first page at night."""
    with pytest.raises(BadRequest) as caught:
        create_app(Settings(db="memory:", notify=("log", "pagerdooty")), ticking=False)
    assert "pagerdooty" in caught.value.message and caught.value.known == ["log"]
    assert list(notifiers(["log"])) == ["log"]


def test_a_store_that_cannot_be_opened_stops_the_start(tmp_path):
    """With the reason, not a traceback of a database."""
    with pytest.raises(KnowngoodError) as caught:
        open_store(str(tmp_path / "no" / "such" / "folder.db"))
    assert caught.value.code == "store_unavailable"


def test_more_environments_can_be_made_at_the_start():
    """`production` and `staging` are always there."""
    app = create_app(Settings(db="memory:", environments=("canary",)), ticking=False)
    known = app.state.runtime.store.states.environments()
    assert known == ["canary", "production", "staging"]


# --- Policy files


def test_no_file_is_the_default_policy():
    """And an empty one too."""
    assert load_policy(None) == parse({}) == parse_policy_text("", "empty.yaml")


def test_a_policy_is_read_from_yaml(tmp_path):
    """The file overrides the defaults."""
    path = tmp_path / "policy.yaml"
    path.write_text("policy: 1\ndefaults:\n  window: 10m\n", encoding="utf-8")
    assert load_policy(path).for_prompt("x").window_ms == 600_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("policy: 1\ndefaults: {window: 5m", ["line 2"]),
        ("policy: 1\n\tdefaults: 1", ["line 2"]),
        ("policy: 1\npolicy: 1", ["line 2", "twice"]),
        ("defaults:\n  window: 5m\n  window: 6m", ["line 3", "'window'", "twice"]),
        ("a: !!python/object:os.system {}", ["line 1"]),
        ("just words", ["policy.yaml"]),
        ("defaults: {windw: 5m}", ["policy.yaml", "windw"]),
        ("? [a, b]\n: 1", ["policy.yaml"]),
    ],
)
def test_a_broken_policy_says_where(text, words):
    """The file, and the line where the YAML itself is broken."""
    with pytest.raises(BadPolicy) as caught:
        parse_policy_text(text, "policy.yaml")
    for word in ["policy.yaml", *words]:
        assert word in caught.value.message


def test_a_policy_that_cannot_be_read_says_why(tmp_path):
    """Missing, or not text."""
    with pytest.raises(BadPolicy, match="No such file"):
        load_policy(tmp_path / "missing.yaml")
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(BadPolicy, match="UTF-8"):
        load_policy(binary)
    with pytest.raises(BadPolicy, match="limit"):
        parse_policy_text("#" * 2_000_000, "long.yaml")


def test_bad_settings_are_errors_like_all_others():
    """The command line prints them in the same way."""
    assert BadSettings("x").as_dict()["error"]
