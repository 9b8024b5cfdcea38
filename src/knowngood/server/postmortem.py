"""A post-mortem drafted from an incident's record, with its charts as images beside it."""

import re
from collections.abc import Iterator
from typing import Any

from knowngood.core.content import diff as content_diff
from knowngood.core.errors import BadRequest, KnowngoodError
from knowngood.core.incident_record import Record
from knowngood.server import incident_text as parts
from knowngood.server.charts import THEMES, Chart, svg
from knowngood.server.desk import Desk
from knowngood.server.incident_charts import charts_of
from knowngood.server.incidents import record, record_data, took
from knowngood.server.markdown import fenced, plain_text

STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
DIFF_LINES_MAX = 60  # of what had changed; more is a document of its own
GATE_NAMES = {"soak": "soak", "evaluation": "evaluation", "canary": "canary", "ab": "A/B gate"}


def draft(desk: Desk, incident_id: str, stem: str, theme: str, now_ms: int) -> dict[str, Any]:
    """The document and its charts as pictures, which takes seconds. Raises as `written`."""
    found = written(desk, incident_id, stem, theme, now_ms)
    return {**found, "charts": [{**c, "svg": svg(c["spec"])} for c in found["charts"]]}


def written(desk: Desk, incident_id: str, stem: str, theme: str, now_ms: int) -> dict[str, Any]:
    """The document and its charts' specifications; `stem` begins the charts' file names.

    Raises UnknownIncident or BadRequest.
    """
    if not STEM.fullmatch(stem):
        raise BadRequest(f"{stem[:80]!r} cannot begin the name of a file")
    if theme not in THEMES:
        raise BadRequest(f"there is no theme {theme!r}", known=list(THEMES))
    found = record(desk, incident_id, now_ms)
    data = record_data(desk, found)
    drawn = charts_of(desk, found, theme)
    lines = _lines(data, [(f"{stem}-{chart.name}.svg", chart) for chart in drawn], desk, found)
    return {
        "incident": incident_id,
        "markdown": "\n".join(lines).rstrip() + "\n",
        "charts": [
            {"file": f"{stem}-{chart.name}.svg", "title": chart.title, "spec": chart.spec}
            for chart in drawn
        ],
    }


def _lines(
    data: dict[str, Any], charts: list[tuple[str, Chart]], desk: Desk, found: Record
) -> Iterator[str]:
    yield f"# Post-mortem: {plain_text(data['title'])}"
    yield ""
    yield "*A draft from the records. What they cannot know is asked: please answer.*"
    yield ""
    yield from parts.head(data)
    images = {chart.name: (file, chart.title) for file, chart in charts}
    for title, part, shown in (
        ("Summary", _summary(data), ()),
        ("Impact", _impact(data), ("error-rate", "traffic-share")),
        ("Trigger", _trigger(data, desk, found), ()),
        ("Detection", _detection(data), ("p99", "quality")),
        ("Resolution", _resolution(data), ("propagation",)),
        ("Clocks", parts.clocks(data), ()),
        ("What the gates should have caught", _gates(data), ()),
        ("Path through the policy", [fenced(data["way"], "text")], ()),
        ("Other prompts", parts.affected_lines(data), ()),
        ("Notes", parts.notes(data), ()),
        ("Timeline", parts.timeline(data), ()),
        ("Action items", _action_items(data), ()),
    ):
        lines = list(part)
        drawn = [images[name] for name in shown if name in images]
        if lines or drawn:
            yield from ("", f"## {title}", "", *lines)
        for file, words in drawn:
            yield ""
            yield f"![{words}]({file})"


def _summary(data: dict[str, Any]) -> Iterator[str]:
    clocks = {clock["name"]: clock for clock in data["clocks"]}
    what = plain_text(data["title"])
    yield f"On {data['opened'][:10]} at {data['opened'][11:19]} UTC: {what}."
    good, total = data["good_version"], clocks["total"]
    after = "" if total["ms"] is None else f" after {total['words']}"
    if good and data["outcome"] == "not_recovered":
        yield f"The rollback to {plain_text(good)} did not recover it."
    elif good and clocks["recover"]["ms"] is not None and not clocks["recover"]["running"]:
        yield f"It was rolled back to {plain_text(good)}, and recovery was proven{after}."
    elif good:
        yield f"It was rolled back to {plain_text(good)}; recovery is not proven."
    elif data["closed"]:
        yield f"Nothing was rolled back; it was over{after}."
    else:
        yield "It is not over."


def _impact(data: dict[str, Any]) -> Iterator[str]:
    yield from parts.impact(data)
    found = data["impact"]
    metrics = {f["metric"] for f in (data["evidence"] or {}).get("findings", ())}
    if found and not metrics & {"error_rate", "refusal_rate"}:
        yield (
            f"What breached shows in no single call, so all {found['calls']:,} may have been "
            "answered badly."
        )
    yield ""
    yield "Who noticed, and what did it mean for them? *(please answer)*"


def _trigger(data: dict[str, Any], desk: Desk, found: Record) -> Iterator[str]:
    began = next((c for c in data["clocks"] if c["name"] == "detect"), None)
    bad, good = data["version"], data["good_version"]
    if began is None or began["ms"] is None:
        yield (
            f"No deploy within a day before it explains it: {plain_text(bad)} had been served "
            "unchanged. What else has changed? *(please answer)*"
        )
        return
    yield f"The deploy of {plain_text(bad)}. What it was for: {plain_text(_because(data))}."
    if good is None:
        return
    try:
        change = content_diff(
            desk.version(data["prompt"], good), desk.version(data["prompt"], bad)
        ).unified()
    except KnowngoodError:  # one of them was purged
        return
    lines = change.splitlines()
    left = len(lines) - DIFF_LINES_MAX
    shown = [*lines[:DIFF_LINES_MAX], *([f"... and {left} more lines"] if left > 0 else [])]
    if shown:
        yield ""
        yield f"What it changes against {plain_text(good)}:"
        yield ""
        yield fenced("\n".join(shown), "diff")


def _because(data: dict[str, Any]) -> str:
    moved = [
        line for line in data["timeline"] if line["kind"] in ("route.moved", "rollout.started")
    ]
    return moved[0]["because"] if moved else "it is not in the history"


def _detection(data: dict[str, Any]) -> Iterator[str]:
    clock = next(c for c in data["clocks"] if c["name"] == "detect")
    if clock["ms"] is not None:
        yield f"Found {clock['words']} after the version came onto the route:"
        yield ""
    yield from parts.evidence(data)
    yield ""
    yield "Could it have been found earlier? *(please answer)*"


def _resolution(data: dict[str, Any]) -> Iterator[str]:
    decided, done = list(parts.decision(data)), list(parts.action(data))
    yield from decided
    if decided and done:
        yield ""
    yield from done
    if not decided and not done:
        yield "It went by itself, or a person moved the traffic."
    if data["fixed_by"]:
        yield ""
        yield f"Fixed later by {plain_text(data['fixed_by'])}."


def _gates(data: dict[str, Any]) -> Iterator[str]:
    if not data["gates"]:
        yield "No deploy explains the incident, so no gate stood before it."
        return
    yield from parts.gates(data)
    skipped = [GATE_NAMES[g["name"]] for g in data["gates"] if not g["asked"]]
    passed = [g for g in data["gates"] if g["asked"] and g["answer"] == "allow"]
    yield ""
    if skipped:
        yield f"Not asked: {', '.join(skipped)}. Would one of them have seen it?"
    if passed:
        names = ", ".join(GATE_NAMES[g["name"]] for g in passed)
        yield f"Asked, and let it through: {names}. What were they blind to?"
    found = data["impact"]
    canary = next(g for g in data["gates"] if g["name"] == "canary")
    if found and found["failed"] and not canary["asked"]:
        yield (
            f"Everybody was exposed at once: {found['failed']:,} calls failed. A first stage of 1% "
            "would have shown the version to one call in a hundred."
        )


def _action_items(data: dict[str, Any]) -> Iterator[str]:
    skipped = [g["name"] for g in data["gates"] if not g["asked"]]
    items = []
    if "canary" in skipped:
        items.append("Promote this prompt by a canary, not to everybody at once")
    if "evaluation" in skipped:
        items.append("Add an example that fails with the bad version to an evaluation suite")
    if "soak" in skipped:
        items.append("Serve new versions on staging first, so that the soak has something to say")
    for clock in data["clocks"]:
        if clock["kept"] in ("late", "over"):
            limit = took(clock["limit_ms"])
            items.append(f"Find out why *{clock['name']}* took {clock['words']} (limit {limit})")
    if not data["fixed_by"]:
        items.append(f"Fix what {plain_text(data['version'])} was for, as a new version")
    items.append("Change the policy so that this is found earlier or cannot happen again")
    for item in items:
        yield f"- [ ] {item} — owner, date"
