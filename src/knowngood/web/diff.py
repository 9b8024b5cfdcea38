"""Two versions beside each other."""

from typing import Any

from knowngood.server import diffs
from knowngood.web.still import Still
from knowngood.web.version import version_url
from knowngood.web.visit import Visit, url

NAMES_OFFERED = 300  # of the versions, the newest; any other can be typed


def view(visit: Visit) -> dict[str, Any]:
    """What the page shows: what serves beside the newest version, unless others are named."""
    desk, name = visit.server.desk, visit.request.path_params["name"]
    names = [each.version for each in desk.versions(name)]
    state = desk.state(visit.environment, name)
    serving = state.route.control.version if state.route else ""
    b = visit.query("b").strip() or names[-1]
    a = visit.query("a").strip() or _beside(names, b, serving)
    everything = visit.query("all") == "yes"
    found = diffs.compared(desk, name, a, b, everything=everything)
    here = f"/prompts/{name}/diff"
    a, b = found["a"]["version"], found["b"]["version"]
    return {
        "name": name,
        "found": found,
        "names": names[: -NAMES_OFFERED - 1 : -1],
        "is_only": len(names) == 1,
        "swapped": url(here, visit.environment, a=b, b=a),
        "whole": url(here, visit.environment, a=a, b=b, all="yes"),
        "everything": everything,
        "added": sum(each.added_count for each in found["texts"]),
        "removed": sum(each.removed_count for each in found["texts"]),
        "version_url": version_url,
    }


def _beside(names: list[str], b: str, serving: str) -> str:
    """What a version is compared with unless somebody says: what serves, else the one before it."""
    if serving and serving != b:
        return serving
    at = names.index(b) if b in names else 0
    return names[max(0, at - 1)]


DIFF = Still("/prompts/{name}/diff", "diff.html", view)
