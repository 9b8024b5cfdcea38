"""Every page of the dashboard, each with addresses that show it on the stage."""

from urllib.parse import quote

from tests.server.world import PROMPT

OPEN_INCIDENT = f"/incidents/production/{PROMPT}/g10.1"
PAST_INCIDENT = "/incidents/production/search-rewriter/g7.1"
ABOUT = OPEN_INCIDENT.removeprefix("/incidents/")
_BACK = quote(f"/prompts/{PROMPT}", safe="")
_DO = f"prompt={PROMPT}&back={_BACK}"
# The server's own route -> addresses. A page that is missing here fails a test.
PLACES: dict[str, tuple[str, ...]] = {
    "/": ("/", "/?only=incident", "/?text=nobody-has-this", "/?environment=staging"),
    "/prompts/{name}": (
        f"/prompts/{PROMPT}?span=15m",
        "/prompts/order-status",
        "/prompts/translate",
    ),
    "/prompts/{name}/diff": (f"/prompts/{PROMPT}/diff?a=v1.9.0&b=v2.0.0",),
    "/prompts/{name}/versions/{version:path}": (f"/prompts/{PROMPT}/versions/v2.1.0-rc.1",),
    "/policy": ("/policy",),
    "/history": ("/history", f"/history?prompt={PROMPT}", "/history?environment=staging"),
    "/history/{entry}": ("/history/20",),
    "/processes": ("/processes", "/processes?environment=staging"),
    "/incidents": ("/incidents", "/incidents?show=closed", "/incidents?environment=staging"),
    "/incidents/{environment}/{prompt}/{number}": (
        OPEN_INCIDENT,
        f"{OPEN_INCIDENT}?timeline=oldest&runbook=flapping",
        PAST_INCIDENT,
    ),
    "/incidents/{environment}/{prompt}/{number}/postmortem": (
        f"{OPEN_INCIDENT}/postmortem",
        f"{PAST_INCIDENT}/postmortem",
    ),
    "/do/{verb}": (
        f"/do/rollback?{_DO}",
        f"/do/approve?{_DO}",
        f"/do/hold?{_DO}",
        f"/do/promote?{_DO}&version=v2.0.0",  # which is refused
        "/do/skip?prompt=order-status",
        f"/do/duplicate?{_DO}&incident={ABOUT}",
        f"/do/runbook?{_DO}&incident={ABOUT}&runbook=error-spike",
    ),
}
# Pages beside the stage: of a server that asks who you are, and of what is not there.
DOOR = "/login"
NOWHERE = "/prompts/no-such-prompt"
ALL = tuple(place for places in PLACES.values() for place in places)
