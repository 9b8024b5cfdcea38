"""One process of the demo: an application that calls an LLM through the real SDK.

`python -m knowngood.cli.demo_worker`; only the model is pretended. Each time the route changes that
this process serves, it says so in a file of its own, so that the demo need not take the server's
word for it; in some scenes it writes down every call as well. It ends with its parent, whose end
closes its standard input.
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
from dataclasses import dataclass, field
from pathlib import Path

from knowngood import Client, Prompt
from knowngood.cli.demo_calls import CALLS_MAX, Call, write_calls
from knowngood.cli.demo_scenes import PROMPT, SCENES, USERS, Scene
from knowngood.cli.demo_server import wait_for_parent

LATENCY_MEDIAN_S = 0.42
LATENCY_SIGMA = 0.45  # of the logarithm: a p99 of 1.2 s
WRITE_EVERY_S = 0.5


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


@dataclass(slots=True)
class Desk:
    """What is under way in this process, and the ended calls that are not written down yet."""

    scene: Scene
    calls_file: Path
    busy: dict[str, int] = field(default_factory=dict)  # calls under way by version
    ended: list[Call] = field(default_factory=list)
    kept_count: int = 0

    def keep(self, call: Call) -> None:
        """Remember an ended call, if this scene's calls are written down."""
        if self.scene.keeps_calls and self.kept_count < CALLS_MAX:
            self.kept_count += 1
            self.ended.append(call)

    async def write(self) -> None:
        """Write down for ever what has ended."""
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            if self.ended:
                ended, self.ended = self.ended, []
                write_calls(self.calls_file, ended)


def requests(seed: int, index: int, calls_per_s: float) -> Iterator[Request]:
    """The requests that this process gets; the same seed gives the same ones."""
    dice = random.Random(f"{seed}:{index}")  # noqa: S311 # a seeded story, not a secret
    while True:
        yield Request(
            gap_s=dice.expovariate(calls_per_s),
            user=f"user-{dice.randrange(USERS)}",
            latency_s=dice.lognormvariate(math.log(LATENCY_MEDIAN_S), LATENCY_SIGMA),
            luck=dice.random(),
            fails_as=dice.choice(("provider", "prompt")),
        )


async def answer(prompt: Prompt, request: Request, desk: Desk) -> None:
    """Serve one request as an application would: render, call the model, record how it went."""
    began_ms = time.time_ns() // 1_000_000
    prompt.render(question="Where is my order?")
    failed = False
    with contextlib.suppress(ProviderError):
        async with prompt.call() as call:
            failed = await pretend(prompt.version, request, desk)
            if not failed or request.fails_as == "prompt":
                call.tokens(input=310, output=95)
            if failed:
                if request.fails_as == "provider":
                    raise ProviderError
                call.fail("prompt")  # an answer that is no JSON
    desk.keep(Call(began_ms, request.user, prompt.generation, prompt.version, failed))


async def pretend(version: str, request: Request, desk: Desk) -> bool:
    """The model's answer, after its time; whether it failed. A refusal comes at once."""
    busy = desk.busy.get(version, 0)
    if desk.scene.refuses(version, busy):
        return True
    desk.busy[version] = busy + 1
    await asyncio.sleep(desk.scene.latency_s(version, request.latency_s))
    desk.busy[version] -= 1
    return request.luck < desk.scene.failure_share_of(version)


async def serve(client: Client, seed: int, index: int, diary: Path, desk: Desk) -> None:
    """Take requests for ever, and write down each change of the route that is served."""
    running: set[asyncio.Task[None]] = {asyncio.create_task(desk.write())}
    served = -1
    due_s = time.monotonic()
    for request in requests(seed, index, desk.scene.calls_per_s):
        due_s += request.gap_s  # users do not wait for a busy machine
        await asyncio.sleep(due_s - time.monotonic())
        prompt = client.get(PROMPT, unit=request.user)
        if prompt.generation != served:
            served = prompt.generation
            write(diary, prompt.version, served)
        if prompt:
            task = asyncio.create_task(answer(prompt, request, desk))
            running.add(task)
            task.add_done_callback(running.discard)


def write(diary: Path, version: str, generation: int) -> None:
    """Add a line to the diary: from now on this process serves this route, first `version`."""
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
    parser.add_argument("--scene", choices=SCENES, required=True)
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--diary", type=Path, required=True)
    parser.add_argument("--calls", type=Path, required=True)
    options = parser.parse_args()
    client = Client(options.url, snapshot_file=False)
    client.wait_ready(timeout_s=10)
    desk = Desk(SCENES[options.scene], options.calls)
    work = serve(client, options.seed, options.index, options.diary, desk)
    threading.Thread(target=run_or_die, args=(work,), daemon=True).start()
    wait_for_parent()
    client.close(timeout_s=0.5)


if __name__ == "__main__":
    main()
