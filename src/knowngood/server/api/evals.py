"""Evaluations: what suites have found of versions."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from knowngood.core.errors import BadEvaluation
from knowngood.core.evaluation import Example, Results, Scale, Tally, tally_of_counts
from knowngood.server import evals, read
from knowngood.server.act import Ask
from knowngood.server.api import bodies
from knowngood.server.api.acts import actor_of, named
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.runtime import runtime_of

Data = dict[str, Any]
Prompt = Annotated[str, Query(description="The prompt, or `name:version`.", max_length=300)]
Limit = Annotated[int, Query(description="How many at most.", ge=1, le=read.PAGE_MAX)]

router = APIRouter(prefix="/api", responses=REFUSALS, tags=["evaluations"])


@router.post("/evaluations", summary="Record an evaluation", status_code=201)
async def record(request: Request, body: bodies.EvaluationBody) -> Data:
    """With its line of history, or nothing of it; the newest of a suite counts."""
    server = runtime_of(request)
    version = named(body.prompt, body.version)
    found = evals.Found(
        body.prompt, version, body.suite, results_of(body), body.source, body.digest
    )
    ask = Ask(actor_of(request, server), body.because, dry_run=body.dry_run)
    return await server.act(evals.record, server.desk, found, ask, server.clock.now_ms())


@router.get("/evaluations", summary="List evaluations")
async def listed(
    request: Request,
    prompt: Prompt,
    version: Annotated[
        str | None, Query(description="Of one version only.", max_length=300)
    ] = None,
    suite: Annotated[str | None, Query(description="Of one suite only.", max_length=300)] = None,
    limit: Limit = 100,
) -> Data:
    """The newest first, with their counts."""
    server = runtime_of(request)
    return await server.read(evals.listed, server.desk, prompt, version, suite, limit)


@router.get("/evaluations/compare", summary="Compare two versions by their evaluations")
async def compare(
    request: Request,
    prompt: Prompt,
    a: Annotated[str, Query(description="The version before.", max_length=300)],
    b: Annotated[str, Query(description="The version after.", max_length=300)],
    suite: Annotated[str, Query(description="The suite.", max_length=300)],
) -> Data:
    """Example by example: who is better, and whether that is proven."""
    server = runtime_of(request)
    return await server.read(evals.compare, server.desk, prompt, a, b, suite)


@router.get("/evaluations/{evaluation}", summary="Show an evaluation")
async def one(
    request: Request, evaluation: Annotated[int, Path(description="The evaluation's id.")]
) -> Data:
    """With each of its examples."""
    server = runtime_of(request)
    return await server.read(evals.one, server.desk, evaluation)


def results_of(body: bodies.EvaluationBody) -> Results | Tally:
    """The body's examples, or its counts. Raises BadEvaluation for both, neither or bad ones."""
    counts = (body.passed, body.failed, body.cases)
    if body.examples is None:
        if body.passed is None:
            raise BadEvaluation(
                "how many passed, and how many failed?", known=["passed", "failed", "examples"]
            )
        return tally_of_counts(body.passed, body.failed, body.cases, body.skipped)
    if any(count is not None for count in counts):
        raise BadEvaluation("the examples are counted here: leave out `passed` and `failed`")
    said = body.scale or bodies.ScaleBody()
    scale = Scale(said.min, said.max, said.pass_at)
    return Results(tuple(_example(each, scale) for each in body.examples), body.skipped)


def _example(said: bodies.ExampleBody, scale: Scale) -> Example:
    if said.passed is None and said.score is None and not said.error:
        raise BadEvaluation(f"{said.id!r} has neither `passed`, `score` nor `error`")
    if said.score is None or said.error:
        return Example(said.id, bool(said.passed), error=said.error)
    scored = scale.example(said.id, said.score)
    passed = scored.passed if said.passed is None else said.passed
    return Example(said.id, passed, scored.score)
