"""One use of a prompt: what happens inside `with prompt.call() as call:`."""

import os
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from knowngood.core.render import BadValue, MissingVariable
from knowngood.core.window import ERROR_KINDS, EXCLUDED_KINDS, NANO_PER_USD
from knowngood.sdk.recorder import is_name, number, whole_number
from knowngood.wire import NAMES_PER_ROW_MAX, call_id, tagged

if TYPE_CHECKING:
    from knowngood.sdk.prompt import Served

KINDS = ERROR_KINDS + EXCLUDED_KINDS
OK = "ok"
PROMPT = "prompt"
CALLER = "caller"
_TIMEOUT_NAMES = ("Timeout", "TimeoutError")
_NONE: Mapping[str, int] = {}
_NO_SCORES: Mapping[str, float] = {}


class Call:
    """A context manager, plain or `async`, that records one call's latency and outcome.

    It ends `ok` without an exception, else with the kind that the exception shows: a timeout, a
    cancellation (which is no evidence), or `provider`; `fail` says it better. The exception goes on
    to the caller. No method raises: a value that makes no sense is refused and counted.
    """

    # Defaults live on the class, so that an ordinary call sets four attributes only.
    _start = -1.0  # clocks start at 0 or above: not entered
    _end: float | None = None
    _first: float | None = None
    _kind: str | None = None
    _raised: type[BaseException] | None = None
    _input_tokens = 0
    _output_tokens = 0
    _cost_nano_usd = 0
    _scores: Mapping[str, float] = _NO_SCORES
    _counters: Mapping[str, int] = _NONE
    _id: str | None = None
    _named = False  # its id was known when it ended, so its scores travel with it

    def __init__(self, served: "Served", unit: str | None) -> None:
        self._served = served
        self._unit = unit

    def __enter__(self) -> Self:
        if self._end is None:
            self._start = self._served.recorder.clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        recorder = self._served.recorder
        if self._end is not None:
            recorder.refuse("call used twice")
            return
        self._end = recorder.clock()
        if kind is not None:
            self._raised = kind
            if issubclass(kind, MissingVariable | BadValue):
                return  # Prompt.render has recorded it already
        if self._id is not None:
            self._named = True
        recorder.add(self)
        if self._named and self._scores and self.outcome not in EXCLUDED_KINDS:
            for name, value in self._scores.items():
                recorder.add_late_score(self._id, name, value)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, trace)

    @property
    def id(self) -> str:
        """The call's id, with which any process can score it later; empty without a version.

        Read it before the call ends if its scores shall be corrected later: from then on they
        travel with the id, and the last value per name counts.
        """
        if self._id is None:
            served = self._served
            if not served.version:
                return ""
            recorder = served.recorder
            age_s = recorder.clock() - self._start if self._start >= 0 else 0.0
            start_s = max(0, int(recorder.wall_s() - age_s))
            random_part = os.urandom(8).hex()
            arm, unit = served.arm, self._unit
            if arm is not None and unit is not None and (found := arm.hash_of(unit)) is not None:
                # Whoever scores the call later, in whatever process, scores the unit with it.
                random_part = tagged(random_part, arm.generation, found)
            self._id = call_id(
                recorder.environment, served.name, served.version, start_s, random_part
            )
        return self._id

    def fail(self, kind: str = PROMPT) -> None:
        """The call failed: `prompt`, `provider` or `timeout`; or it is no evidence at all:
        `caller`, `cancelled` or `synthetic`. The last word counts.

        An unknown kind is counted as refused and the call as a failure of the provider, because
        whoever says `fail` does not mean `ok`.
        """
        if kind in KINDS:
            self._kind = kind
        else:
            self._kind = "provider"
            self._served.recorder.refuse("unknown failure kind")

    def tokens(self, input: int = 0, output: int = 0) -> None:
        """Add the tokens of one request to the model; retries add up."""
        read, written = whole_number(input), whole_number(output)
        if read is None or written is None:
            self._served.recorder.refuse("tokens are not whole numbers >= 0")
            return
        self._input_tokens += read
        self._output_tokens += written

    def cost(self, usd: float) -> None:
        """Add the cost of one request to the model, in US dollars; retries add up."""
        value = number(usd)
        if value is None or value < 0:
            self._served.recorder.refuse("cost is not a number >= 0")
            return
        self._cost_nano_usd += round(value * NANO_PER_USD)

    def first_token(self) -> None:
        """The first token of the answer has arrived; only the first time counts."""
        if self._first is None:
            self._first = self._served.recorder.clock()

    def score(self, name: str, value: float) -> None:
        """Score the call on a declared scale; the last value per name counts."""
        recorder = self._served.recorder
        if self._end is not None:
            self._score_late(name, value)
            return
        score = recorder.checked_score(name, value, recorder.environment)
        if score is not None:
            self._scores = {**self._scores, name: score}

    def count(self, name: str, n: int = 1) -> None:
        """Add `n` to a counter of the application's own."""
        recorder, more = self._served.recorder, whole_number(n)
        if not is_name(name) or more is None:
            recorder.refuse("counter is not a name with a whole number >= 0")
        elif name not in self._counters and len(self._counters) >= NAMES_PER_ROW_MAX:
            recorder.refuse("too many counters")
        else:
            self._counters = {**self._counters, name: self._counters.get(name, 0) + more}

    def _score_late(self, name: str, value: float) -> None:
        recorder = self._served.recorder
        if not self._named and name in self._scores:
            # The first value is in an anonymous sum already; a second one would count twice.
            recorder.refuse("second score of a call whose id was not read")
        elif self.id:
            recorder.add_late_score(self.id, name, value)

    # --- Read when the call is summed, never on the hot path

    @property
    def served(self) -> "Served":
        """The version that was used."""
        return self._served

    @property
    def unit(self) -> str | None:
        """The sticky key, if there was one."""
        return self._unit

    @property
    def end_s(self) -> float:
        """When it ended, on the recorder's clock."""
        return self._start if self._end is None else self._end

    @property
    def input_tokens(self) -> int:
        """Tokens read by the model."""
        return self._input_tokens

    @property
    def output_tokens(self) -> int:
        """Tokens written by the model."""
        return self._output_tokens

    @property
    def cost_nano_usd(self) -> int:
        """What it cost, in billionths of a US dollar."""
        return self._cost_nano_usd

    @property
    def counters(self) -> Mapping[str, int]:
        """The application's own counters."""
        return self._counters

    @property
    def outcome(self) -> str:
        """`ok` or the kind of failure or exclusion."""
        if self._kind is not None:
            return self._kind
        return OK if self._raised is None else kind_of(self._raised)

    @property
    def latency_ms(self) -> float:
        """From entering to leaving, in ms."""
        return max(0.0, (self.end_s - self._start) * 1000)

    @property
    def first_token_ms(self) -> float | None:
        """From entering to the first token, in ms; None if it was never reported."""
        return None if self._first is None else max(0.0, (self._first - self._start) * 1000)

    @property
    def scores(self) -> Mapping[str, float]:
        """The scores given before the call ended."""
        return self._scores

    @property
    def scores_in_sum(self) -> Mapping[str, float]:
        """The scores that are summed without an id."""
        return _NO_SCORES if self._named else self._scores


def kind_of(raised: type[BaseException]) -> str:
    """What an exception says of the call: `cancelled`, `timeout` or `provider`."""
    # Cancellation, interrupts and closed generators are the BaseExceptions that are no Exception.
    if not issubclass(raised, Exception) or raised.__name__ == "CancelledError":
        return "cancelled"
    if issubclass(raised, TimeoutError) or raised.__name__.endswith(_TIMEOUT_NAMES):
        return "timeout"
    return "provider"


def failed_rendering(served: "Served", unit: str | None, kind: str) -> None:
    """Record that a prompt could not be rendered, as a call of no duration."""
    call = Call(served, unit)
    call._start = call._end = served.recorder.clock()
    call._kind = kind
    served.recorder.add(call)
