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
# In the first and the last minutes the prompts report every second, longer than the engine looks
# back, which fills every window; between them once a minute: a day of seconds would take hours.
BUSY_S = 11 * 60
SPARSE_TICK_S = 60
TARGET_MB = 500


def main() -> list[Row]:
    """Resident memory over a simulated day: at most, and whether it grows."""
    result = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True)
    measured: list[float] = json.loads(result.stdout)
    start, filled, last, most = measured[0], measured[1], measured[-1], max(measured)
    return [
        Row(
            f"server with {PROMPTS:,} prompts, {ACTIVE} active, {HOURS} simulated hours",
            f"{most:.0f} MB at most",
            f"before the first report: {start:.0f} MB",
            f"{most / start:.2f}",
            f"≤ {TARGET_MB} MB",
            most <= TARGET_MB,
        ),
        Row(
            "the same, flat over the day",
            f"{last:.0f} MB after {HOURS} h",
            f"after {BUSY_S // 60} min: {filled:.0f} MB",
            f"{last / filled:.2f}",
            "≤ 1.10",
            last <= 1.10 * filled,
        ),
    ]


def day() -> list[float]:
    """Run the day; resident MB at its start, when the windows are full, and after every hour."""
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
        measured = [resident_mb(os.getpid())]
        for number, second in enumerate(ticks(), 1):
            now_ms = START_MS + second * 1_000
            ingest.take(report(rng, number), {}, now_ms)
            engine.tick(now_ms)
            if second % 3600 == 0 or second == BUSY_S:
                measured.append(resident_mb(os.getpid()))
        opened.close()
        return measured


def ticks() -> list[int]:
    """The seconds of the day at which the engine ticks."""
    day_s = HOURS * 3600
    between = range(BUSY_S + SPARSE_TICK_S, day_s - BUSY_S, SPARSE_TICK_S)
    return [*range(1, BUSY_S + 1), *between, *range(day_s - BUSY_S, day_s + 1)]


if __name__ == "__main__":
    print(json.dumps(day()))
