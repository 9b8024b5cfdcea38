"""Recorded calls read from a file: JSON Lines or CSV, bad rows left out and counted by reason."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from difflib import get_close_matches
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple, TextIO

from knowngood.core.content import check_version_name
from knowngood.core.errors import BadRequest
from knowngood.core.model import ScoreRange, Standing
from knowngood.core.window import (
    ERROR_KINDS,
    EXCLUDED_KINDS,
    Window,
    latency_bucket,
    score_bin,
)

COLUMNS = (
    "ts",
    "version",
    "unit",
    "ok",
    "latency_ms",
    "score",
    "input_tokens",
    "output_tokens",
    "error_kind",
)
OK = "ok"
# A failure that comes back at once says nothing of how long an answer takes (as in the SDK).
TIMED = (OK, "timeout")
# What a failure counts as when the trace does not say why it failed, or in a word of its own.
DEFAULT_KIND = "provider"
ONLY_VERSION = "v1"  # the version of a trace that names none
SCORE = "quality"  # the score that the column `score` holds
ANY_SCORE = ScoreRange(0.0, 1.0)

TRUE = {"true", "t", "yes", "y", "1", "1.0"}
FALSE = {"false", "f", "no", "n", "0", "0.0"}

# Up to where a number is taken for Unix seconds, ms and µs; a date of our time in one unit lies far
# outside every other unit's centuries.
UNITS: tuple[tuple[float, float, str], ...] = (
    (1e11, 1_000.0, "s"),
    (1e14, 1.0, "ms"),
    (1e17, 1e-3, "us"),
    (1e20, 1e-6, "ns"),
)
LAST_MS = 200_000_000_000_000  # the year 8307: room for every offset before datetime ends
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
TOKENS_MAX = 10**9  # of one call; beyond any model's context


class Call(NamedTuple):
    """One recorded call. `outcome` is `ok`, a kind of error, or a kind that is no evidence."""

    at_ms: int
    version: str
    unit: str
    outcome: str
    latency_ms: float | None
    score: float | None
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class TimeStyle:
    """How a trace writes its times, so that answers can be written the same way."""

    unit: str = "iso"  # or s, ms, us, ns since the Unix epoch
    separator: str = "T"
    zone: timezone | None = UTC  # None: the trace names no offset and means UTC
    utc_suffix: str = "Z"

    def write(self, at_ms: int) -> str | int | float:
        """An instant as the trace writes instants."""
        match self.unit:
            case "s":
                return at_ms / 1000 if at_ms % 1000 else at_ms // 1000
            case "ms":
                return at_ms
            case "us":
                return at_ms * 1_000
            case "ns":
                return at_ms * 1_000_000
        instant = EPOCH + at_ms * MILLISECOND
        if self.zone is None:
            return instant.replace(tzinfo=None).isoformat(self.separator, _precision(at_ms))
        text = instant.astimezone(self.zone).isoformat(self.separator, _precision(at_ms))
        return text.removesuffix("+00:00") + self.utc_suffix if self.zone == UTC else text


def _precision(at_ms: int) -> str:
    return "milliseconds" if at_ms % 1000 else "seconds"


@dataclass(slots=True)
class Trace:
    """What was read: calls in the order of their times, and what was left out, by reason."""

    calls: list[Call] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    style: TimeStyle = field(default_factory=TimeStyle)
    unknown_columns: tuple[str, ...] = ()


class _Bad(Exception):
    """Why a row is left out; never seen outside this module."""


def read_trace(path: Path, scale: ScoreRange = ANY_SCORE) -> Trace:
    """The calls in the file, sorted; `scale` is the declared range of its scores.

    Raises BadRequest when the file cannot be read, is empty, has no header or no usable row.
    """
    try:
        # utf-8-sig: spreadsheets write a byte order mark, which is no part of the first name.
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            first = file.readline()
            while first and not first.strip():
                first = file.readline()
            if not first:
                raise _refuse(path, "is empty")
            return _read(path, first, file, scale)
    except OSError as error:
        raise _refuse(path, f"cannot be read: {error.strerror or error}") from None


def _read(path: Path, first: str, file: TextIO, scale: ScoreRange) -> Trace:
    trace = Trace()
    if first.lstrip().startswith("{"):
        rows = _json_rows(_lines(first, file), trace)
    elif first.lstrip().startswith("["):
        raise _refuse(path, "is a JSON array; write one object a line")
    else:
        rows = _csv_rows(path, first, file, trace)
    _Builder(trace, scale).add(rows)
    if not trace.calls:
        why = ", ".join(f"{reason}: {n}" for reason, n in trace.ignored.items())
        raise _refuse(path, f"has no usable row ({why or 'there are no rows'})")
    return trace


def _refuse(path: Path, what: str) -> BadRequest:
    return BadRequest(
        f"the trace {path.name} {what}",
        known=COLUMNS,
        next_step="write CSV with a header or JSON Lines; only `ts` is required",
    )


def _lines(first: str, file: TextIO) -> Iterator[str]:
    yield first
    yield from file


def _count(counts: dict[str, int], reason: str) -> None:
    counts[reason] = counts.get(reason, 0) + 1


# --- Rows: values in the order of COLUMNS, None for what is missing


def _json_rows(lines: Iterable[str], trace: Trace) -> Iterator[Sequence[object]]:
    unknown: dict[str, None] = {}
    for line in lines:
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            _count(trace.ignored, "not JSON")
            continue
        if type(data) is not dict:
            _count(trace.ignored, "not a JSON object")
            continue
        unknown.update(dict.fromkeys(data.keys() - set(COLUMNS)))
        yield [data.get(name) for name in COLUMNS]
    trace.unknown_columns = tuple(sorted(unknown))


def _csv_rows(path: Path, first: str, file: TextIO, trace: Trace) -> Iterator[Sequence[object]]:
    names = [name.strip().lower() for name in next(csv.reader([first]), [])]
    if "ts" not in names:
        listed = ", ".join(names[:10])[:200]
        raise _refuse(path, f"has no header with a `ts` column; its first line is: {listed}")
    trace.unknown_columns = tuple(sorted(set(names) - set(COLUMNS) - {""}))
    for name in trace.unknown_columns:
        meant = get_close_matches(name, set(COLUMNS) - set(names), 1, cutoff=0.8)
        if meant:
            raise _refuse(path, f"has a column {name}; did you mean {meant[0]}?")
    places = [names.index(name) if name in names else None for name in COLUMNS]
    width = len(names)
    rows = csv.reader(file)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            _count(trace.ignored, "not readable as CSV")
            continue
        if len(row) > width:
            _count(trace.ignored, "more fields than the header")
        elif row:
            n = len(row)
            yield [row[at] if at is not None and at < n else None for at in places]


# --- One row


class _Builder:
    """Turns rows into calls; remembers what repeats, so that a million rows stay small."""

    def __init__(self, trace: Trace, scale: ScoreRange) -> None:
        self._trace = trace
        self._scale = scale
        self._versions: dict[str, str] = {}
        self._named = False  # whether any row named a version
        self._styled = False

    def add(self, rows: Iterable[Sequence[object]]) -> None:
        """Read all rows; afterwards the trace's calls are complete and in order."""
        calls, ignored = self._trace.calls, self._trace.ignored
        for row in rows:
            try:
                calls.append(self._call(row))
            except _Bad as reason:
                _count(ignored, str(reason))
        if self._named:
            # In a trace that names versions, a call without one is nobody's.
            nameless = sum(not call.version for call in calls)
            if nameless:
                calls[:] = [call for call in calls if call.version]
                ignored["no version"] = nameless
        else:
            calls[:] = [call._replace(version=ONLY_VERSION) for call in calls]
        calls.sort(key=itemgetter(0))

    def _call(self, row: Sequence[object]) -> Call:
        ts, version, unit, ok, latency, score, tokens_in, tokens_out, kind = row
        at_ms = _instant(ts)
        call = Call(
            at_ms,
            self._version(version),
            str(unit) if unit not in (None, "") else "",
            self._outcome(ok, kind),
            _latency(latency) if latency not in (None, "") else None,
            self._score(score) if score not in (None, "") else None,
            _tokens(tokens_in) if tokens_in not in (None, "") else 0,
            _tokens(tokens_out) if tokens_out not in (None, "") else 0,
        )
        if not self._styled:
            self._styled = True
            self._trace.style = _style(ts)
        return call

    def _version(self, value: object) -> str:
        if value is None or value == "":
            return ""
        self._named = True
        text = value if type(value) is str else str(value)
        if text not in self._versions:
            try:
                self._versions[text] = check_version_name(text.strip())
            except BadRequest:
                raise _Bad("not a version name") from None
        return self._versions[text]

    def _outcome(self, ok: object, kind: object) -> str:
        named = str(kind).strip().lower() if kind not in (None, "") else ""
        if named in EXCLUDED_KINDS:
            return named
        if ok is True or ok in (None, ""):
            good = ok is True or named in ("", OK)
        else:
            word = str(ok).strip().lower()
            good = word in TRUE
            if not good and word not in FALSE:
                raise _Bad("ok is neither true nor false")
        if good:
            return OK
        if named and named not in ERROR_KINDS:
            # The failure is evidence whatever it is called; only its name is left out.
            _count(self._trace.ignored, f"unknown error kind, counted as {DEFAULT_KIND}")
            return DEFAULT_KIND
        return named or DEFAULT_KIND

    def _score(self, value: object) -> float:
        number = _number(value, "score is not a number")
        if not self._scale.min <= number <= self._scale.max:
            raise _Bad("score outside its range")
        return number


def _number(value: object, reason: str) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Bad(reason)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _Bad(reason) from None
    if not math.isfinite(number):
        raise _Bad(reason)
    return number


def _latency(value: object) -> float:
    number = _number(value, "latency is not a number")
    if number < 0:
        raise _Bad("negative latency")
    return number


def _tokens(value: object) -> int:
    number = _number(value, "tokens are not a whole number")
    if not 0 <= number <= TOKENS_MAX or number != int(number):
        raise _Bad("tokens are not a whole number")
    return int(number)


# --- Times


def instant_ms(text: str) -> int:
    """The Unix time in ms of an instant as a trace writes it. Raises BadRequest."""
    try:
        return _instant(text)
    except _Bad:
        raise BadRequest(
            f"{text!r} is not an instant",
            next_step="write it as the trace does: 2026-03-02T09:00:00Z, 2026-03-02 or 1772442000",
        ) from None


def _instant(value: object) -> int:
    """Milliseconds since the Unix epoch, rounded down."""
    if value is None or value == "":
        raise _Bad("no timestamp")
    if isinstance(value, str):
        try:
            instant = datetime.fromisoformat(value.strip())
        except ValueError:
            instant = None
        # A date without separators is a number of seconds to everybody but the ISO.
        if instant is not None and not value.strip().isdigit():
            zoned = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
            return _in_range((zoned - EPOCH) // MILLISECOND)
    number = _number(value, "unreadable timestamp")
    for below, factor, _unit in UNITS:
        if 0 <= number < below:
            return _in_range(math.floor(number * factor))
    raise _Bad("unreadable timestamp")


def _in_range(at_ms: int) -> int:
    if not 0 <= at_ms <= LAST_MS:
        raise _Bad("unreadable timestamp")
    return at_ms


def _style(value: object) -> TimeStyle:
    """The style of a timestamp that was read without complaint."""
    text = str(value).strip()
    try:
        number = float(text)
    except ValueError:
        instant = datetime.fromisoformat(text)
        separator = " " if " " in text else "T"
        offset = instant.utcoffset()
        if offset is None:
            return TimeStyle(separator=separator, zone=None)
        suffix = "Z" if text[-1] in "Zz" else "+00:00"
        zone = UTC if offset == timedelta(0) else timezone(offset)
        return TimeStyle(separator=separator, zone=zone, utc_suffix=suffix)
    return TimeStyle(unit=next(unit for below, _, unit in UNITS if number < below))


# --- Sums


@dataclass(slots=True)
class Tally:
    """A version's calls. Those that came while it was not on the route are `off_route`."""

    version: str
    first_ms: int | None = None
    last_ms: int | None = None
    ok: int = 0
    failed: int = 0
    excluded: int = 0
    off_route: int = 0
    deploys: int = 0
    latency: dict[int, int] = field(default_factory=dict)
    score_count: int = 0
    score_sum: float = 0.0
    standing: Standing | None = None

    def add(self, calls: Sequence[Call], routed: bool) -> None:
        """Count the calls, which are at least one and in the order of their times."""
        self.first_ms = calls[0].at_ms if self.first_ms is None else self.first_ms
        self.last_ms = calls[-1].at_ms
        self.off_route += 0 if routed else len(calls)
        for call in calls:
            if call.outcome in EXCLUDED_KINDS:
                self.excluded += 1
                continue
            self.ok += call.outcome == OK
            self.failed += call.outcome != OK
            if call.latency_ms is not None and call.outcome in TIMED:
                index = latency_bucket(call.latency_ms)
                self.latency[index] = self.latency.get(index, 0) + 1
            if call.score is not None:
                self.score_count += 1
                self.score_sum += call.score


def window_of(calls: Iterable[Call], scale: ScoreRange | None) -> Window:
    """One second's calls of one version, summed as the SDK sums them before it reports."""
    ok = excluded = repeat = tokens_in = tokens_out = 0
    errors: dict[str, int] = {}
    latency: dict[int, int] = {}
    bins: dict[int, int] = {}
    units, failed = set[str](), set[str]()
    for call in calls:
        if call.outcome in EXCLUDED_KINDS:
            excluded += 1
            continue
        if call.unit:
            units.add(call.unit)
        if call.outcome == OK:
            ok += 1
        elif call.unit and call.unit in failed:
            repeat += 1
        else:
            failed.add(call.unit)
            errors[call.outcome] = errors.get(call.outcome, 0) + 1
        if call.latency_ms is not None and call.outcome in TIMED:
            index = latency_bucket(call.latency_ms)
            latency[index] = latency.get(index, 0) + 1
        if call.score is not None and scale is not None:
            index = score_bin(call.score, scale.min, scale.max)
            bins[index] = bins.get(index, 0) + 1
        tokens_in += call.input_tokens
        tokens_out += call.output_tokens
    return Window(
        ok=ok,
        errors=errors,
        excluded=excluded,
        repeat=repeat,
        units=len(units),
        latency=latency,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        scores={SCORE: bins} if bins else {},
    )
