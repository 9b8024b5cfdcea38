"""The history: its lines, the evidence frozen in each, and whether the chain is whole."""

from typing import Any

from knowngood.core.errors import KnowngoodError
from knowngood.server import history, read, rerun
from knowngood.server.errors import NotFound
from knowngood.web.still import Still
from knowngood.web.visit import Visit, url

NAMES_OFFERED = 300
KINDS = (
    "version.pushed", "route.moved", "rollout.started", "rollback.switched", "rollback.requested",
    "rollback.propagated", "rollback.verified", "incident.opened", "incident.closed", "alert",
    "question", "page.acknowledged", "automation", "evaluation", "runbook",
)  # fmt: skip
EVERYWHERE = "all"


def lines(visit: Visit) -> dict[str, Any]:
    """What the page of the history shows."""
    desk = visit.server.desk
    prompt, kind = visit.query("prompt").strip(), visit.query("kind").strip().lower()
    everywhere = visit.query("where") == EVERYWHERE
    where = EVERYWHERE if everywhere else ""
    desk.check_environment(visit.environment)
    environment = None if everywhere else visit.environment
    before = visit.number("before")
    found = history.page(desk, environment, prompt or None, kind, before)
    kept = {"prompt": prompt, "kind": kind, "where": where}
    return {
        **found,
        **kept,
        "everywhere": everywhere,
        "before": before,
        "older": url("/history", visit.environment, **kept, before=found["next_before"]),
        "newest": url("/history", visit.environment, **kept),
        "names": desk.store.registry.prompts()[:NAMES_OFFERED],
        "kinds": KINDS,
        "chain": _chain(visit) if visit.query("verify") else None,
        "expect": visit.query("expect"),
        "follow": url("/history", visit.environment, **kept, verify="yes"),
    }


def _chain(visit: Visit) -> dict[str, Any]:
    """Whether the lines follow from each other, as far as one answer goes."""
    after, head = visit.number("after") or 0, visit.query("head")
    expect = visit.query("expect") or None
    found = read.audit_verify(visit.server.desk, after, head, expect)
    lines = found["lines"] + (visit.number("lines") or 0)
    seen = found["expected_id"] or visit.number("seen")
    more = {"verify": "yes", "after": found["next_after"], "head": found["head"]}
    onward = url("/history", visit.environment, **more, lines=lines, expect=expect, seen=seen)
    return {**found, "lines": lines, "onward": onward, "expect": expect, "expected_id": seen}


def line(visit: Visit) -> dict[str, Any]:
    """What the page of one line shows."""
    desk = visit.server.desk
    wanted = visit.request.path_params["entry"]
    if not (wanted.isascii() and wanted.isdecimal()):
        raise NotFound(f"there is no entry {wanted[:40]!r}", next_step="knowngood audit")
    found = history.line(desk, int(wanted[:20]))
    return {
        "line": found,
        "again": _again(visit, found["id"]) if visit.query("again") else None,
        "here": url(f"/history/{found['id']}", visit.environment),
    }


def _again(visit: Visit, entry_id: int) -> dict[str, Any]:
    """The decision made again, or why it cannot be."""
    try:
        return {**rerun.rerun(visit.server.desk, entry_id), "refused": None}
    except KnowngoodError as error:
        return {"refused": error}


HISTORY = Still("/history", "history.html", lines)
LINE = Still("/history/{entry}", "line.html", line)
