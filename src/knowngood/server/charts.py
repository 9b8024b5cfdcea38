"""Charts: one Vega-Lite specification a chart, from one pure function each.

The same specifications are drawn live in a page and rendered to SVG or PNG for documents and
messages. Times are UTC. A page's policy forbids evaluated code, so a specification holds no
expressions: whatever can be worked out is worked out here.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from knowngood.core.explain import amount, moment, percent
from knowngood.core.incident_record import Spread
from knowngood.server.chart_layers import (
    COLOURS,
    DARK,
    GAP_BINS,
    HEIGHT,
    LIGHT,
    ROOM,
    SMALL_HEIGHT,
    THEMES,
    Limit,
    Mark,
    Point,
    Row,
    Sheet,
    Spec,
    colour_of,
    colours,
    head,
    hover,
    limit_layers,
    line_rows,
    lines,
    mark_layers,
    short,
    time_axis,
    told,
    value_axis,
)

__all__ = [
    "DARK", "LIGHT", "THEMES", "Chart", "Limit", "Mark", "Point", "Row", "Sheet", "Spec", "colours",
    "error_rate", "p99", "png", "propagation", "quality", "sparkline", "svg", "table_of",
    "traffic_share",
]  # fmt: skip

VEGA_LITE = "6.4"  # the one that the renderer has; a page draws with the renderer's own bundle
PNG_SCALE = 2.0  # for screens with twice the dots
LIMITS_WITHIN = 5.0  # times the highest value: a limit beyond would press all of it to the ground
RATE_SEEN = 0.1  # a limit on errors up to this is always shown
CLIP = re.compile(r"\bclip\d+\b")


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with the name that its file or its address ends with."""

    name: str
    title: str
    spec: Spec


@dataclass(frozen=True, slots=True)
class TableRow:
    """The figures of one version in one stretch of time, in words; empty where nothing is known."""

    time: str
    version: str
    calls: int
    errors: int
    rate: str
    p99: str
    quality: str


def error_rate(points: Sequence[Point], limits: Sequence[Limit], sheet: Sheet) -> Spec:
    """The error rate of each version with its confidence band, the limits, and what happened."""
    highest = max((point.rate for point in points if point.rate is not None), default=0.0)
    near = [limit.value for limit in limits if limit.value <= max(RATE_SEEN, _far(highest))]
    # A second of three calls has a band that would press all that matters to the ground: the axis
    # ends above all rates and limits, whatever the bands.
    top = min(1.0, max(0.01, ROOM * max([highest, *near])))
    figures = [
        (p, p.rate, p.low, p.high, f"{percent(p.rate)} ({p.failed} of {p.calls})")
        for p in points
        if p.rate is not None
    ]
    y = value_axis("value", "error rate", ".1~%", (0.0, top))
    return _lines("Error rate of each version", "error_rate", figures, y, limits, sheet)


def p99(points: Sequence[Point], limits: Sequence[Limit], sheet: Sheet) -> Spec:
    """The 99th percentile of each version's latency, with its band and the limits."""
    figures = [
        (
            p,
            p.p99_ms,
            p.p99_low_ms,
            p.p99_high_ms,
            f"{amount('latency_p99', p.p99_ms)} (n = {p.timed})",
        )
        for p in points
        if p.p99_ms is not None
    ]
    highest = max((value for _, value, *_ in figures), default=1.0)
    near = [limit.value for limit in limits if limit.value <= _far(highest)]
    y = value_axis("value", "p99 latency (ms)", ",.0f", (0.0, ROOM * max([highest, *near])))
    return _lines("p99 latency of each version", "latency_p99", figures, y, limits, sheet)


def quality(points: Sequence[Point], limits: Sequence[Limit], sheet: Sheet) -> Spec:
    """The mean quality of each version, with its band and the limits."""
    figures = [
        (
            p,
            p.quality,
            p.quality_low,
            p.quality_high,
            f"{amount('quality', p.quality)} (n = {p.labels})",
        )
        for p in points
        if p.quality is not None
    ]
    seen = [*(value for _, value, *_ in figures), *(limit.value for limit in limits)] or [0.0, 1.0]
    low, high = min(seen), max(seen)
    spread = max(high - low, 0.05 * max(abs(low), abs(high)), 0.01)
    y = value_axis("value", "quality", ".2f", (low - 0.25 * spread, high + (ROOM - 1) * spread))
    return _lines("Mean quality of each version", "quality", figures, y, limits, sheet)


def traffic_share(points: Sequence[Point], sheet: Sheet) -> Spec:
    """The share of the calls that each version served."""
    title = "Share of the calls that each version served"
    y = {
        "field": "share",
        "type": "quantitative",
        "stack": "zero",
        "title": "share of the calls",
        "axis": {"format": ".0%"},
        "scale": {"domain": [0, 1]},
    }
    whole = _whole(points, sheet)
    rows = [
        {
            "at_ms": p.at_ms,
            "version": p.version,
            "share": short(p.share),
            **told(p, f"{percent(p.share)}, {p.calls} calls", sheet),
        }
        for p in whole
    ]
    x, colour = time_axis(sheet), colour_of(sheet.shades, (p.version for p in points))
    area: Spec = {
        "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.6, "clip": True},
        "encoding": {"x": x, "y": y, "color": colour},
    }
    seen = hover(x, y, sheet)
    for layer in seen:  # stacked as the areas are, not each from the ground
        layer["encoding"]["detail"] = {"field": "version"}
    newest = [(p, f"{percent(p.share)} ({p.calls} calls)") for p in points]
    return {
        **head(title, _description(title, newest, (), sheet), sheet, SMALL_HEIGHT),
        "data": {"values": rows},
        "layer": [area, *seen, *mark_layers(sheet)],
    }


def propagation(spread: Sequence[Spread], sheet: Sheet) -> Spec:
    """The share of the processes that had confirmed the route, after the switch."""
    title = "Processes that serve the good version, after the switch"
    rows = [
        {
            "after_s": each.after_ms / 1000,
            "share": each.current_count / each.live_count if each.live_count else 0.0,
        }
        for each in spread
    ]
    last = spread[-1] if spread else None
    words = f": {last.current_count} of {last.live_count}" if last else ""
    return {
        **head(title, f"{title}{words}", sheet, SMALL_HEIGHT),
        "data": {"values": rows},
        "mark": {"type": "line", "interpolate": "step-after", "point": True, "color": COLOURS[0]},
        "encoding": {
            "x": {
                "field": "after_s",
                "type": "quantitative",
                "title": "seconds after the switch",
                "axis": {"tickCount": 6, "format": "~g"},
            },
            "y": {
                "field": "share",
                "type": "quantitative",
                "title": "processes",
                "axis": {"format": ".0%"},
                "scale": {"domain": [0, 1]},
            },
        },
    }


def table_of(points: Iterable[Point]) -> list[TableRow]:
    """The figures behind the charts, the newest first."""
    return [
        TableRow(
            time=moment(p.at_ms),
            version=p.version,
            calls=p.calls,
            errors=p.failed,
            rate="" if p.rate is None else percent(p.rate),
            p99="" if p.p99_ms is None else amount("latency_p99", p.p99_ms),
            quality="" if p.quality is None else amount("quality", p.quality),
        )
        for p in sorted(points, key=lambda p: (-p.at_ms, p.version))
    ]


def sparkline(counts: Sequence[int], width: int, height: int) -> str:
    """The `points` of an SVG polyline of these counts: none stands on the ground, at `height`.

    One count alone is a level line. Nothing for no counts.
    """
    if not counts:
        return ""
    values = [max(0, count) for count in counts]
    if len(values) == 1:
        values *= 2
    top, step = max(values) or 1, width / (len(values) - 1)
    return " ".join(
        f"{round(step * place, 1):g},{round(height * (1 - value / top), 1):g}"
        for place, value in enumerate(values)
    )


# --- Images


def svg(spec: Spec) -> str:
    """The chart as an SVG image: the same bytes for the same specification."""
    import vl_convert  # heavy: a JavaScript engine

    image: str = vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=VEGA_LITE)
    # The renderer numbers its clips on from one image to the next.
    names: dict[str, str] = {}
    numbered = CLIP.sub(lambda m: names.setdefault(m[0], f"clip{len(names)}"), image)
    return f"{numbered.rstrip()}\n"


def png(spec: Spec) -> bytes:
    """The chart as a PNG image. Nothing else runs meanwhile: a server has it made elsewhere."""
    import vl_convert  # heavy: a JavaScript engine

    image: bytes = vl_convert.vegalite_to_png(
        json.dumps(spec), vl_version=VEGA_LITE, scale=PNG_SCALE
    )
    return image


# --- What the charts share

Figures = Sequence[tuple[Point, Any, float | None, float | None, str]]


def _far(highest: float) -> float:
    return LIMITS_WITHIN * highest


def _lines(
    title: str, metric: str, figures: Figures, y: Spec, limits: Sequence[Limit], sheet: Sheet
) -> Spec:
    """A chart of lines with bands; a figure is (point, value, low, high, words)."""
    found: list[tuple[Point, Row]] = []
    for point, value, low, high, words in figures:
        bounds: Row = {} if low is None or high is None else {"low": low, "high": high}
        if low is not None and high is not None:
            words = f"{words}, 95%: {amount(metric, low)} to {amount(metric, high)}"
        found.append((point, {"value": value, **bounds, **told(point, words, sheet)}))
    low, high = y["scale"]["domain"]
    colour = colour_of(sheet.shades, (point.version for point, _ in found))
    newest = [(point, words) for point, *_, words in figures]
    return {
        **head(title, _description(title, newest, limits, sheet), sheet, HEIGHT),
        "data": {"values": line_rows(found, sheet)},
        "layer": [
            *lines(y, colour, sheet),
            *limit_layers(limits, (low, high), y["axis"]["format"], sheet, HEIGHT),
            *mark_layers(sheet),
        ],
    }


def _description(
    title: str, newest: Iterable[tuple[Point, str]], limits: Sequence[Limit], sheet: Sheet
) -> str:
    """What the chart shows now, in words: the newest version first, then the limits."""
    last = {point.version: (point, words) for point, words in newest}
    said = []
    for version in reversed(list(sheet.shades)):
        if version in last:
            point, words = last[version]
            old = point.at_ms < sheet.until_ms - GAP_BINS * sheet.width_ms
            said.append(f"{version}: {words}{f', at {moment(point.at_ms)}' if old else ''}")
    if limits:
        highest_first = sorted(limits, key=lambda limit: -limit.value)
        said.append(f"limits: {', '.join(limit.label for limit in highest_first)}")
    return f"{title}. {'; '.join(said)}." if said else f"{title}."


def _whole(points: Sequence[Point], sheet: Sheet) -> list[Point]:
    """With a point of no calls wherever a version had none: a share of nothing.

    Silence of all versions is shown when it is longer than low traffic has it.
    """
    there = {(point.at_ms, point.version): point for point in points}
    times = sorted({point.at_ms for point in points})
    for before_ms, after_ms in pairwise([*times, sheet.until_ms]):
        if after_ms - before_ms > GAP_BINS * sheet.width_ms:
            times.append(before_ms + sheet.width_ms)
    versions = {point.version for point in points}
    return [
        there.get((at_ms, version), Point(at_ms, version, 0, 0))
        for at_ms in sorted(times)
        for version in sheet.shades
        if version in versions
    ]
