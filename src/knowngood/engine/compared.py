"""What both arms of a comparison have shown, read at most once a minute."""

from dataclasses import dataclass, field

from knowngood.core.experiment_metric import LATENCY, slow_calls
from knowngood.core.model import Route, State
from knowngood.core.trial import Begun
from knowngood.core.unit_sums import Arms, ArmSummary, tallied
from knowngood.core.window import BUCKET_MS, EMPTY, Window, merge, total
from knowngood.ports import Series, Units, VersionKey
from knowngood.wire import Compared

# A gate that stays shut for a day need not be asked by the second, and a hundred thousand units
# take up to half a second to count.
READ_EVERY_MS = 60_000


def compared(state: State) -> Compared | None:
    """What clients are asked to sum by unit. It comes and goes with the route, as its ETag does."""
    if state.route is None or state.rollout is None or state.rollout.begun is None:
        return None
    return Compared(state.route.generation, tuple(sorted(state.rollout.begun.scores)))


@dataclass(slots=True)
class _Line:
    """One comparison: what was read last, and the windows that were added up for its latency."""

    generation: int
    read_ms: int
    arms: Arms
    until_ms: int
    windows: dict[str, Window] = field(default_factory=dict)


class Comparisons:
    """A cache over `Units` and `Series`; dropping it at any time only reads again."""

    def __init__(self, series: Series, units: Units) -> None:
        """An empty cache over these."""
        self._series, self._units = series, units
        self._lines: dict[tuple[str, str], _Line] = {}

    def arms(self, state: State, until_ms: int, now_ms: int) -> Arms | None:
        """Both arms of the comparison that is asked now, a minute old at most; None if none is.

        Windows of seconds before `until_ms` are final.
        """
        key, route, rollout = (state.environment, state.prompt), state.route, state.rollout
        if route is None or route.candidate is None or rollout is None or rollout.begun is None:
            self._lines.pop(key, None)
            return None
        if rollout.answer is not None or not rollout.is_before_whole:
            return None
        line = self._lines.get(key)
        same = line is not None and line.generation == route.generation
        if line is None or not same or not 0 <= now_ms - line.read_ms < READ_EVERY_MS:
            line = self._read(key, route, rollout.begun, line if same else None, until_ms, now_ms)
            self._lines[key] = line
        return line.arms

    def _read(
        self,
        key: tuple[str, str],
        route: Route,
        begun: Begun,
        before: _Line | None,
        until_ms: int,
        now_ms: int,
    ) -> _Line:
        # The second in which the stage began is the one before's as well.
        since_ms = before.until_ms if before else -(-route.since_ms // BUCKET_MS) * BUCKET_MS
        windows = dict(before.windows) if before else {}
        found: list[ArmSummary] = []
        for arm in route.arms:
            version = (*key, arm.version)
            sums = {}
            if begun.slow_above is not None:
                window = windows.get(arm.version, EMPTY)
                windows[arm.version] = self._further(version, window, since_ms, until_ms)
                sums[LATENCY] = slow_calls(windows[arm.version], begun.slow_above)
            tallies = self._units.tally((version, route.generation))
            found.append(tallied(tallies, begun.scores, sums))
        return _Line(route.generation, now_ms, Arms(*found), max(since_ms, until_ms), windows)

    def _further(self, version: VersionKey, window: Window, since_ms: int, until_ms: int) -> Window:
        if until_ms <= since_ms:
            return window
        read = self._series.read(version, since_ms, until_ms)
        return merge(window, total(bucket.window for bucket in read))
