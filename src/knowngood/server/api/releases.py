"""What may be done with releases of several prompts."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from knowngood.server import releases
from knowngood.server.act import Ask
from knowngood.server.api import bodies
from knowngood.server.api.acts import actor_of, caller_of, with_status
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.api.rollouts import steps_of
from knowngood.server.runtime import runtime_of

Data = dict[str, Any]
Environment = Annotated[str, Query(description="The environment.", max_length=300)]

router = APIRouter(prefix="/api/releases", responses=REFUSALS)


@router.get("", summary="List the releases", tags=["releases"])
async def listed(request: Request, environment: Environment = "production") -> Data:
    """The newest first, with the share that each version has in the environment."""
    server = runtime_of(request)
    return await server.read(releases.releases, server.desk, environment)


@router.post(
    "",
    summary="Name versions that belong together",
    tags=["releases"],
    status_code=201,
    responses={200: {"description": "This very release was there already."}},
)
async def create(request: Request, response: Response, body: bodies.ReleaseBody) -> Data:
    """At most one version of each prompt. A release never changes."""
    server = runtime_of(request)
    ask = Ask(actor_of(request, server), body.because, dry_run=body.dry_run)
    now_ms = server.clock.now_ms()
    done = await server.act(releases.create, server.desk, body.name, body.members, ask, now_ms)
    return with_status(response, done)


@router.post("/promote", summary="Begin to serve a release", tags=["releases"])
async def promote(request: Request, body: bodies.ReleaseOrderBody) -> Data:
    """All of its prompts in one transaction, up one ladder; the same users get all of it."""
    server = runtime_of(request)
    return await server.act(
        releases.promote,
        server.desk,
        body.environment,
        body.name,
        _ask(request, body),
        steps_of(body, body.now),
        server.clock.now_ms(),
    )


@router.post("/rollback", summary="Roll a release back", tags=["releases"])
async def rollback(request: Request, body: bodies.ReleaseOrderBody) -> Data:
    """Each prompt to its own newest known-good version, in one transaction."""
    server = runtime_of(request)
    return await server.act(
        releases.roll_back,
        server.desk,
        body.environment,
        body.name,
        _ask(request, body),
        server.clock.now_ms(),
    )


@router.get("/{name}", summary="Show a release", tags=["releases"])
async def shown(
    request: Request,
    name: Annotated[str, Path(description="The release.")],
    environment: Environment = "production",
) -> Data:
    """Its versions, with the share that each has in the environment."""
    server = runtime_of(request)
    return await server.read(releases.release, server.desk, name, environment)


def _ask(request: Request, body: bodies.ReleaseOrderBody) -> Ask:
    server = runtime_of(request)
    actor = actor_of(request, server)
    caller = caller_of(request)
    return Ask(actor, body.because, tuple(body.override), dry_run=body.dry_run, caller=caller)
