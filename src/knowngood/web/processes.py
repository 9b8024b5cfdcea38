"""The processes: who runs which generation, and who has not been heard of."""

from typing import Any

from knowngood.server import processes
from knowngood.web.live import Page, Rows
from knowngood.web.visit import Visit, url

WORDS = {
    "all": "All",
    "behind": "Behind",
    "silent": "Silent",
    "current": "Current",
    "closed": "Said goodbye",
}
BADGES = {
    "behind": ("watching", "◐"),
    "silent": ("blind", "◌"),
    "current": ("good", "●"),
    "closed": ("none", "○"),
}


def view(visit: Visit) -> dict[str, Any]:
    """What the page shows."""
    found = processes.page(
        visit.server.desk,
        visit.environment,
        visit.now_ms,
        only=visit.query("only", processes.EVERY),
        text=visit.query("text"),
        number=visit.number("page") or 1,
    )
    kept = {"text": found["text"], "only": "" if found["only"] == "all" else found["only"]}

    def there(**more: object) -> str:
        return url("/processes", visit.environment, **{**kept, **more})

    return {
        "found": found,
        "rows": found["rows"],
        "badges": BADGES,
        "filters": [
            {
                "words": words,
                "count": found["counts"][name],
                "on": name == found["only"],
                "href": there(only="" if name == "all" else name),
                "name": name,
            }
            for name, words in WORDS.items()
        ],
        "back": there(page=found["page"] - 1) if found["page"] > 1 else "",
        "next": there(page=found["page"] + 1) if found["page"] < found["pages"] else "",
    }


def heading(data: dict[str, Any]) -> str:
    """What the browser's tab says."""
    found = data["found"]
    return f"{found['current_count']} of {found['live_count']} processes current"


PROCESSES = Page(
    "/processes",
    "processes.html",
    view,
    {"census": "_processes_census.html", "filters": "_processes_filters.html",
     "rows": Rows("_processes_row.html", "rows", "id"), "pages": "_processes_pages.html"},
    heading,
)  # fmt: skip
