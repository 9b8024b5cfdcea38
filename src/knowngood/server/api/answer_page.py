"""The page behind a signed link. Its address is the token."""

from typing import Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from knowngood.core.errors import BadRequest, KnowngoodError
from knowngood.server import answer_page, answers
from knowngood.server.act import Ask
from knowngood.server.errors import status_of
from knowngood.server.hooks import check_link
from knowngood.server.links import Link, verify
from knowngood.server.runtime import Runtime, runtime_of

router = APIRouter(default_response_class=HTMLResponse, tags=["people"])

FORM = {
    "requestBody": {
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "because": {"type": "string"}},
                }
            }
        }
    }
}
PAGE: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Why nothing was changed.", "content": {"text/html": {}}},
    "5XX": {"description": "It failed.", "content": {"text/html": {}, "application/json": {}}},
}


@router.get("/answer/{token}", summary="What does this link answer?", responses=PAGE)
async def look(request: Request, token: str) -> HTMLResponse:
    """What is asked, and a form. Changes nothing, since programs fetch links on their own."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    try:
        link = verify(server.links.key, token, now_ms)
        what = answers.about(link.thread, "")
        check_link(server.desk, link, now_ms)
        text = await server.read(answer_page.asked, server.desk, what, link, now_ms)
    except KnowngoodError as error:
        return _refused(error)
    return HTMLResponse(text, headers=answer_page.HEADERS)


@router.post(
    "/answer/{token}", summary="Answer by a signed link", responses=PAGE, openapi_extra=FORM
)
async def answer(request: Request, token: str) -> HTMLResponse:
    """The link says what is answered and for whom; the form says by whom, and why."""
    server = runtime_of(request)
    now_ms = server.clock.now_ms()
    try:
        link = verify(server.links.key, token, now_ms)
        ask = _ask(link, await request.body())
        done = await server.act(_answer, server, link, ask, now_ms)
    except KnowngoodError as error:
        return _refused(error)
    return HTMLResponse(answer_page.done(link, done), headers=answer_page.HEADERS)


def _answer(server: Runtime, link: Link, ask: Ask, now_ms: int) -> dict[str, Any]:
    check_link(server.desk, link, now_ms)
    return answers.answer(
        server.desk, link.thread, link.answer, link.number, ask, now_ms, alone=True
    )


def _ask(link: Link, body: bytes) -> Ask:
    """Who answers, and why. Raises BadRequest."""
    try:
        said = parse_qs(body.decode("ascii"), max_num_fields=10, errors="strict")
    except ValueError as error:
        raise BadRequest("this is not the form of this page", next_step="open the link") from error
    because = said.get("because", [""])[0].strip()
    if len(because) > answer_page.BECAUSE_CHARS_MAX:
        raise BadRequest(f"the reason has {len(because)} characters; say it in 2000")
    if link.is_person:
        return Ask(f"{link.who} (by link)", because)
    name = " ".join(said.get("name", [""])[0].split())
    if not name or len(name) > answer_page.NAME_CHARS_MAX or not name.isprintable():
        raise BadRequest("say who you are", next_step="go back and fill in your name")
    return Ask(f"{name} (by a link to {link.who})", because)


def _refused(error: KnowngoodError) -> HTMLResponse:
    text = answer_page.refused(error)
    return HTMLResponse(text, status_of(error.code), headers=answer_page.HEADERS)
