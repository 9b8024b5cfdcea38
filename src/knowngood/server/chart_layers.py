"""What charts are put together from: their nouns, their colours, and layers of a specification."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from knowngood.core.explain import duration, moment

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
WIDTH, HEIGHT, SMALL_HEIGHT = 640, 220, 140
ROOM = 1.5  # how much higher than the highest value an axis reaches: words need room, too
LIGHT, DARK = "light", "dark"
THEMES = (LIGHT, DARK)

# Okabe and Ito's colours: told apart by everybody, on both backgrounds.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INKS = {LIGHT: ("#ffffff", "#1f2328", "#d0d7de"), DARK: ("#0d1117", "#e6edf3", "#30363d")}
LIMIT_COLOUR = {LIGHT: "#b00020", DARK: "#ff7b72"}
FONT = "Liberation Sans, Arimo, Helvetica, Arial, sans-serif"

GAP_BINS = 3  # a silence longer than this interrupts a line; a shorter one is low traffic
ROW_PX = 13  # the height of a row of words
ROWS_MAX = 4  # of words about marks; more would cover what they are about
LABELS_MAX = 12
# Where words stand is settled before the width of a page is known, for one that is narrower.
NOMINAL_WIDTH_PX, CHARACTER_PX = 520, 6.3
RIGHT_FROM = 0.7  # of the width: from here on words stand to the left of their line
HOVER_SIZE = 200  # px² around a point in which a pointer finds it
MINUTES_10_MS, DAY_MS = 600_000, 86_400_000
_DIGITS = re.compile(r"(\d+)")

Spec = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """What one version did in one stretch of time. `low` and `high` bound its error rate (95 %).

    So do the other bounds their own figure; a figure is None where nothing is known.
    """

    at_ms: int
    version: str
    calls: int
    failed: int
    share: float = 0.0  # of the calls that the prompt had in this time
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    p99_ms: float | None = None
    p99_low_ms: float | None = None
    p99_high_ms: float | None = None
    timed: int = 0  # calls that p99 rests on
    quality: float | None = None
    quality_low: float | None = None
    quality_high: float | None = None
    labels: int = 0  # scores that quality rests on


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: a deploy, a rollback, the recovery."""

    at_ms: int
    label: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A value that is minded, with the words beside its line."""

    value: float
    label: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the charts of one page or document have in common.

    They show [since_ms, until_ms) in points `width_ms` apart. `shades` are the versions' colours,
    the oldest first. A wide sheet is as wide as what it stands in, has its background, and answers
    a pointer.
    """

    since_ms: int
    until_ms: int
    width_ms: int
    marks: Sequence[Mark] = ()
    theme: str = LIGHT
    shades: Mapping[str, str] = field(default_factory=dict)
    is_wide: bool = False


def colours(known: Iterable[str], shown: Iterable[str]) -> dict[str, str]:
    """A colour for each version that is shown, the oldest by its name first.

    It is settled by the version's place among all that are `known`, so that it is the same on every
    chart and in every stretch of time; only two that would look alike give way.
    """
    wanted = set(shown)
    found: dict[str, str] = {}
    for place, version in enumerate(sorted({*known, *wanted}, key=_natural)):
        if version in wanted:
            turns = (COLOURS[(place + turn) % len(COLOURS)] for turn in range(len(COLOURS)))
            free = next((colour for colour in turns if colour not in found.values()), None)
            found[version] = free or COLOURS[place % len(COLOURS)]
    return found


def _natural(version: str) -> list[tuple[bool, int, str]]:
    """v1.9.0 before v1.10.0."""
    parts = _DIGITS.split(version)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


# --- The whole chart


def head(title: str, description: str, sheet: Sheet, height: int) -> Spec:
    """Everything but data and layers. The description is what a screen reader says."""
    background, ink, grid = INKS[sheet.theme]
    axis = {"labelColor": ink, "titleColor": ink, "gridColor": grid, "domainColor": grid}
    wide: Spec = {"width": WIDTH, "background": background}
    if sheet.is_wide:
        fit = {"type": "fit-x", "contains": "padding"}
        wide = {"width": "container", "autosize": fit, "background": "transparent"}
    return {
        "$schema": SCHEMA,
        "description": description,
        "title": {"text": title, "anchor": "start"},
        **wide,
        "height": height,
        "config": {
            "font": FONT,
            "view": {"stroke": grid},
            "title": {"color": ink, "fontSize": 13},
            "axis": {**axis, "tickColor": grid, "titleFontWeight": "normal"},
            "legend": {"labelColor": ink, "titleColor": ink, "orient": "top", "title": None},
        },
    }


def time_axis(sheet: Sheet) -> Spec:
    """The stretch of time, the same on every chart of the sheet."""
    span_ms = sheet.until_ms - sheet.since_ms
    form = "%H:%M:%S" if span_ms <= MINUTES_10_MS else "%H:%M"
    return {
        "field": "at_ms",
        "type": "temporal",
        "title": "UTC",
        "scale": {"type": "utc"},
        "axis": {"format": "%d %b %H:%M" if span_ms > DAY_MS else form, "labelOverlap": True},
    }


def stretch(sheet: Sheet) -> Spec:
    """What nobody sees at both ends of the stretch, so that every time axis reaches there.

    A domain in words would do, but becomes an expression that is not drawn where a page's policy
    forbids evaluated code.
    """
    ends = [{"at_ms": sheet.since_ms}, {"at_ms": sheet.until_ms}]
    return {
        "data": {"values": ends},
        "mark": {"type": "rule", "opacity": 0},
        "encoding": {"x": time_axis(sheet)},
    }


def colour_of(shades: Mapping[str, str], versions: Iterable[str]) -> Spec:
    """A version keeps its colour over all charts; the legend names those that are shown."""
    there = set(versions)
    shown = {version: shade for version, shade in shades.items() if version in there}
    return {
        "field": "version",
        "type": "nominal",
        "scale": {"domain": list(shown), "range": list(shown.values())},
        "legend": {"symbolOpacity": 1},
    }


def value_axis(name: str, title: str, form: str, domain: tuple[float, float]) -> Spec:
    """An axis of values from and to exactly these, so that words can be placed beside it."""
    return {
        "field": name,
        "type": "quantitative",
        "title": title,
        "axis": {"format": form},
        "scale": {"domain": [short(end) for end in domain], "nice": False, "zero": False},
    }


# --- Rows and layers


def short(value: Any) -> Any:
    """A figure with the digits that a chart can show."""
    return round(value, 5) if isinstance(value, float) else value


def line_rows(found: Iterable[tuple[Point, Row]], sheet: Sheet) -> list[Row]:
    """The rows of a line, interrupted where its version was silent for long."""
    rows: list[Row] = []
    before: dict[str, int] = {}
    for point, values in found:
        row = {"at_ms": point.at_ms, "version": point.version}
        last_ms = before.get(point.version, point.at_ms)
        if point.at_ms - last_ms > GAP_BINS * sheet.width_ms:
            rows.append({**row, "at_ms": last_ms + sheet.width_ms})
        rows.append({**row, **{key: short(value) for key, value in values.items()}})
        before[point.version] = point.at_ms
    return rows


def lines(y: Spec, colour: Spec, sheet: Sheet) -> list[Spec]:
    """A line with its band between `low` and `high`, and what a pointer finds on it."""
    band_y = {**y, "field": "low"}
    x = time_axis(sheet)
    band = {
        "mark": {"type": "area", "opacity": 0.2, "clip": True},
        "encoding": {"x": x, "y": band_y, "y2": {"field": "high"}, "color": colour},
    }
    line = {
        "mark": {"type": "line", "point": {"size": 12}, "clip": True},
        "encoding": {"x": x, "y": y, "color": colour},
    }
    return [band, line, *hover(x, y, sheet)]


def hover(x: Spec, y: Spec, sheet: Sheet) -> list[Spec]:
    """What answers a pointer near a point: when, which version, and the exact figures."""
    if not sheet.is_wide:
        return []
    told = [{"field": name, "type": "nominal"} for name in ("time", "version", "figures")]
    mark = {"type": "point", "filled": True, "size": HOVER_SIZE, "opacity": 0, "clip": True}
    return [{"mark": mark, "encoding": {"x": x, "y": y, "tooltip": told}}]


def told(point: Point, figures: str, sheet: Sheet) -> Row:
    """What a pointer is answered; nothing where there is none."""
    if not sheet.is_wide:
        return {}
    return {"time": f"{moment(point.at_ms)}, {duration(sheet.width_ms)}", "figures": figures}


def limit_layers(
    limits: Sequence[Limit], domain: tuple[float, float], form: str, sheet: Sheet, height: int
) -> list[Spec]:
    """Each limit within the axis as a dashed line, with its words above it."""
    low, high = domain
    inside = sorted((x for x in limits if low <= x.value <= high), key=lambda x: x.value)
    if not inside:
        return []
    rows: list[Row] = []
    floor_px = float(height + ROW_PX)
    for limit in inside:
        line_px = height * (1 - (limit.value - low) / (high - low))
        floor_px = min(line_px - 2, floor_px - ROW_PX)
        rows.append({"limit": short(limit.value), "label": limit.label, "px": round(floor_px)})
    colour = LIMIT_COLOUR[sheet.theme]
    y = {"field": "limit", "type": "quantitative", "axis": {"format": form}}
    words = {"type": "text", "align": "right", "baseline": "bottom", "dx": -4, "color": colour}
    text = {"field": "label", "type": "nominal"}
    place = {"field": "px", "type": "quantitative", "scale": None}
    return [
        {
            "data": {"values": rows},
            "mark": {"type": "rule", "strokeDash": [4, 3], "color": colour},
            "encoding": {"y": y},
        },
        {
            "data": {"values": rows},
            "mark": words,
            "encoding": {"y": place, "x": {"value": "width"}, "text": text},
        },
    ]


def mark_layers(sheet: Sheet) -> list[Spec]:
    """The stretch of time, with upright lines where something happened; the newest say what."""
    inside = [m for m in sheet.marks if sheet.since_ms <= m.at_ms <= sheet.until_ms]
    if not inside:
        return [stretch(sheet)]
    ink = INKS[sheet.theme][1]
    x = time_axis(sheet)
    rows = [{"at_ms": m.at_ms, "label": f"{moment(m.at_ms)} {m.label}"} for m in inside]
    rule: Spec = {
        "data": {"values": rows},
        "mark": {"type": "rule", "color": ink, "strokeDash": [2, 2]},
        "encoding": {"x": x},
    }
    found = [stretch(sheet), rule]
    if sheet.is_wide:
        tip: Spec = {
            "data": {"values": rows},
            "mark": {"type": "point", "shape": "triangle-down", "filled": True, "size": 60,
                     "color": ink, "opacity": 1},
            "encoding": {"x": x, "y": {"value": 0}, "tooltip": {"field": "label"}},
        }  # fmt: skip
        found.append(tip)
    placed = placed_labels(inside, sheet.since_ms, sheet.until_ms)
    for align, dx in (("left", 4), ("right", -4)):
        words = [
            {"at_ms": m.at_ms, "label": m.label, "px": 4 + ROW_PX * row}
            for m, row, side in placed
            if side == align
        ]
        if words:
            found.append(_words(words, align, dx, x, ink))
    return found


def _words(rows: list[Row], align: str, dx: int, x: Spec, ink: str) -> Spec:
    return {
        "data": {"values": rows},
        "mark": {"type": "text", "align": align, "baseline": "top", "dx": dx, "color": ink},
        "encoding": {
            "x": x,
            "y": {"field": "px", "type": "quantitative", "scale": None},
            "text": {"field": "label", "type": "nominal"},
        },
    }


def placed_labels(
    marks: Sequence[Mark], since_ms: int, until_ms: int
) -> list[tuple[Mark, int, str]]:
    """(mark, row, side) of the words that fit without overlap, the newest first.

    The side is where words stand from their line: `left` aligned after it, `right` before it.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(ROWS_MAX)]
    placed: list[tuple[Mark, int, str]] = []
    for mark in sorted(marks, key=lambda m: -m.at_ms):
        at = (mark.at_ms - since_ms) / max(1, until_ms - since_ms)
        side = "left" if at < RIGHT_FROM else "right"
        begin, width = at * NOMINAL_WIDTH_PX, 8 + CHARACTER_PX * len(mark.label)
        ends = (begin, begin + width) if side == "left" else (begin - width, begin)
        row = next((n for n in range(ROWS_MAX) if _is_free(taken[n], ends)), None)
        if row is not None and len(placed) < LABELS_MAX:
            taken[row].append(ends)
            placed.append((mark, row, side))
    return placed


def _is_free(taken: Iterable[tuple[float, float]], ends: tuple[float, float]) -> bool:
    return all(ends[1] <= begin or end <= ends[0] for begin, end in taken)
