"""The page on channels: its examples can be copied, and its figures are those of the code."""

import re
from pathlib import Path

import pytest
import yaml

from knowngood.core.asking import Purpose
from knowngood.core.handing import (
    FIRST_PAUSE_MS,
    HOUR_MS,
    LIVES_MS,
    MINUTE_MS,
    PAGE_PAUSES_MS,
    PAUSE_MAX_MS,
)
from knowngood.core.people import Channel
from knowngood.core.policy import parse
from knowngood.core.policy_people import KINDS
from knowngood.server.links import LIVES_MS as LINK_LIVES_MS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "tell-people.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_valid(text):
    """What the page shows can be copied."""
    assert parse(yaml.safe_load(text)).channels


def test_every_kind_of_channel_is_shown():
    """Each has a place on the page, but the log, which is there without being named."""
    shown = {c.kind for text in EXAMPLES for c in parse(yaml.safe_load(text)).channels}
    assert shown | {"log"} == set(KINDS)


def test_when_it_is_tried_again():
    """The table's first row."""
    at, found = 0, []
    for pause_ms in PAGE_PAUSES_MS:
        at += pause_ms
        found.append(at // 1000)
    assert found == [5, 15, 45, 120, 300]
    assert "at 5, 15 and 45 s, 2 and 5 min" in TEXT
    assert (FIRST_PAUSE_MS, PAUSE_MAX_MS) == (5_000, 15 * MINUTE_MS)
    assert "from 5 s, twice as long each time, at most 15 min" in TEXT


def test_how_long_it_is_of_use():
    """The table's second row."""
    assert LIVES_MS == {
        Purpose.PAGE: 30 * MINUTE_MS,
        Purpose.NOTE: 6 * HOUR_MS,
        Purpose.ACKNOWLEDGED: 24 * HOUR_MS,
        Purpose.RESOLVED: 24 * HOUR_MS,
        Purpose.CHANGE: HOUR_MS,
    }
    assert "| of no use after | 30 min | 6 h | 24 h | 1 h |" in TEXT
    assert LINK_LIVES_MS == 24 * HOUR_MS and "ends after a day" in TEXT


def test_who_takes_what():
    """The table's third row."""
    without = {kind: set(Purpose) - set(Channel(kind, kind, {}).takes) for kind in KINDS}
    assert {kind for kind, left in without.items() if Purpose.NOTE in left} == {"pagerduty"}
    changeless = {kind for kind, left in without.items() if Purpose.CHANGE in left}
    assert changeless == {"email", "slack", "slack_webhook", "apprise"}
    for purpose in (Purpose.PAGE, Purpose.ACKNOWLEDGED, Purpose.RESOLVED):
        assert not any(purpose in left for left in without.values())
