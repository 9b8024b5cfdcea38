"""One prompt: what is wrong, what it waits on, how its versions do, and what can be done."""

from typing import Any

from knowngood.server import judged, prompt_charts, read
from knowngood.web.acts import told
from knowngood.web.drawings import USUAL_SPAN, script_url
from knowngood.web.live import Page
from knowngood.web.visit import Visit, url

VERSIONS_SHOWN = 100  # on a page
LINES_SHOWN = 30
GRAVITIES = ("breach", "blind", "unsure", "clear")
PAGE_MAX = 100_000


def view(visit: Visit) -> dict[str, Any]:
    """What the page shows."""
    desk, now_ms = visit.server.desk, visit.now_ms
    name = visit.request.path_params["name"]
    seen = judged.explain(desk, visit.environment, name, now_ms)
    page = max(1, min(visit.number("page") or 1, PAGE_MAX))
    whole = read.prompt(desk, name, (page - 1) * VERSIONS_SHOWN, VERSIONS_SHOWN)
    span = visit.query("span", USUAL_SPAN)
    span = span if span in prompt_charts.SPANS_MS else USUAL_SPAN
    history = read.audit(desk, visit.environment, name, limit=LINES_SHOWN)["entries"]
    return {
        "name": name,
        "here": url(f"/prompts/{name}", visit.environment, span=span if span != USUAL_SPAN else ""),
        "seen": seen,
        "said": sorted((f for f in seen["sees"] if not _is_silent(f)), key=_gravity),
        "silent": [f for f in seen["sees"] if _is_silent(f)],
        "state": seen["state"],
        "row": seen["row"],
        "versions": whole["versions"],
        "versions_count": whole["versions_count"],
        "page": page,
        "pages": max(1, -(-whole["versions_count"] // VERSIONS_SHOWN)),
        "policy_entries": whole["policy_entries"],
        "history": list(reversed(history)),
        "span": span,
        "spans": list(prompt_charts.SPANS_MS),
        "charts": list(prompt_charts.KINDS),
        "script": script_url(),
        "told": told(visit),
    }


def _is_silent(finding: dict[str, Any]) -> bool:
    """Nobody reported what it is about: every prompt without scores has half a dozen of these."""
    return finding["verdict"] == "unsure" and finding["estimate"] is None


def _gravity(finding: dict[str, Any]) -> int:
    """Whoever is woken up reads what is wrong first."""
    return GRAVITIES.index(finding["verdict"])


def heading(data: dict[str, Any]) -> str:
    """What the browser's tab says."""
    row = data["row"]
    if row["question"]:
        return f"{data['name']} asks"
    if row["incident"]:
        return f"{data['name']}: {row['phase']}"
    return f"{data['name']}: {row['verdict'] or 'not routed'}"


PROMPT = Page(
    "/prompts/{name}",
    "prompt.html",
    view,
    {
        "top": "_prompt_top.html",
        "evidence": "_prompt_evidence.html",
        "route": "_prompt_route.html",
        "versions": "_prompt_versions.html",
        "history": "_prompt_history.html",
    },
    heading,
)
