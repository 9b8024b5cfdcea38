"""Break glass: reads and `rollback` on the database file itself, while the server is down.

The only place of the command line that names a store. The same `read` and `act` answer as in the
server, so the same output is printed.
"""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from knowngood.core.errors import BadRequest, KnowngoodError
from knowngood.core.policy import PolicyFile, parse
from knowngood.ports import Store
from knowngood.server import (
    act,
    dryrun,
    evals,
    judged,
    notices,
    read,
    retention,
    rollouts,
    runbooks,
)
from knowngood.server.desk import Desk
from knowngood.server.doctor import doctor
from knowngood.server.policy_file import load_policy
from knowngood.server.rerun import rerun
from knowngood.server.separable import check
from knowngood.store.memory import open_memory
from knowngood.store.sqlite import open_sqlite

ENVIRONMENT = "production"

Answer = Callable[..., Any]


class NeedsServer(KnowngoodError):
    """Without a server only reads and `rollback` work."""

    code = "needs_server"


class Local:
    """What answers for the server: a desk over a store, for reads and `rollback`."""

    def __init__(self, desk: Desk, actor: str) -> None:
        self._desk = desk
        self._actor = f"{actor} (unverified)"  # as in local mode: whoever can write the file

    def get(self, path: str, **query: Any) -> Any:
        """The answer of a read."""
        for pattern, answer in READS:
            if match := re.fullmatch(pattern, path):
                names = [unquote(name) for name in match.groups()]
                said = {key: value for key, value in query.items() if value not in (None, "")}
                return answer(self._desk, *names, **said)
        raise NeedsServer

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The answer of a rollback; other writes can wait for the server."""
        if path != "/api/rollback":
            raise NeedsServer
        ask = act.Ask(
            actor=self._actor,
            because=body["because"],
            override=tuple(body.get("override") or ()),
            revision=body.get("revision"),
            dry_run=bool(body.get("dry_run")),
        )
        return act.rollback(
            self._desk,
            body["environment"],
            body["prompt"],
            body.get("target_version"),
            ask,
            now_ms(),
            confirm=bool(body.get("confirm")),
            quarantine=body.get("quarantine") is not False,
            gradual=_gradual(body),
            alone=bool(body.get("alone")),
        )


def _gradual(body: dict[str, Any]) -> act.Gradual | None:
    if body.get("gradual"):
        raise BadRequest(
            "a gradual rollback needs a server that watches its target",
            next_step="roll back without --gradual, or start the server",
        )
    return None


def open_local(file: Path, actor: str, policy: Path | None = None) -> Local:
    """The database file as a backend. Raises BadRequest if there is none: none is made here."""
    if not file.is_file():
        raise BadRequest(
            f"there is no database {file}",
            next_step="name the file that `knowngood serve --db` was given",
        )
    store = open_sqlite(file, observations_needed=False)
    return Local(Desk(store, load_policy(policy) if policy else last_policy(store)), actor)


def local_policy(file: Path) -> Local:
    """An empty store under the policy of a file: what can be seen of a policy by itself."""
    return Local(Desk(open_memory(), load_policy(file)), "")


def last_policy(store: Store) -> PolicyFile:
    """The policy that the newest line of history was judged by, else the default policy."""
    newest = store.log.read(limit=1)
    kept = store.policies.get(newest[-1].policy_revision) if newest else None
    return parse(kept or {})


def now_ms() -> int:
    """The time of this machine."""
    return time.time_ns() // 1_000_000


def _explain(desk: Desk, name: str, environment: str = ENVIRONMENT) -> Mapping[str, Any]:
    return judged.explain(desk, environment, name, now_ms())


def _gates(
    desk: Desk, name: str, version: str, environment: str = ENVIRONMENT
) -> Mapping[str, Any]:
    return rollouts.gates(desk, environment, name, version, now_ms())


def _status(
    desk: Desk, environment: str = ENVIRONMENT, prompt: str | None = None
) -> Mapping[str, Any]:
    return judged.status(desk, environment, prompt, now_ms())


def _audit(
    desk: Desk,
    environment: str | None = None,
    prompt: str | None = None,
    after: int = 0,
    limit: int = 100,
) -> Mapping[str, Any]:
    return read.audit(desk, environment, prompt, after, limit)


def _report(
    desk: Desk,
    environment: str = ENVIRONMENT,
    prompt: str | None = None,
    since: str = dryrun.SINCE,
) -> Mapping[str, Any]:
    return dryrun.report(desk, environment, prompt, since, now_ms())


def _retention(
    desk: Desk, prompt: str | None = None, after: str = "", limit: int = retention.PROMPTS_MAX
) -> Mapping[str, Any]:
    return retention.report(desk, now_ms(), prompt, after, limit)


def _runbook(
    desk: Desk,
    name: str,
    incident: str | None = None,
    prompt: str | None = None,
    environment: str = ENVIRONMENT,
) -> Mapping[str, Any]:
    return runbooks.show(desk, runbooks.shipped(), name, incident, prompt, environment, now_ms())


READS: tuple[tuple[str, Answer], ...] = (
    (r"/api/prompts", read.prompts),
    (r"/api/prompts/([^/]+)", read.prompt),
    (r"/api/prompts/([^/]+)/versions/([^/]+)", read.version),
    (r"/api/prompts/([^/]+)/diff", read.diff),
    (r"/api/prompts/([^/]+)/explain", _explain),
    (r"/api/prompts/([^/]+)/gates", _gates),
    (r"/api/status", _status),
    (r"/api/audit", _audit),
    (r"/api/audit/([0-9]+)", lambda desk, entry: read.audit_entry(desk, int(entry))),
    (r"/api/audit/([0-9]+)/replay", lambda desk, entry: rerun(desk, int(entry))),
    (r"/api/policy/check", lambda desk: check(desk, desk.policy)),
    (r"/api/policy/report", _report),
    (r"/api/policy", lambda desk, prompt=None: read.policy(desk, prompt)),
    (r"/api/doctor", lambda desk: doctor(desk, now_ms())),
    (r"/api/environments", read.environments),
    (r"/api/retention", _retention),
    (r"/api/runbooks", lambda desk: runbooks.listed(runbooks.shipped(), now_ms())),
    (r"/api/runbooks/([^/]+)", _runbook),
    (r"/api/notify/log", notices.log),
    (r"/api/evaluations", evals.listed),
    (r"/api/evaluations/compare", evals.compare),
    (r"/api/evaluations/([0-9]+)", lambda desk, number: evals.one(desk, int(number))),
)
