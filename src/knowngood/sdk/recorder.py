"""The receiving end of the hot path: one deque append per call, and counts of what was refused."""

import math
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from knowngood.core.model import ScoreRange
from knowngood.wire import NAME_CHARS_MAX, NUMBER_MAX, BadRequest, LateScore, parse_call_id

if TYPE_CHECKING:
    from knowngood.sdk.call import Call

# One second of 100,000 calls, some 30 MB: beyond what one Python process can make.
CALLS_HELD_MAX = 100_000
# A job that scores a day's calls in one go; more than this in one second is counted as dropped.
LATE_SCORES_HELD_MAX = 10_000


def number(value: object) -> float | None:
    """The value as a finite float, or None; a text is no number, a truth value is 0 or 1."""
    if type(value) is float and -NUMBER_MAX <= value <= NUMBER_MAX:
        return value  # the usual case, on the hot path
    if isinstance(value, str | bytes | bytearray):
        return None
    try:
        result = float(value)  # type: ignore[arg-type] # whatever an application hands over
    except Exception:
        return None
    return result if math.isfinite(result) and abs(result) <= NUMBER_MAX else None


def whole_number(value: object) -> int | None:
    """The value if it is a whole number >= 0 (numpy's too), else None; a truth value is none."""
    if type(value) is int and 0 <= value <= NUMBER_MAX:
        return value  # the usual case, on the hot path
    if isinstance(value, bool):
        return None
    try:
        result = int(value.__index__())  # type: ignore[attr-defined] # a float has none and fails
    except Exception:
        return None
    return result if 0 <= result <= NUMBER_MAX else None


def is_name(value: object) -> bool:
    """Whether the value can name a score or a counter."""
    return isinstance(value, str) and 0 < len(value) <= NAME_CHARS_MAX and value.isprintable()


def unit_text(unit: object) -> str | None:
    """The unit as the text that is hashed; None when there is none to speak of (None, empty)."""
    if unit is None or type(unit) is str:
        return unit or None
    try:
        return str(unit) or None
    except Exception:
        return None


class Recorder:
    """What the application's threads append to and the worker takes away.

    `clock` gives monotonic seconds, `wall_s` seconds since the Unix epoch. Nothing here raises.
    """

    def __init__(
        self,
        environment: str,
        clock: Callable[[], float],
        wall_s: Callable[[], float],
        recording: bool = True,
    ) -> None:
        self.environment = environment
        self.clock = clock
        self.wall_s = wall_s
        self.recording = recording
        self.scores: Mapping[str, ScoreRange] | None = None  # None: not known yet
        # Starts the worker's thread; None while it runs. A forked child sets it again.
        self.wake: Callable[[], None] | None = None
        self.reset()

    def reset(self) -> None:
        """Forget everything; in a forked child the parent sends what was here."""
        self.calls: deque[Call] = deque()
        self.late_scores: deque[LateScore] = deque()
        self.dropped_count = 0  # since the start of the process
        self.refused: dict[str, int] = {}  # since the start of the process
        # For the rare paths only. Reentrant: a finaliser or a signal may end a call inside of it.
        self._lock = threading.RLock()

    def wake_worker(self) -> None:
        """Start the worker's thread if it does not run."""
        wake = self.wake  # read once: another thread may be starting it at this very moment
        if wake is not None:
            wake()

    def add(self, call: "Call") -> None:
        """A call has ended."""
        if not self.recording:
            return
        # Not exact when threads race at the brim; a bound need not be.
        if len(self.calls) < CALLS_HELD_MAX:
            self.calls.append(call)
        else:
            self.drop(1)

    def drop(self, count: int) -> None:
        """Count calls or scores that found no room."""
        with self._lock:
            self.dropped_count += count

    def refuse(self, reason: str, count: int = 1) -> None:
        """Count values that cannot be recorded; the reasons are constants of this package."""
        with self._lock:
            self.refused[reason] = self.refused.get(reason, 0) + count

    def refused_counts(self) -> dict[str, int]:
        """A copy of the counts of refusals by reason."""
        with self._lock:
            return dict(self.refused)

    def checked_score(self, name: object, value: object, environment: str) -> float | None:
        """The score as a number, or None after counting why it is refused."""
        if not is_name(name):
            self.refuse("score without a name")
            return None
        score = number(value)
        if score is None:
            self.refuse("score is not a number")
            return None
        if self.scores is not None and environment == self.environment:
            declared = self.scores.get(str(name))
            if declared is None:
                self.refuse("undeclared score")
                return None
            if not declared.min <= score <= declared.max:
                self.refuse("score outside its range")
                return None
        return score

    def add_late_score(self, call: object, name: object, value: object) -> None:
        """A score of a call that is named by its id."""
        if not self.recording:
            return
        try:
            parsed = parse_call_id(call)
        except BadRequest:
            self.refuse("not a call id")
            return
        score = self.checked_score(name, value, parsed.environment)
        if score is None:
            return
        if len(self.late_scores) < LATE_SCORES_HELD_MAX:
            self.late_scores.append(LateScore(str(call), str(name), score))
        else:
            self.drop(1)
