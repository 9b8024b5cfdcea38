"""The list of incidents as a page shows it: who decided, and how each of them ended."""

from collections.abc import Iterable
from typing import Any

from knowngood.core.history import AuditEntry
from knowngood.core.incident import Filed
from knowngood.core.incident_record import CLOSED, DECIDES, REVIEWED
from knowngood.server.desk import Desk
from knowngood.server.incidents import clock_of, filed_data
from knowngood.server.read import stamp

PAGE = 50
LINES_MAX = 2_000  # of one prompt's decisions and endings while fifty incidents came and went
WHICH = {"open": True, "closed": False, "all": None}
DECLINED, VERIFIED, RESOLVED = "question.declined", "rollback.verified", "incident.resolved"
KINDS = (*DECIDES, DECLINED, VERIFIED, RESOLVED, CLOSED, REVIEWED)
DECISIONS = {
    "rollback.confirmed": "rolled back by itself",
    "question.approved": "rollback approved",
    "rollback.requested": "rolled back by hand",
    DECLINED: "investigated",
}
ENDS = {
    VERIFIED: ("recovered", "good"),
    RESOLVED: ("went by itself", "good"),
    CLOSED: ("closed by hand", "none"),
}


def listing(
    desk: Desk,
    environment: str,
    prompt: str,
    which: str,
    before_ms: int | None,
    now_ms: int,
) -> dict[str, Any]:
    """A page of incidents, the newest first; an unknown filter is `all`.

    A prompt that no incident is about has none: whoever searches is not refused. Raises
    UnknownEnvironment.
    """
    desk.check_environment(environment)
    which = which if which in WHICH else "all"
    found = desk.store.incidents.find(
        environment, prompt or None, is_open=WHICH[which], before_ms=before_ms, limit=PAGE + 1
    )
    shown, next_ms = _cut(found)
    lines = _lines(desk, shown, now_ms)
    return {
        **stamp(now_ms),
        "rows": [_row(desk, each, lines.get(each.id, []), now_ms) for each in shown],
        "which": which,
        "prompt": prompt,
        "before_ms": before_ms,
        "next_ms": next_ms,
    }


def _cut(found: list[Filed]) -> tuple[list[Filed], int | None]:
    """What fits on the page, and where the next begins: those of one instant stay together."""
    if len(found) <= PAGE:
        return found, None
    over_ms = found[PAGE].incident.opened_ms
    shown = [each for each in found[:PAGE] if each.incident.opened_ms > over_ms]
    return (shown, over_ms + 1) if shown else (found[:PAGE], over_ms)


def _lines(desk: Desk, shown: Iterable[Filed], now_ms: int) -> dict[str, list[AuditEntry]]:
    """What was decided and how it ended, by incident, oldest first."""
    since: dict[tuple[str, str], int] = {}
    for each in shown:
        place = each.environment, each.prompt
        since[place] = min(each.incident.opened_ms, since.get(place, now_ms))
    found: dict[str, list[AuditEntry]] = {}
    for place, since_ms in since.items():
        for line in desk.store.log.between(*place, since_ms, now_ms, LINES_MAX, KINDS):
            found.setdefault(str(line.detail.get("incident", "")), []).append(line)
    return found


def _row(desk: Desk, filed: Filed, lines: list[AuditEntry], now_ms: int) -> dict[str, Any]:
    decided = next((line for line in reversed(lines) if line.kind in DECISIONS), None)
    state = desk.store.states.get(filed.environment, filed.prompt)
    is_current = state.incident is not None and state.incident.id == filed.id
    ended, meaning = _ended(filed, lines)
    return {
        **filed_data(filed, now_ms),
        "decided": DECISIONS[decided.kind] if decided else "",
        "decided_by": decided.actor if decided else "",
        "because": decided.because if decided else "",
        "clock": clock_of(state, now_ms) if is_current else None,
        "ended": ended,
        "reviewed": any(line.detail.get("as") == "reviewed" for line in lines),
        "meaning": meaning,
    }


def _ended(filed: Filed, lines: list[AuditEntry]) -> tuple[str, str]:
    """How it ended, in words, and what that means."""
    if filed.closed_ms is None:
        return "open", "bad" if filed.incident.severity == "critical" else "watching"
    for line in reversed(lines):
        said = str(line.detail.get("as", ""))
        if line.kind in (CLOSED, REVIEWED) and said and said != "reviewed":
            return said.replace("_", " "), "none"
    end = next((line.kind for line in reversed(lines) if line.kind in ENDS), None)
    words, meaning = ENDS[end] if end else (filed.incident.outcome or "over", "none")
    return words.replace("_", " "), meaning
