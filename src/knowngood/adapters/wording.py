"""A page in words that every channel shares: what it says is data, and is cut, never bent."""

from datetime import UTC, datetime

from knowngood.core.asking import Purpose
from knowngood.core.drill import DRILL_MARK
from knowngood.ports import Page

STATUS = {
    Purpose.PAGE: "",
    Purpose.NOTE: "",
    Purpose.ACKNOWLEDGED: "Acknowledged: ",
    Purpose.RESOLVED: "Resolved: ",
    Purpose.CHANGE: "",
}


def title(page: Page) -> str:
    """The subject, on one line, marked when it is a drill or the end of something."""
    subject = " ".join(page.subject.split())
    mark = f"{DRILL_MARK} " if page.drill else ""
    subject = subject.removeprefix(mark)
    status = STATUS[page.purpose]
    if subject.lower().startswith(status.strip(": ").lower()):
        status = ""
    return f"{mark}{status}{subject}"


def cut(text: str, length: int) -> str:
    """At most `length` characters; what was cut off is seen to be missing."""
    return text if len(text) <= length else text[: length - 1] + "…"


def facts(page: Page) -> list[tuple[str, str]]:
    """What a page is about, by name."""
    about = [
        ("Environment", page.environment),
        ("Prompt", page.prompt),
        ("Severity", page.severity.value),
        ("Incident", page.incident),
        ("For", ", ".join([page.audience, *(person.name for person in page.people)])),
    ]
    return [(name, " ".join(value.split())) for name, value in about if value]


def text(page: Page) -> str:
    """The page as plain text."""
    lines = [title(page), "", page.body.strip(), ""]
    lines += [f"{button.text}: {button.url}" for button in page.buttons if button.url]
    lines += [f"Show more: {page.url}"] if page.url else []
    lines += ["", *(f"{name}: {value}" for name, value in facts(page))]
    return "\n".join(lines)


def iso(at_ms: int) -> str:
    """A moment, as ISO 8601 in UTC."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
