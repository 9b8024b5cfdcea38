"""One process of a drill: an application that calls through the real SDK, in staging.

`python -m knowngood.cli.drill_worker`; only the model is pretended. The version of the drill hurts
as its fault says; every other version is well. It ends with its parent.
"""

import argparse
import asyncio
import math
import os
import random
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from knowngood import Client, Prompt
from knowngood.cli.demo_server import wait_for_parent
from knowngood.cli.demo_worker import run_or_die, write
from knowngood.core.drill import Fault, is_drill

CALLS_PER_S = 60.0
LATENCY_MEDIAN_S = 0.08
LATENCY_SIGMA = 0.3  # of the logarithm: a p99 of twice the median
SLOWNESS = 4.0
FAILURE_SHARE = 0.25
HEALTHY_FAILURE_SHARE = 0.002
QUALITY, BAD_QUALITY, QUALITY_SPREAD = 0.9, 0.5, 0.03
USERS = 1_000


@dataclass(frozen=True, slots=True)
class Hurt:
    """How calls of the drill's version differ from healthy ones."""

    failure_share: float = HEALTHY_FAILURE_SHARE
    slowness: float = 1.0
    quality: float = QUALITY


HURTS = {
    Fault.ERROR: Hurt(failure_share=FAILURE_SHARE),
    Fault.LATENCY: Hurt(slowness=SLOWNESS),
    Fault.QUALITY: Hurt(quality=BAD_QUALITY),
    Fault.BLIND: Hurt(),
}


async def answer(prompt: Prompt, hurt: Hurt, dice: random.Random) -> None:
    """Serve one request: render nothing, pretend the model, record how it went."""
    latency_s = dice.lognormvariate(math.log(LATENCY_MEDIAN_S), LATENCY_SIGMA)
    failed = dice.random() < hurt.failure_share
    quality = min(1.0, max(0.0, dice.gauss(hurt.quality, QUALITY_SPREAD)))
    async with prompt.call() as call:
        await asyncio.sleep(latency_s * hurt.slowness)
        if failed:
            call.fail("prompt")
        else:
            call.score("quality", quality)


async def serve(client: Client, name: str, fault: Fault, seed: str, diary: Path) -> None:
    """Take requests for ever, and write down each change of the route that is served."""
    dice = random.Random(seed)  # noqa: S311 # a seeded exercise, not a secret
    running: set[asyncio.Task[None]] = set()
    served = -1
    due_s = time.monotonic()
    while True:
        due_s += dice.expovariate(CALLS_PER_S)
        await asyncio.sleep(due_s - time.monotonic())
        prompt = client.get(name, unit=f"user-{dice.randrange(USERS)}")
        if prompt.generation != served:
            served = prompt.generation
            write(diary, prompt.version, served)
        if prompt:
            hurt = HURTS[fault] if is_drill(prompt.version) else Hurt()
            task = asyncio.create_task(answer(prompt, hurt, dice))
            running.add(task)
            task.add_done_callback(running.discard)


def main() -> None:
    """Run one process until the parent is gone. The token comes in the environment."""
    parser = argparse.ArgumentParser(prog="knowngood.cli.drill_worker")
    parser.add_argument("--url", required=True)
    parser.add_argument("--env", required=True)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--fault", choices=[each.value for each in Fault], required=True)
    parser.add_argument("--seed", required=True)
    parser.add_argument("--diary", type=Path, required=True)
    options = parser.parse_args()
    token = os.environ.get("KNOWNGOOD_TOKEN") or None
    client = Client(options.url, options.env, token, snapshot_file=False)
    client.wait_ready(timeout_s=10)
    work = serve(client, options.prompt, Fault(options.fault), options.seed, options.diary)
    threading.Thread(target=run_or_die, args=(work,), daemon=True).start()
    wait_for_parent()
    client.close(timeout_s=0.5)


if __name__ == "__main__":
    main()
