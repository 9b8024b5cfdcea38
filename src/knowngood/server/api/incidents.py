"""Incidents: which there are, what each of them was, and what people say of them.

An id has three parts, as it is written: `<environment>/<prompt>/g<generation>.<number>`.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field

from knowngood.core.units import duration_ms
from knowngood.server import act, incidents, read
from knowngood.server.api.acts import actor_of
from knowngood.server.api.bodies import BECAUSE, Body, DryRun
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.incident_text import incident_text
from knowngood.server.postmortem import draft
from knowngood.server.runtime import runtime_of

Data = dict[str, Any]
Environment = Annotated[str, Path(description="The environment.", max_length=300)]
Prompt = Annotated[str, Path(description="The prompt.", max_length=300)]
Number = Annotated[str, Path(description="The last part of the id, such as `g7.1`.", max_length=50)]
ID = "/incidents/{environment}/{prompt}/{number}"

router = APIRouter(prefix="/api", responses=REFUSALS)


class NoteBody(Body):
    """A note for the timeline."""

    text: Annotated[str, Field(description="The note.", min_length=1, max_length=10_000)]
    update: Annotated[
        bool, Field(description="It is a status update, for people who do not work on it.")
    ] = False
    next: Annotated[
        str | None,
        Field(description="Of an update: in how long the next one comes.", examples=["30m"]),
    ] = None
    dry_run: DryRun = False


class RoleBody(Body):
    """Who does what in the incident."""

    role: Annotated[str, Field(description="The role.", examples=["commander"], max_length=100)]
    person: Annotated[str, Field(description="Who has it.", examples=["Ana"], max_length=100)]
    dry_run: DryRun = False


class CloseBody(Body):
    """What the incident was."""

    how: Annotated[
        Literal["false_positive", "duplicate", "reviewed"],
        Field(description="`reviewed`: it was what it seemed, and has been gone over."),
    ]
    of: Annotated[
        str | None, Field(description="Of a duplicate: the incident's id.", max_length=1_000)
    ] = None
    because: Annotated[str, BECAUSE]
    dry_run: DryRun = False


@router.get("/incidents", summary="List the incidents", tags=["incidents"])
async def listed(
    request: Request,
    environment: Annotated[
        str | None, Query(description="Of one environment only.", max_length=300)
    ] = None,
    prompt: Annotated[str | None, Query(description="Of one prompt only.", max_length=300)] = None,
    state: Annotated[
        Literal["open", "closed", "all"], Query(description="Whether they are over.")
    ] = "all",
    before_ms: Annotated[
        int | None, Query(description="Opened before this instant.", ge=0, le=2**53)
    ] = None,
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=read.PAGE_MAX)] = 100,
) -> Data:
    """The newest first."""
    server = runtime_of(request)
    is_open = {"open": True, "closed": False, "all": None}[state]
    now_ms = server.clock.now_ms()
    return await server.read(
        incidents.listed, server.desk, environment, prompt, is_open, before_ms, limit, now_ms
    )


@router.get(ID, summary="Show an incident", tags=["incidents"])
async def one(request: Request, environment: Environment, prompt: Prompt, number: Number) -> Data:
    """Its clocks, impact, frozen evidence, decision, propagation, pages, path and timeline."""
    server = runtime_of(request)
    named = f"{environment}/{prompt}/{number}"
    return await server.read(incidents.one, server.desk, named, server.clock.now_ms())


@router.get(f"{ID}/text", summary="Export an incident as a document", tags=["incidents"])
async def text(request: Request, environment: Environment, prompt: Prompt, number: Number) -> Data:
    """Everything that `GET` of the incident says, as Markdown."""
    server = runtime_of(request)
    named = f"{environment}/{prompt}/{number}"
    data = await server.read(incidents.one, server.desk, named, server.clock.now_ms())
    return {"incident": named, "markdown": incident_text(data)}


@router.get(f"{ID}/postmortem", summary="Draft a post-mortem", tags=["incidents"])
async def postmortem(
    request: Request,
    environment: Environment,
    prompt: Prompt,
    number: Number,
    stem: Annotated[
        str, Query(description="What the charts' files are called before their own name.")
    ] = "postmortem",
    theme: Annotated[Literal["light", "dark"], Query(description="Of the charts.")] = "light",
) -> Data:
    """The document as Markdown, and its charts as SVG and as Vega-Lite specifications."""
    server = runtime_of(request)
    named = f"{environment}/{prompt}/{number}"
    now_ms = server.clock.now_ms()
    return await server.read(draft, server.desk, named, stem, theme, now_ms)


@router.post(
    f"{ID}/notes", summary="Add a note to an incident", tags=["incidents"], status_code=201
)
async def note(
    request: Request, environment: Environment, prompt: Prompt, number: Number, body: NoteBody
) -> Data:
    """To its timeline, which only grows; also long after it is over."""
    server = runtime_of(request)
    ask = act.Ask(actor_of(request, server), dry_run=body.dry_run)
    next_ms = duration_ms(body.next) if body.next else None

    def work(*given: Any) -> Data:
        return incidents.note(*given, update=body.update, next_ms=next_ms)

    named = f"{environment}/{prompt}/{number}"
    return await server.act(work, server.desk, named, body.text, ask, server.clock.now_ms())


@router.post(f"{ID}/roles", summary="Give somebody a role", tags=["incidents"], status_code=201)
async def role(
    request: Request, environment: Environment, prompt: Prompt, number: Number, body: RoleBody
) -> Data:
    """Such as commander; the last word on a role holds."""
    server = runtime_of(request)
    ask = act.Ask(actor_of(request, server), dry_run=body.dry_run)
    named = f"{environment}/{prompt}/{number}"
    now_ms = server.clock.now_ms()
    return await server.act(incidents.role, server.desk, named, body.role, body.person, ask, now_ms)


@router.post(f"{ID}/close", summary="Say what an incident was", tags=["incidents"])
async def close(
    request: Request, environment: Environment, prompt: Prompt, number: Number, body: CloseBody
) -> Data:
    """An open one is closed with it; its versions' evidence begins anew."""
    server = runtime_of(request)
    ask = act.Ask(actor_of(request, server), body.because, dry_run=body.dry_run)
    named = f"{environment}/{prompt}/{number}"
    now_ms = server.clock.now_ms()
    return await server.act(incidents.close_as, server.desk, named, body.how, body.of, ask, now_ms)
