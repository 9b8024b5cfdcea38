"""Forms: read once, done once, and only those that this server made for this session."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote

from fastapi import Request
from fastapi.responses import Response

from knowngood.core.errors import BadRequest
from knowngood.web.visit import Visit

FIELDS_MAX = 30
REMEMBERED_MAX = 1_000  # forms that were sent a moment ago
NAME_COOKIE = "knowngood_name"
NAME_CHARS_MAX = 100
NAME_LIVES_S = 365 * 24 * 3600

Given = dict[str, str]
Ticket = tuple[str, str, str]  # the session, the order's name, and the form's own number


async def given_of(request: Request) -> Given:
    """The fields of a form that was sent. Raises BadRequest."""
    try:
        text = (await request.body()).decode("ascii")
        said = parse_qs(text, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError as error:
        raise BadRequest("this is not a form of these pages", next_step="open it again") from error
    return {name: values[-1] for name, values in said.items()}


@dataclass(slots=True)
class Once:
    """What was answered to forms that were sent: a second click gets the first one's answer."""

    answers: OrderedDict[Ticket, "asyncio.Task[Response]"] = field(default_factory=OrderedDict)

    async def answer(self, ticket: Ticket, work: Callable[[], Awaitable[Response]]) -> Response:
        """The answer to the form with this ticket; the work is done for the first one only.

        Work that failed has changed nothing, and may be tried again. Raises BadRequest for a form
        without a ticket.
        """
        if not ticket[-1]:
            raise BadRequest("this form has no ticket", next_step="open it again")
        task = self.answers.get(ticket)
        if task is None:
            task = asyncio.ensure_future(_run(work))
            self.answers[ticket] = task
            while len(self.answers) > REMEMBERED_MAX:
                self.answers.popitem(last=False)
        try:
            # Whoever hangs up does not stop what was ordered.
            return await asyncio.shield(task)
        except Exception:
            self.answers.pop(ticket, None)
            raise


async def _run(work: Callable[[], Awaitable[Response]]) -> Response:
    return await work()


def actor_of(visit: Visit, given: Given) -> str:
    """Whom the history names. Without tokens nobody can prove who they are, and it says so."""
    if not visit.is_local:
        return visit.caller.name or "dashboard"
    name = " ".join(given.get("name", "").split())
    if len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise BadRequest(f"a name has at most {NAME_CHARS_MAX} characters that can be printed")
    return f"{name or 'dashboard'} (unverified)"


def name_of(visit: Visit) -> str:
    """What the visitor called themselves last time, where nobody is asked for a token."""
    return unquote(visit.request.cookies.get(NAME_COOKIE, ""))[:NAME_CHARS_MAX]


def remember_name(response: Response, given: Given) -> None:
    """Spare the visitor from saying their name again."""
    if name := " ".join(given.get("name", "").split())[:NAME_CHARS_MAX]:
        response.set_cookie(
            NAME_COOKIE, quote(name), max_age=NAME_LIVES_S, httponly=True, samesite="lax"
        )
