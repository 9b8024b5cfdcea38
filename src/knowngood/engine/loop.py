"""The tick: everything that happens by itself, once a second, in one thread."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from knowngood.core.errors import StaleState
from knowngood.core.fleet import trouble
from knowngood.core.look import LOOKBACK_MS
from knowngood.core.model import FLEET, Change
from knowngood.core.outside import KEPT_MS, TAKEN_KEPT_MS
from knowngood.core.steps.comparison import compares_units
from knowngood.core.window import BUCKET_MS
from knowngood.engine.deliver import Draw, Link, Post, Where, no_link, nowhere, tick_deliver
from knowngood.engine.ingest import WATERMARK_MS, Ingest
from knowngood.engine.reconcile import ACTOR, Look, Reconciler, tick_reconcile
from knowngood.engine.retain import Sweep
from knowngood.ports import Notifier, Store

TICK_MS = 1_000
COMPACT_EVERY_MS = 60_000
FORGET_MS = 30 * 24 * 3_600_000  # what nobody called for a month is judged from its last day


def begin_ms(store: Store, wall_ms: int) -> int:
    """The time at which a new engine begins: the wall clock's, unless that was set back.

    Never before the newest line of history, nor in a second that was judged already: what is
    reported into one of those is never judged.
    """
    newest_ms = max((entry.at_ms for entry in store.log.read(limit=1)), default=0)
    with suppress(Exception):  # observations that cannot be read keep no server from starting
        for _, at_ms in store.series.touched(max(newest_ms, wall_ms)):
            newest_ms = max(newest_ms, at_ms + BUCKET_MS + WATERMARK_MS)
    return max(wall_ms, newest_ms)


@dataclass(slots=True)
class Engine:
    """One engine over one store. Several may run: every apply is fenced.

    `on_error` is told of a part of the tick that failed; the other parts go on. `deliver` hands
    messages over: a server puts one in its place that waits for nobody.
    """

    store: Store
    ingest: Ingest
    reconciler: Reconciler
    notifiers: Mapping[str, Notifier]
    on_error: Callable[[str, Exception], None] | None = None
    compacted_ms: int = 0
    ticked_ms: int | None = None
    until_ms: int = 0
    deliver: Callable[[Post, int], object] = tick_deliver
    link: Link = no_link
    where: Where = nowhere
    paces: Mapping[str, int] = field(default_factory=dict)
    picture: Draw | None = None
    sweep: Sweep = field(default_factory=Sweep)
    failing: dict[str, int] = field(default_factory=dict)  # part -> since when, in ms
    told_trouble: bool = True  # an engine before this one may have told of something that is over

    def tick(self, now_ms: int) -> list[Look]:
        """Write what came in, judge what is due, send what is queued; the looks that acted.

        The parts are apart: a store that cannot take observations does not keep a rollback from
        being verified, and a notifier that fails delays no rollback.
        """
        acted: list[Look] = []
        self._part("ingest", lambda: self._flush(now_ms), now_ms)
        self._part("reconcile", lambda: acted.extend(self._reconcile(now_ms)), now_ms)
        self._part("checkpoint", self.reconciler.outlook.recent.save, now_ms)
        self._part("trouble", lambda: self._tell_trouble(now_ms), now_ms)
        self._part("deliver", lambda: self._deliver(now_ms), now_ms)
        if now_ms - self.compacted_ms >= COMPACT_EVERY_MS:
            self._part("compact", lambda: self._compact(now_ms), now_ms)
        self._part("purge", lambda: self._purge(now_ms), now_ms)
        self.ticked_ms = now_ms
        return acted

    def _flush(self, now_ms: int) -> None:
        self.ingest.refresh()
        self.until_ms = self.ingest.flush(now_ms)

    def _reconcile(self, now_ms: int) -> list[Look]:
        return tick_reconcile(self.reconciler, self.until_ms, now_ms)

    @property
    def post(self) -> Post:
        """What delivering needs."""
        policy = self.reconciler.policy
        return Post(
            self.store,
            policy,
            self.notifiers,
            self.link,
            self.where,
            self.paces,
            self.picture,
        )

    def _deliver(self, now_ms: int) -> None:
        self.deliver(self.post, now_ms)

    def _compact(self, now_ms: int) -> None:
        """A portion a tick, until there is nothing left to do for a minute."""
        before_ms, self.compacted_ms = self.compacted_ms, now_ms
        if self.store.series.compact(now_ms) + self._forget_units():
            self.compacted_ms = before_ms
        recent = self.reconciler.outlook.recent
        recent.save(idle_before_ms=now_ms - LOOKBACK_MS)
        recent.drop_idle(now_ms - LOOKBACK_MS)
        self.store.checkpoints.forget(now_ms - FORGET_MS)
        self.store.outside.forget(now_ms - KEPT_MS, now_ms - TAKEN_KEPT_MS)

    def _purge(self, now_ms: int) -> None:
        self.sweep.step(self.store, self.reconciler.policy, ACTOR, now_ms)

    def _forget_units(self) -> int:
        """Drop a portion of what nobody compares any more; how many sums went away."""
        gone = 0
        for key, generation in self.store.units.arms():
            if not compares_units(self.store.states.get(*key[:2]), generation):
                gone += self.store.units.forget((key, generation))
        return gone

    def _tell_trouble(self, now_ms: int) -> None:
        """Page for what keeps failing; the words stay in the history when it works again."""
        if not self.failing and not self.told_trouble:
            return
        for environment in self.store.states.environments():
            fleet = self.store.states.get(environment, FLEET)
            policy = self.reconciler.policy.for_prompt(FLEET)
            actions = trouble(fleet, self.failing, policy, now_ms)
            if actions:
                seen = fleet.revision, actions, ACTOR, policy.revision
                with suppress(StaleState):  # looked at anew by the next tick
                    self.store.states.apply([Change(environment, FLEET, *seen)], now_ms)
        self.told_trouble = bool(self.failing)

    def _part(self, name: str, part: Callable[[], object], now_ms: int) -> None:
        try:
            part()
        except Exception as error:
            self.failing.setdefault(name, now_ms)
            if self.on_error is None:
                raise
            self.on_error(name, error)
        else:
            self.failing.pop(name, None)
