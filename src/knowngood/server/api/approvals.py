"""The second person of a promotion."""

from typing import Any

from fastapi import APIRouter, Request

from knowngood.core.errors import BadRequest
from knowngood.server import approvals
from knowngood.server.act import Ask
from knowngood.server.api import bodies
from knowngood.server.api.acts import actor_of, caller_of, named
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.runtime import runtime_of

Data = dict[str, Any]

router = APIRouter(prefix="/api", responses=REFUSALS)


@router.post("/approvals", summary="Approve a promotion", tags=["rollouts"])
async def approve(request: Request, body: bodies.ApprovalBody) -> Data:
    """By somebody else than who promotes; it holds for as long as the policy says."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    ask = Ask(
        actor_of(request, server),
        body.because,
        revision=body.revision,
        dry_run=body.dry_run,
        caller=caller_of(request),
    )
    if body.release is not None:
        if body.prompt is not None or body.version is not None or body.revision is not None:
            raise BadRequest(
                "a release is approved as a whole",
                next_step="name the release, or a prompt and its version",
            )
        return await server.act(
            approvals.approve_release, server.desk, body.environment, body.release, ask, now_ms
        )
    if body.prompt is None:
        raise BadRequest("`prompt` is missing", next_step="say `prompt` and `version`")
    return await server.act(
        approvals.approve_promotion,
        server.desk,
        body.environment,
        body.prompt,
        named(body.prompt, body.version),
        ask,
        now_ms,
    )
