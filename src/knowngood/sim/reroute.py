"""Recorded calls re-routed: what a promotion would have cost, had they gone where it sent them.

The arrivals and latencies are those of the record; the version that each call meets is chosen by
the real route of the real engine, in virtual time, and whether it fails is said by a `Backend`.
"""

import heapq
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

from knowngood import wire
from knowngood.core.errors import BadRequest
from knowngood.core.model import WHOLE_BP, Record, Route
from knowngood.core.policy import PolicyFile
from knowngood.core.rollout import Ladder
from knowngood.core.routing import Choice, choose, choose_bucket
from knowngood.core.window import BUCKET_MS, EXCLUDED_KINDS
from knowngood.engine.reconcile import Look
from knowngood.sim.stage import Stage
from knowngood.sim.trace import OK, Call, window_of

ACTOR = "reroute"
CLIENT = "reroute"
CONTROL, CANDIDATE = "v1.9.0", "v2.0.0"
# A process asks for the route once a second, so what was decided is served a second later.
ARRIVES_AFTER_TICKS = 1
REFUSED = "provider"


@dataclass(slots=True)
class Backend:
    """What the candidate runs on: it holds `capacity` calls at once and refuses whatever is more.

    So its share of failures grows with its load, from none to nearly all. `failure_share` of the
    other calls fail, on either version.
    """

    capacity: float
    failure_share: float
    ends_ms: list[int] = field(default_factory=list)  # of the calls under way, a heap

    def refuses(self, at_ms: int, latency_ms: float) -> bool:
        """Whether a call that begins now finds no room; if it does, it takes it."""
        while self.ends_ms and self.ends_ms[0] <= at_ms:
            heapq.heappop(self.ends_ms)
        if len(self.ends_ms) + 1 > self.capacity:
            return True
        heapq.heappush(self.ends_ms, at_ms + round(latency_ms))
        return False


@dataclass(slots=True)
class Stretch:
    """The candidate's calls while it had one share of the traffic."""

    share_bp: int
    call_count: int = 0
    failed_count: int = 0


@dataclass(slots=True)
class Outcome:
    """What a promotion cost. `stopped_bp` is the candidate's share when it was taken off."""

    stretches: list[Stretch] = field(default_factory=list)
    began_ms: int = 0
    stopped_bp: int | None = None
    stopped_ms: int | None = None
    because: str = ""

    @property
    def call_count(self) -> int:
        """How many calls the candidate served."""
        return sum(stretch.call_count for stretch in self.stretches)

    @property
    def failed_count(self) -> int:
        """How many calls of the candidate failed."""
        return sum(stretch.failed_count for stretch in self.stretches)

    @property
    def harm_ms(self) -> int | None:
        """From the promotion to the rollback; None if there was none."""
        return None if self.stopped_ms is None else self.stopped_ms - self.began_ms


def reroute(
    calls: Iterable[Call],
    policy: PolicyFile,
    ladder: Ladder,
    backend: Backend,
    rng: random.Random,
    warm_up_ms: int,
) -> Outcome:
    """Play the calls, promote the candidate after the warm-up, and count until it is off the route.

    The calls are in the order of their times. Those with a unit go where the unit's hash says,
    the others where a bucket drawn for each says, as the SDK does. Raises BadRequest for no calls,
    and BadLadder.
    """
    run: _Run | None = None
    for second_ms, group in groupby(calls, key=_second_ms):
        run = run or _Run(policy, backend, rng, second_ms, second_ms + warm_up_ms)
        while run.stage.now_ms < second_ms:
            run.second((), ladder)
        run.second(group, ladder)
        if run.is_over:
            break
    if run is None:
        raise BadRequest("there are no calls to re-route")
    return run.outcome


def _second_ms(call: Call) -> int:
    return call.at_ms // BUCKET_MS * BUCKET_MS


class _Run:
    """One promotion under way: the stage, the calls that have not ended, and what was counted."""

    def __init__(
        self,
        policy: PolicyFile,
        backend: Backend,
        rng: random.Random,
        now_ms: int,
        promote_ms: int,
    ) -> None:
        self.promote_ms: int | None = promote_ms
        self.stage = Stage(policy, "rerouted", "production", ACTOR, now_ms)
        self.backend = backend
        self.rng = rng
        self.outcome = Outcome()
        self.pending: list[tuple[int, int, Call]] = []  # by their ends
        self.call_no = 0
        self.stage.deploy(CONTROL, "the version that has always worked", now_ms)
        route = self._route()
        self.routes = deque([route] * (ARRIVES_AFTER_TICKS + 1), ARRIVES_AFTER_TICKS + 1)

    @property
    def is_over(self) -> bool:
        """Whether the candidate was taken off, and the last process has heard of it."""
        gone = self.outcome.stopped_bp is not None
        return gone and all(not route.weight_bp(CANDIDATE) for route in self.routes)

    def second(self, calls: Iterable[Call], ladder: Ladder) -> None:
        """The calls of the second that begins now, what was reported of it, and the next tick."""
        began_ms, route = self.stage.now_ms, self.routes[0]
        if self.promote_ms is not None and began_ms >= self.promote_ms:
            self.promote_ms, self.outcome.began_ms = None, began_ms
            self.stage.promote(CANDIDATE, ladder, "a better prompt", began_ms)
            self.routes[-1] = self._route()
        for call in calls:
            self._serve(call, route)
        self.stage.now_ms = began_ms + BUCKET_MS
        self.stage.report(CLIENT, self._rows())
        for look in self.stage.tick(self.stage.now_ms):
            self._follow(look)
        self.routes.append(self._route())

    def _serve(self, call: Call, route: Route) -> None:
        version = self._choose(call, route).version
        latency_ms = call.latency_ms or 0.0
        outcome, end_ms = call.outcome, call.at_ms + round(latency_ms)
        if outcome == OK and self.rng.random() < self.backend.failure_share:
            outcome = REFUSED
        if version == CANDIDATE and self.backend.refuses(call.at_ms, latency_ms):
            outcome, end_ms = REFUSED, call.at_ms
        if version == CANDIDATE and outcome not in EXCLUDED_KINDS:
            self._count(route.weight_bp(CANDIDATE), outcome != OK)
        self.call_no += 1
        made = call._replace(version=version, outcome=outcome)
        heapq.heappush(self.pending, (end_ms, self.call_no, made))

    def _choose(self, call: Call, route: Route) -> Choice:
        if call.unit:
            return choose(route, call.unit)
        return choose_bucket(route, self.rng.randrange(WHOLE_BP))

    def _count(self, share_bp: int, failed: bool) -> None:
        stretches = self.outcome.stretches
        if not stretches or stretches[-1].share_bp != share_bp:
            stretches.append(Stretch(share_bp))
        stretches[-1].call_count += 1
        stretches[-1].failed_count += failed

    def _rows(self) -> list[wire.Row]:
        """What ended in the second that is over, a row for each version."""
        ended: list[Call] = []
        while self.pending and self.pending[0][0] < self.stage.now_ms:
            ended.append(heapq.heappop(self.pending)[2])
        ended.sort(key=attrgetter("version"))
        return [
            wire.Row(self.stage.prompt, version, BUCKET_MS, window_of(group, None))
            for version, group in groupby(ended, key=attrgetter("version"))
        ]

    def _follow(self, look: Look) -> None:
        for action in look.decision.actions:
            if isinstance(action, Record) and action.kind == "rollback.switched":
                assert look.state.route is not None
                self.outcome.stopped_bp = look.state.route.weight_bp(CANDIDATE)
                self.outcome.stopped_ms = look.now_ms
                self.outcome.because = action.because

    def _route(self) -> Route:
        route = self.stage.state().route
        assert route is not None
        return route
