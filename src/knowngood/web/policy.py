"""The policy in force: what follows from what, who decides, where each value comes from."""

from typing import Any

from knowngood.server import in_force, judged
from knowngood.web.still import Still
from knowngood.web.visit import Visit

PROMPTS_OFFERED = 300  # names that the field suggests; any other can be typed


def view(visit: Visit) -> dict[str, Any]:
    """What the page shows."""
    desk, now_ms = visit.server.desk, visit.now_ms
    name = visit.query("prompt").strip() or None
    found = in_force.in_force(desk, visit.environment, name, now_ms)
    seen = judged.explain(desk, visit.environment, name, now_ms) if name else None
    suspect = found["ages"]["version"]
    return {
        **found,
        "name": name,
        "own": [
            {**row, "path": _path(section["name"], row["key"])}
            for section in found["sections"]
            for row in section["rows"]
            if row["from"] != in_force.OURS
        ],
        "overrides": in_force.overrides(desk),
        "names": desk.store.registry.prompts()[:PROMPTS_OFFERED],
        "verdicts": {
            each["trigger"]: each
            for each in (seen["sees"] if seen else [])
            if each["version"] == suspect
        },
        "needs": _needs(seen) if seen else [],
    }


def _path(section: str, key: str) -> str:
    return section if section == key else f"{section}.{key}"


def _needs(seen: dict[str, Any]) -> list[dict[str, str]]:
    """What the evidence would have to be for a limit to be told from health, in core's words."""
    return [
        {"trigger": finding["trigger"], "words": wait["words"]}
        for finding in seen["sees"]
        for wait in finding["waiting_on"]
        if wait["kind"] == "separable"
    ]


POLICY = Still("/policy", "policy.html", view)
