"""What may be seen."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from knowngood.core.content import check_prompt_name
from knowngood.server import dryrun, judged, read, rerun, separable
from knowngood.server.api import bodies
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.desk import Desk
from knowngood.server.doctor import doctor
from knowngood.server.policy_file import parse_policy_text
from knowngood.server.runtime import runtime_of

Data = dict[str, Any]
Environment = Annotated[str, Query(description="The environment.", max_length=300)]
Name = Annotated[str, Path(description="The prompt's name.")]
Limit = Annotated[int, Query(description="How many at most.", ge=1, le=read.PAGE_MAX)]

router = APIRouter(prefix="/api", responses=REFUSALS)


@router.get("/prompts", summary="List the prompts", tags=["prompts"])
async def prompts(
    request: Request,
    after: Annotated[str, Query(description="Go on after this name.", max_length=300)] = "",
    limit: Limit = 100,
) -> Data:
    """In alphabetical order, each with its newest version and its route in every environment."""
    server = runtime_of(request)
    return await server.read(read.prompts, server.desk, after, limit)


@router.get("/prompts/{name}", summary="Show a prompt", tags=["prompts"])
async def prompt(request: Request, name: Name) -> Data:
    """Its versions, newest first, with their standing and share in every environment."""
    server = runtime_of(request)
    return await server.read(read.prompt, server.desk, name)


@router.get("/prompts/{name}/diff", summary="Compare two versions", tags=["prompts"])
async def diff(
    request: Request,
    name: Name,
    a: Annotated[str, Query(description="The version before.", max_length=300)],
    b: Annotated[str, Query(description="The version after.", max_length=300)],
) -> Data:
    """Line by line and key by key, and as one plain text."""
    server = runtime_of(request)
    return await server.read(read.diff, server.desk, name, a, b)


@router.get("/prompts/{name}/explain", summary="Explain what is decided", tags=["judgement"])
async def explain(request: Request, name: Name, environment: Environment = "production") -> Data:
    """What is seen of the prompt now, what follows, what is waited on, what is remembered."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    return await server.read(judged.explain, server.desk, environment, name, now_ms)


# A version's name may hold slashes: the path takes them.
@router.get("/prompts/{name}/versions/{version:path}", summary="Show a version", tags=["prompts"])
async def version(
    request: Request, name: Name, version: Annotated[str, Path(description="The version.")]
) -> Data:
    """With its content."""
    server = runtime_of(request)
    return await server.read(read.version, server.desk, name, version)


@router.get("/status", summary="How is everything?", tags=["judgement"])
async def status(
    request: Request,
    environment: Environment = "production",
    prompt: Annotated[
        str | None, Query(description="One prompt; by default all.", max_length=300)
    ] = None,
) -> Data:
    """A line for each prompt, those in trouble first: route, verdict, figures, what it waits on."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    return await server.read(judged.status, server.desk, environment, prompt, now_ms)


@router.get("/environments", summary="List the environments", tags=["environments"])
async def environments(request: Request) -> Data:
    """Each with its generation."""
    server = runtime_of(request)
    return await server.read(read.environments, server.desk)


@router.get("/clients", summary="Take the census", tags=["environments"])
async def clients(request: Request, environment: Environment = "production") -> Data:
    """The processes that report, and which generation each of them runs."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    return await server.read(read.clients, server.desk, environment, now_ms)


@router.get("/audit", summary="Read the history", tags=["history"])
async def audit(
    request: Request,
    environment: Annotated[
        str | None, Query(description="Of one environment only.", max_length=300)
    ] = None,
    prompt: Annotated[str | None, Query(description="Of one prompt only.", max_length=300)] = None,
    after: Annotated[
        int, Query(description="Only what came after this entry.", ge=0, le=read.ENTRY_ID_MAX)
    ] = 0,
    limit: Limit = 100,
    before: Annotated[
        int | None,
        Query(description="Only what came before this entry.", ge=0, le=read.ENTRY_ID_MAX),
    ] = None,
    kind: Annotated[
        str, Query(description="Only kinds that contain this, such as `rollback`.", max_length=100)
    ] = "",
) -> Data:
    """The newest entries, oldest first."""
    server = runtime_of(request)
    return await server.read(
        read.audit, server.desk, environment, prompt, after, limit, before, kind
    )


@router.get("/audit/verify", summary="Verify the history", tags=["history"])
async def audit_verify(
    request: Request,
    after: Annotated[
        int, Query(description="Go on after this entry.", ge=0, le=read.ENTRY_ID_MAX)
    ] = 0,
    before: Annotated[str, Query(description="The hash of that entry.", max_length=64)] = "",
    expect: Annotated[
        str | None, Query(description="A hash that was kept elsewhere.", max_length=64)
    ] = None,
    limit: Annotated[
        int, Query(description="How many at most.", ge=1, le=read.VERIFIED_MAX)
    ] = read.VERIFIED_MAX,
) -> Data:
    """Whether each line follows from the one before it, and the hash of the newest one.

    As long as `next_after` is a number, ask again with it as `after` and with `head` as `before`.
    """
    server = runtime_of(request)
    return await server.read(read.audit_verify, server.desk, after, before, expect, limit)


@router.get("/audit/{entry}", summary="Read one entry of the history", tags=["history"])
async def audit_entry(
    request: Request, entry: Annotated[int, Path(description="The entry's id.")]
) -> Data:
    """With the evidence that was frozen in it."""
    server = runtime_of(request)
    return await server.read(read.audit_entry, server.desk, entry)


@router.get("/audit/{entry}/replay", summary="Make a decision again", tags=["history"])
async def audit_replay(
    request: Request, entry: Annotated[int, Path(description="The entry's id.")]
) -> Data:
    """From what was frozen with it, under the policy of then: the same verdict, or what differs."""
    server = runtime_of(request)
    return await server.read(rerun.rerun, server.desk, entry)


@router.get("/policy", summary="Show the policy in force", tags=["judgement"])
async def policy(
    request: Request,
    prompt: Annotated[
        str | None, Query(description="For one prompt; by default the defaults.", max_length=300)
    ] = None,
) -> Data:
    """As its canonical data, with its revision and warnings, and as a tree to read."""
    server = runtime_of(request)
    if prompt is not None:
        check_prompt_name(prompt)
    return await server.read(read.policy, server.desk, prompt)


@router.post("/policy/check", summary="Check a policy", tags=["judgement"])
async def policy_check(request: Request, body: bodies.PolicyBody) -> Data:
    """Its warnings, and its limits that cannot be told from health by what is seen here today."""
    server = runtime_of(request)
    given = parse_policy_text(body.policy, "the policy")
    return await server.read(separable.check, server.desk, given)


@router.get("/policy/report", summary="Report on dry runs", tags=["judgement"])
async def policy_report(
    request: Request,
    environment: Environment = "production",
    prompt: Annotated[
        str | None, Query(description="One prompt; by default all.", max_length=300)
    ] = None,
    since: Annotated[
        str, Query(description="How far to look back, such as `30d`.", max_length=30)
    ] = dryrun.SINCE,
) -> Data:
    """What each trigger in dry run would have done, whether it was right, and whether to trust."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    return await server.read(dryrun.report, server.desk, environment, prompt, since, now_ms)


@router.get("/doctor", summary="Is everything in order?", tags=["server"])
async def examine(request: Request) -> Data:
    """Everything that was checked: states, contents, outbox, tables, engine, clock, policy."""
    server = runtime_of(request)

    def work(desk: Desk) -> Data:
        return doctor(desk, server.clock.now_ms(), server.engine.ticked_ms)

    return await server.read(work, server.desk)
