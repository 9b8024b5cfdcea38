"""The history for people: a page of its lines, and one line with all that was frozen in it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from knowngood.core.errors import KnowngoodError
from knowngood.core.explain import (
    amount,
    arms_words,
    doing_words,
    duration,
    few,
    metric_words,
    moment,
    percent,
    route_words,
)
from knowngood.core.frozen import FROZEN, FrozenLook, thaw
from knowngood.core.levels import quantile_of
from knowngood.core.model import Evidence
from knowngood.core.window import Window, from_row
from knowngood.server.desk import Desk
from knowngood.server.read import audit, audit_entry, census_words

LINES_SHOWN = 50  # on a page; each is read with its evidence, some 40 KB
RAW_CHARS_MAX = 100_000  # of a line's data as it is: a hundred pages
# Shown in their own way, or not at all.
APART = ("findings", "gates", "windows", "now_ms", FROZEN, "together")
LENGTHS = ("hold_ms", "took_ms")


def page(
    desk: Desk,
    environment: str | None,
    prompt: str | None,
    kind: str,
    before_id: int | None,
    limit: int = LINES_SHOWN,
) -> dict[str, Any]:
    """The lines before an entry, newest first, and where the page after them begins.

    Raises UnknownEnvironment or UnknownPrompt.
    """
    found = audit(desk, environment, prompt, 0, limit + 1, before_id, kind)["entries"]
    lines = [{**line, "change": change_words(line["detail"])} for line in found[::-1]]
    return {
        "lines": lines[:limit],
        "next_before": lines[limit - 1]["id"] if len(lines) > limit else None,
    }


def line(desk: Desk, entry_id: int) -> dict[str, Any]:
    """One line with its evidence, to read and as data. Raises UnknownEntry."""
    found = audit_entry(desk, entry_id)
    detail = found["detail"]
    raw = pretty(detail)
    return {
        **found,
        "change": change_words(detail),
        "facts": list(_facts(detail)),
        "findings": detail.get("findings", []),
        "gates": detail.get("gates", []),
        "windows": [_window(each) for each in detail.get("windows", [])],
        "lead": detail["together"]["lead"] if "together" in detail else None,
        "look": _look(detail[FROZEN]) if FROZEN in detail else None,
        "raw": raw[:RAW_CHARS_MAX],
        "raw_left": max(0, len(raw) - RAW_CHARS_MAX),
    }


def change_words(detail: Mapping[str, Any]) -> str:
    """From which version to which, or which version it was about; empty for neither."""
    after = detail.get("to")
    if isinstance(after, list):  # the arms of a route
        after = arms_words(after)
    if after and detail.get("from"):
        return f"{detail['from']} → {after}"
    return str(after or detail.get("version") or "")


def pretty(data: Any, depth: int = 0) -> str:
    """JSON to read: what holds nothing but numbers and short words takes one line."""
    flat = json.dumps(data, ensure_ascii=False)
    is_plain = isinstance(data, Mapping) and all(isinstance(v, int | float) for v in data.values())
    if is_plain or not isinstance(data, Mapping | list) or len(flat) + depth * 2 <= 80:
        return flat
    inner, outer = "  " * (depth + 1), "  " * depth
    if isinstance(data, Mapping):
        lines = [
            f"{inner}{json.dumps(key, ensure_ascii=False)}: {pretty(value, depth + 1)}"
            for key, value in data.items()
        ]
        return "{\n" + ",\n".join(lines) + f"\n{outer}}}"
    return "[\n" + ",\n".join(inner + pretty(each, depth + 1) for each in data) + f"\n{outer}]"


def _facts(detail: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What else the line says, each with its name."""
    for key, value in detail.items():
        if value in (None, "", [], {}, False) or key in APART:
            continue
        words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            words = ", ".join(value)
        if key == "to" and isinstance(value, list):
            words = arms_words(value)
        elif key.endswith("_bp"):
            words = _shares(value)
        elif key in LENGTHS:
            words = duration(value)
        elif value is True:
            words = "yes"
        yield key.removesuffix("_bp").removesuffix("_ms").replace("_", " "), words


def _shares(value: int | list[int]) -> str:
    """One share of the traffic, or the stages of a ladder."""
    stages_bp = value if isinstance(value, list) else [value]
    return " → ".join(f"{bp / 100:g}%" for bp in stages_bp)


# --- What was frozen


def _window(data: Mapping[str, Any]) -> dict[str, Any]:
    since_ms, until_ms = data.get("since_ms"), data.get("until_ms")
    span = None
    if since_ms is not None and until_ms is not None:
        span = f"{moment(since_ms)[11:19]} to {moment(until_ms)[11:19]}"
    return {"version": data["version"], "span": span, **_sums(from_row(data["sum"]))}


def _sums(window: Window) -> dict[str, Any]:
    """The figures of a window that a person reads first."""
    calls = window.call_count
    p99_ms = quantile_of("latency_p99", window)
    return {
        "calls": calls,
        "errors": window.error_count,
        "error_rate": percent(window.error_count / calls) if calls else None,
        "kinds": ", ".join(f"{count} {kind}" for kind, count in sorted(window.errors.items())),
        "p99": amount("latency_p99", p99_ms) if p99_ms is not None else None,
        "scores": [
            f"{metric_words('score.' + name)}: {sum(max(0, n) for n in bins.values())} labels"
            for name, bins in sorted(window.scores.items())
        ],
    }


def _look(data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The look that a decision was made from; None in a format that is not known any more."""
    with suppress(KnowngoodError):
        return _looked(thaw(data))
    return None


def _looked(look: FrozenLook) -> dict[str, Any]:
    state, seen = look.state, look.observed
    census = seen.census
    generation = state.route.generation if state.route else 0
    facts = [
        ("judged", f"{moment(look.now_ms)}, on buckets up to {moment(seen.until_ms)[11:19]}"),
        ("route", route_words(state.route)),
        ("under way", doing_words(state)),
        ("ledger", ", ".join(f"{e.version} {e.standing}" for e in state.ledger[:20])),
        ("processes", census_words(census.current_count, census.live_count, generation)),
        ("behind", few(census.behind, census.unnamed_behind_count)),
        ("silent", few(census.silent, census.unnamed_silent_count)),
        ("incident", state.incident.id if state.incident else ""),
        ("provider", seen.provider or ""),
        ("beside it", ", ".join(s.prompt for s in seen.siblings[:20])),
        ("related", ", ".join(r.prompt for r in seen.related[:20])),
        ("revision", str(state.revision)),
    ]
    return {
        "facts": [(name, words) for name, words in facts if words],
        "versions": [
            {"version": version, "rows": list(_evidence(evidence, seen.until_ms))}
            for version, evidence in seen.versions.items()
        ],
    }


def _evidence(evidence: Evidence, until_ms: int) -> Iterator[dict[str, Any]]:
    """Each sum that the decision asked for, the longest first."""
    for since_ms, window in sorted(evidence.sums.items()):
        yield {"span": f"last {duration(max(0, until_ms - since_ms))}", **_sums(window)}
    yield {"span": "since its deploy", **_sums(evidence.lifetime)}
