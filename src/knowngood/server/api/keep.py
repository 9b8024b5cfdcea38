"""What is kept of versions: the report, pins and purges."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from knowngood.server import retention
from knowngood.server.act import Ask
from knowngood.server.api import bodies
from knowngood.server.api.acts import actor_of, named
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.runtime import runtime_of

Data = dict[str, Any]

router = APIRouter(prefix="/api", responses=REFUSALS, tags=["retention"])


@router.get("/retention", summary="What is kept, where, and why?")
async def report(
    request: Request,
    prompt: Annotated[
        str | None, Query(description="One prompt; by default all.", max_length=300)
    ] = None,
    after: Annotated[str, Query(description="Go on after this prompt.", max_length=300)] = "",
    limit: Annotated[
        int, Query(description="How many prompts at most.", ge=1, le=retention.PROMPTS_MAX)
    ] = retention.PROMPTS_MAX,
) -> Data:
    """Of each version whether it is hot, archived or free to be purged, with the reasons."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    return await server.read(retention.report, server.desk, now_ms, prompt, after, limit)


@router.post("/pin", summary="Keep a version")
async def pin(request: Request, body: bodies.PinBody) -> Data:
    """It is never purged, and every process of its prompt holds it from the next route on."""
    server = runtime_of(request)
    version = named(body.prompt, body.version)
    ask, now_ms = _ask(request, body), server.clock.now_ms()
    return await server.act(retention.pin, server.desk, body.prompt, version, ask, now_ms)


@router.post("/unpin", summary="Keep a version no longer")
async def unpin(request: Request, body: bodies.PinBody) -> Data:
    """What becomes of it is for its route, the ledger and its age to say."""
    server = runtime_of(request)
    version = named(body.prompt, body.version)
    ask, now_ms = _ask(request, body), server.clock.now_ms()
    return await server.act(retention.unpin, server.desk, body.prompt, version, ask, now_ms)


@router.post("/purge", summary="Purge versions")
async def purge(request: Request, body: bodies.PurgeBody) -> Data:
    """All that `/api/retention` calls purgeable, prompt by prompt, or nothing of a prompt."""
    server = runtime_of(request)
    ask, now_ms = _ask(request, body), server.clock.now_ms()
    return await server.act(retention.purge, server.desk, ask, now_ms, body.prompt, body.after)


def _ask(request: Request, body: bodies.PinBody | bodies.PurgeBody) -> Ask:
    actor = actor_of(request, runtime_of(request))
    return Ask(actor, body.because, dry_run=body.dry_run)
