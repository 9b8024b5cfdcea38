"""What holds on every page: it fits, it can be read, touched and heard, and nothing complains."""

import pytest

from knowngood.server.roles import PAGES
from tests.browser import hindrances
from tests.web.places import ALL, DOOR, NOWHERE, PLACES
from tests.web.stage import HOSTILE

pytestmark = pytest.mark.browser

PHONE = {"width": 390, "height": 844}
TAP_PX_MIN = 24
NO_PAGES = ("/live", "/session", "/assets", "/charts", "/files", DOOR)
# What sticks out on the right; what lies in something that scrolls by itself may.
STICKS_OUT = """(width) => {
  const rolls = (e) => e && (getComputedStyle(e).overflowX !== "visible" || rolls(e.parentElement));
  const wide = document.scrollingElement.scrollWidth;
  if (wide <= width) return [];
  const found = [...document.body.querySelectorAll("*")]
    .filter((e) => e.getBoundingClientRect().right > width + 1 && !rolls(e));
  return [`${wide} > ${width}`, ...found.map((e) => e.outerHTML.slice(0, 120))];
}"""
SMALL = """(least) => {
  const kinds = "a.button, button, input, select, textarea, summary, nav a, .filters a";
  const isThere = (e) => e.type !== "hidden" && e.checkVisibility() && !e.closest(".unseen, .skip")
    && getComputedStyle(e).clipPath === "none";
  return [...document.querySelectorAll(kinds)].filter(isThere)
    .map((e) => ({ e, box: e.getBoundingClientRect() }))
    .filter(({ box }) => box.width < least || box.height < least)
    .map(({ e, box }) => `${box.width} x ${box.height}: ${e.outerHTML.slice(0, 120)}`);
}"""
MOVES = """() => [...document.querySelectorAll("*")]
  .map((e) => getComputedStyle(e))
  .filter((style) => parseFloat(style.transitionDuration) + parseFloat(style.animationDuration) > 0)
  .length"""


@pytest.mark.parametrize("place", ALL)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_anybody_out(stage, come, place, scheme):
    """axe-core finds nothing at all, in light and in dark; nor does the browser."""
    page = come(stage, color_scheme=scheme).to(place)
    assert hindrances(page) == []


@pytest.mark.parametrize("place", ALL)
def test_it_fits_a_phone(stage, come, place):
    """Nothing scrolls sideways, at 390 pixels and at 200 % zoom; whatever is tapped is big enough.

    (A window of 1,280 pixels at 200 % is one of 640.)
    """
    ann = come(stage, viewport=PHONE, has_touch=True, is_mobile=True)
    page = ann.to(place)
    assert page.evaluate(STICKS_OUT, 390) == []
    assert page.evaluate(SMALL, TAP_PX_MIN) == []
    words = words_of(page)
    page.set_viewport_size({"width": 640, "height": 512})
    assert page.evaluate(STICKS_OUT, 640) == []
    assert hindrances(page) == []
    # Zoom and a small screen move words, and take none away.
    page.set_viewport_size({"width": 1280, "height": 900})
    assert words_of(page) <= words


def words_of(page):
    """What can be read; the numbers of lines are left out on a phone."""
    return {word for word in page.locator("main").inner_text().split() if not word.isdigit()}


def test_the_door_and_nowhere(stage, come):
    """The pages beside the stage keep the same laws."""
    for scheme in ("light", "dark"):
        ann = come(stage, viewport=PHONE, color_scheme=scheme)
        page = ann.to(NOWHERE)
        ann.excuse("404")
        assert hindrances(page) == [] and page.evaluate(STICKS_OUT, 390) == []


def test_every_page_is_among_the_places():
    """Whoever adds a page adds it there, and it is looked at."""
    pages = {path for method, path in PAGES if method == "GET" and not path.startswith(NO_PAGES)}
    assert pages == set(PLACES)


def test_what_others_write_is_shown_as_text(stage, come):
    """A version with a script in its note shows the script; and nothing of it runs."""
    ann = come(stage)
    page = ann.to(ALL[4])
    assert HOSTILE in page.locator("#versions").inner_text()
    assert page.locator("img[src=x]").count() == 0
    for place in ("/?text=<script>alert(1)</script>", "/do/hold?prompt=faq&because=<img+src=x>"):
        page = ann.to(place)
        assert page.locator("img[src=x]").count() == 0
        assert page.locator("script:not([src])").count() == 0


def test_motion_is_spared(stage, come):
    """Whoever asks for less of it gets none."""
    page = come(stage, reduced_motion="reduce").to("/")
    assert page.evaluate(MOVES) == 0
