"""Notifiers answer in the port's words."""

from knowngood.adapters.notify.log import LogNotifier
from knowngood.core.model import Severity
from knowngood.ports import Delivered, Page


class Lines:
    def __init__(self):
        self.written = []

    def warning(self, event, **fields):
        self.written.append((event, fields))


def test_the_log_takes_every_page_as_one_line():
    """With its key, its audience and its words."""
    lines = Lines()
    page = Page("k", "on-call", Severity.HIGH, "cs: errors", "body\nof two", "production", "cs")
    answer = LogNotifier(lines).notify(page, "", 0)
    assert isinstance(answer, Delivered) and answer.answer
    ((event, fields),) = lines.written
    assert event == "cs: errors"
    assert (fields["page"], fields["audience"], fields["severity"]) == ("k", "on-call", "high")
    assert fields["body"] == "body\nof two"
