"""Who may do what: one table from a request to the role that it needs. Nothing here has effects.

Each role may do what the ones before it may; `sdk` stands apart, for programs. A rollback needs one
operator, and never more than that: putting a known-good version back is how harm ends.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache


class Role(StrEnum):
    """What a token lets its bearer do."""

    SDK = "sdk"  # report, fetch snapshots, hand in other systems' alerts: an application
    VIEWER = "viewer"  # look at everything
    OPERATOR = "operator"  # act: push, promote, roll back, answer an incident's question
    APPROVER = "approver"  # and approve what another person promotes
    ADMIN = "admin"  # and what goes around the gates, or cannot be undone


LADDER = (Role.VIEWER, Role.OPERATOR, Role.APPROVER, Role.ADMIN)


class Door(StrEnum):
    """How a request proves that it may come in at all."""

    TOKEN = "token"  # noqa: S105 - a bearer token of the role, or of a higher one
    OPEN = "open"  # nothing: what a supervisor asks, which says nothing else
    SIGNED = "signed"  # the sender's own signature, which the route checks
    SECRET = "secret"  # noqa: S105 - a token, or a secret of its source, which the route checks
    PAGE = "page"  # a token, or the session of somebody who signed in with one


@dataclass(frozen=True, slots=True)
class Need:
    """What a request needs. `programs`: the role `sdk` will do.

    `hurried`: no limit on how often; a rollback waits for nothing, and a report is no order.
    """

    role: Role = Role.VIEWER
    programs: bool = False
    hurried: bool = False
    door: Door = Door.TOKEN


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as far as it is proven: without a name nobody can be told from anybody."""

    name: str = ""
    role: Role = Role.ADMIN


ANYBODY = Caller()  # of the local mode, where whoever can reach the port may do everything

_OPEN = Need(door=Door.OPEN)
_READ = Need(Role.VIEWER)
_ACT = Need(Role.OPERATOR)
_NOW = Need(Role.OPERATOR, hurried=True)
_APPROVE = Need(Role.APPROVER)
_RULE = Need(Role.ADMIN)
_SIGNED = Need(Role.OPERATOR, hurried=True, door=Door.SIGNED)
_ALERTS = Need(Role.OPERATOR, programs=True, door=Door.SECRET)

_PAGE = Need(Role.VIEWER, door=Door.PAGE)
_ON_PAGE = Need(Role.OPERATOR, hurried=True, door=Door.PAGE)
_DOOR = Need(hurried=True, door=Door.OPEN)

_ONE = "/incidents/{environment}/{prompt}/{number}"
_INCIDENT = f"/api{_ONE}"

# Every route of the server, as the application spells it; a test walks them all.
API: dict[tuple[str, str], Need] = {
    ("GET", "/healthz"): _OPEN,
    ("GET", "/answer/{token}"): _SIGNED,
    ("POST", "/answer/{token}"): _SIGNED,
    ("POST", "/api/notify/test"): _ACT,
    ("GET", "/api/notify/log"): _READ,
    ("GET", "/readyz"): _OPEN,
    ("GET", "/metrics"): _READ,
    ("GET", "/openapi.json"): _READ,
    ("POST", "/api/observations"): Need(Role.OPERATOR, programs=True, hurried=True),
    ("GET", "/api/snapshot"): Need(Role.VIEWER, programs=True),
    ("GET", "/api/prompts"): _READ,
    ("GET", "/api/prompts/{name}"): _READ,
    ("GET", "/api/prompts/{name}/diff"): _READ,
    ("GET", "/api/prompts/{name}/explain"): _READ,
    ("GET", "/api/prompts/{name}/gates"): _READ,
    ("GET", "/api/prompts/{name}/plan"): _READ,
    ("GET", "/api/prompts/{name}/versions/{version:path}"): _READ,
    ("POST", "/api/prompts/{name}/versions"): _ACT,
    ("GET", "/api/status"): _READ,
    ("GET", "/api/environments"): _READ,
    ("POST", "/api/environments"): _RULE,
    ("GET", "/api/clients"): _READ,
    ("GET", "/api/audit"): _READ,
    ("GET", "/api/audit/verify"): _READ,
    ("GET", "/api/audit/{entry}"): _READ,
    ("GET", "/api/audit/{entry}/replay"): _READ,
    ("GET", "/api/policy"): _READ,
    ("POST", "/api/policy/check"): _READ,
    ("GET", "/api/policy/report"): _READ,
    ("GET", "/api/doctor"): _READ,
    ("POST", "/api/rollback"): _NOW,
    ("POST", "/api/releases/rollback"): _NOW,
    # Weights by hand go around every gate of a promotion, the second person's included.
    ("POST", "/api/route"): _RULE,
    ("POST", "/api/vouch"): _ACT,
    ("POST", "/api/unquarantine"): _ACT,
    ("POST", "/api/automation"): _ACT,
    ("GET", "/api/evaluations"): _READ,
    ("POST", "/api/evaluations"): _ACT,
    ("GET", "/api/evaluations/compare"): _READ,
    ("GET", "/api/evaluations/{evaluation}"): _READ,
    ("GET", "/api/retention"): _READ,
    ("POST", "/api/pin"): _ACT,
    ("POST", "/api/unpin"): _ACT,
    ("POST", "/api/purge"): _RULE,
    ("POST", "/api/promote"): _ACT,
    ("POST", "/api/approvals"): _APPROVE,
    ("POST", "/api/answers"): _NOW,
    ("GET", "/api/incidents"): _READ,
    ("GET", f"{_INCIDENT}"): _READ,
    ("GET", f"{_INCIDENT}/text"): _READ,
    ("GET", f"{_INCIDENT}/postmortem"): _READ,
    ("POST", f"{_INCIDENT}/notes"): _NOW,
    ("POST", f"{_INCIDENT}/roles"): _NOW,
    ("POST", f"{_INCIDENT}/close"): _ACT,
    ("GET", "/api/runbooks"): _READ,
    ("POST", "/api/runbooks/check"): _READ,
    ("GET", "/api/runbooks/{name}"): _READ,
    ("GET", "/api/runbook-runs"): _READ,
    ("GET", "/api/runbook-runs/{run:path}"): _READ,
    ("POST", "/api/runbook-runs"): _NOW,
    ("POST", "/api/runbook-runs/answer"): _NOW,
    ("POST", "/api/drills"): _ACT,
    ("POST", "/api/rollouts/pause"): _NOW,
    ("POST", "/api/rollouts/resume"): _ACT,
    ("POST", "/api/rollouts/skip"): _ACT,
    ("POST", "/api/rollouts/abort"): _NOW,
    ("POST", "/api/rollouts/plan"): _ACT,
    ("GET", "/api/releases"): _READ,
    ("POST", "/api/releases"): _ACT,
    ("GET", "/api/releases/{name}"): _READ,
    ("POST", "/api/releases/promote"): _ACT,
    ("POST", "/hooks/pagerduty"): _SIGNED,
    ("POST", "/hooks/slack"): _SIGNED,
    ("POST", "/hooks/alertmanager"): _ALERTS,
    ("POST", "/hooks/grafana"): _ALERTS,
    ("POST", "/hooks/json/{source}"): _ALERTS,
}
PAGES: dict[tuple[str, str], Need] = {
    ("GET", "/"): _PAGE,
    ("GET", "/live/"): _PAGE,
    ("GET", "/prompts/{name}"): _PAGE,
    ("GET", "/live/prompts/{name}"): _PAGE,
    ("GET", "/charts/prompts/{name}/{chart}"): _PAGE,
    ("GET", "/incidents"): _PAGE,
    ("GET", "/live/incidents"): _PAGE,
    ("GET", _ONE): _PAGE,
    ("GET", f"/live{_ONE}"): _PAGE,
    ("GET", f"/charts{_ONE}/{{chart}}"): _PAGE,
    ("GET", f"{_ONE}/postmortem"): _PAGE,
    ("GET", f"/files{_ONE}/{{file}}"): _PAGE,
    ("GET", "/prompts/{name}/diff"): _PAGE,
    ("GET", "/prompts/{name}/versions/{version:path}"): _PAGE,
    ("GET", "/policy"): _PAGE,
    ("GET", "/history"): _PAGE,
    ("GET", "/history/{entry}"): _PAGE,
    ("GET", "/processes"): _PAGE,
    ("GET", "/live/processes"): _PAGE,
    ("GET", "/do/{verb}"): _PAGE,
    ("POST", "/do/{verb}"): _ON_PAGE,
    ("GET", "/session"): _PAGE,
    ("GET", "/login"): _DOOR,
    ("POST", "/login"): _DOOR,
    ("POST", "/logout"): _DOOR,
    ("GET", "/assets/draw.js"): _OPEN,
    ("GET", "/assets/{file}"): _OPEN,
}
TABLE = API | PAGES
# What is not in the table: a look at it finds nothing there, and nothing else is let through.
_UNKNOWN_READ = Need(Role.VIEWER, programs=True)
_UNKNOWN_PAGE = Need(Role.VIEWER, programs=True, door=Door.PAGE)
_OF_PROGRAMS = ("/api", "/hooks", "/answer", "/metrics", "/healthz", "/readyz", "/openapi", "/live")
_READS = ("GET", "HEAD", "OPTIONS")


def need_of(method: str, path: str) -> Need:
    """What the request needs; one that is not in the table needs an admin, unless it only looks."""
    asked = "GET" if method == "HEAD" else method
    need = TABLE.get((asked, path))
    if need is not None:
        return need
    for pattern, found in _patterns():
        if pattern.fullmatch(f"{asked} {path}"):
            return found
    if method not in _READS:
        return _RULE
    return _UNKNOWN_READ if path.startswith(_OF_PROGRAMS) else _UNKNOWN_PAGE


def is_page(method: str, path: str) -> bool:
    """Whether a person in front of a browser asks, rather than a program."""
    need = need_of(method, path)
    return need.door is Door.PAGE or need == _DOOR


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], Need], ...]:
    """The table's paths with something to fill in, those with more fixed text first."""
    open_ended = [(key, need) for key, need in TABLE.items() if "{" in key[1]]
    open_ended.sort(key=lambda item: -len(re.sub(r"\{[^}]*\}", "", item[0][1])))
    return tuple((re.compile(f"{method} {_regex(path)}"), n) for (method, path), n in open_ended)


def _regex(path: str) -> str:
    parts = re.split(r"(\{[^}]*\})", path)
    return "".join(
        (".+" if part.endswith(":path}") else "[^/]+") if part.startswith("{") else re.escape(part)
        for part in parts
    )


def may(role: Role, need: Need) -> bool:
    """Whether the role will do."""
    if role is Role.SDK:
        return need.programs
    return LADDER.index(role) >= LADDER.index(need.role)


def enough_for(need: Need) -> tuple[Role, ...]:
    """The roles that will do, the least one first."""
    return tuple(role for role in (*LADDER, Role.SDK) if may(role, need))


def bearers(callers: Iterable[Caller], need: Need) -> tuple[str, ...]:
    """The names of those who may, sorted."""
    return tuple(sorted({c.name for c in callers if c.name and may(c.role, need)}))
