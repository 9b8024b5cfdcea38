"""What may be done. Every order runs in its own lane of threads, whatever else is asked."""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Path, Request, Response

from knowngood.core.errors import BadRequest
from knowngood.core.units import duration_ms
from knowngood.server import act, add
from knowngood.server.api import bodies
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.roles import Caller
from knowngood.server.runtime import Runtime, runtime_of

Data = dict[str, Any]

ACTOR_HEADER = "x-knowngood-actor"
ACTOR_CHARS_MAX = 100

router = APIRouter(prefix="/api", responses=REFUSALS)


def actor_of(request: Request, server: Runtime) -> str:
    """Who gives the order: what the header says, else the token's name, else `api`.

    Without tokens nobody can prove who they are, and the history says so.
    """
    claimed = unquote(request.headers.get(ACTOR_HEADER, "")).strip()
    if len(claimed) > ACTOR_CHARS_MAX or not claimed.isprintable():
        raise BadRequest(f"{ACTOR_HEADER} must be printable, {ACTOR_CHARS_MAX} characters at most")
    if server.settings.is_local:
        return f"{claimed or 'api'} (unverified)"
    token = caller_of(request).name
    if claimed and token and claimed != token:
        return f"{claimed} via {token}"
    return claimed or token or "api"


def caller_of(request: Request) -> Caller:
    """Who gives the order, as far as it is proven."""
    found: Caller | None = request.state.caller
    assert found is not None, "of a route that asks for a token"
    return found


@router.post(
    "/prompts/{name}/versions",
    summary="Push a version",
    tags=["prompts"],
    status_code=201,
    responses={200: {"description": "This very content was there already."}},
)
async def push(
    request: Request,
    response: Response,
    name: Annotated[str, Path(description="The prompt's name.")],
    body: bodies.PushBody,
) -> Data:
    """Versions are immutable: the same content again changes nothing, other content is refused."""
    server = runtime_of(request)
    ask = act.Ask(actor_of(request, server), body.because, dry_run=body.dry_run)
    now_ms = server.clock.now_ms()
    done = await server.act(
        add.push, server.desk, name, body.version, body.content(), ask, body.note, now_ms
    )
    return with_status(response, done)


@router.post("/route", summary="Split the traffic between two versions", tags=["routes"])
async def route(request: Request, body: bodies.RouteBody) -> Data:
    """Users stay with the version they have: raising a weight only ever adds users to it."""
    server = runtime_of(request)
    arms = [(arm.version, arm.weight_bp) for arm in body.arms]
    now_ms = server.clock.now_ms()
    return await server.act(
        act.set_route,
        server.desk,
        body.environment,
        body.prompt,
        arms,
        ask_of(request, server, body, tuple(body.override)),
        now_ms,
    )


@router.post(
    "/rollback",
    summary="Roll back to a known-good version",
    tags=["routes"],
    response_model=bodies.RollbackResult,
    response_model_exclude_unset=True,
)
async def rollback(request: Request, body: bodies.RollbackBody) -> Data:
    """At once and for everybody; no brake holds it, and nothing but the control store is needed."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    return await server.act(
        act.rollback,
        server.desk,
        body.environment,
        body.prompt,
        body.target_version,
        ask_of(request, server, body, tuple(body.override)),
        now_ms,
        confirm=body.confirm,
        quarantine=body.quarantine,
        gradual=_gradual(body),
        alone=body.alone,
    )


def _gradual(body: bodies.RollbackBody) -> act.Gradual | None:
    if body.gradual:
        return act.Gradual(bodies.stages_bp(body.stages), bodies.duration_of(body.hold))
    if body.stages is not None or body.hold is not None:
        raise BadRequest("only a gradual rollback has stages", next_step='say `"gradual": true`')
    return None


@router.post("/vouch", summary="Call a version known good", tags=["ledger"])
async def vouch(request: Request, body: bodies.VersionBody) -> Data:
    """By a person's word, so that a rollback may choose it."""
    server = runtime_of(request)
    version = named(body.prompt, body.version)
    ask, now_ms = ask_of(request, server, body), server.clock.now_ms()
    return await server.act(
        act.vouch, server.desk, body.environment, body.prompt, version, ask, now_ms
    )


@router.post("/unquarantine", summary="Lift a version's quarantine", tags=["ledger"])
async def unquarantine(request: Request, body: bodies.VersionBody) -> Data:
    """It is a candidate again and may be promoted."""
    server = runtime_of(request)
    version = named(body.prompt, body.version)
    ask, now_ms = ask_of(request, server, body), server.clock.now_ms()
    return await server.act(
        act.unquarantine, server.desk, body.environment, body.prompt, version, ask, now_ms
    )


@router.post("/automation", summary="Turn automatic rollbacks off or on", tags=["judgement"])
async def automation(request: Request, body: bodies.AutomationBody) -> Data:
    """Off always has an end. A person's rollback works all the while."""
    server = runtime_of(request)
    if body.state == "off" and body.for_ is None:
        raise BadRequest("automation that is off always has an end", next_step='say `"for": "2h"`')
    if body.state == "on" and body.for_ is not None:
        raise BadRequest("automation that is on needs no `for`")
    off_ms = duration_ms(body.for_) if body.for_ is not None else None
    ask, now_ms = ask_of(request, server, body), server.clock.now_ms()
    return await server.act(
        act.automation, server.desk, body.environment, body.prompt, off_ms, ask, now_ms
    )


@router.post(
    "/environments",
    summary="Add an environment",
    tags=["environments"],
    status_code=201,
    responses={200: {"description": "It was there already."}},
)
async def add_environment(
    request: Request, response: Response, body: bodies.EnvironmentBody
) -> Data:
    """`production` and `staging` are always there."""
    server = runtime_of(request)
    ask = act.Ask(actor_of(request, server), body.because, dry_run=body.dry_run)
    now_ms = server.clock.now_ms()
    done = await server.act(add.add_environment, server.desk, body.name, ask, now_ms)
    return with_status(response, done)


Order = (
    bodies.PromoteBody
    | bodies.RolloutBody
    | bodies.ReplanBody
    | bodies.RouteBody
    | bodies.RollbackBody
    | bodies.VersionBody
    | bodies.AutomationBody
)


def ask_of(
    request: Request, server: Runtime, body: Order, override: tuple[str, ...] = ()
) -> act.Ask:
    actor = actor_of(request, server)
    caller = caller_of(request)
    return act.Ask(actor, body.because, override, body.revision, body.dry_run, caller=caller)


def with_status(response: Response, done: Data) -> Data:
    """The answer; where it tells of nothing that was created, its status is 200 instead of 201."""
    if done["outcome"] != "new" or done["dry_run"]:
        response.status_code = 200
    return done


def named(prompt: str, version: str | None) -> str:
    """The version, which the prompt's name may bring along."""
    named = version if version is not None else prompt.partition(":")[2]
    if not named:
        raise BadRequest("`version` is missing", next_step="say `version`, or `name:version`")
    return named
