"""Every page of the dashboard, each with addresses that show it on the stage."""

from urllib.parse import quote

from tests.server.world import PROMPT

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
    "/do/{verb}": (
        f"/do/rollback?{_DO}",
        f"/do/approve?{_DO}",
        f"/do/hold?{_DO}",
        f"/do/promote?{_DO}&version=v2.0.0",  # which is refused
        "/do/skip?prompt=order-status",
    ),
}
# Pages beside the stage: of a server that asks who you are, and of what is not there.
DOOR = "/login"
NOWHERE = "/prompts/no-such-prompt"
ALL = tuple(place for places in PLACES.values() for place in places)
