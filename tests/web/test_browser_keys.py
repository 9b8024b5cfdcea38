"""Without a mouse: everything can be reached, seen and done with keys alone."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.server.world import PROMPT
from tests.web.places import ALL

pytestmark = pytest.mark.browser

STOPS_MAX = 150  # of a page; the fleet has some forty
WHERE = """() => {
  const e = document.activeElement;
  const style = getComputedStyle(e);
  const box = e.getBoundingClientRect();
  window.stopped ??= [];
  const before = window.stopped.at(-1);
  const isNext = !before || before === e
    || Boolean(before.compareDocumentPosition(e) & Node.DOCUMENT_POSITION_FOLLOWING);
  window.stopped.push(e);
  return {
    name: e.outerHTML.slice(0, 120),
    is_page: e === document.body || e === document.documentElement,
    is_seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
      && box.width > 0 && box.height > 0,
    is_inside: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    is_next: isNext,
  };
}"""


def stops(page):
    """Where the focus goes from Tab to Tab, until it leaves the page."""
    found: list[dict[str, Any]] = []
    for _ in range(STOPS_MAX):
        page.keyboard.press("Tab")
        where = page.evaluate(WHERE)
        if where["is_page"]:
            return found
        found.append(where)
    raise AssertionError("the focus goes round and round")


def press_until(page, words, key="Tab"):
    """The key again and again, until whatever has the focus says this."""
    for _ in range(STOPS_MAX):
        page.keyboard.press(key)
        if page.evaluate("document.activeElement.innerText") == words:
            return
    raise AssertionError(f"the focus never comes to {words!r}")


@pytest.mark.parametrize("place", ALL)
def test_the_focus_goes_through_the_page_and_is_seen(stage, come, place):
    """Each stop has a ring around it, is on the screen, and comes after the one before."""
    page = come(stage).to(place)
    page.evaluate("document.activeElement.blur()")  # whatever takes the focus by itself
    for where in stops(page):
        assert where["is_seen"] and where["is_inside"] and where["is_next"], where


def test_the_first_stop_skips_the_navigation(stage, come):
    """Tab, Enter, and the next stop lies in the content."""
    page = come(stage).to("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('#main').contains(document.activeElement)")


def test_a_rollback_with_tab_and_enter_alone(site, come):
    """From the fleet to the prompt, to what would change, and done."""
    site.route_two()
    site.tick()
    page = come(site).to("/")
    press_until(page, PROMPT)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site.url}/prompts/{PROMPT}")
    press_until(page, "Roll back")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Roll back")
    # Nothing is wrong, so nothing is suggested: the reason is asked for first.
    expect(page.get_by_label("Why")).to_be_focused()
    page.keyboard.type("users complain")
    press_until(page, "Roll back now")
    page.keyboard.press("Enter")
    # The focus is on what was done, where a screen reader begins to read.
    expect(page.locator("#told")).to_be_focused()
    expect(page.locator("#told")).to_contain_text("users complain")
    assert [arm.version for arm in site.state().route.arms] == ["v1.9.0"]


def test_in_trouble_two_keys_are_enough(site, come):
    """`r` opens the rollback, whose reason is there, and Enter does it."""
    site.route_two()
    for _ in range(60):
        site.live(1, "v2.0.0", 97, 3)
        if site.state().question:
            break
    page = come(site).to(f"/prompts/{PROMPT}")
    page.keyboard.press("r")
    expect(page.get_by_role("button", name="Approve: roll back")).to_be_focused()
    assert [arm.version for arm in site.state().route.arms] == ["v2.0.0"]
    page.keyboard.press("Enter")
    expect(page.locator("#told")).to_be_focused()
    assert [arm.version for arm in site.state().route.arms] == ["v1.9.0"]
    (told,) = [e for e in site.get("/api/audit", prompt=PROMPT)["entries"]
               if e["kind"] == "question.approved"]  # fmt: skip
    assert "errors" in told["because"]


def test_other_keys(stage, come):
    """`/` searches, `g` goes to the fleet, and in a field letters are letters."""
    page = come(stage).to(f"/prompts/{PROMPT}")
    page.keyboard.press("g")
    expect(page).to_have_url(f"{stage.url}/")
    page.keyboard.press("/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_focused()
    page.keyboard.type("gr/faq")
    expect(search).to_have_value("gr/faq")
    expect(page).to_have_url(f"{stage.url}/?text=gr%2Ffaq")
    # The page came anew while somebody typed: they go on where they were.
    expect(search).to_be_focused()


def test_news_do_not_take_the_focus_away(site, come):
    """Whoever is about to press a button keeps it under their finger."""
    site.route_two()
    site.tick()
    page = come(site).to(f"/prompts/{PROMPT}")
    expect(page.locator("#pulse")).to_contain_text("live")
    button = page.get_by_role("link", name="Roll back", exact=True)
    button.focus()
    site.live(3, "v2.0.0", 50)
    expect(page.locator("#evidence")).to_contain_text("errors 0.0%")
    site.post("/api/automation", prompt=PROMPT, state="off", **{"for": "1h"}, because="calm")
    site.tick()
    expect(page.locator("#top")).to_contain_text("Automation on")
    expect(button).to_be_focused()
