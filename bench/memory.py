"""What the server with 10,000 prompts holds in memory, and whether a day makes it more.

The day is simulated: the engine of the server, in a process of its own, on SQLite, ticks through
virtual time while 100 prompts report, and its resident memory is read every hour.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

from common import Row, resident_mb
from tick import ACTIVE, START_MS, fill, report

PROMPTS = 10_000
HOURS = 24
# Active prompts report every fifth second: a day of every second would be an hour of benchmark.
TICK_S = 5
TARGET_MB = 500


def main() -> list[Row]:
    """Resident memory after the first hour and after the last of a simulated day."""
    result = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True)
    hourly: list[float] = json.loads(result.stdout)
    most, first, last = max(hourly), hourly[1], hourly[-1]
    return [
        Row(
            f"server with {PROMPTS:,} prompts, {ACTIVE} active, {HOURS} simulated hours",
            f"{most:.0f} MB at most",
            f"{hourly[0]:.0f} MB at the start",
            f"{most / hourly[0]:.2f}",
            f"≤ {TARGET_MB} MB",
            most <= TARGET_MB,
        ),
        Row(
            "the same, flat over the day",
            f"{last:.0f} MB after hour {HOURS}",
            f"{first:.0f} MB after hour 1",
            f"{last / first:.2f}",
            "≤ 1.10",
            last <= 1.10 * first,
        ),
    ]


def day() -> list[float]:
    """Run the day; the resident memory in MB at its start and after every hour."""
    import os

    from knowngood.core.policy import parse
    from knowngood.engine.ingest import Ingest
    from knowngood.engine.loop import Engine
    from knowngood.engine.reconcile import new_reconciler
    from knowngood.server.app import create_app  # what a server has loaded counts
    from knowngood.store.sqlite import open_sqlite

    assert create_app
    with tempfile.TemporaryDirectory() as folder:
        opened = open_sqlite(Path(folder) / "knowngood.db")
        store, policy = opened, parse({})
        fill(store, PROMPTS)
        ingest = Ingest(store, lambda: policy.scores)
        engine = Engine(store, ingest, new_reconciler(store, policy, START_MS), {})
        engine.tick(START_MS)
        rng = random.Random(7)
        hourly = [resident_mb(os.getpid())]
        for tick in range(1, HOURS * 3600 // TICK_S + 1):
            now_ms = START_MS + tick * TICK_S * 1_000
            ingest.take(report(rng, tick), {}, now_ms)
            engine.tick(now_ms)
            if tick * TICK_S % 3600 == 0:
                hourly.append(resident_mb(os.getpid()))
        opened.close()
        return hourly


if __name__ == "__main__":
    print(json.dumps(day()))
