"""Fakes for the tests of applications that use the SDK: no server, no threads, no network.

client = FakeClient({"greeting": "Hello {{ name }}"})
assert greet(client, "Ada") == "Hello Ada"
assert client.calls[0].outcome == "ok"
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from knowngood.core.model import Content, Message, Route, ScoreRange, whole
from knowngood.sdk.call import Call
from knowngood.sdk.client import PromptSource, Stats
from knowngood.sdk.recorder import Recorder
from knowngood.sdk.snapshot import Catalog
from knowngood.wire import LateScore, PromptSnapshot, Snapshot, VersionContent

FakePrompt = str | Sequence[Mapping[str, str]] | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """What an application reported of one call. `outcome` is `ok` or a kind of failure."""

    prompt: str
    version: str
    unit: str | None
    outcome: str
    latency_ms: float
    first_token_ms: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
    counters: Mapping[str, int] = field(default_factory=dict)


class FakeClient(PromptSource):
    """A client that serves what it is given and remembers what is recorded.

    `prompts` maps names to a text, a list of messages, or `{text | messages, config?, version?}`;
    the version is `v1` unless said otherwise. `scores` declares scores as (min, max); without it
    every score is taken. `calls` and `late_scores` hold what the application reported, in order.
    """

    def __init__(
        self,
        prompts: Mapping[str, FakePrompt] | None = None,
        scores: Mapping[str, tuple[float, float]] | None = None,
        environment: str = "test",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(Recorder(environment, clock, time.time))
        self._declared = scores
        self._generation = 0
        self._prompts: dict[str, PromptSnapshot] = {}
        self.serve(prompts or {})

    def serve(self, prompts: Mapping[str, FakePrompt]) -> None:
        """Serve these prompts too, from now on: a deploy in the middle of a test."""
        self._generation += 1
        self._prompts |= {name: _prompt(prompt) for name, prompt in prompts.items()}
        declared = self._declared or {}
        ranges = {name: ScoreRange(low, high) for name, (low, high) in declared.items()}
        snapshot = Snapshot(self._recorder.environment, self._generation, ranges, self._prompts)
        self._publish(Catalog(snapshot, self._recorder, self._catalog))
        if self._declared is None:
            self._recorder.scores = None

    @property
    def calls(self) -> list[RecordedCall]:
        """Every call that has ended, oldest first."""
        return [_recorded(call) for call in self._recorder.calls]

    @property
    def late_scores(self) -> list[LateScore]:
        """Every score that was given with a call id, oldest first."""
        return list(self._recorder.late_scores)

    def forget(self) -> None:
        """Forget what was recorded, between two parts of a test."""
        self._recorder.reset()

    def wait_ready(self, timeout_s: float = 0.0) -> bool:
        """There is always a snapshot."""
        return True

    def flush(self) -> bool:
        """Nothing is ever sent."""
        return True

    def close(self, timeout_s: float = 0.0) -> None:
        """There is nothing to stop; what was recorded can still be read."""

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stats(self) -> Stats:
        """What was refused, and the number of `serve`s as the generation."""
        return Stats(
            generation=self._generation,
            snapshot_age_s=0.0,
            dropped_count=self._recorder.dropped_count,
            refused=self._recorder.refused_counts(),
            waiting_count=len(self._recorder.calls),
        )


def _prompt(given: FakePrompt) -> PromptSnapshot:
    data: Mapping[str, Any]
    if isinstance(given, Mapping):
        data = given
    else:
        data = {"text": given} if isinstance(given, str) else {"messages": given}
    messages = data.get("messages")
    content = Content(
        text=data.get("text"),
        messages=None
        if messages is None
        else tuple(Message(m["role"], m["content"]) for m in messages),
        config=data.get("config", {}),
    )
    version = data.get("version", "v1")
    return PromptSnapshot(Route(whole(version)), {version: VersionContent(content, "")})


def _recorded(call: Call) -> RecordedCall:
    return RecordedCall(
        prompt=call.served.name,
        version=call.served.version,
        unit=call.unit,
        outcome=call.outcome,
        latency_ms=call.latency_ms,
        first_token_ms=call.first_token_ms,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        cost_usd=call.cost_nano_usd / 1e9,
        scores=dict(call.scores),
        counters=dict(call.counters),
    )
