"""What a running server consists of, as the routes find it."""

import functools
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request

from knowngood.adapters.egress import Egress
from knowngood.core.errors import StoreUnavailable
from knowngood.engine.ingest import Ingest
from knowngood.engine.loop import Engine
from knowngood.ports import Clock, Policies, Store
from knowngood.server import read
from knowngood.server.courier import Courier
from knowngood.server.desk import Desk
from knowngood.server.heart import Heart
from knowngood.server.hooks import Hooks
from knowngood.server.links import Links
from knowngood.server.metrics import Metrics
from knowngood.server.runbooks import Library, shipped
from knowngood.server.sessions import Sessions
from knowngood.server.settings import Settings
from knowngood.wire import Batch, Receipt, encode_snapshot

P = ParamSpec("P")
T = TypeVar("T")

# Lanes of threads, so that no flood of one kind starves another: a rollback always finds a thread.
# Together they fit into PostgreSQL's connections, with the engine's, the evidence's and the
# channels', which ask for a moment once a second.
ACT_LANE = 4
READ_LANE = 8
SNAPSHOT_LANE = 2
TEST_LANE = 1  # of a channel: it may hang for as long as its provider does
INGEST_LANE = 1  # for reports that need the store first; most are taken without a thread

# Reports that wait while the store hangs, some 10 KB each; the others are sent again later.
REPORTS_WAITING_MAX = 2_000

LINEAGE = "lineage"  # where the data's name is kept, among the policies, as links.LINK_KEY is


@dataclass(slots=True)
class Lanes:
    """Who waits for whom. Made inside the event loop."""

    acts: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(ACT_LANE))
    reads: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(READ_LANE))
    snapshots: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(SNAPSHOT_LANE))
    tests: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(TEST_LANE))
    reports: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(INGEST_LANE))


@dataclass(slots=True)
class Runtime:
    """One running server."""

    settings: Settings
    clock: Clock
    store: Store
    desk: Desk
    ingest: Ingest
    engine: Engine
    heart: Heart
    metrics: Metrics
    snapshots: "Snapshots"
    links: Links
    courier: Courier
    hooks: Hooks = field(default_factory=Hooks)
    egress: Egress = field(default_factory=Egress)
    lanes: Lanes = field(default_factory=Lanes)
    library: Library = field(default_factory=shipped)
    sessions: Sessions = field(default_factory=lambda: Sessions(secrets.token_bytes(32)))
    is_ending: bool = False  # no new streams, and those there are end

    async def act(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the work in the lane that is kept for orders."""
        return await _in_lane(self.lanes.acts, functools.partial(work, *args, **kwargs))

    async def read(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the work in the lane of questions."""
        return await _in_lane(self.lanes.reads, functools.partial(work, *args, **kwargs))

    async def test(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the work where nobody else waits for it."""
        return await _in_lane(self.lanes.tests, functools.partial(work, *args, **kwargs))

    async def take(self, batch: Batch, refused: Mapping[str, int], now_ms: int) -> Receipt:
        """Take a report in; nobody else waits if the store has to be asked first.

        Raises UnknownEnvironment or StoreUnavailable.
        """
        if self.ingest.is_ready_for(batch):
            return self.ingest.take(batch, refused, now_ms)
        lane = self.lanes.reports
        if lane.statistics().tasks_waiting >= REPORTS_WAITING_MAX:
            raise StoreUnavailable("too many reports wait for the store", next_step="send it again")
        return await _in_lane(lane, functools.partial(self.ingest.take, batch, refused, now_ms))

    async def serve(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do the work in the lane of snapshots."""
        return await _in_lane(self.lanes.snapshots, functools.partial(work, *args, **kwargs))


async def _in_lane(lane: CapacityLimiter, work: Callable[[], T]) -> T:
    return await to_thread.run_sync(work, limiter=lane)


def runtime_of(request: Request) -> Runtime:
    """The server that a request came to."""
    found: Runtime = request.app.state.runtime
    return found


class Snapshots:
    """The snapshots as they travel, made once for each environment and generation."""

    def __init__(self, desk: Desk, boot: str) -> None:
        """`boot` names the lineage of the data that the desk stands on."""
        self._desk = desk
        self._boot = boot
        self._lock = Lock()
        self._made: dict[str, tuple[str, bytes]] = {}

    def get(self, environment: str) -> tuple[str, bytes]:
        """(ETag, JSON) of the environment's snapshot. Raises UnknownEnvironment."""
        made = self._made.get(environment)
        if made is None:  # what cannot be a name is not asked for: databases refuse some characters
            self._desk.check_environment(environment)
        etag = self._etag(environment, self._desk.store.states.generation(environment))
        if made is None or made[0] != etag:
            with self._lock:  # a thousand clients that ask at once are given the same one
                made = self._made.get(environment)
                if made is None or made[0] != etag:
                    made = self._make(environment)
                    self._made[environment] = made
        return made

    def _make(self, environment: str) -> tuple[str, bytes]:
        snapshot = read.snapshot(self._desk, environment, self._boot)
        text = json.dumps(encode_snapshot(snapshot), separators=(",", ":"))
        return self._etag(environment, snapshot.generation), text.encode()

    def _etag(self, environment: str, generation: int) -> str:
        return f'"{environment}.g{generation}.{self._desk.policy.revision[:12]}.{self._boot}"'


def lineage(policies: Policies, now_ms: int) -> str:
    """The name of the data's lineage, given to it by the first server that opens it.

    Clients compare generations only within one lineage, so a new database is no step back.
    """
    policies.put(LINEAGE, {"boot": secrets.token_hex(8)}, now_ms)
    kept = policies.get(LINEAGE)
    assert kept is not None
    return str(kept["boot"])
