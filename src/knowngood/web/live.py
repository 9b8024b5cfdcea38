"""Pages that keep themselves up to date: what has changed of a page is sent, and nothing else.

A page is a frame around regions. The regions of an open page are drawn anew after each tick of the
engine, and those whose text is another one travel to the browser, which puts them in their place.
Everybody who looks at the same page shares the drawing.
"""

import asyncio
import json
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from knowngood.core.errors import KnowngoodError
from knowngood.server.errors import NotReady
from knowngood.web.look import clock
from knowngood.web.visit import HEADERS, Visit, draw, frame, mark, respond, visit_of

Data = dict[str, Any]
View = Callable[[Visit], Data]
Pieces = Mapping[str, str]  # a region's name, or a row's, -> its HTML

BEAT_S = 0.1  # how long a change waits at most to be noticed; the engine ticks once a second
STILL_S = 15.0  # after this long without news a sign of life: proxies close silent streams
STREAM_S = 120.0  # then the browser comes anew, with a session that is looked at again
STREAMS_MAX = 200  # open pages; each costs a drawing a second unless others look at the same
STREAMS_EACH = 20  # of one person: a tab that nobody sees gives its own back
PATIENCE = 4  # a page that takes long to draw is drawn less often, for whoever else asks
BASES_MAX = 500  # pages that were drawn whole a moment ago, some 2 KB each
SHARED_MAX = 64  # drawings of the last ticks, up to 200 KB each
ENGINE_LATE_MS = 10_000  # an engine that has not judged for this long is said to be late


@dataclass(frozen=True, slots=True)
class Rows:
    """A region whose pieces come and go one by one: `items` of the data, each known by `key`."""

    template: str
    items: str
    key: str


@dataclass(frozen=True, slots=True)
class Page:
    """One kind of page.

    `view` reads its data, in the lane of questions. `regions` are the templates of its parts, by
    name; a part that is not among them stays as it was when the page was opened.
    """

    path: str
    template: str
    view: View
    regions: Mapping[str, str | Rows]
    heading: Callable[[Data], str]


@dataclass(slots=True)
class Drawn:
    """The regions of one page at one moment."""

    pieces: dict[str, str]
    order: dict[str, list[str]]
    heading: str
    at: str

    def marks(self) -> dict[str, str]:
        """What each piece is recognised by."""
        return {name: mark(text) for name, text in self.pieces.items()}


@dataclass(slots=True)
class Board:
    """What open pages share: drawings of this tick, and what browsers have on the screen."""

    shared: OrderedDict[tuple[object, ...], "asyncio.Task[Drawn]"] = field(
        default_factory=OrderedDict
    )
    bases: OrderedDict[str, dict[str, str]] = field(default_factory=OrderedDict)
    streams: Counter[str] = field(default_factory=Counter)
    orders_count: int = 0  # what was drawn before an order is not shown after it

    def remember(self, drawn: Drawn) -> str:
        """Keep what a browser is given; the name under which it asks for what comes next."""
        name = uuid4().hex
        self.bases[name] = drawn.marks()
        while len(self.bases) > BASES_MAX:
            self.bases.popitem(last=False)
        return name


def add(router: APIRouter, board: Board, page: Page) -> None:
    """Two routes for a page: itself, and what changes of it."""

    async def show(request: Request) -> Response:
        visit = visit_of(request)
        text = await visit.server.read(_whole, page, visit, board)
        return respond(visit, text)

    async def live(request: Request) -> Response:
        visit = visit_of(request)
        if visit.server.is_ending:
            raise NotReady("the server is ending")
        _refuse_more(board, visit)
        await _drawn(page, visit, board)  # an error is said with a status, not in a stream
        headers = {**HEADERS, "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _stream(page, visit, board), media_type="text/event-stream", headers=headers
        )

    router.add_api_route(page.path, show, methods=["GET"])
    router.add_api_route(f"/live{page.path}", live, methods=["GET"])


def _refuse_more(board: Board, visit: Visit) -> None:
    """Raises NotReady, so that no visitor takes the pages of all others."""
    mine = board.streams[visit.session]
    if board.streams.total() >= STREAMS_MAX or (not visit.is_local and mine >= STREAMS_EACH):
        raise NotReady("too many pages are open; this one stays as it is")


# --- Drawing


def _whole(page: Page, visit: Visit, board: Board) -> str:
    data = _data(page, visit)
    drawn = _draw(page, visit, data)
    return draw(page.template, {**data, "drawn": drawn, "base": board.remember(drawn)})


def _data(page: Page, visit: Visit) -> Data:
    return {**frame(visit), **page.view(visit), "health": health(visit)}


def _draw(page: Page, visit: Visit, data: Data) -> Drawn:
    pieces: dict[str, str] = {"health": draw("_health.html", data)}
    order: dict[str, list[str]] = {}
    for name, region in page.regions.items():
        if isinstance(region, str):
            pieces[name] = draw(region, data)
            continue
        order[name] = []
        for item in data[region.items]:
            key = f"{name}:{item[region.key]}"
            pieces[key] = draw(region.template, {**data, "row": item})
            order[name].append(key)
    return Drawn(pieces, order, page.heading(data), clock(visit.now_ms))


def health(visit: Visit) -> dict[str, Any]:
    """Whether somebody judges at all: a page that looks alive over a dead engine is a lie."""
    ticked_ms = visit.server.engine.ticked_ms
    is_late = ticked_ms is None or visit.now_ms - ticked_ms > ENGINE_LATE_MS
    failing = sorted(dict(visit.server.engine.failing))
    return {"is_late": is_late, "ticked_ms": ticked_ms, "failing": failing}


async def _drawn(page: Page, visit: Visit, board: Board) -> Drawn:
    """The page as it is now; drawn once for all who look at it in this tick."""
    key = _key(visit, board)
    task = board.shared.get(key)
    if task is None:
        work = visit.server.read(lambda: _draw(page, visit, _data(page, visit)))
        task = asyncio.ensure_future(work)
        board.shared[key] = task
        while len(board.shared) > SHARED_MAX:
            board.shared.popitem(last=False)
    return await asyncio.shield(task)


def _key(visit: Visit, board: Board) -> tuple[object, ...]:
    """Who sees the same: the page, the role, and the tick that it was drawn after.

    Regions hold no form of the visitor's own, so nobody is given what belongs to another.
    """
    server, address = visit.server, visit.request.url
    query = "&".join(part for part in address.query.split("&") if not part.startswith("base="))
    tick = server.engine.ticked_ms, visit.now_ms // 2_000, board.orders_count
    return address.path, query, visit.caller.role, tick


# --- Sending


async def _stream(page: Page, visit: Visit, board: Board) -> AsyncIterator[str]:
    board.streams[visit.session] += 1
    try:
        _refuse_more(board, visit)  # a burst may have come in while this one was drawn
        loop = asyncio.get_running_loop()
        began_s, said_s = loop.time(), loop.time()
        screen = _screen(visit, board)
        seen: object = None
        yield "retry: 2000\n\n"
        while loop.time() - began_s < STREAM_S and not visit.server.is_ending:
            now, pause_s = visit_of(visit.request), BEAT_S
            tick = _key(now, board)[-1]
            if tick != seen:
                if now.has_ended():
                    return  # the browser comes again, and is shown the door
                seen, asked_s = tick, loop.time()
                drawn = await _drawn(page, now, board)
                pause_s = max(BEAT_S, PATIENCE * (loop.time() - asked_s))
                news = screen.news(drawn)
                if news or loop.time() - said_s > STILL_S:
                    said_s = loop.time()
                    # With an id the browser says, when it comes again, that it has seen more.
                    yield f"id: 1\ndata: {json.dumps({'at': drawn.at, **news})}\n\n"
            await asyncio.sleep(pause_s)
    except KnowngoodError as error:
        yield f"data: {json.dumps({'error': error.message})}\n\n"
    finally:
        board.streams[visit.session] -= 1
        if not board.streams[visit.session]:
            del board.streams[visit.session]


@dataclass(slots=True)
class Screen:
    """What a browser has in front of it, as far as it was sent."""

    marks: dict[str, str]
    order: dict[str, list[str]] | None = None
    heading: str | None = None

    def news(self, drawn: Drawn) -> Data:
        """What differs from it; from then on it is there."""
        now = drawn.marks()
        changed = {
            name: drawn.pieces[name] for name, mark in now.items() if self.marks.get(name) != mark
        }
        is_same = (self.order, self.heading) == (drawn.order, drawn.heading)
        self.marks, self.order, self.heading = now, drawn.order, drawn.heading
        if not changed and is_same:
            return {}
        return {"pieces": changed, "order": drawn.order, "heading": drawn.heading}


def _screen(visit: Visit, board: Board) -> Screen:
    """What the page was opened with; of a browser that comes again nothing is known."""
    comes_again = "last-event-id" in visit.request.headers
    return Screen({} if comes_again else dict(board.bases.pop(visit.query("base"), {})))
