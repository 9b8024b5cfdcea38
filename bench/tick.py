"""What one tick costs over many prompts of which few are active."""

import random
import statistics
import tempfile
import time
from pathlib import Path

from common import Row

from knowngood.core.content import digest, parse_content
from knowngood.core.model import Change, Version
from knowngood.core.policy import parse
from knowngood.core.steps.operator import promote
from knowngood.core.window import Window, latency_bucket
from knowngood.engine.ingest import Ingest
from knowngood.engine.loop import Engine
from knowngood.engine.reconcile import new_reconciler
from knowngood.ports import Store
from knowngood.store.sqlite import open_sqlite
from knowngood.wire import Batch
from knowngood.wire import Row as WireRow

ACTIVE = 100
WARM_TICKS = 20
MEASURED_TICKS = 30
START_MS = 1_800_000_000_000
TARGET_MS = 1_000


def main() -> list[Row]:
    """One tick over 100, 1,000 and 10,000 prompts, 100 of them active, on SQLite."""
    measured = {count: tick_ms(count) for count in (100, 1_000, 10_000)}
    floor = measured[100]
    return [
        Row(
            f"one tick, {count:,} prompts, {ACTIVE} active",
            f"{ms:.0f} ms",
            f"the {ACTIVE} active alone: {floor:.0f} ms",
            f"{ms / floor:.2f}",
            f"≤ {TARGET_MS:,} ms",
            ms <= TARGET_MS,
        )
        for count, ms in measured.items()
    ]


def tick_ms(count: int) -> float:
    """The median time of a tick, in ms, intake of the active prompts' reports included."""
    with tempfile.TemporaryDirectory() as folder:
        opened = open_sqlite(Path(folder) / "knowngood.db")
        try:
            return _measure(opened, count)
        finally:
            opened.close()


def _measure(store: Store, count: int) -> float:
    fill(store, count)
    policy = parse({})
    ingest = Ingest(store, lambda: policy.scores)
    engine = Engine(store, ingest, new_reconciler(store, policy, START_MS), {})
    engine.tick(START_MS)
    rng = random.Random(7)
    took = []
    for second in range(1, WARM_TICKS + MEASURED_TICKS + 1):
        now_ms = START_MS + 1_000 * second
        ingest.take(report(rng, second), {}, now_ms)
        began = time.perf_counter()
        engine.tick(now_ms)
        took.append((time.perf_counter() - began) * 1_000)
    return statistics.median(took[WARM_TICKS:])


def fill(store: Store, count: int) -> None:
    """Prompts `p00000` on, each with one version at 100 %."""
    content = parse_content({"text": "hello {{name}}", "config": {"provider": "acme"}})
    for number in range(count):
        name = f"p{number:05}"
        store.registry.put(Version(name, "v1", content, digest(content), "bench", START_MS))
        state = store.states.get("production", name)
        actions = promote(state, "v1", "bench", (), None)
        change = Change("production", name, state.revision, actions, "bench")
        store.states.apply([change], START_MS)


def report(rng: random.Random, second: int) -> Batch:
    """One second of the active prompts: ten calls each."""
    rows = tuple(WireRow(f"p{number:05}", "v1", 500, _window(rng)) for number in range(ACTIVE))
    return Batch("bench:1", "1", second, "production", 1, rows, ())


def _window(rng: random.Random) -> Window:
    latency: dict[int, int] = {}
    for _ in range(10):
        index = latency_bucket(rng.lognormvariate(6, 0.3))
        latency[index] = latency.get(index, 0) + 1
    return Window(ok=10, units=10, latency=latency, input_tokens=5_000, output_tokens=900)
