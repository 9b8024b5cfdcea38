"""Runbooks: what there is, filled with an incident's own numbers, and run step by step."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from knowngood.core.errors import BadRequest
from knowngood.core.runbook_run import Word
from knowngood.server import drills, runbook_runs, runbooks
from knowngood.server.act import Ask
from knowngood.server.api import bodies
from knowngood.server.api.acts import actor_of
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.desk import Desk
from knowngood.server.incident_values import place_of
from knowngood.server.runbooks import Library
from knowngood.server.runtime import runtime_of

Data = dict[str, Any]

router = APIRouter(prefix="/api", responses=REFUSALS)


@router.get("/runbooks", summary="List the runbooks", tags=["runbooks"])
async def listed(request: Request) -> Data:
    """What each is for, and by how many days its review is overdue."""
    server = runtime_of(request)
    return await server.read(runbooks.listed, server.library, server.clock.now_ms())


@router.post("/runbooks/check", summary="Check a runbook", tags=["runbooks"])
async def check(request: Request, body: bodies.RunbookTextBody) -> Data:
    """Everything that is wrong with its text, by line, under the policy in force."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    return await server.read(runbooks.checked, server.desk, body.runbook, now_ms)


@router.get("/runbooks/{name}", summary="Show a runbook", tags=["runbooks"])
async def show(
    request: Request,
    name: Annotated[str, Path(description="The runbook's id.")],
    incident: Annotated[
        str | None, Query(description="Fill it for this incident.", max_length=600)
    ] = None,
    prompt: Annotated[
        str | None, Query(description="Or for this prompt, without one.", max_length=300)
    ] = None,
    environment: Annotated[str, Query(description="The prompt's environment.")] = "production",
) -> Data:
    """Its steps in words and, filled, with the commands that do the same by hand."""
    server = runtime_of(request)
    return await server.read(
        runbooks.show,
        server.desk,
        server.library,
        name,
        incident,
        prompt,
        environment,
        server.clock.now_ms(),
    )


@router.get("/runbook-runs", summary="List runs of runbooks", tags=["runbooks"])
async def runs(
    request: Request,
    incident: Annotated[
        str | None, Query(description="Of one incident only.", max_length=600)
    ] = None,
    limit: Annotated[int, Query(description="How many at most.", ge=1, le=100)] = 20,
) -> Data:
    """The newest first, each with its transcript."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    return await server.read(runbook_runs.runs, server.desk, incident, limit, now_ms)


# An incident's id holds slashes, and so does a run's: the path takes them.
@router.get("/runbook-runs/{run:path}", summary="Show a run", tags=["runbooks"])
async def run(request: Request, run: Annotated[str, Path(description="The run's id.")]) -> Data:
    """Every step with what became of it, and what is next."""
    server = runtime_of(request)
    return await server.read(runbook_runs.one, server.desk, run, server.clock.now_ms())


@router.post("/runbook-runs", summary="Run a runbook", tags=["runbooks"])
async def begin(request: Request, body: bodies.RunBody) -> Data:
    """Begins a run, or finds the one that is not over. A dry run rehearses every step at once."""
    server = runtime_of(request)
    if not (body.incident or body.prompt):
        raise BadRequest("say what it is for", known=["incident", "prompt"])
    ask = Ask(actor_of(request, server), body.because, dry_run=body.dry_run)

    def work(desk: Desk, library: Library, now_ms: int) -> Data:
        place = place_of(desk, body.incident, body.prompt, body.environment)
        return runbook_runs.begin(desk, library, body.runbook, place, ask, now_ms)

    return await server.act(work, server.desk, server.library, server.clock.now_ms())


@router.post("/runbook-runs/answer", summary="Go on with a run", tags=["runbooks"])
async def answer(request: Request, body: bodies.RunAnswerBody) -> Data:
    """One step, or none where a person's word is missing. A step is never done twice."""
    server = runtime_of(request)
    ask = Ask(actor_of(request, server), body.because)
    word = Word(body.answer) if body.answer else None
    now_ms = server.clock.now_ms()
    return await server.act(runbook_runs.answer, server.desk, body.run, word, ask, now_ms)


@router.post("/drills", summary="Keep the report of a drill", tags=["runbooks"])
async def drill(request: Request, body: bodies.DrillBody) -> Data:
    """As a line of history. `knowngood drill` makes it; nothing is injected here."""
    server = runtime_of(request)
    return await server.act(
        drills.record,
        server.desk,
        body.environment,
        body.prompt,
        body.fault,
        body.outcome,
        body.report,
        Ask(actor_of(request, server)),
        server.clock.now_ms(),
    )
