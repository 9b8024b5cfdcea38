"""One process of the demo: an application that calls an LLM through the real SDK.

`python -m knowngood.cli.demo_worker`; only the model is pretended. Each time the version changes
that this process serves, it says so in a file of its own, so that the demo need not take the
server's word for it. It ends with its parent, whose end closes its standard input.
"""

import argparse
import asyncio
import contextlib
import json
import math
import os
import random
import threading
import time
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path

from knowngood import Client, Prompt
from knowngood.cli.demo_server import wait_for_parent

PROMPT = "support-bot"
GOOD = "v1.9.0"
BAD = "v2.0.0"
CALLS_PER_S = 22.0
FAILURE_SHARES = {BAD: 0.12}
HEALTHY_FAILURE_SHARE = 0.003
LATENCY_MEDIAN_S = 0.42
LATENCY_SIGMA = 0.45  # of the logarithm: a p99 of 1.2 s
USERS = 5_000


class ProviderError(Exception):
    """The pretended model's API answered 500."""


@dataclass(frozen=True, slots=True)
class Request:
    """What chance decides of one request, whatever version will serve it."""

    gap_s: float  # since the request before
    user: str
    latency_s: float
    luck: float  # below the version's failure share: it fails
    fails_as: str


def requests(seed: int, index: int) -> Iterator[Request]:
    """The requests that this process gets; the same seed gives the same ones."""
    dice = random.Random(f"{seed}:{index}")  # noqa: S311 # a seeded story, not a secret
    while True:
        yield Request(
            gap_s=dice.expovariate(CALLS_PER_S),
            user=f"user-{dice.randrange(USERS)}",
            latency_s=dice.lognormvariate(math.log(LATENCY_MEDIAN_S), LATENCY_SIGMA),
            luck=dice.random(),
            fails_as=dice.choice(("provider", "prompt")),
        )


def failure_share(version: str) -> float:
    """How many of a version's calls fail."""
    return FAILURE_SHARES.get(version, HEALTHY_FAILURE_SHARE)


async def answer(prompt: Prompt, request: Request) -> None:
    """Serve one request as an application would: render, call the model, record how it went."""
    prompt.render(question="Where is my order?")
    with contextlib.suppress(ProviderError):
        async with prompt.call() as call:
            await asyncio.sleep(request.latency_s)
            call.tokens(input=310, output=95)
            if request.luck < failure_share(prompt.version):
                if request.fails_as == "provider":
                    raise ProviderError
                call.fail("prompt")  # an answer that is no JSON


async def serve(client: Client, seed: int, index: int, diary: Path) -> None:
    """Take requests for ever, and write down each change of the version that is served."""
    running: set[asyncio.Task[None]] = set()
    served: tuple[str, int] | None = None
    due_s = time.monotonic()
    for request in requests(seed, index):
        due_s += request.gap_s  # users do not wait for a busy machine
        await asyncio.sleep(due_s - time.monotonic())
        prompt = client.get(PROMPT, unit=request.user)
        if (prompt.version, prompt.generation) != served:
            served = (prompt.version, prompt.generation)
            write(diary, *served)
        if prompt:
            task = asyncio.create_task(answer(prompt, request))
            running.add(task)
            task.add_done_callback(running.discard)


def write(diary: Path, version: str, generation: int) -> None:
    """Add a line to the diary: from now on this process serves `version`."""
    line = {"version": version, "generation": generation, "at_ms": time.time_ns() // 1_000_000}
    with diary.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def run_or_die(work: Coroutine[None, None, None]) -> None:
    """Do the work; if it ever ends, so does the process, for the demo to see."""
    try:
        asyncio.run(work)
    finally:
        os._exit(1)


def main() -> None:
    """Run one process until the parent is gone."""
    parser = argparse.ArgumentParser(prog="knowngood.cli.demo_worker")
    parser.add_argument("--url", required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--diary", type=Path, required=True)
    options = parser.parse_args()
    client = Client(options.url, snapshot_file=False)
    client.wait_ready(timeout_s=10)
    work = serve(client, options.seed, options.index, options.diary)
    threading.Thread(target=run_or_die, args=(work,), daemon=True).start()
    wait_for_parent()
    client.close(timeout_s=0.5)


if __name__ == "__main__":
    main()
