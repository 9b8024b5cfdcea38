"""Laws of the fake that users test with: it behaves like the client, and remembers."""

import inspect

import pytest

import knowngood
from knowngood.core.render import MissingVariable
from knowngood.sdk.client import Client
from knowngood.testing import FakeClient


def test_it_serves_what_it_is_given():
    """Texts, messages and full contents; configuration and version if they matter."""
    client = FakeClient(
        {
            "greeting": "Hello {{ name }}",
            "chat": [{"role": "user", "content": "{{ q }}"}],
            "full": {"text": "x", "config": {"model": "m"}, "version": "v7"},
        }
    )
    assert client.get("greeting").render(name="Ada") == "Hello Ada"
    assert client.get("chat", unit="u").render(q="?") == [{"role": "user", "content": "?"}]
    assert (client.get("full").version, client.get("full").config) == ("v7", {"model": "m"})
    assert client.get("nothing").reason == "unknown prompt"
    with pytest.raises(MissingVariable):
        client.get("greeting").render()


def test_it_remembers_calls_and_scores():
    """A test can ask what the application reported."""
    client = FakeClient({"greeting": "Hello"})
    with client.get("greeting", unit="ada").call() as call:
        call.tokens(10, 2)
        call.cost(0.5)
        call.first_token()
        call.score("quality", 0.9)
        call.count("retry")
    with client.get("greeting").call() as call:
        call.fail("prompt")
    client.score(call.id, "quality", 0.1)
    first, second = client.calls
    assert (first.prompt, first.version, first.unit, first.outcome) == (
        "greeting", "v1", "ada", "ok",
    )  # fmt: skip
    assert (first.input_tokens, first.output_tokens, first.cost_usd) == (10, 2, 0.5)
    assert (first.scores, first.counters) == ({"quality": 0.9}, {"retry": 1})
    assert first.first_token_ms is not None
    assert (second.outcome, second.unit) == ("prompt", None)
    assert [(s.call, s.value) for s in client.late_scores] == [(call.id, 0.1)]
    client.forget()
    assert client.calls == []


def test_it_refuses_what_the_client_refuses():
    """A typing error in a score's name shows in a test already."""
    client = FakeClient({"x": "y"}, scores={"quality": (0, 1)})
    with client.get("x").call() as call:
        call.score("qualty", 0.5)
        call.score("quality", 1.5)
    assert client.stats().refused == {"undeclared score": 1, "score outside its range": 1}


def test_it_can_deploy():
    """What an application does when a prompt changes under way can be tested."""
    client = FakeClient({"x": "old", "y": "other"})
    client.serve({"x": {"text": "new", "version": "v2"}})
    assert (client.get("x").text, client.get("x").version) == ("new", "v2")
    assert client.get("y").text == "other"
    assert client.stats().generation == 2


def test_it_has_every_method_of_the_client():
    """An application that uses the client can be given the fake."""
    for name, member in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            fake = inspect.signature(getattr(FakeClient, name))
            assert list(fake.parameters) == list(inspect.signature(member).parameters), name
    with FakeClient() as client:
        assert client.wait_ready()
        assert client.flush()


def test_the_package_names_what_users_need():
    """`knowngood.Client` and its company are there, and nothing unknown."""
    assert knowngood.Client is Client
    assert set(knowngood.__all__) <= set(dir(knowngood))
    assert all(getattr(knowngood, name) for name in knowngood.__all__)
    assert knowngood.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'Clinet'"):
        knowngood.Clinet  # noqa: B018 # the point
