"""The dashboard as routes, laid onto a server's application."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from knowngood.core.errors import KnowngoodError
from knowngood.server.errors import NotFound, status_of
from knowngood.web import acts, door, drawings, live, papers, still
from knowngood.web.diff import DIFF
from knowngood.web.fleet import FLEET
from knowngood.web.forms import Once
from knowngood.web.history import HISTORY, LINE
from knowngood.web.incidents import INCIDENT, INCIDENTS
from knowngood.web.look import assets
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
        return await acts.do(request, once)

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
    router.add_api_route("/login", door.ask, methods=["GET"])
    router.add_api_route("/login", door.enter, methods=["POST"])
    router.add_api_route("/logout", door.leave, methods=["POST"])
    router.add_api_route("/assets/{file}", asset, methods=["GET"])
    app.include_router(router)


async def asset(request: Request) -> Response:
    """A style, a script or a picture."""
    found = assets().get(request.path_params["file"])
    if found is None:
        raise NotFound("there is no such file")
    is_packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {**drawings.FOREVER, **({"Content-Encoding": "gzip"} if is_packed else {})}
    return Response(found.packed if is_packed else found.body, 200, headers, found.kind)


def _refused(request: Request, error: KnowngoodError) -> Response:
    """What went wrong, and what to do."""
    visit = visit_of(request)
    text = draw("error.html", {**frame(visit), "error": error})
    return respond(visit, text, status_of(error.code))
