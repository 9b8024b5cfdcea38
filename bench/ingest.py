"""How many posts a second one server process takes in, beside a bare FastAPI endpoint."""

import json
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlparse

from common import READY_WITHIN_S, Row, free_port, post, server, wait_until

SECONDS = 8.0
CONNECTIONS = 8
TARGET_POSTS_PER_S = 2_000
BARE_APP = """
import fastapi, sys, uvicorn
app = fastapi.FastAPI()

@app.post("/api/observations")
async def take(request: fastapi.Request) -> dict[str, int]:
    return {"accepted": len((await request.json())["rows"])}

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
"""


def main() -> list[Row]:
    """Post as fast as eight connections can, to the real server and to the bare endpoint."""
    bare = _bare_posts_per_s()
    with server() as (url, _pid):
        post(url, "/api/prompts/support/versions", {"version": "v1", "text": "hello"})
        post(url, "/api/promote", {"prompt": "support", "version": "v1", "because": "bench"})
        ours = posts_per_s(url)
    return [
        Row(
            "ingest, one server process on SQLite",
            f"{ours:,.0f} posts/s",
            f"bare FastAPI endpoint: {bare:,.0f} posts/s",
            f"{ours / bare:.2f}",
            f"≥ {TARGET_POSTS_PER_S:,} posts/s",
            ours >= TARGET_POSTS_PER_S,
        )
    ]


def _bare_posts_per_s() -> float:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-c", BARE_APP, str(port)])
    try:
        wait_until(lambda: _listens(port), READY_WITHIN_S, "the bare endpoint's start")
        return posts_per_s(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def posts_per_s(url: str) -> float:
    """The rate of answered posts over `SECONDS`, every one of them checked to be a 200.

    The load comes from a process of its own, so that it does not share the server's interpreter.
    """
    command = [sys.executable, __file__, url]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(result.stdout)


def _load(url: str) -> float:
    counts = [0] * CONNECTIONS
    failures: list[str] = []
    until = time.monotonic() + SECONDS
    threads = [
        threading.Thread(target=_post_until, args=(url, i, until, counts, failures))
        for i in range(CONNECTIONS)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(failures[0])
    return sum(counts) / (time.monotonic() - began)


def _post_until(
    url: str, number: int, until: float, counts: list[int], failures: list[str]
) -> None:
    where = urlparse(url)
    with socket.create_connection((where.hostname or "", where.port or 0)) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.monotonic() < until:
            line.sendall(_request(where.netloc, number, counts[number] + 1))
            answer = _answer(line)
            if not answer.startswith(b"HTTP/1.1 200"):
                failures.append(answer.decode(errors="replace"))
                return
            counts[number] += 1


def _answer(line: socket.socket) -> bytes:
    """One whole HTTP answer: its head and body may come in pieces."""
    answer = line.recv(65536)
    while True:
        head, found, body = answer.partition(b"\r\n\r\n")
        if found:
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(body) >= length:
                return answer
        more = line.recv(65536)
        if not more:
            return answer
        answer += more


def _request(host: str, number: int, seq: int) -> bytes:
    row = {
        "prompt": "support",
        "version": "v1",
        "ago_ms": 400,
        "ok": 41,
        "errors": {"provider": 1},
        "units": 37,
        "tokens": [9100, 2200],
        "cost_usd": 0.11,
        "latency": {str(index): 4 for index in range(520, 530)},
    }
    batch = {
        "v": 1,
        "client": {"id": f"bench:{number}", "boot": "1"},
        "seq": seq,
        "environment": "production",
        "generation": 1,
        "dropped": 0,
        "rows": [row],
        "late_scores": [],
    }
    body = json.dumps(batch).encode()
    head = (
        f"POST /api/observations HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    print(_load(sys.argv[1]))
