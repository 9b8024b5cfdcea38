"""The dashboard as routes, laid onto a server's application."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.routing import Match, Route
from starlette.types import Scope

from knowngood.core.errors import KnowngoodError
from knowngood.server.errors import NotFound, status_of
from knowngood.server.roles import is_page
from knowngood.web import acts, door, drawings, live, papers, still
from knowngood.web.diff import DIFF
from knowngood.web.fleet import FLEET
from knowngood.web.forms import Once
from knowngood.web.history import HISTORY, LINE
from knowngood.web.incidents import INCIDENT, INCIDENTS
from knowngood.web.look import asset_url, assets
from knowngood.web.policy import POLICY
from knowngood.web.processes import PROCESSES
from knowngood.web.prompt import PROMPT
from knowngood.web.version import VERSION
from knowngood.web.visit import draw, frame, respond, visit_of

PAGES = (FLEET, PROMPT, INCIDENTS, INCIDENT, PROCESSES)
ONE_INCIDENT = INCIDENT.path
STILL = (POLICY, HISTORY, LINE, DIFF, VERSION)


class PageRoute(APIRoute):
    """A route whose refusals are pages too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError:
                return _refused(request, NotFound("there is no such page"))
            except KnowngoodError as error:
                return _refused(request, error)

        return handled


def install(app: FastAPI) -> None:
    """Give the application its pages."""
    router = APIRouter(route_class=PageRoute, include_in_schema=False)
    board, once, gallery = live.Board(), Once(), drawings.Gallery()
    for page in PAGES:
        live.add(router, board, page)
    for each in STILL:
        still.add(router, each)

    async def do(request: Request) -> Response:
        answer = await acts.do(request, once)
        board.orders_count += 1
        return answer

    async def chart(request: Request) -> Response:
        return await drawings.of_prompt(request, gallery)

    router.add_api_route("/charts/prompts/{name}/{chart}", chart, methods=["GET"])

    async def incident_chart(request: Request) -> Response:
        return await drawings.of_incident(request, gallery)

    router.add_api_route(f"/charts{ONE_INCIDENT}/{{chart}}", incident_chart, methods=["GET"])
    router.add_api_route(f"{ONE_INCIDENT}/postmortem", papers.preview, methods=["GET"])
    router.add_api_route(f"/files{ONE_INCIDENT}/{{file}}", papers.take, methods=["GET"])
    router.add_api_route("/assets/draw.js", drawings.script, methods=["GET"])
    router.add_api_route("/do/{verb}", acts.ask, methods=["GET"])
    router.add_api_route("/do/{verb}", do, methods=["POST"])
    router.add_api_route("/session", door.look, methods=["GET"])
    router.add_api_route("/login", door.ask, methods=["GET"])
    router.add_api_route("/login", door.enter, methods=["POST"])
    router.add_api_route("/logout", door.leave, methods=["POST"])
    router.add_api_route("/assets/{file}", asset, methods=["GET"])
    app.include_router(router)
    app.router.routes.append(Elsewhere("/{path:path}", _nothing, methods=["GET"]))


async def asset(request: Request) -> Response:
    """A style, a script or a picture."""
    found = assets().get(request.path_params["file"])
    if found is None:
        raise NotFound("there is no such file")
    is_packed = "gzip" in request.headers.get("accept-encoding", "")
    # A server of another version may have named it: what it names is not this file for ever.
    is_this = request.query_params.get("v") == found.mark
    kept = drawings.FOREVER if is_this else {**drawings.FOREVER, "Cache-Control": "no-cache"}
    headers = {**kept, **({"Content-Encoding": "gzip"} if is_packed else {})}
    return Response(found.packed if is_packed else found.body, 200, headers, found.kind)


def _refused(request: Request, error: KnowngoodError) -> Response:
    """What went wrong, and what to do. Nothing is read for it: the store may be what is wrong."""
    visit = visit_of(request)
    if request.state.caller is None:  # a stranger is told nothing of the inside
        text = draw("stranger.html", {"error": error, "asset": asset_url})
    else:
        data = {**frame(visit, [visit.environment]), "error": error}
        text = draw("error.html", data)
    return respond(visit, text, status_of(error.code))


class Elsewhere(Route):
    """Every address that is nobody's, for people who mistyped one; programs have their own."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See Starlette."""
        if scope["type"] == "http" and not is_page(scope["method"], scope["path"]):
            return Match.NONE, {}
        return super().matches(scope)


async def _nothing(request: Request) -> Response:
    return _refused(request, NotFound("there is no such page"))
