"""Pages that stay as they were when they were opened: nothing on them changes by itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from knowngood.web.live import health
from knowngood.web.visit import Visit, draw, frame, respond, visit_of


@dataclass(frozen=True, slots=True)
class Still:
    """One kind of page. `view` reads its data, in the lane of questions."""

    path: str
    template: str
    view: Callable[[Visit], dict[str, Any]]


def add(router: APIRouter, page: Still) -> None:
    """Its route."""

    async def show(request: Request) -> Response:
        visit = visit_of(request)
        return respond(visit, await visit.server.read(_drawn, page, visit))

    router.add_api_route(page.path, show, methods=["GET"])


def _drawn(page: Still, visit: Visit) -> str:
    return draw(page.template, {**frame(visit), **page.view(visit), "health": health(visit)})
