"""Laws of serving: `get` always answers, at once, from memory."""

import json
import random
import threading

import pytest

import knowngood
from knowngood.core.model import Message
from knowngood.core.render import BadValue, MissingVariable
from knowngood.core.routing import choose
from knowngood.sdk.snapshot import save
from knowngood.wire import encode_snapshot
from tests.sdk.server import WAIT_S, snapshot


@pytest.fixture
def file_client(make_client, tmp_path):
    """Makes clients that serve a snapshot from a file."""

    def make(content=None, **options):
        path = tmp_path / "prompts.json"
        path.write_text(json.dumps(encode_snapshot(content or snapshot())))
        return make_client(path, **options)

    return make


def test_a_prompt_says_all_about_itself(file_client):
    """Name, version, texts, configuration, generation and reason are at hand."""
    client = file_client(snapshot(generation=7))
    prompt = client.get("bot")
    assert prompt
    assert (prompt.name, prompt.version, prompt.generation) == ("bot", "v1", 7)
    assert (prompt.text, prompt.messages, prompt.digest) == ("Hello {{ name }}", None, "d1")
    assert (prompt.config, prompt.reason) == ({"model": "m1"}, "static")
    assert prompt.variables == ("name",)
    assert prompt.render(name="Ada", unused=1) == "Hello Ada"
    chat = client.get("chat")
    assert chat.messages == (Message("system", "Be {{ tone }}."), Message("user", "{{ q }}"))
    assert chat.render(tone="kind", q="Why?") == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Why?"},
    ]


def test_the_configuration_cannot_be_changed(file_client):
    """A prompt is shared by all threads; nobody writes on it."""
    config = file_client().get("bot").config
    with pytest.raises(TypeError):
        config["model"] = "other"


def test_a_unit_is_served_what_routing_says(file_client):
    """The SDK makes no choice of its own."""
    given = snapshot(candidate_bp=3_000)
    client = file_client(given)
    route = given.prompts["bot"].route
    for i in range(500):
        prompt = client.get("bot", unit=f"user-{i}")
        assert prompt.version == choose(route, f"user-{i}").version
        assert prompt.reason == "split"
        assert client.get("bot", unit=f"user-{i}").version == prompt.version


def test_without_a_unit_the_choice_is_random_per_call(file_client):
    """Weights hold for calls without a unit too; 2,000 calls, 6 sigma."""
    random.seed(7)
    client = file_client(snapshot(candidate_bp=3_000))
    prompts = [client.get("bot") for _ in range(2_000)]
    share = sum(prompt.version == "v2" for prompt in prompts)
    assert abs(share - 600) < 6 * 21
    assert {prompt.reason for prompt in prompts} == {"random"}


def test_a_number_is_a_unit_too(file_client):
    """Identifiers are often numbers; an empty one is none."""
    client = file_client(snapshot(candidate_bp=5_000))
    assert client.get("bot", unit=12).version == client.get("bot", unit="12").version
    assert client.get("bot", unit="").reason == "random"


def test_before_the_first_snapshot_the_fallback_is_served(stepped):
    """An application runs without us, and can see that it does."""
    client = stepped()
    empty = client.get("bot")
    assert not empty
    assert (empty.reason, empty.version, empty.text, empty.generation) == (
        "no snapshot yet", "", "", 0,
    )  # fmt: skip
    assert empty.render(name="Ada") == ""
    text = client.get("bot", fallback="Hey {{ name }}")
    assert text
    assert (text.reason, text.version) == ("fallback: no snapshot yet", "")
    assert text.render(name="Ada") == "Hey Ada"
    chat = client.get("bot", fallback=[{"role": "user", "content": "{{ q }}"}])
    assert chat.render(q="Why?") == [{"role": "user", "content": "Why?"}]


def test_an_unknown_prompt_is_no_error(file_client):
    """A misspelt name shows as a reason, not as an outage."""
    client = file_client()
    assert client.get("bto").reason == "unknown prompt"
    assert client.get("bto", fallback="x").reason == "fallback: unknown prompt"


class Nasty:
    """An object whose every use fails."""

    def __str__(self):
        raise RuntimeError("no")

    __hash__ = __eq__ = __bool__ = __repr__ = __len__ = __str__  # type: ignore[assignment]


@pytest.mark.parametrize(
    "name", [None, 7, [], {}, b"bot", "", "\ud800", Nasty()], ids=lambda v: type(v).__name__
)
@pytest.mark.parametrize(
    "unit", [None, 1.5, [], "\ud800", Nasty(), "x" * 10**6], ids=lambda v: type(v).__name__
)
def test_get_never_raises(file_client, name, unit):
    """Whatever an application hands over, it gets a prompt."""
    client = file_client(snapshot(candidate_bp=5_000))
    assert client.get(name, unit=unit, fallback="x").render() == "x"
    assert client.get("bot", unit=unit).version in ("v1", "v2")
    with client.get("bot", unit=unit).call(unit=unit):
        pass


@pytest.mark.parametrize("fallback", [7, [1], [{"role": "user"}], object(), {"text": "x"}])
def test_a_malformed_fallback_is_an_empty_prompt(file_client, fallback):
    """The fallback is the last thing that may fail."""
    client = file_client()
    assert not client.get("nothing", fallback=fallback)
    assert client.stats().refused["malformed fallback"] == 1


def test_a_fallback_is_not_recorded(server, stepped, step):
    """What we did not serve is nobody's evidence."""
    client = stepped()
    with client.get("bot", fallback="x").call(unit="u") as call:
        assert call.id == ""
        call.score("quality", 0.5)
    step(client, 2)
    assert server.rows() == []


def test_missing_variables_are_the_applications_to_see(server, stepped, step):
    """Rendering without a variable raises, and counts as a failure of that version."""
    client = stepped()
    step(client)
    prompt = client.get("bot", unit="ada")
    with pytest.raises(MissingVariable, match="missing variable name; given: nome"):
        prompt.render(nome="Ada")
    with pytest.raises(MissingVariable), prompt.call():
        prompt.render()
    with pytest.raises(BadValue):
        prompt.render(name=["Ada"])
    client.flush()
    (row,) = server.rows()
    assert (row.version, row.window.ok, row.window.errors) == ("v1", 0, {"prompt": 1})
    # The unit's second failure is a repetition; a value of a wrong type is the caller's mistake.
    assert (row.window.repeat, row.window.excluded, row.window.latency) == (1, 1, {})


def test_a_version_that_does_not_compile_hurts_itself_only(file_client):
    """A malformed text that slipped through raises when it is rendered; the others are served."""
    given = encode_snapshot(snapshot())
    given["prompts"]["chat"]["versions"]["c1"]["messages"][0]["content"] = "{{ a.b }}"
    client = file_client()
    (client._file).write_text(json.dumps(given))
    client._load()
    assert client.get("bot").render(name="Ada") == "Hello Ada"
    with pytest.raises(knowngood.KnowngoodError, match="not a placeholder"):
        client.get("chat").render(tone="x", q="y")


def test_a_snapshot_file_is_served_and_nothing_reported(file_client):
    """A baked bundle needs no server and no thread."""
    before = threading.active_count()
    client = file_client()
    with client.get("bot").call() as call:
        call.tokens(1, 2)
    client.score(call.id, "quality", 1)
    assert client.wait_ready(0)
    assert client.flush()
    assert threading.active_count() == before
    assert client.stats().waiting_count == 0


@pytest.mark.parametrize("body", [None, b"", b"{", b"\x00" * 50, b"knowngood-snapshot 1 abc\n{}"])
def test_a_bad_snapshot_file_is_no_error(make_client, tmp_path, body):
    """The application starts, serves its fallbacks, and can see why."""
    path = tmp_path / "prompts.json"
    if body is not None:
        path.write_bytes(body)
    client = make_client(path)
    assert client.get("bot", fallback="x").render() == "x"
    assert not client.wait_ready(0)
    assert "snapshot file" in (client.stats().last_error or "")


def test_a_saved_snapshot_is_a_snapshot_file(make_client, tmp_path):
    """The file that one client keeps can be baked into the image of another."""
    path = tmp_path / "kept"
    save(path, json.dumps(encode_snapshot(snapshot())).encode())
    assert make_client(str(path)).get("bot").version == "v1"
    assert make_client(path, environment="staging").get("bot").reason == "no snapshot yet"


def test_threads_see_whole_snapshots(server, make_client):
    """While snapshots change under many threads, each prompt is of one generation."""
    client = make_client()
    assert client.wait_ready(WAIT_S)
    wrong: list[object] = []
    done = threading.Event()

    def hammer() -> None:
        while not done.is_set():
            prompt = client.get("bot", unit="u")
            expected = "v1" if prompt.generation % 2 else "v2"
            if prompt.version != expected:
                wrong.append((prompt.generation, prompt.version))

    threads = [threading.Thread(target=hammer) for _ in range(3)]
    for thread in threads:
        thread.start()
    worker = client._worker
    for generation in range(2, 14):
        server.snapshot = snapshot(generation, candidate_bp=0 if generation % 2 else 9_999)
        with worker._lock:
            worker._poll()
    done.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert wrong == []
    assert client.stats().generation == 13


@pytest.mark.parametrize(
    "url", ["http://", "ftp://127.0.0.1", "http://:8000", "https:///path", "http://h:notaport"]
)
def test_a_wrong_address_fails_at_the_start(make_client, url):
    """A mistake in the configuration shows when the application starts, not at night."""
    with pytest.raises(ValueError, match=r".+"):
        make_client(url, start=False)


def test_a_token_does_not_travel_in_the_clear(make_client):
    """Plain http with a token is for loopback, unless somebody insists."""
    with pytest.raises(ValueError, match="in the clear"):
        make_client("http://prompts.example:8000", token="secret", start=False)
    for url in ("http://127.0.0.1:1", "http://localhost:1", "https://prompts.example"):
        make_client(url, token="secret", start=False)
    make_client("http://prompts.example", token="secret", start=False, allow_insecure=True)
    make_client("http://prompts.example", start=False)
