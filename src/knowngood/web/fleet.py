"""The fleet: every prompt of an environment, whatever needs a person first."""

from typing import Any

from knowngood.server import fleet, incidents
from knowngood.web.acts import told
from knowngood.web.live import Page, Rows
from knowngood.web.visit import Visit, url

OPEN_MAX = 20  # open incidents on top of the page; more are on the page of incidents
FILTER_WORDS = {
    "all": "All",
    "asking": "Asking",
    "incident": "Incident",
    "moving": "Moving",
    "breach": "Breach",
    "blind": "Blind",
    "unsure": "Unsure",
    "clear": "Clear",
}


def view(visit: Visit) -> dict[str, Any]:
    """What the page shows."""
    desk, now_ms = visit.server.desk, visit.now_ms
    found = fleet.fleet(
        desk,
        visit.environment,
        now_ms,
        text=visit.query("text"),
        only=visit.query("only", "all"),
        page=visit.number("page") or 1,
    )
    opened = incidents.listed(desk, visit.environment, None, True, None, OPEN_MAX, now_ms)
    return {
        "fleet": found,
        "rows": found["rows"],
        "incidents": opened["incidents"],
        "filters": [
            {
                "name": name,
                "words": words,
                "count": found["counts"][name],
                "on": name == found["only"],
                "href": url("/", visit.environment, text=found["text"], only=_said(name)),
            }
            for name, words in FILTER_WORDS.items()
        ],
        "here": _here(visit, found),
        "told": told(visit),
        "is_last": found["page"] >= found["pages"],
    }


def _here(visit: Visit, found: dict[str, Any]) -> str:
    page = found["page"] if found["page"] > 1 else ""
    only = _said(found["only"])
    return url("/", visit.environment, text=found["text"], only=only, page=page)


def _said(only: str) -> str:
    return "" if only == "all" else only


def heading(data: dict[str, Any]) -> str:
    """What the browser's tab says."""
    counts = data["fleet"]["counts"]
    if counts["asking"]:
        return f"({counts['asking']}) {data['environment']} asks"
    if counts["incident"]:
        return f"({counts['incident']}) {data['environment']}: incident"
    return f"{data['environment']}: fleet"


FLEET = Page(
    "/",
    "fleet.html",
    view,
    {"alerts": "_fleet_alerts.html", "filters": "_fleet_filters.html",
     "rows": Rows("_fleet_row.html", "rows", "prompt")},
    heading,
)  # fmt: skip
