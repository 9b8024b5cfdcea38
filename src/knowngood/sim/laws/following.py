"""What the laws of rollouts remember: since when a stage is in force, and a version on the route.

Also their own arithmetic: what fails beyond doubt.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from knowngood.core.model import Change, Record, Renew, State
from knowngood.core.window import BUCKET_MS
from knowngood.engine.ingest import closed_until_ms
from knowngood.sim.laws.base import Checker, StateKey, key_of, kinds_of
from knowngood.sim.laws.recovery import MISSED, SAFE_EVIDENCE, log_safe_evidence
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World

# Beyond doubt: in twelve of twenty seconds at least half of the calls failed, forty calls in all.
LOOKS_BACK_MS = 20_000
SECONDS, CALLS = 12, 40
SEEN_SLACK_MS = 15_000


@dataclass(frozen=True, slots=True)
class Since:
    """When something came into force: by the clock of who decided it, and by the world's."""

    decided_ms: int
    really_ms: int


class Following(Checker):
    """A law that follows each route; `judge` sees an apply before it is noted."""

    def __init__(self, world: "World") -> None:
        """A checker that has seen no route."""
        super().__init__(world)
        self.stage: dict[StateKey, Since] = {}
        self.seen_ms: dict[StateKey, int] = {}  # the first look at a stage: its calls begin here
        self.came_ms: dict[tuple[StateKey, str], int] = {}  # where its first calls are
        self.fresh_ms: dict[tuple[StateKey, str], int] = {}  # where its detectors begin

    def judge(self, event: Applied) -> None:
        """What the law says of an apply."""

    def applied(self, event: Applied) -> None:
        """Judge, then note."""
        self.judge(event)
        for change, before, after in zip(event.changes, event.before, event.after, strict=True):
            key = key_of(after)
            resumed = _is_paused(before) and not _is_paused(after)
            if resumed or _in_force(before) != _in_force(after):
                self.stage[key] = Since(event.now_ms, self.world.now_ms)
            elif "rollout.stage_anew" in kinds_of(change):
                self.stage[key] = Since(event.now_ms, self.stage[key].really_ms)
            looked = _unseen(before) and not _unseen(after)
            if looked or "rollout.stage_anew" in kinds_of(change):
                self.seen_ms[key] = event.now_ms
            old = {arm.version for arm in before.route.arms} if before.route else set()
            for arm in after.route.arms if after.route else ():
                if arm.version not in old:
                    # Its first calls are in the bucket that was open when it came.
                    came_ms = event.now_ms - event.now_ms % BUCKET_MS
                    self.came_ms[key, arm.version] = self.fresh_ms[key, arm.version] = came_ms
            for action in change.actions:
                if isinstance(action, Renew):
                    next_ms = -(-event.now_ms // BUCKET_MS) * BUCKET_MS
                    self.fresh_ms[key, action.version] = next_ms

    def in_force_ms(self, state: State, now_ms: int) -> int:
        """For how long the stage, or the route where there is none, has been in force."""
        since = self.stage.get(key_of(state))
        return now_ms - since.decided_ms if since else 0

    def fails_beyond_doubt(self, state: State, version: str, until_ms: int) -> bool:
        """Whether nobody could doubt that the version fails now."""
        key = (*key_of(state), version)
        since_ms = max(until_ms - LOOKS_BACK_MS, self.fresh_ms.get((key_of(state), version), 0))
        ticks = [counts for _, counts in self.world.accepted.ticks(key, since_ms, until_ms)]
        failing = sum(1 for n, bad, *_ in ticks if bad * 2 >= n > 0)
        calls, bad = sum(counts[0] for counts in ticks), sum(counts[1] for counts in ticks)
        return failing >= SECONDS and calls >= CALLS and bad * 2 >= calls

    def unproven(
        self, state: State, version: str, limit: float, until_ms: int, surely: bool = False
    ) -> str | None:
        """Why the version's calls do not prove its error rate below the limit.

        In a rollout only those of the stage in force count, else all since it came. `surely`: also
        why they may not prove it to an engine whose writes were refused when the stage began.
        """
        came_ms = self.came_ms.get((key_of(state), version), 0)
        seen_ms = closed_until_ms(self.seen_ms.get(key_of(state), until_ms))
        begins = [came_ms]
        if state.rollout is not None:  # its first look saw no further than some seconds before
            slack = range(seen_ms, seen_ms - SEEN_SLACK_MS, -BUCKET_MS)
            begins = [max(since_ms, came_ms) for since_ms in slack]
        why = [self._unproven_since(state, version, limit, ms, until_ms) for ms in begins]
        doubts = [words for words in why if words is not None]
        return doubts[0] if doubts and (surely or len(doubts) == len(why)) else None

    def _unproven_since(
        self, state: State, version: str, limit: float, since_ms: int, until_ms: int
    ) -> str | None:
        tally = self.world.accepted.between((*key_of(state), version), since_ms, until_ms)
        # With two intakes an engine may have missed a few calls, good ones or bad ones.
        alone = self.world.plan.engine_count == 1
        enough, bad = (SAFE_EVIDENCE, tally.bad) if alone else (2.0, max(0, tally.bad - MISSED))
        if log_safe_evidence(bad, tally.n, limit) >= math.log(enough) - 1e-6:
            return None
        return f"{tally.bad} of {tally.n} failed, which proves nothing"


def judged_until_ms(change: Change, event: Applied) -> int:
    """Up to where the calls were that a decision saw, as its line of history keeps it.

    Where a write was refused that is a while ago; it is never later than what was closed.
    """
    details = (a.detail for a in change.actions if isinstance(a, Record))
    kept = [int(detail["frozen"]["until_ms"]) for detail in details if "frozen" in detail]
    return min([closed_until_ms(event.now_ms), *kept])


def _is_paused(state: State) -> bool:
    return state.rollout is not None and state.rollout.pause is not None


def _unseen(state: State) -> bool:
    return state.rollout is not None and state.rollout.unseen


def _in_force(state: State) -> Hashable:
    """What a stage is named by: another plan that keeps the share keeps the stage's time too."""
    rollout = state.rollout
    if rollout is None:
        return state.route.arms if state.route else ()
    share_bp = rollout.ladder.stages_bp[rollout.stage]
    return rollout.kind, rollout.from_version, rollout.to_version, rollout.began_ms, share_bp
