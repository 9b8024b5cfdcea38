"""Small values that the suites are made of."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from hypothesis import strategies as st

from knowngood.core.model import (
    Action,
    Change,
    ClientSeen,
    Content,
    Notify,
    Severity,
    Version,
)
from knowngood.core.window import Bucket, Window
from knowngood.ports import VersionKey

NOW_MS = 1_750_000_000_000
SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1_000, 60_000, 3_600_000, 86_400_000
KEY: VersionKey = ("production", "support", "v1")
# Everything that JSON can hold and a careless database cannot.
AWKWARD = "naïve \U0001f600 \x00 \ud800 ' \" \\ % {}"

_counts = st.integers(0, 10**12)
_bins = st.dictionaries(st.integers(-640, 1983), st.integers(-5, 10**9), max_size=4)
windows = st.builds(
    Window,
    ok=_counts,
    errors=st.dictionaries(st.sampled_from(["prompt", "provider", "timeout"]), _counts),
    excluded=_counts,
    repeat=_counts,
    units=_counts,
    latency=_bins,
    first_token=_bins,
    input_tokens=_counts,
    output_tokens=_counts,
    cost_nano_usd=_counts,
    scores=st.dictionaries(st.sampled_from(["quality", "tone"]), _bins),
    counters=st.dictionaries(st.sampled_from(["tools", "retries"]), _counts),
)


def version(name: str = "v1", prompt: str = "support", text: str = "Hello", ms: int = 1) -> Version:
    """A version whose digest is its text."""
    return Version(prompt, name, Content(text=text), digest=text, author="ann", created_ms=ms)


def change(
    *actions: Action, seen: int = 0, prompt: str = "support", environment: str = "production"
) -> Change:
    """A change by `ann`."""
    return Change(environment, prompt, seen, actions, "ann", "policy-1")


def notify(key: str) -> Notify:
    """A message."""
    return Notify(key, "on-call", Severity.HIGH, f"subject of {key}", "body")


def bucket(at_ms: int, ok: int = 1, width_ms: int = SECOND_MS) -> Bucket:
    """A bucket of calls that went well."""
    return Bucket(at_ms, Window(ok=ok), width_ms)


def client(id_: str = "host:1", **fields: Any) -> ClientSeen:
    """A process that was heard of now."""
    defaults = {
        "environment": "production", "boot": "b1", "seq": 1, "generation": 1, "seen_ms": NOW_MS,
    }  # fmt: skip
    return ClientSeen(id_, **{**defaults, **fields})


def together(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run all jobs at once, each in its thread; their results, or the errors they raised."""
    start = Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        start.wait(timeout=30)
        try:
            return job()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))
