"""Signing in and out: a token is shown once, and a session stands for it afterwards."""

from fastapi import Request, Response

from knowngood.core.errors import Unauthorized
from knowngood.server.errors import status_of
from knowngood.web.acts import our_page
from knowngood.web.forms import given_of
from knowngood.web.look import asset_url
from knowngood.web.visit import HEADERS, draw, go, respond, visit_of


async def ask(request: Request) -> Response:
    """The form that takes a token."""
    visit = visit_of(request)
    if visit.is_local:
        return go("/")
    data = {"next": our_page(visit.query("next")), "error": "", "asset": asset_url}
    return respond(visit, draw("login.html", data))


async def enter(request: Request) -> Response:
    """A session for whoever has a token, and on to where they wanted to go."""
    visit = visit_of(request)
    given = await given_of(request)
    onward = our_page(given.get("next", ""))
    if visit.is_local:
        return go("/")
    sessions, roster = visit.server.sessions, visit.server.desk.roster
    try:
        cookie = sessions.open(given.get("token", "").strip(), roster, visit.now_ms)
    except Unauthorized as error:
        data = {"next": onward, "error": error.message, "asset": asset_url}
        return respond(visit, draw("login.html", data), status_of(error.code))
    response = go(onward)
    response.headers["Set-Cookie"] = sessions.header(cookie)
    return response


async def leave(request: Request) -> Response:
    """The session ends in this browser."""
    visit = visit_of(request)
    response = go("/login")
    response.headers["Set-Cookie"] = visit.server.sessions.header("")
    return response


async def look(request: Request) -> Response:
    """Whether the session is still one: an open page asks when it hears nothing any more."""
    return Response(status_code=204, headers=HEADERS)
