"""The page on the SDK is true: its snippets run, in order, as a reader would paste them.

`client` is the fake for tests, so that nothing is sent. A line that ends in `# -> value` is that
value.
"""

import ast
import asyncio
import inspect
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from starlette.testclient import TestClient

import knowngood
from knowngood.sdk import outbox, recorder
from knowngood.sdk.call import KINDS
from knowngood.server.app import create_app
from knowngood.server.settings import Settings
from knowngood.testing import FakeClient
from tests.docs.pages import DOCS, ROOT, blocks

PAGE = DOCS / "how-to" / "use-the-sdk.md"
TEXT = PAGE.read_text(encoding="utf-8")
SNIPPETS = [block for block in blocks(PAGE) if block.language == "python"]
SHOWN = re.compile(r"^(\s*)(.+?)  # -> (.+)$", re.MULTILINE)
PROMPT = {"text": "In two sentences: {{question}}", "config": {"model": "acme-large"}}
RealClient = knowngood.Client


def make_client(*args: Any, **kwargs: Any) -> Any:
    """The client that a snippet asks for: the fake, or the real one on a file."""
    bound = inspect.signature(RealClient).bind(*args, **kwargs)
    if "://" not in bound.arguments["source"]:
        return RealClient(*args, **kwargs)
    return FakeClient({"support-bot": {**PROMPT, "version": "v1.9.0"}}, {"quality": (0, 1)})


def snapshot() -> bytes:
    """What a server answers that serves the prompt."""
    app = create_app(Settings(db="memory:"), ticking=False)
    with TestClient(app, base_url="http://127.0.0.1") as server:
        server.post("/api/prompts/support-bot/versions", json={"version": "v1.9.0", **PROMPT})
        body = {"prompt": "support-bot", "version": "v1.9.0", "because": "the first one"}
        assert server.post("/api/promote", json=body).status_code == 200
        return server.get("/api/snapshot?environment=production").content


def celery() -> ModuleType:
    """As much of Celery's signals as the page uses."""
    signals = ModuleType("celery.signals")
    signals.worker_process_shutdown = ModuleType("signal")  # type: ignore[attr-defined]
    signals.worker_process_shutdown.connect = lambda handler: handler
    return signals


@pytest.fixture
def pasted(monkeypatch, tmp_path) -> dict[str, Any]:
    """The names that exist when every snippet of the page has run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(knowngood, "Client", make_client)
    monkeypatch.setitem(sys.modules, "celery.signals", celery())
    Path("prompts.json").write_bytes(snapshot())

    async def ask_model_async(text: str) -> str:
        return f"answer to {text}"

    names: dict[str, Any] = {
        "__name__": "page",
        "ask_model": lambda text, config: f"answer to {text}",
        "ask_model_async": ask_model_async,
        "is_json": lambda answer: answer.startswith("{"),
        "shown": [],
    }
    for snippet in SNIPPETS:
        code = SHOWN.sub(r"\1shown.append((\2, \3))", snippet.text)
        exec(compile(ast.parse(code), str(PAGE), "exec"), names)  # noqa: S102 # the page's own
    return names


def test_values_are_as_shown(pasted):
    """Every value that the page shows is what the snippet gives."""
    assert len(pasted["shown"]) == TEXT.count("# -> ") == 10
    assert not [(given, shown) for given, shown in pasted["shown"] if given != shown]


def test_calls_are_recorded_as_said(pasted):
    """The failed rendering, the answer without JSON, the timeout, the scores; fallbacks are not."""
    client = pasted["client"]
    assert [call.outcome for call in client.calls] == ["prompt", "prompt", "timeout", "ok", "ok"]
    recorded = client.calls[1]
    assert (recorded.input_tokens, recorded.output_tokens, recorded.cost_usd) == (310, 95, 0.0021)
    assert client.calls[3].scores == {"quality": 0.9}
    assert [(late.call, late.value) for late in client.late_scores] == [(pasted["call_id"], 0.2)]
    assert client.stats().refused == {}


def test_the_coroutine_records_too(pasted):
    """`async with` is a call like any other, and one that is cancelled is no evidence."""
    client = pasted["client"]
    client.forget()
    assert asyncio.run(pasted["reply"]("Why?")).startswith("answer to")

    async def leave() -> None:
        async with client.get("support-bot").call():
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(leave())
    assert [call.outcome for call in client.calls] == ["ok", "cancelled"]


def test_the_test_on_the_page_passes(pasted):
    """What a reader pastes into a test file is a test that passes."""
    names = [name for name in pasted if name.startswith("test_")]
    assert len(names) == 1
    pasted[names[0]]()


def test_hooks_of_servers_that_fork_say_goodbye(pasted, monkeypatch):
    """gunicorn hands over two arguments, Celery keywords; both close the client."""
    closed = []
    monkeypatch.setattr(pasted["client"], "close", lambda: closed.append("closed"))
    pasted["worker_exit"](None, None)
    pasted["say_goodbye"](sender=None, pid=1, exitcode=0)
    assert closed == ["closed", "closed"]


def test_the_page_names_every_figure_kind_and_reason():
    """What can be counted is on the page, and what the page says is dropped is what is dropped."""
    sources = "".join(p.read_text() for p in (ROOT / "src/knowngood/sdk").glob("*.py"))
    reasons = set(re.findall(r'\brefuse\(\s*"([^"]+)"', sources))
    assert len(reasons) > 10
    names = [*reasons, *KINDS, *(field.name for field in fields(knowngood.Stats)), "last_error"]
    assert not [name for name in names if f"`{name}`" not in TEXT]
    dropped = TEXT[TEXT.index("Dropped are:") :].partition("\n\n")[0]
    limits = [recorder.CALLS_HELD_MAX, outbox.LATE_SCORES_HELD_MAX, outbox.ROWS_HELD_MAX]
    assert recorder.LATE_SCORES_HELD_MAX == outbox.LATE_SCORES_HELD_MAX
    for limit in [*limits, int(outbox.ROW_AGE_MAX_S)]:
        assert f"{limit:,}" in dropped


def test_the_counters_that_the_page_names_are_metrics():
    """`refusal` and `fallback` arrive where the page says that they do."""
    from knowngood.core.policy import parse

    when = {name: {"when": f"{name} > 3%", "severity": "low", "action": "alert", "who": "on-call"}
            for name in ("refusal_rate", "counter.fallback")}  # fmt: skip
    triggers = {name.replace(".", "_"): rule for name, rule in when.items()}
    policy = parse({"policy": 1, "counters": ["fallback"], "defaults": {"triggers": triggers}})
    assert json.loads(policy.canonical)
