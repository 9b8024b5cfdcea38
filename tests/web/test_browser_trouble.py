"""When something is in the way: an old tab, a second click, a lost server, an ended session."""

from typing import Any

import pytest
from playwright.sync_api import expect

from knowngood.server.sessions import LIVES_MS
from tests.server.doors import SECRETS
from tests.server.world import PROMPT
from tests.web.opened import opened

pytestmark = pytest.mark.browser

PATH = f"/prompts/{PROMPT}"
ANAS, VERAS = "ana:a-secret-of-anas-own", "vera:a-secret-of-veras-own"
ANA = {"Authorization": f"Bearer {ANAS}"}
BEN = {"Authorization": "Bearer ben:a-secret-of-bens-own"}


def served(site):
    return [arm.version for arm in site.state().route.arms]


def test_a_stale_tab_is_refused(site, come):
    """What the tab shows is not so any more: nothing is changed, and it shows what is so now."""
    site.route_two()
    site.tick()
    ann = come(site)
    page = ann.to(PATH)
    page.get_by_role("link", name="Roll back", exact=True).click()
    page.get_by_label("Why").fill("late")
    site.push("v3.0.0")
    site.promote("v3.0.0")
    page.get_by_role("button", name="Roll back now").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was changed.")
    expect(page.get_by_role("alert")).to_contain_text("v2.0.0 is no longer on trial: v3.0.0 serves")
    ann.excuse("409")
    assert served(site) == ["v3.0.0"]
    expect(page.locator(".change")).to_contain_text("v3.0.0")
    expect(page.get_by_label("Why")).to_have_value("late")
    page.get_by_role("button", name="Roll back now").click()
    expect(page.locator("#told")).to_contain_text("Done.")
    assert served(site) == ["v1.9.0"]


def test_a_double_click_is_one_order(site, come):
    """The second click finds nothing to press."""
    site.route_two()
    ann = come(site)
    page = ann.to(f"/do/rollback?prompt={PROMPT}&because=twice&back={PATH}")
    sent = []
    page.on("request", lambda request: sent.append(request.method))
    page.get_by_role("button", name="Roll back now").dblclick()
    expect(page.locator("#told")).to_contain_text("Done.")
    assert sent.count("POST") == 1
    assert site.kinds().count("rollback.switched") == 1


def test_back_to_a_form_that_was_sent(site, come):
    """The browser's own Back shows a form that can be pressed, and the server knows it."""
    site.route_two()
    page = come(site).to(f"/do/rollback?prompt={PROMPT}&because=once&back={PATH}")
    page.get_by_role("button", name="Roll back now").click()
    expect(page.locator("#told")).to_contain_text("Done.")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Roll back")
    assert site.kinds().count("rollback.switched") == 1


def test_a_lost_server_is_said_and_found_again(site, come):
    """The page says that it is old, and since when; it follows when the server is back."""
    site.route_two()
    site.tick()
    ann = come(site)
    page = ann.to("/")
    expect(page.locator("#pulse")).to_contain_text("live")
    expect(page.locator("#lost")).to_be_hidden()
    site.stop()
    expect(page.locator("#lost")).to_contain_text(
        "Not live. The server has not been heard of since"
    )
    expect(page.locator("#pulse")).to_contain_text("not live")
    expect(page.locator("#rows")).to_contain_text("v2.0.0")  # and can still be read
    site.start()
    site.push("v3.0.0")
    site.promote("v3.0.0")
    site.tick()
    expect(page.locator("#rows")).to_contain_text("v3.0.0")
    expect(page.locator("#lost")).to_be_hidden()
    expect(page.locator("#pulse")).to_contain_text("live 00:00:02")
    ann.excuse("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY")


@pytest.fixture
def guarded():
    """A server that asks who you are, with one prompt routed."""
    with opened(tokens=tuple(SECRETS.values())) as made:
        for version in ("v1.9.0", "v2.0.0"):
            body = {"version": version, "text": version}
            made.post(f"/api/prompts/{PROMPT}/versions", 201, headers=ANA, **body)
            order: dict[str, Any] = {"prompt": PROMPT, "version": version, "because": "x"}
            order |= {"now": True, "override": ["in_progress"]}
            made.post("/api/approvals", headers=BEN, prompt=PROMPT, version=version, because="x")
            made.post("/api/promote", headers=ANA, **order)
        made.tick()
        yield made


def sign_in(page, token=ANAS):
    page.get_by_label("Your token").fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_somebody_signs_in_and_is_where_they_wanted_to_be(guarded, come):
    """A wrong token is refused in words; the right one leads on, and the page says who it is."""
    ann = come(guarded)
    page = ann.to(PATH)
    expect(page).to_have_url(f"{guarded.url}/login?next=%2Fprompts%2F{PROMPT}")
    expect(page.get_by_label("Your token")).to_be_focused()
    sign_in(page, "nobody")
    expect(page.get_by_role("alert")).to_contain_text("not known here")
    ann.excuse("401")
    sign_in(page)
    expect(page).to_have_url(guarded.url + PATH)
    expect(page.locator(".who")).to_contain_text("ana operator")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Your token")).to_be_visible()
    ann.to(PATH)
    expect(page.get_by_label("Your token")).to_be_visible()


def test_an_ended_session_is_said_on_the_open_page(guarded, come):
    """It offers the door, which leads back; an order meanwhile leads to the door too."""
    ann = come(guarded)
    page = ann.to(PATH)
    sign_in(page)
    expect(page.locator("#pulse")).to_contain_text("live")
    order = page.context.new_page()
    order.goto(f"{guarded.url}/do/rollback?prompt={PROMPT}&because=old&back={PATH}")
    guarded.clock.ms += LIVES_MS
    page.bring_to_front()
    lost = page.locator("#lost")
    expect(lost).to_contain_text("Your session has ended; what you see is of")
    order.get_by_role("button", name="Roll back now").click()
    expect(order.get_by_label("Your token")).to_be_visible()
    assert served(guarded) == ["v2.0.0"]
    lost.get_by_role("link", name="Sign in again").click()
    sign_in(page)
    expect(page).to_have_url(guarded.url + PATH)
    expect(page.locator("#pulse")).to_contain_text("live")
    ann.excuse("ERR_|MIME type", sure=False)  # the page may have closed the stream before


def test_a_viewer_is_told_whom_to_ask(guarded, come):
    """Every page can be read; an order says which role it takes."""
    page = come(guarded).to(f"/do/rollback?prompt={PROMPT}")
    sign_in(page, VERAS)
    expect(page.get_by_role("alert")).to_contain_text("needs the role operator")
    expect(page.get_by_role("button", name="Roll back now")).to_have_count(0)


def test_without_scripts_everything_can_be_read_and_done(site, come):
    """The pages are whole, the charts are pictures, and a rollback takes two taps."""
    site.route_two()
    site.live(5, "v2.0.0", 50)
    ann = come(site, java_script_enabled=False)
    page = ann.page
    page.goto(f"{site.url}/")
    page.get_by_role("link", name=PROMPT).click()
    expect(page.locator("#evidence")).to_contain_text("errors 0.0%")
    expect(page.locator("#pulse")).to_be_hidden()
    for picture in page.locator("figure.chart img").all():
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("complete", True)
    page.get_by_role("link", name="Roll back", exact=True).click()
    page.get_by_label("Why").fill("no scripts here")
    page.get_by_role("button", name="Roll back now").click()
    expect(page.locator("#told")).to_contain_text("no scripts here")
    assert served(site) == ["v1.9.0"]
    page.get_by_label("Environment").select_option("production")
    page.get_by_role("button", name="Go").click()
    expect(page.locator("#told")).to_have_count(0)
