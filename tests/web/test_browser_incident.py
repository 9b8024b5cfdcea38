"""An incident as somebody on call lives through it: on one page, which is never reloaded."""

import pytest
from playwright.sync_api import expect

from tests.server.world import PROMPT

pytestmark = pytest.mark.browser

PATH = f"/prompts/{PROMPT}"
SECONDS_MAX = 60  # of virtual time, for whatever the engine does by itself


def until(site, version, ok, bad, kind):
    """Traffic until the history has an entry of this kind."""
    for _ in range(SECONDS_MAX):
        site.live(1, version, ok, bad)
        if kind in site.kinds():
            return
    raise AssertionError(kind)


def test_a_whole_incident_on_the_live_page(site, come):
    """Breach, question, two taps, verified: each shows by itself, on the page that was open."""
    site.route_two()
    site.live(5, "v2.0.0", 100)
    ann = come(site)
    page = ann.to(PATH)
    ann.evaluate("window.sameDocument = true")
    expect(page.locator("#pulse")).to_have_text("live 00:00:05")
    top = page.locator("#top")
    expect(top.get_by_role("button")).to_have_count(0)
    expect(page.get_by_role("region", name="Question")).to_have_count(0)

    until(site, "v2.0.0", 97, 3, "incident.opened")
    question = page.get_by_role("region", name="Question")
    expect(question).to_contain_text("roll v2.0.0 back to v1.9.0")
    expect(question).to_contain_text("left")
    expect(page).to_have_title(f"{PROMPT} asks · knowngood")
    expect(page.get_by_role("status").last).to_have_text(f"{PROMPT} asks")
    assert ann.evaluate("window.sameDocument")

    # Two taps: what would change, and the word that does it.
    question.get_by_role("link", name="Roll back to v1.9.0").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Approve the rollback")
    expect(page.locator(".change")).to_contain_text("v1.9.0")
    page.get_by_role("button", name="Approve: roll back").click()
    expect(page.locator("#told")).to_contain_text("Done.")
    assert [arm.version for arm in site.state().route.arms] == ["v1.9.0"]
    ann.evaluate("window.sameDocument = true")
    expect(page).to_have_url(site.url + PATH)  # a reload does not tell it twice

    site.live(1, "v1.9.0", 20)
    expect(top).to_contain_text("verifying")
    expect(page.get_by_role("region", name="Question")).to_have_count(0)
    until(site, "v1.9.0", 20, 0, "rollback.verified")
    site.tick()
    expect(page.locator("#history")).to_contain_text("rollback.verified")
    expect(top.locator(".badge")).to_contain_text("clear")
    expect(page).to_have_title(f"{PROMPT}: clear · knowngood")
    assert ann.evaluate("window.sameDocument")


def test_the_fleet_follows_too(site, come):
    """Whoever watches the fleet sees the question, can answer it, and sees the row turn."""
    site.route_two()
    site.live(5, "v2.0.0", 100)
    ann = come(site)
    page = ann.to("/")
    row = page.locator(f"[id='rows:{PROMPT}']")
    expect(row).to_contain_text("v2.0.0")
    until(site, "v2.0.0", 97, 3, "incident.opened")
    expect(page.get_by_role("region", name=f"Question about {PROMPT}")).to_be_visible()
    expect(row).to_contain_text("breach")
    expect(page).to_have_title("(1) production asks · knowngood")
    site.post("/api/answers", about=PROMPT, answer="approve", because="from elsewhere")
    site.tick()
    expect(page.get_by_role("region", name=f"Question about {PROMPT}")).to_have_count(0)
    expect(row).to_contain_text("v1.9.0")


def test_a_new_prompt_appears_by_itself(site, come):
    """Rows come and go without a reload."""
    site.route_two()
    site.tick()
    page = come(site).to("/")
    expect(page.locator("#rows tr")).to_have_count(1)
    site.post("/api/prompts/another/versions", 201, version="v1", text="x")
    site.post("/api/promote", prompt="another", version="v1", now=True, because="new")
    site.tick()
    expect(page.locator("#rows tr")).to_have_count(2)
    expect(page.locator("#rows tr").first).to_contain_text("another")
