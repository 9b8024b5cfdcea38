"""What became of messages to people, and whether a channel works."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field

from knowngood.server import notices
from knowngood.server.api.acts import actor_of
from knowngood.server.api.bodies import Body
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.runtime import runtime_of

router = APIRouter(prefix="/api/notify", responses=REFUSALS, tags=["people"])


class TryOutBody(Body):
    """A test of one channel, or of all."""

    channel: Annotated[
        str | None,
        Field(description="The channel's name; by default all.", max_length=300),
    ] = None


@router.get("/log", summary="What did each channel answer?")
async def log(
    request: Request,
    thread: Annotated[
        str | None,
        Query(description="One thread: an incident's id, or a page's.", max_length=1_000),
    ] = None,
    limit: Annotated[
        int, Query(description="How many tries at most.", ge=1, le=notices.LOG_MAX)
    ] = 100,
) -> dict[str, Any]:
    """Each try to hand a message to a channel, newest first, with the provider's answer."""
    server = runtime_of(request)
    return await server.read(notices.log, server.desk, thread, limit)


@router.post("/test", summary="Send a test page")
async def try_out(request: Request, body: TryOutBody) -> dict[str, Any]:
    """To one channel or to all, marked as a drill; what each answered. Nothing is tried again."""
    server = runtime_of(request)
    return await server.test(
        notices.try_out,
        server.engine.post,
        server.desk,
        body.channel,
        actor_of(request, server),
        server.clock.now_ms(),
    )
