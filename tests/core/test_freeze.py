"""Change freezes: when they hold, over midnight and over the week, and how they are written."""

from datetime import UTC, datetime

import pytest

from knowngood.core.errors import BadPolicy
from knowngood.core.policy_freeze import freeze_begins_ms, freeze_in_force, parse_freeze

HOUR = 3_600_000


def at(text: str) -> int:
    """A moment in ms."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


WEEKEND = {"days": ["fri", "sat"], "from": "16:00", "until": "08:00", "because": "nobody is here"}
SALE = {"from": "2026-11-27T00:00+00:00", "until": "2026-11-28", "because": "the sale"}
NIGHTLY = {"days": ["mon"], "from": "22:00", "until": "24:00", "because": "backups"}


@pytest.mark.parametrize(
    ("rule", "now", "ends"),
    [
        (WEEKEND, "2026-11-27T15:59:59", None),  # a Friday
        (WEEKEND, "2026-11-27T16:00", "2026-11-28T08:00"),
        (WEEKEND, "2026-11-28T07:59:59", "2026-11-28T08:00"),  # Friday's, over midnight
        (WEEKEND, "2026-11-28T08:00", None),
        (WEEKEND, "2026-11-28T20:00", "2026-11-29T08:00"),
        (WEEKEND, "2026-11-29T20:00", None),  # a Sunday
        (SALE, "2026-11-26T23:59:59", None),
        (SALE, "2026-11-27T12:00", "2026-11-28T00:00"),
        (SALE, "2026-11-28T00:00", None),
        (NIGHTLY, "2026-11-30T23:59:59", "2026-12-01T00:00"),
        (NIGHTLY, "2026-12-01T00:00", None),
    ],
)
def test_when_a_freeze_holds(rule, now, ends):
    """From its beginning to just before its end, on its days."""
    held = freeze_in_force((parse_freeze(rule),), at(now))
    assert (held and held[1]) == (ends and at(ends))


@pytest.mark.parametrize(
    ("rule", "now", "begins"),
    [
        (WEEKEND, "2026-11-26T12:00", "2026-11-27T16:00"),
        (WEEKEND, "2026-11-27T16:00", "2026-11-28T16:00"),  # the next one, while this one holds
        (WEEKEND, "2026-11-28T16:00", "2026-12-04T16:00"),
        (SALE, "2026-11-26T23:59:59", "2026-11-27T00:00"),
        (SALE, "2026-11-27T00:00", None),
        (NIGHTLY, "2026-11-30T22:00", "2026-12-07T22:00"),
    ],
)
def test_when_the_next_freeze_begins(rule, now, begins):
    """What is decided now may be put in force until just before it."""
    assert freeze_begins_ms((parse_freeze(rule),), at(now)) == (begins and at(begins))
    if begins:
        assert freeze_in_force((parse_freeze(rule),), at(begins)) is not None


def test_of_several_the_first_one_begins():
    """And without any there is no hurry."""
    rules = (parse_freeze(NIGHTLY), parse_freeze(SALE))
    assert freeze_begins_ms(rules, at("2026-11-26T12:00")) == at("2026-11-27T00:00")
    assert freeze_begins_ms((), at("2026-11-26T12:00")) is None


def test_of_several_the_one_that_ends_last_counts():
    """Whoever asks how long still is told of the last one."""
    rules = (parse_freeze(WEEKEND), parse_freeze(SALE))
    held = freeze_in_force(rules, at("2026-11-27T17:00"))
    assert held is not None and held[0].because == "nobody is here"
    assert held[1] == at("2026-11-28T08:00")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("always", "is not a freeze"),
        ({**SALE, "until": "2026-11-01"}, "is not after"),
        ({**SALE, "from": "soon"}, "is no moment"),
        ({**SALE, "to": "x"}, "unknown key 'to'"),
        ({"from": "a", "until": "b"}, "needs `because`"),
        ({**WEEKEND, "days": ["friday"]}, "is no list of days"),
        ({**WEEKEND, "days": []}, "is no list of days"),
        ({**WEEKEND, "from": "25:00"}, "is no time of the day"),
    ],
)
def test_what_is_no_freeze(rule, words):
    """Refused with what is wrong and what would be right."""
    with pytest.raises(BadPolicy) as refused:
        parse_freeze(rule)
    assert words in refused.value.message
    assert refused.value.known or refused.value.next_step or "after" in words
