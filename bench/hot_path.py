"""What a call costs in the application: resolve, split, render, record."""

import json
import logging
import os
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from common import Row, per_call_us, post, server

import knowngood

TEXT = "You help {{customer}} of {{shop}}. Be brief, be kind. Their question: {{question}}"
VALUES = {"customer": "Ada", "shop": "Corner", "question": "Where is my parcel?"}


def main() -> list[Row]:
    """Measure our hot path beside a bare dictionary and Langfuse's cached prompt."""
    langfuse_us = langfuse_per_call_us()
    with server() as (url, _pid):
        for version in ("v1", "v2"):
            post(url, "/api/prompts/support/versions", {"version": version, "text": TEXT})
        where = {"prompt": "support", "environment": "production", "because": "bench"}
        post(url, "/api/promote", {**where, "version": "v1"})
        arms = [{"version": "v1", "weight_bp": 9500}, {"version": "v2", "weight_bp": 500}]
        post(url, "/api/route", {**where, "arms": arms})
        client = knowngood.Client(url, snapshot_file=False)
        try:
            client.wait_ready(10)
            return rows(client, langfuse_us)
        finally:
            client.close()


def rows(client: knowngood.Client, langfuse_us: float) -> list[Row]:
    """The rows of this benchmark, on a split route, with a unit."""
    prompts = {"support": client.get("support", unit="user-17")}
    floor_us = per_call_us(lambda: prompts["support"])

    def resolve() -> object:
        return client.get("support", unit="user-17")

    def render() -> object:
        return client.get("support", unit="user-17").render(**VALUES)

    def record() -> None:
        with prompt.call(unit="user-17"):
            pass

    prompt = prompts["support"]
    resolve_us, render_us = per_call_us(resolve), per_call_us(render)
    record_us = per_call_us(record)
    return [
        _row("resolve + split", resolve_us, "bare dictionary lookup", floor_us, 1.0),
        _row("resolve + split + render", render_us, "Langfuse, cached", langfuse_us, 3.0),
        _row("record one call", record_us, "bare dictionary lookup", floor_us, 3.0),
    ]


def _row(what: str, us: float, peer: str, peer_us: float, target_us: float) -> Row:
    return Row(
        what,
        f"{us:.2f} µs",
        f"{peer}: {peer_us:.2f} µs",
        f"{us / peer_us:.2f}",
        f"≤ {target_us:g} µs",
        us <= target_us,
    )


class _LangfuseAnswer(BaseHTTPRequestHandler):
    """Just enough of Langfuse's API to fill its client's own prompt cache."""

    def do_GET(self) -> None:
        """Answer every request with one text prompt."""
        body = json.dumps(
            {
                "type": "text",
                "name": "support",
                "version": 1,
                "prompt": TEXT,
                "config": {},
                "labels": ["production"],
                "tags": [],
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def langfuse_per_call_us() -> float:
    """Langfuse's `get_prompt().compile()` from its cache, in microseconds."""
    os.environ["LANGFUSE_TRACING_ENABLED"] = "false"
    logging.getLogger("langfuse").setLevel(logging.ERROR)
    from langfuse import Langfuse

    answers = ThreadingHTTPServer(("127.0.0.1", 0), _LangfuseAnswer)
    threading.Thread(target=answers.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{answers.server_port}"
    client = Langfuse(public_key="pk-bench", secret_key="sk-bench", host=host)  # noqa: S106

    def compiled() -> object:
        return client.get_prompt("support", cache_ttl_seconds=3600).compile(**VALUES)

    try:
        return _after_first(compiled)
    finally:
        answers.shutdown()


def _after_first(call: Callable[[], object]) -> float:
    call()
    return per_call_us(call)
