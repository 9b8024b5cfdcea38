"""What travels to an open page: whatever differs from what is on it, and nothing else."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.server.errors import NotReady
from knowngood.web import live
from knowngood.web.live import Board, Drawn, Screen
from tests.web.world import page

NAMES = st.sampled_from(["top", "rows:a", "rows:b", "rows:c"])
DRAWN = st.builds(
    Drawn,
    pieces=st.dictionaries(NAMES, st.sampled_from(["calm", "breach"])),
    order=st.fixed_dictionaries({"rows": st.lists(NAMES, unique=True)}),
    heading=st.sampled_from(["fleet", "(1) asks"]),
    at=st.just("00:00:00"),
)


@given(st.lists(DRAWN, min_size=1))
def test_what_was_sent_is_what_is_shown(moments):
    """Whoever puts each change where it belongs sees the page as it is, whatever came before."""
    screen, order, heading = Screen({}), None, None
    shown: dict[str, str] = {}
    for drawn in moments:
        news = screen.news(drawn)
        shown |= news.get("pieces", {})
        order, heading = news.get("order", order), news.get("heading", heading)
        assert {name: shown[name] for name in drawn.pieces} == drawn.pieces
        assert (order, heading) == (drawn.order, drawn.heading)
        assert not screen.news(drawn), "the same again is no news"


def test_a_page_that_was_opened_whole_is_sent_only_what_has_changed_since():
    """Its pieces are remembered under the name that it bears, once."""
    board, before = Board(), Drawn({"top": "calm", "route": "v1"}, {}, "fleet", "")
    name = board.remember(before)
    screen = Screen(dict(board.bases.pop(name)))
    now = Drawn({"top": "breach", "route": "v1"}, {}, "fleet", "")
    assert screen.news(now)["pieces"] == {"top": "breach"}
    assert name not in board.bases


def test_what_was_drawn_is_forgotten_in_time():
    """However many pages are opened and never come back."""
    board = Board()
    for number in range(live.BASES_MAX + 5):
        board.remember(Drawn({"top": str(number)}, {}, "", ""))
    assert len(board.bases) == live.BASES_MAX


def test_a_page_over_an_engine_that_never_looked_says_so(pages):
    """A page that looks alive over a dead engine is a lie; so is one before its first look."""
    assert "Nobody judges" in page(pages, "/")
    pages.tick()
    assert "Nobody judges" not in page(pages, "/")
    pages.clock.ms += live.ENGINE_LATE_MS + 1_000
    assert "Nobody judges" in page(pages, "/")


def test_too_many_streams_are_refused_in_words(pages):
    """The page stays as it is, and nobody else's is taken away."""
    visit = type("Visitor", (), {"session": "ana", "is_local": False})()
    board = Board()
    board.streams["ana"] = live.STREAMS_EACH - 1
    live._refuse_more(board, visit)
    board.streams["ana"] += 1
    with pytest.raises(NotReady, match="too many pages"):
        live._refuse_more(board, visit)
    board.streams["ana"] = 0
    board.streams["others"] = live.STREAMS_MAX
    with pytest.raises(NotReady):
        live._refuse_more(board, visit)


def test_all_who_look_at_the_same_share_a_drawing(pages, monkeypatch):
    """A tick is drawn once, however many watch; after an order it is drawn anew."""
    drawn: list[Any] = []

    def draw(*args: Any) -> Drawn:
        drawn.append(args)
        return Drawn({}, {}, "", "")

    async def read(work: Any) -> Any:
        return work()

    monkeypatch.setattr(live, "_draw", draw)
    monkeypatch.setattr(live, "_data", lambda *_: {})
    board, nothing = Board(), cast(Any, None)
    visit: Any = SimpleNamespace(
        server=SimpleNamespace(engine=pages.runtime.engine, read=read),
        request=SimpleNamespace(url=SimpleNamespace(path="/live/", query="base=x")),
        caller=SimpleNamespace(role="viewer"),
        now_ms=0,
    )

    async def look() -> None:
        await asyncio.gather(*(live._drawn(nothing, visit, board) for _ in range(5)))
        board.orders_count += 1
        await live._drawn(nothing, visit, board)

    asyncio.run(look())
    assert len(drawn) == 2
