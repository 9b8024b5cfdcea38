"""Change freezes: times in which nothing is promoted, as a policy says them and as they hold."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from knowngood.core.errors import BadPolicy
from knowngood.core.rules import Freeze
from knowngood.core.units import shown

DAY_MS = 86_400_000
MINUTE_MS = 60_000
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
THURSDAY = 3  # the Unix epoch began on one
KEYS = ("from", "until", "days", "because")
TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00)")


def parse_freeze(value: Any) -> Freeze:
    """`{from, until, because}` with two moments, or with `days` and two times of the day in UTC.

    Raises BadPolicy.
    """
    if not isinstance(value, Mapping):
        raise BadPolicy(f"{shown(value)} is not a freeze", known=KEYS)
    for key in value:
        if key not in KEYS:
            raise BadPolicy(f"unknown key {key!r}", known=KEYS)
    for key in ("from", "until", "because"):
        if not isinstance(value.get(key), str) or not value[key].strip():
            raise BadPolicy(f"a freeze needs `{key}`, a text", known=KEYS)
    because = " ".join(value["because"].split())
    if "days" not in value:
        from_ms, until_ms = _moment_ms(value["from"]), _moment_ms(value["until"])
        if from_ms >= until_ms:
            raise BadPolicy(f"{value['until']} is not after {value['from']}")
        return Freeze(from_ms, until_ms, because)
    days = value["days"]
    if not isinstance(days, list) or not days or any(day not in WEEKDAYS for day in days):
        raise BadPolicy(f"{shown(days)} is no list of days", known=WEEKDAYS)
    weekdays = tuple(sorted({WEEKDAYS.index(day) for day in days}))
    return Freeze(_time_ms(value["from"]), _time_ms(value["until"]), because, weekdays)


def freeze_in_force(freezes: tuple[Freeze, ...], now_ms: int) -> tuple[Freeze, int] | None:
    """The freeze that holds now and ends last, with the moment of its end in ms; else None."""
    ends = ((freeze, _ends_ms(freeze, now_ms)) for freeze in freezes)
    held = [(freeze, end_ms) for freeze, end_ms in ends if end_ms is not None]
    return max(held, key=lambda each: each[1], default=None)


def freeze_begins_ms(freezes: tuple[Freeze, ...], now_ms: int) -> int | None:
    """The moment, in ms after `now_ms`, at which the next freeze begins; None without one.

    What is decided now may be put in force until just before it.
    """
    begins = (_begins_ms(freeze, now_ms) for freeze in freezes)
    return min((at_ms for at_ms in begins if at_ms is not None), default=None)


def _begins_ms(freeze: Freeze, now_ms: int) -> int | None:
    if not freeze.weekdays:
        return freeze.from_ms if freeze.from_ms > now_ms else None
    today = now_ms // DAY_MS
    days = (day for day in range(today, today + 8) if (day + THURSDAY) % 7 in freeze.weekdays)
    begins = (day * DAY_MS + freeze.from_ms for day in days)
    return next((at_ms for at_ms in begins if at_ms > now_ms), None)


def _ends_ms(freeze: Freeze, now_ms: int) -> int | None:
    if not freeze.weekdays:
        return freeze.until_ms if freeze.from_ms <= now_ms < freeze.until_ms else None
    length_ms = freeze.until_ms - freeze.from_ms
    if length_ms <= 0:
        length_ms += DAY_MS
    today = now_ms // DAY_MS
    for day in (today, today - 1):  # yesterday's may go on over midnight
        begins_ms = day * DAY_MS + freeze.from_ms
        frozen = (day + THURSDAY) % 7 in freeze.weekdays
        if frozen and begins_ms <= now_ms < begins_ms + length_ms:
            return begins_ms + length_ms
    return None


def _moment_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadPolicy(
            f"{shown(text)} is no moment", next_step='write it as in "2026-12-24T18:00Z"'
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _time_ms(text: str) -> int:
    match = TIME.fullmatch(text.strip())
    if match is None:
        raise BadPolicy(f"{shown(text)} is no time of the day", next_step='write it as in "16:00"')
    hours, minutes = (int(part) for part in text.strip().split(":"))
    return (hours * 60 + minutes) * MINUTE_MS
