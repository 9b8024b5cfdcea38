"""Pictures of the pages for the documentation.

`KNOWNGOOD_GOLDEN=write` takes them anew, to be looked at before they are committed. Without it
every one is still set up, and those in the documentation are held to their size.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.server.world import PROMPT
from tests.web.places import PAST_INCIDENT

pytestmark = pytest.mark.browser

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
BYTES_MAX = 150_000  # a page with two of them opens at once
PHONE = (390, 844)


@dataclass(frozen=True)
class Picture:
    """A page in a window of some size, moved to some place of it."""

    place: str
    size: tuple[int, int] = (1_000, 720)
    top: str = ""  # what is scrolled to


PROMPTS_PAGE = f"/prompts/{PROMPT}?span=15m"
PICTURES = {
    "fleet": Picture("/", (1_120, 830)),
    "prompt": Picture(PROMPTS_PAGE, (1_000, 720)),
    "evidence": Picture(PROMPTS_PAGE, (1_000, 600), "#evidence"),
    "canary": Picture("/prompts/order-status", (1_000, 600), "#route"),
    "incident": Picture(PAST_INCIDENT, (1_000, 720)),
    "path": Picture(PAST_INCIDENT, (1_000, 600), "#way"),
    "diff": Picture(f"/prompts/{PROMPT}/diff?a=v1.9.0&b=v2.0.0", (1_000, 600)),
    "confirm": Picture(f"/do/approve?prompt={PROMPT}", (1_000, 620)),
    "phone": Picture(PROMPTS_PAGE, PHONE),
    "phone-confirm": Picture(f"/do/approve?prompt={PROMPT}", PHONE),
}
NAMES = [f"{name}-{scheme}" for name in PICTURES for scheme in ("light", "dark")]


@pytest.mark.parametrize("name", NAMES)
def test_a_picture(stage, come, name):
    """What the documentation shows is what the pages look like."""
    which, _, scheme = name.rpartition("-")
    picture = PICTURES[which]
    width, height = picture.size
    ann = come(stage, color_scheme=scheme, viewport={"width": width, "height": height})
    page = ann.to(picture.place)
    if page.locator("#pulse").count():
        expect(page.locator("#pulse")).to_contain_text("live")
    if picture.top:
        page.locator(picture.top).evaluate("(e) => e.scrollIntoView()")
    page.evaluate("document.activeElement.blur()")
    taken = page.screenshot()
    if os.environ.get("KNOWNGOOD_GOLDEN") == "write":
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{name}.png").write_bytes(taken)


def test_the_documentation_has_every_picture_and_no_other():
    """Each was taken by this test, and none is too big."""
    kept = {path.stem: path.stat().st_size for path in FOLDER.iterdir()}
    assert set(kept) == set(NAMES)
    assert max(kept.values()) <= BYTES_MAX


def test_the_confirmation_is_on_one_screen_of_a_phone(stage, come):
    """What moves and the button that moves it are seen together."""
    ann = come(stage, viewport={"width": PHONE[0], "height": PHONE[1]}, is_mobile=True)
    page = ann.to(f"/do/approve?prompt={PROMPT}")
    expect(page.get_by_role("button", name="Approve: roll back")).to_be_in_viewport(ratio=1)
    expect(page.locator(".change")).to_be_in_viewport(ratio=1)
