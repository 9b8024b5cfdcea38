"""What a person answers to a question or a page."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from knowngood.core.asking import Answer
from knowngood.server import act
from knowngood.server.answers import answer
from knowngood.server.api.acts import actor_of
from knowngood.server.api.bodies import BECAUSE, Body, DryRun, Environment, Revision
from knowngood.server.api.refusals import REFUSALS
from knowngood.server.runtime import runtime_of

router = APIRouter(prefix="/api", responses=REFUSALS)


class AnswerBody(Body):
    """An answer to the question that is open, or to a page."""

    about: Annotated[
        str,
        Field(
            description="The prompt, or the incident or page that is answered.",
            examples=["support-bot", "production/support-bot/g7.1"],
            max_length=1_000,
        ),
    ]
    answer: Annotated[
        Answer,
        Field(description="`approve` rolls back, `decline` investigates, `ack` takes the page."),
    ]
    question: Annotated[
        int | None,
        Field(
            description="The number of the question that was seen; another that is open by now "
            "refuses the answer.",
            ge=1,
        ),
    ] = None
    environment: Environment = "production"
    because: Annotated[str, BECAUSE] = ""
    revision: Revision = None
    dry_run: DryRun = False


@router.post("/answers", summary="Answer a question, or take a page", tags=["people"])
async def answers(request: Request, body: AnswerBody) -> dict[str, Any]:
    """An approval rolls back what was asked about, as it was asked: at once or stage by stage."""
    server = runtime_of(request)
    ask = act.Ask(
        actor_of(request, server), body.because, (), revision=body.revision, dry_run=body.dry_run
    )
    return await server.act(
        answer,
        server.desk,
        body.about,
        body.answer,
        body.question,
        ask,
        server.clock.now_ms(),
        body.environment,
    )
