"""Every page of the dashboard, each with addresses that show it on the stage."""

from urllib.parse import quote

from tests.server.world import PROMPT

INCIDENT = f"/incidents/production/{PROMPT}/g8.1"  # the one that is open on the stage
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
    "/incidents": ("/incidents", "/incidents?show=closed", "/incidents?environment=staging"),
    "/incidents/{environment}/{prompt}/{number}": (
        INCIDENT,
        f"{INCIDENT}?timeline=oldest&runbook=flapping",
    ),
    "/incidents/{environment}/{prompt}/{number}/postmortem": (f"{INCIDENT}/postmortem",),
    "/do/{verb}": (
        f"/do/rollback?{_DO}",
        f"/do/approve?{_DO}",
        f"/do/hold?{_DO}",
        f"/do/promote?{_DO}&version=v2.0.0",  # which is refused
        "/do/skip?prompt=order-status",
        f"/do/duplicate?{_DO}&incident={INCIDENT.removeprefix('/incidents/')}",
        f"/do/runbook?{_DO}&incident={INCIDENT.removeprefix('/incidents/')}&runbook=error-spike",
    ),
}
# Pages beside the stage: of a server that asks who you are, and of what is not there.
DOOR = "/login"
NOWHERE = "/prompts/no-such-prompt"
ALL = tuple(place for places in PLACES.values() for place in places)
