"""The composition root: the only place of the server that names concrete stores."""

import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from knowngood.adapters.catalog import Means, channels, notifiers, paces
from knowngood.adapters.egress import Egress, Refused
from knowngood.core.policy import PolicyFile, own_warnings
from knowngood.engine.deliver import nowhere
from knowngood.engine.ingest import Ingest
from knowngood.engine.loop import Engine, begin_ms
from knowngood.engine.reconcile import new_reconciler
from knowngood.ports import Clock, Store
from knowngood.server import logs
from knowngood.server.api import (
    acts,
    answer_page,
    answers,
    approvals,
    evals,
    incidents,
    keep,
    machines,
    notices,
    reads,
    refusals,
    releases,
    rollouts,
    runbooks,
)
from knowngood.server.api import hooks as inbound
from knowngood.server.courier import Courier, NothingGoesOut
from knowngood.server.deadman import DeadMan
from knowngood.server.desk import Desk
from knowngood.server.guard import Guard
from knowngood.server.heart import Heart, told
from knowngood.server.hooks import hooks_of
from knowngood.server.links import Links, kept_key
from knowngood.server.metrics import Metrics
from knowngood.server.pictures import Pictures
from knowngood.server.policy_file import load_policy
from knowngood.server.rolls import Rolls
from knowngood.server.runbooks import load_library
from knowngood.server.runtime import Lanes, Runtime, Snapshots, lineage
from knowngood.server.sessions import Sessions
from knowngood.server.settings import MEMORY, BadSettings, Settings
from knowngood.store.memory import open_memory
from knowngood.store.opened import OpenStore
from knowngood.store.postgres import open_postgres
from knowngood.store.sqlite import open_sqlite

VERSION = "0.1.0"
DESCRIPTION = (
    "Stores prompt versions, serves them, watches them in production and rolls back to the last "
    "known-good one. Every error has the shape `{error: {code, message, known, next}}`; wherever a "
    "version is named, `name:version` is accepted."
)
# A request takes milliseconds; what has not ended by then hangs on something that is gone.
GRACE_S = 5

log = structlog.get_logger("knowngood.server")


class SystemClock:
    """The machine's time at the start, carried on by a clock that nobody can set.

    Deadlines and buckets would not survive a wall clock that jumps. Where there is one, the clock
    goes on while the machine sleeps.
    """

    def __init__(self, store: Store) -> None:
        """It begins at the wall clock's time, or where the store's time has come to."""
        began_ms = begin_ms(store, time.time_ns() // 1_000_000)
        self._offset_ms = began_ms - self._elapsed_ms()

    def now_ms(self) -> int:
        """See ports.Clock."""
        return self._offset_ms + self._elapsed_ms()

    @staticmethod
    def _elapsed_ms() -> int:
        if hasattr(time, "CLOCK_BOOTTIME"):
            return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        return time.monotonic_ns() // 1_000_000


def create_app(
    settings: Settings,
    clock: Clock | None = None,
    *,
    ticking: bool = True,
    pages: Callable[[FastAPI], None] | None = None,
) -> FastAPI:
    """The server as an application, its store opened; `app.state.runtime` is what it consists of.

    With `ticking` false no thread is started: whoever holds the clock calls `runtime.heart.beat()`.
    `pages` adds the dashboard (knowngood.web.install), which is built on top of the server.
    Raises KnowngoodError when the policy, a notifier, a runbook or the store cannot be used.
    """
    policy = load_policy(settings.policy)
    egress = Egress(loopback=settings.egress_loopback, proxy=settings.egress_proxy)
    senders = {**notifiers(settings.notify), **channels(policy.channels, Means(egress=egress))}
    deadman = _deadman(settings, egress)
    library = load_library(settings.runbooks, policy)
    hooks = hooks_of(policy)
    rolls = Rolls(settings.tokens, settings.token_file)
    store = open_store(settings.db)
    try:
        clock = clock if clock is not None else SystemClock(store)
        store.timekeeper.now_ms = clock.now_ms
        now_ms = clock.now_ms()
        store.policies.put(policy.revision, policy.data, now_ms)
        for environment in settings.environments:
            store.states.environments(add=environment)
        ingest = Ingest(store, lambda: policy.scores)
        reconciler = new_reconciler(store, policy, now_ms)
        reconciler.on_error = _telling_of_looks(deadman)
        key = _link_key(settings, store, now_ms)
        links = Links(key, settings.public_url, rolls.now)
        desk = Desk(store, policy, reconciler, rolls)
        engine = Engine(
            store,
            ingest,
            reconciler,
            senders,
            on_error=_telling_of_parts(),
            link=links.url,
            where=links.page if pages is not None else nowhere,
            paces=paces(policy.channels),
            picture=Pictures(desk).of,
        )
        metrics = Metrics(store, ingest, clock)
        courier = Courier(clock, metrics.count_delivery)
        heart = Heart(engine, clock, metrics, deadman)
        snapshots = Snapshots(desk, lineage(store.policies, now_ms))
    except BaseException:
        store.close()
        raise
    runtime = Runtime(
        settings,
        clock,
        store,
        desk,
        ingest,
        engine,
        heart,
        metrics,
        snapshots,
        links,
        courier,
        hooks,
        egress,
        sessions=Sessions(key, settings.is_behind_tls),
    )
    runtime.library = library
    return _application(runtime, store, ticking, pages)


def _deadman(settings: Settings, egress: Egress) -> DeadMan | None:
    """Whoever is given signs of life. Raises BadSettings."""
    if not settings.heartbeat_url:
        return None
    try:
        return DeadMan(egress, settings.heartbeat_url)
    except Refused as error:
        raise BadSettings(f"the heartbeat's address: {error}", next_step="https://...") from error


def _link_key(settings: Settings, store: Store, now_ms: int) -> bytes:
    """What links are signed with: the operator's key, else the database's."""
    given = settings.link_key
    return given.encode() if given else kept_key(store.policies, now_ms)


def _telling_of_looks(deadman: DeadMan | None) -> Callable[[tuple[str, str], Exception], None]:
    def tell(key: tuple[str, str], error: Exception) -> None:
        told(log, f"look at {'/'.join(key)}", error)
        if deadman is not None:
            deadman.trouble()

    return tell


def _telling_of_parts() -> Callable[[str, Exception], None]:
    """Writes failures down; that nothing goes out is said once, and again when it changes."""
    said: list[str] = []

    def tell(part: str, error: Exception) -> None:
        if not isinstance(error, NothingGoesOut):
            told(log, part, error)
        elif [str(error)] != said:
            said[:] = [str(error)]
            log.error("nothing goes out", part=part, error=str(error))

    return tell


def open_store(db: str) -> OpenStore:
    """The store that `db` names: a file, a `postgresql://` URL, or `memory:`.

    Raises StoreUnavailable.
    """
    if db == MEMORY:
        return open_memory()
    if db.startswith(("postgresql:", "postgresql+", "postgres:")):
        return open_postgres(db)
    return open_sqlite(db)


def run(settings: Settings, pages: Callable[[FastAPI], None] | None = None) -> None:
    """Serve until the process is told to end, with `pages` if given (see create_app).

    Raises KnowngoodError if it cannot start.
    """
    _check_port(settings)  # before a database is made, or an engine acts on somebody else's
    logs.configure()
    app = create_app(settings, pages=pages)
    policy: PolicyFile = app.state.runtime.desk.policy
    for line in own_warnings(policy):
        log.warning("policy", warning=line)
    log.info(
        "starting",
        host=settings.host,
        port=settings.port,
        db=settings.db if "://" not in settings.db else "postgresql",
        policy=policy.revision[:12],
        mode="local" if settings.is_local else "with tokens",
    )
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # ours is in place
        access_log=False,  # reports come by the thousand a second
        server_header=False,
        proxy_headers=False,  # nothing here depends on where a request says it comes from
        timeout_graceful_shutdown=GRACE_S,
    )
    _Server(config, app.state.runtime).run()


class _Server(uvicorn.Server):
    """Tells the streams of open pages at once that it ends; nobody waits for them to time out."""

    def __init__(self, config: uvicorn.Config, runtime: Runtime) -> None:
        super().__init__(config)
        self._runtime = runtime

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See uvicorn."""
        self._runtime.is_ending = True
        super().handle_exit(sig, frame)


def _check_port(settings: Settings) -> None:
    """Raises BadSettings when nothing can listen where the settings say."""
    try:
        where = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(*where[:3]) as probe:
            # As servers do: a port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where[4])
    except OSError as error:
        raise BadSettings(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}",
            next_step="name another with --port, or end what listens there",
        ) from error


def _application(
    runtime: Runtime, store: OpenStore, ticking: bool, pages: Callable[[FastAPI], None] | None
) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        runtime.lanes = Lanes()
        if ticking:
            runtime.engine.deliver = runtime.courier.tick
            runtime.heart.start()
        try:
            yield
        finally:
            if ticking:
                runtime.heart.stop()
                runtime.courier.stop()
            store.close()

    app = FastAPI(
        title="knowngood",
        version=VERSION,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # the usual pages fetch their scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.runtime = runtime
    app.router.routes[:0] = machines.routes()
    app.include_router(reads.router)
    app.include_router(acts.router)
    app.include_router(answers.router)
    app.include_router(incidents.router)
    app.include_router(evals.router)
    app.include_router(keep.router)
    app.include_router(rollouts.router)
    app.include_router(releases.router)
    app.include_router(runbooks.router)
    app.include_router(approvals.router)
    app.include_router(inbound.router)
    app.include_router(notices.router)
    app.include_router(answer_page.router)
    refusals.install(app)
    settings, clock = runtime.settings, runtime.clock
    app.add_middleware(
        Guard,
        hosts=settings.hosts,
        roster=runtime.desk.rolls.now,
        now_ms=clock.now_ms,
        sessions=runtime.sessions,
    )
    if pages is not None:
        pages(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        schema["paths"] = {**machines.PATHS, **schema["paths"]}
        if not app.state.runtime.settings.is_local:
            schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
            schemes["token"] = {"type": "http", "scheme": "bearer"}
            schema["security"] = [{"token": []}]
        app.openapi_schema = schema
    return app.openapi_schema
