"""Slack's Block Kit and its text, from pages whose words are data.

In Slack's text `&`, `<` and `>` are the only characters that can call somebody (`<!channel>`) or
hide an address behind a word; escaped they are text. Limits are those of Slack's own SDK.
"""

from collections.abc import Sequence
from typing import Any

from knowngood.adapters.wording import cut, facts, title
from knowngood.core.asking import Answer, Purpose
from knowngood.core.buttons import ACTION_PREFIX, Choice
from knowngood.core.model import Severity
from knowngood.core.people import Person
from knowngood.ports import Button, Page

ICONS = {
    Severity.CRITICAL: ":rotating_light:",
    Severity.HIGH: ":red_circle:",
    Severity.MEDIUM: ":large_orange_circle:",
    Severity.LOW: ":large_blue_circle:",
}
HEADER_MAX = 150
SECTION_MAX = 3_000
FIELD_MAX = 2_000
BUTTON_MAX = 75
VALUE_MAX = 2_000
STYLES = {Answer.APPROVE: "primary", Answer.DECLINE: "danger"}


def escape(text: str) -> str:
    """The text as text: whatever it holds, it calls nobody and links nowhere."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escaped(text: str, length: int) -> str:
    """The text, escaped and then no longer than `length`; no escape is cut in half."""
    made = escape(text)
    while len(made) > length:
        text = cut(text, max(1, len(text) - max(1, (len(made) - length) // 5)))
        made = escape(text)
    return made


def mentions(people: Sequence[Person]) -> str:
    """The people that Slack knows, called; the others are not named here."""
    return " ".join(f"<@{escape(person.slack)}>" for person in people if person.slack)


def fallback(page: Page) -> str:
    """What a notification shows, and a client that knows no blocks."""
    return f"{mentions(page.people)} {escaped(title(page), SECTION_MAX)}".strip()


def blocks(page: Page, before: str = "", *, interactive: bool = True) -> list[dict[str, Any]]:
    """The message. `before` is the subject of the page whose place it takes.

    With `interactive` buttons are answered within Slack, otherwise by their links.
    """
    icon = ":white_check_mark:" if page.purpose is Purpose.RESOLVED else ICONS[page.severity]
    if page.purpose is Purpose.ACKNOWLEDGED:
        icon = ":eyes:"
    head = f"{icon} *{escaped(title(page), SECTION_MAX - 200)}*"
    who = mentions(page.people) if page.purpose is Purpose.PAGE else ""
    made = [_section(f"{head}\n{who}" if who else head)]
    if before:
        made.append(_context(f"before: {escaped(before, 500)}"))
    if page.body.strip():
        made.append(_section(escaped(page.body, SECTION_MAX)))
    made.append(_context("  ".join(f"*{name}* {escape(value)}" for name, value in facts(page))))
    elements = _buttons(page, interactive)
    if elements:
        made.append({"type": "actions", "elements": elements})
    return made


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _context(text: str) -> dict[str, Any]:
    element = {"type": "mrkdwn", "text": cut(text, FIELD_MAX), "verbatim": True}
    return {"type": "context", "elements": [element]}


def _buttons(page: Page, interactive: bool) -> list[dict[str, Any]]:
    elements = []
    if page.purpose not in (Purpose.ACKNOWLEDGED, Purpose.RESOLVED):
        for button in page.buttons:
            if interactive and page.thread:
                elements.append(_answering(page, button))
            elif button.url:
                elements.append(_linking(button.text, button.url, f"{button.answer.value}.link"))
    if page.url:
        elements.append(_linking("Show more", page.url, "show"))
    return elements


def _answering(page: Page, button: Button) -> dict[str, Any]:
    """A button that says which question it answers, and nothing that could be believed.

    Who may answer, and whether it is still asked, is found out when it is pressed.
    """
    choice = Choice(button.answer, page.thread, page.question)
    made = {
        "type": "button",
        "action_id": choice.action_id,
        "text": {"type": "plain_text", "text": cut(button.text, BUTTON_MAX)},
        "value": choice.value,
    }
    if button.answer in STYLES:
        made["style"] = STYLES[button.answer]
    return made


def _linking(text: str, url: str, action: str) -> dict[str, Any]:
    return {
        "type": "button",
        "action_id": f"{ACTION_PREFIX}{action}",
        "text": {"type": "plain_text", "text": cut(text, BUTTON_MAX)},
        "url": url,
    }
