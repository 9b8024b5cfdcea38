"""Incidents: the list, and one of them with everything that is known and can be done about it."""

import re
import secrets
from typing import Any

from knowngood.server import incident_charts, incident_page, incident_rows
from knowngood.server.verbs import VERBS
from knowngood.web.acts import told
from knowngood.web.drawings import script_url
from knowngood.web.forms import name_of
from knowngood.web.live import Page, Rows
from knowngood.web.visit import NAME_CHARS_MAX, Visit, url

WHICH_WORDS = {"all": "All", "open": "Open", "closed": "Over"}
LINES_SHOWN = 150  # of the timeline; an incident that nobody can verify writes a hundred a day
OTHER_BOOK = re.compile(r"(?:\./)?([A-Za-z0-9][A-Za-z0-9._-]*)\.runbook\.md")
STATES = {
    "detected": ("detected", "bad"),
    "acked": ("somebody is on it", "watching"),
    "mitigating": ("being rolled back", "watching"),
    "verifying": ("recovery is being verified", "watching"),
    "monitoring": ("observed", "watching"),
    "resolved": ("over", "good"),
    "reviewed": ("over, and reviewed", "good"),
    "false_positive": ("a false positive", "none"),
    "duplicate": ("a duplicate", "none"),
}
SEVERITIES = {"critical": "bad", "high": "bad", "medium": "watching", "low": "none"}
DELIVERED = {"delivered": "good", "retry": "watching", "skipped": "none", "expired": "watching"}
MARKS = {
    "passed": ("done", "good", "✓"),
    "failed": ("failed", "bad", "✗"),
    "declined": ("declined", "bad", "✗"),
    "skipped": ("skipped", "none", "–"),
    "begun": ("under way", "watching", "◐"),
}
# The word on the button that goes on with a step of this kind; those that give orders ask first.
STEP_WORDS = {
    "read": "Read",
    "check": "Look",
    "wait": "Look again",
    "manual": "Done",
    "action": "Rehearse and do",
    "approve": "Approve",
    "notify": "Send",
}
ONE_CLICK = ("read", "check", "wait", "manual")
HOW = {
    "part": "part of this incident",
    "released_with": "released with it",
    "related": "in trouble at the same time",
    "declared": "declared related",
}
PEOPLE = ("incident.note", "incident.role", "incident.reviewed", "incident.closed")


# --- The list


def listing(visit: Visit) -> dict[str, Any]:
    """What the list shows."""
    before_ms, prompt = visit.number("before"), visit.query("prompt").strip()
    which = visit.query("show", "all")
    found = incident_rows.listing(
        visit.server.desk, visit.environment, prompt, which, before_ms, visit.now_ms
    )

    def to(**query: object) -> str:
        return url("/incidents", visit.environment, **{"prompt": prompt, **query})

    shown = _said(found["which"])
    return {
        **found,
        "filters": [
            {"words": words, "on": name == found["which"], "href": to(show=_said(name))}
            for name, words in WHICH_WORDS.items()
        ],
        "newest": to(show=shown) if before_ms else "",
        "older": to(show=shown, before=found["next_ms"]) if found["next_ms"] else "",
        "without": url("/incidents", visit.environment, show=shown),
        "is_narrow": bool(prompt or shown or before_ms),
        "severities": SEVERITIES,
        "told": told(visit),
        "open_count": sum(row["open"] for row in found["rows"]),
    }


def _said(which: str) -> str:
    return "" if which == "all" else which


def list_heading(data: dict[str, Any]) -> str:
    """What the browser's tab says."""
    count = data["open_count"]
    return f"{f'({count}) ' if count else ''}{data['environment']}: incidents"


# --- One


def id_of(visit: Visit) -> str:
    """The incident that the address names."""
    parts = visit.request.path_params
    return f"{parts['environment']}/{parts['prompt']}/{parts['number']}"


def view(visit: Visit) -> dict[str, Any]:
    """What the page of one incident shows."""
    named, server = id_of(visit), visit.server
    wanted = visit.query("runbook")
    found = incident_page.page(server.desk, server.library, named, wanted, visit.now_ms)
    path, oldest = f"/incidents/{named}", visit.query("timeline") == "oldest"
    lines, every = found["timeline"], visit.query("lines") == "all"
    shown = lines if every else lines[-LINES_SHOWN:]
    return {
        "incident": found,
        "row": found["row"],
        "book": found["book"],
        # The page is about one environment, whatever else was looked at before.
        "environment": found["environment"],
        "where": path,
        "here": url(path, runbook=wanted, timeline="oldest" if oldest else ""),
        "lines": shown if oldest else list(reversed(shown)),
        "hidden_count": len(lines) - len(shown),
        "oldest": oldest,
        "other_way": url(path, runbook=wanted, timeline="" if oldest else "oldest"),
        "all_lines": url(path, runbook=wanted, timeline="oldest" if oldest else "", lines="all"),
        "another": lambda name: url(path, runbook=name),
        "book_link": lambda where: _book_link(path, where),
        "can": visit.may(VERBS["note"].need),
        "can_close": visit.may(VERBS["review"].need),
        "role_needed": VERBS["note"].need.role.value,
        "charts": list(incident_charts.NAMES),
        "script": script_url(),
        "told": told(visit),
        "name": name_of(visit),
        "tickets": [secrets.token_urlsafe(16) for _ in range(3)],
        "words": {
            "states": STATES,
            "severities": SEVERITIES,
            "delivered": DELIVERED,
            "marks": MARKS,
            "steps": STEP_WORDS,
            "how": HOW,
        },
        "one_click": ONE_CLICK,
        "people": PEOPLE,
        "text_chars_max": VERBS["note"].why_chars_max,
        "name_chars_max": NAME_CHARS_MAX,
    }


def _book_link(path: str, where: str) -> str:
    """A runbook that another one names is shown on the incident's own page."""
    other = OTHER_BOOK.fullmatch(where)
    return f"{url(path, runbook=other[1])}#runbook" if other else where


def heading(data: dict[str, Any]) -> str:
    """What the browser's tab says."""
    found = data["incident"]
    says = "asks" if found["question"] else STATES[found["state"]][0]
    return f"{found['prompt']} {found['version']}: {says}"


INCIDENTS = Page(
    "/incidents",
    "incidents.html",
    listing,
    {"filters": "_incidents_filters.html", "rows": Rows("_incidents_row.html", "rows", "id"),
     "none": "_incidents_none.html"},
    list_heading,
)  # fmt: skip
INCIDENT = Page(
    "/incidents/{environment}/{prompt}/{number}",
    "incident.html",
    view,
    {
        "top": "_incident_top.html",
        "clocks": "_incident_clocks.html",
        "facts": "_incident_facts.html",
        "book": "_incident_book.html",
        "way": "_incident_way.html",
        "others": "_incident_others.html",
        "sent": "_incident_sent.html",
        "notes": "_incident_notes.html",
        "lines": Rows("_incident_line.html", "lines", "id"),
    },
    heading,
)
