"""Doing: a page that shows exactly what would change, and the form that does it, once."""

import secrets
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import Request, Response

from knowngood.core.errors import (
    BadRequest,
    Forbidden,
    GateClosed,
    KnowngoodError,
    StaleAnswer,
    StaleState,
)
from knowngood.server import judged, read
from knowngood.server.act import Ask
from knowngood.server.errors import NotFound, status_of
from knowngood.server.roles import may
from knowngood.server.verbs import ASKED, VERBS, Order, Verb
from knowngood.web.forms import Given, Once, actor_of, given_of, name_of, remember_name
from knowngood.web.visit import Visit, draw, frame, go, respond, url, visit_of

BACK_CHARS_MAX = 1_000
TOLD_MS = 300_000
DONE = {"yes": "It is done.", "no": "Nothing had to change."}


@dataclass(frozen=True, slots=True)
class Preview:
    """What an order would do, or why it would be refused."""

    result: dict[str, Any] | None
    refused: KnowngoodError | None
    revision: int | None
    reason: str
    suspect: str
    number: str  # of the open question


async def ask(request: Request) -> Response:
    """What would change, and the question whether to do it."""
    visit, verb = visit_of(request), _verb(request)
    given = {name: visit.query(name) for name in (*verb.keeps, verb.asks_for, "because", "back")}
    given["environment"] = visit.environment
    return await _ask(visit, verb, given)


async def do(request: Request, once: Once) -> Response:
    """Do what was shown, and go back to where the result shows; a second click changes nothing."""
    visit, verb = visit_of(request), _verb(request)
    given = await given_of(request)
    visit.server.sessions.check_form(visit.session, given.get("form", ""))
    _check_role(visit, verb)
    if not (verb.need.hurried or visit.is_local):
        request.state.slow_down()
    given.setdefault("environment", visit.environment)

    async def work() -> Response:
        return await _done(visit, verb, given)

    try:
        return await once.answer((visit.session, verb.title, given.get("once", "")), work)
    except (StaleState, StaleAnswer) as error:
        # What has changed is shown with the question whether to do it all the same.
        return await _ask(visit, verb, _meant(given), error)
    except KnowngoodError as error:
        return await _ask(visit, verb, given, error)


async def _done(visit: Visit, verb: Verb, given: Given) -> Response:
    bound = _bound(verb, given)
    order = Ask(
        actor_of(visit, given), given.get("because", ""), revision=bound, caller=visit.caller
    )
    result = await visit.server.act(
        _order(visit, verb), visit.server.desk, given, order, visit.server.clock.now_ms()
    )
    response = go(_with_result(_back(given), result))
    remember_name(response, given)
    return response


async def _ask(
    visit: Visit, verb: Verb, given: Given, refused: KnowngoodError | None = None
) -> Response:
    text = await visit.server.read(_drawn, visit, verb, given, refused)
    return respond(visit, text, status_of(refused.code) if refused else 200)


def _drawn(visit: Visit, verb: Verb, given: Given, refused: KnowngoodError | None) -> str:
    preview = _preview(visit, verb, given)
    kept = {name: given.get(name, "") for name in verb.keeps}
    if preview.result and "to" in kept:
        kept |= {"to": preview.result.get("to_version") or "", "suspect": preview.suspect}
    if "number" in kept and not kept["number"]:
        kept["number"] = preview.number
    data = {
        **frame(visit),
        # A form that is sent says it itself; its address does not.
        "environment": given["environment"],
        "verb": verb,
        "preview": preview,
        "kept": kept,
        "field": ASKED.get(verb.asks_for),
        "value": given.get(verb.asks_for) or (ASKED[verb.asks_for].usual if verb.asks_for else ""),
        "because": given.get("because") or preview.reason,
        "back": _back(given),
        "once": secrets.token_urlsafe(16),
        "name": name_of(visit),
        "stale": refused,
        "allowed": may(visit.caller.role, verb.need),
        "can_ask": _wants_a_second(preview.refused),
    }
    return draw("act.html", data)


def _order(visit: Visit, verb: Verb) -> Order:
    if verb.needs_library:
        return partial(verb.order, library=visit.server.library)
    return verb.order


def _preview(visit: Visit, verb: Verb, given: Given) -> Preview:
    """The order rehearsed. The revision is read first: a change after that is noticed."""
    desk, now_ms = visit.server.desk, visit.now_ms
    state = None
    if given.get("prompt"):
        state = desk.state(given["environment"], desk.resolve(given["prompt"])[0])
    revision = state.revision if state else None
    seen = judged.reason_of(desk, state) if state and verb.is_about_harm else ""
    suspect = state.route.suspect.version if state and state.route else ""
    number = str(state.question.number) if state and state.question else ""
    who = visit.caller.name or name_of(visit) or "somebody"
    rehearsed = Ask(who, "your reason", dry_run=True, caller=visit.caller)
    try:
        result = _order(visit, verb)(desk, {**given, "suspect": ""}, rehearsed, now_ms)
    except KnowngoodError as error:
        return Preview(None, error, revision, seen, suspect, number)
    return Preview(result, None, revision, seen, suspect, number)


def _wants_a_second(refused: KnowngoodError | None) -> bool:
    """Whether nothing but another person's word is missing: sending the order asks for it."""
    return isinstance(refused, GateClosed) and list(refused.known) == ["approvals"]


def _bound(verb: Verb, given: Given) -> int | None:
    """The revision that must still hold. Raises BadRequest for a form that lost its own."""
    if not verb.is_bound or not given.get("prompt"):
        return None
    revision = given.get("revision", "")
    if not (revision.isascii() and revision.isdecimal() and len(revision) < 19):
        raise BadRequest("this form does not say what it was made for", next_step="open it again")
    return int(revision)


def _meant(given: Given) -> Given:
    """What the visitor wants, without what was known of it: that is looked at anew."""
    known = ("to", "suspect", "number")
    return {k: v for k, v in given.items() if k not in known}


def _verb(request: Request) -> Verb:
    name = request.path_params["verb"]
    if name not in VERBS:
        raise NotFound(f"nothing is called {name[:80]!r} here", known=sorted(VERBS))
    return VERBS[name]


def _check_role(visit: Visit, verb: Verb) -> None:
    if may(visit.caller.role, verb.need):
        return
    who = visit.server.desk.roster.who(verb.need, visit.now_ms)
    raise Forbidden(
        f"this needs the role {verb.need.role.value}, and you have {visit.caller.role.value}",
        known=list(who),
        next_step=f"ask somebody who has it: {', '.join(who[:10])}" if who else "",
    )


def _back(given: Given) -> str:
    """Where the visitor came from, else the prompt's page."""
    if given.get("back"):
        return our_page(given["back"])
    if given.get("prompt"):
        return url(f"/prompts/{given['prompt'].partition(':')[0]}", given["environment"])
    return url("/", given["environment"])


def our_page(where: str) -> str:
    """The address if it is a page of ours, and never another site's."""
    is_ours = where.startswith("/") and not where.startswith(("//", "/\\"))
    return where[:BACK_CHARS_MAX] if is_ours and where.isprintable() else "/"


def _with_result(back: str, result: dict[str, Any]) -> str:
    entry = result.get("id")
    if result.get("outcome") == "begun":  # it goes on, and the page shows how
        return back
    changed = result.get("outcome") != "unchanged"
    said = f"done={entry}" if entry else f"done={'yes' if changed else 'no'}"
    where, _, place = back.partition("#")
    return f"{where}{'&' if '?' in where else '?'}{said}{f'#{place}' if place else ''}"


def told(visit: Visit) -> dict[str, Any] | None:
    """What the visitor has just done, for the page that they came back to."""
    said = visit.query("done")
    if said in DONE:
        return {"because": DONE[said], "actor": ""}
    done = visit.number("done")
    if done is None:
        return None
    try:
        line = read.audit_entry(visit.server.desk, done)
    except KnowngoodError:
        return None
    # An address that somebody kept or made up tells of nothing that was done just now.
    return line if visit.now_ms - line["at_ms"] < TOLD_MS else None
