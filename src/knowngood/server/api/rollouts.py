"""What may be done with rollouts, and which gates are open."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from knowngood.server import plans, rollouts
from knowngood.server.act import Ask
from knowngood.server.api import bodies
from knowngood.server.api.acts import ask_of, caller_of, named
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.desk import Desk
from knowngood.server.runtime import runtime_of

Data = dict[str, Any]

router = APIRouter(prefix="/api", responses=REFUSALS)


def steps_of(body: bodies.LadderBody, now: bool = False) -> rollouts.Steps:
    """How the ladder differs from the policy's."""
    return rollouts.Steps(
        now=now,
        stages_bp=bodies.stages_bp(body.stages),
        hold_ms=bodies.duration_of(body.hold),
        wait_ms=bodies.duration_of(body.wait_at_most),
        timed=body.timed,
    )


async def _order(
    do: Callable[[Desk, str, str, Ask, int], Data], request: Request, body: bodies.RolloutBody
) -> Data:
    server = runtime_of(request)
    ask, now_ms = ask_of(request, server, body), server.clock.now_ms()
    return await server.act(do, server.desk, body.environment, body.prompt, ask, now_ms)


@router.post("/promote", summary="Begin to serve a version", tags=["rollouts"])
async def promote(request: Request, body: bodies.PromoteBody) -> Data:
    """Up the policy's ladder, once every gate of a promotion is open.

    The first version ever routed in an environment serves everybody and is known good as declared.
    What serves everybody already is refused: 409 `already_served`, and nothing is changed.
    """
    server = runtime_of(request)
    return await server.act(
        rollouts.promote,
        server.desk,
        body.environment,
        body.prompt,
        named(body.prompt, body.version),
        ask_of(request, server, body, tuple(body.override)),
        steps_of(body, body.now),
        server.clock.now_ms(),
    )


@router.post("/rollouts/pause", summary="Hold a rollout at its stage", tags=["rollouts"])
async def pause(request: Request, body: bodies.RolloutBody) -> Data:
    """Until somebody resumes it. A breach rolls back all the same."""
    return await _order(rollouts.pause, request, body)


@router.post("/rollouts/resume", summary="Let a paused rollout go on", tags=["rollouts"])
async def resume(request: Request, body: bodies.RolloutBody) -> Data:
    """The stage's time begins anew."""
    return await _order(rollouts.resume, request, body)


@router.post("/rollouts/skip", summary="Go on without waiting for the gates", tags=["rollouts"])
async def skip(request: Request, body: bodies.RolloutBody) -> Data:
    """One stage; of a bake, its end: the version is good by a person's word."""
    return await _order(rollouts.skip, request, body)


@router.post("/rollouts/abort", summary="Take a new version off again", tags=["rollouts"])
async def abort(request: Request, body: bodies.RolloutBody) -> Data:
    """The control has everybody again. Nothing is quarantined."""
    return await _order(rollouts.abort, request, body)


@router.post("/rollouts/plan", summary="Change the stages in flight", tags=["rollouts"])
async def replan(request: Request, body: bodies.ReplanBody) -> Data:
    """The share in force stays; what comes after it is the new plan."""
    server = runtime_of(request)
    ask, now_ms = ask_of(request, server, body), server.clock.now_ms()
    return await server.act(
        rollouts.replan,
        server.desk,
        body.environment,
        body.prompt,
        ask,
        steps_of(body),
        now_ms,
    )


@router.get("/prompts/{name}/gates", summary="May this version go on?", tags=["rollouts"])
async def gates(
    request: Request,
    name: Annotated[str, Path(description="The prompt's name.")],
    version: Annotated[str, Query(description="The version.", max_length=300)],
    environment: Annotated[str, Query(description="The environment.")] = "production",
) -> Data:
    """Every gate with its answer, `allow`, `deny` or `not_yet`, and its reason."""
    server = runtime_of(request)
    return await server.read(
        rollouts.gates,
        server.desk,
        environment,
        name,
        version,
        server.clock.now_ms(),
        caller_of(request),
    )


@router.get("/prompts/{name}/plan", summary="How long would a ladder take?", tags=["rollouts"])
async def plan(
    request: Request,
    name: Annotated[str, Path(description="The prompt's name.")],
    version: Annotated[
        str | None, Query(description="The version to be promoted.", max_length=300)
    ] = None,
    environment: Annotated[str, Query(description="The environment.")] = "production",
) -> Data:
    """Each stage at today's traffic, what the A/B gate needs, and a ladder that can work."""
    server = runtime_of(request)
    return await server.read(
        plans.planned, server.desk, environment, name, version, server.clock.now_ms()
    )
