"""Charts: one Vega-Lite specification a chart, from one pure function each.

The same specifications are drawn live in a page and rendered to SVG for documents. Times are UTC.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knowngood.core.incident_record import Spread

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
VEGA_LITE = "6.4"  # the one that the renderer has; a page draws with the renderer's own bundle
WIDTH, HEIGHT, SMALL_HEIGHT = 640, 220, 140
ROOM = 1.5  # how much higher than the highest rate an axis of rates reaches
LIGHT, DARK = "light", "dark"
THEMES = (LIGHT, DARK)

# Okabe and Ito's colours: told apart by everybody, on both backgrounds.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
INKS = {LIGHT: ("#ffffff", "#1f2328", "#d0d7de"), DARK: ("#0d1117", "#e6edf3", "#30363d")}
LIMIT_COLOUR = {LIGHT: "#b00020", DARK: "#ff7b72"}
FONT = "Liberation Sans, Arimo, Helvetica, Arial, sans-serif"

CLIP = re.compile(r"\bclip\d+\b")

Spec = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """What one version did in one stretch of time. `low` and `high` bound its error rate (95 %)."""

    at_ms: int
    version: str
    calls: int
    failed: int
    share: float  # of the calls that the prompt had in this time
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    p99_ms: float | None = None
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened: a deploy, a rollback, the recovery."""

    at_ms: int
    label: str


def error_rate(
    points: Sequence[Point], limit: float | None, marks: Sequence[Mark], theme: str = LIGHT
) -> Spec:
    """The error rate of each version with its confidence band, the limit, and what happened."""
    band = {
        "mark": {"type": "area", "opacity": 0.2, "clip": True},
        "encoding": {
            "x": _time(),
            "y": {
                "field": "low",
                "type": "quantitative",
                "title": "error rate",
                "scale": {"domain": [0, _top(points, limit)], "nice": True},
            },
            "y2": {"field": "high"},
            "color": _colour(points),
        },
    }
    layers = [band, _line(points, "rate", "error rate", ".1~%"), *_limit(limit, ".1~%", theme)]
    return _layered("Error rate of each version", points, layers, marks, theme)


def _top(points: Sequence[Point], limit: float | None) -> float:
    """Where the axis ends: above all rates and the limit, whatever the bands.

    A second of three calls has a band that would press all that matters to the ground.
    """
    highest = max((point.rate for point in points if point.rate is not None), default=0.0)
    return min(1.0, max(0.01, ROOM * highest, ROOM * (limit or 0.0)))


def traffic_share(points: Sequence[Point], marks: Sequence[Mark], theme: str = LIGHT) -> Spec:
    """The share of the calls that each version served."""
    area = {
        "mark": {"type": "area", "interpolate": "step-after", "opacity": 0.85},
        "encoding": {
            "x": _time(),
            "y": {
                "field": "share",
                "type": "quantitative",
                "stack": "zero",
                "title": "share of the calls",
                "axis": {"format": ".0%"},
                "scale": {"domain": [0, 1]},
            },
            "color": _colour(points),
        },
    }
    title = "Share of the calls that each version served"
    return _layered(title, points, [area], marks, theme, SMALL_HEIGHT)


def p99(
    points: Sequence[Point], limit_ms: float | None, marks: Sequence[Mark], theme: str = LIGHT
) -> Spec:
    """The 99th percentile of the latency of each version."""
    layers = [_line(points, "p99_ms", "p99 latency (ms)", ",.0f"), *_limit(limit_ms, ",.0f", theme)]
    return _layered("p99 latency of each version", points, layers, marks, theme)


def quality(
    points: Sequence[Point], limit: float | None, marks: Sequence[Mark], theme: str = LIGHT
) -> Spec:
    """The mean quality of each version."""
    layers = [_line(points, "quality", "quality", ".2f"), *_limit(limit, ".2f", theme)]
    return _layered("Mean quality of each version", points, layers, marks, theme)


def propagation(spread: Sequence[Spread], theme: str = LIGHT) -> Spec:
    """The share of the processes that had confirmed the route, after the switch."""
    rows = [
        {
            "after_s": each.after_ms / 1000,
            "share": each.current_count / each.live_count if each.live_count else 0.0,
        }
        for each in spread
    ]
    return {
        **_head("Processes that serve the good version, after the switch", theme, SMALL_HEIGHT),
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


def svg(spec: Spec) -> str:
    """The chart as an SVG image: the same bytes for the same specification."""
    import vl_convert  # heavy: a JavaScript engine

    image: str = vl_convert.vegalite_to_svg(json.dumps(spec), vl_version=VEGA_LITE)
    # The renderer numbers its clips on from one image to the next.
    names: dict[str, str] = {}
    numbered = CLIP.sub(lambda m: names.setdefault(m[0], f"clip{len(names)}"), image)
    return f"{numbered.rstrip()}\n"


# --- What the charts share


def _head(title: str, theme: str, height: int) -> Spec:
    background, ink, grid = INKS[theme]
    axis = {"labelColor": ink, "titleColor": ink, "gridColor": grid, "domainColor": grid}
    return {
        "$schema": SCHEMA,
        "description": title,
        "title": {"text": title, "anchor": "start"},
        "width": WIDTH,
        "height": height,
        "background": background,
        "config": {
            "font": FONT,
            "view": {"stroke": grid},
            "title": {"color": ink, "fontSize": 13},
            "axis": {**axis, "tickColor": grid, "titleFontWeight": "normal"},
            "legend": {"labelColor": ink, "titleColor": ink, "orient": "top", "title": None},
        },
    }


def _layered(
    title: str,
    points: Sequence[Point],
    layers: Iterable[Spec],
    marks: Sequence[Mark],
    theme: str,
    height: int = HEIGHT,
) -> Spec:
    return {
        **_head(title, theme, height),
        "data": {"values": [_row(point) for point in points]},
        "layer": [*layers, *_marks(marks, theme)],
    }


def _row(point: Point) -> dict[str, Any]:
    found: Mapping[str, Any] = {
        "at_ms": point.at_ms,
        "version": point.version,
        "share": point.share,
        "rate": point.rate,
        "low": point.low,
        "high": point.high,
        "p99_ms": point.p99_ms,
        "quality": point.quality,
    }
    return {key: _short(value) for key, value in found.items() if value is not None}


def _short(value: Any) -> Any:
    """A figure with the digits that a chart can show."""
    return round(value, 5) if isinstance(value, float) else value


def _time() -> Spec:
    return {
        "field": "at_ms",
        "type": "temporal",
        "title": "UTC",
        "scale": {"type": "utc"},
        "axis": {"format": "%H:%M:%S", "labelOverlap": True},
    }


def _colour(points: Sequence[Point]) -> Spec:
    """A version keeps its colour over all charts of the same points: the oldest has the first."""
    versions = list(dict.fromkeys(point.version for point in points))
    shades = [COLOURS[number % len(COLOURS)] for number in range(len(versions))]
    return {
        "field": "version",
        "type": "nominal",
        "scale": {"domain": versions, "range": shades},
        "legend": {"symbolOpacity": 1},
    }


def _line(points: Sequence[Point], name: str, title: str, form: str) -> Spec:
    return {
        "mark": {"type": "line", "point": {"size": 12}, "clip": True},
        "encoding": {
            "x": _time(),
            "y": {
                "field": name,
                "type": "quantitative",
                "title": title,
                "axis": {"format": form},
            },
            "color": _colour(points),
        },
    }


def _limit(limit: float | None, form: str, theme: str) -> list[Spec]:
    """The limit as a dashed line that says so."""
    if limit is None:
        return []
    rule = {"datum": limit, "type": "quantitative", "axis": {"format": form}}
    colour = LIMIT_COLOUR[theme]
    return [
        {
            "data": {"values": [{}]},
            "mark": {"type": "rule", "strokeDash": [4, 3], "color": colour},
            "encoding": {"y": rule},
        },
        {
            "data": {"values": [{}]},
            "mark": {
                "type": "text",
                "text": "limit",
                "align": "right",
                "baseline": "bottom",
                "dx": -4,
                "dy": -2,
                "color": colour,
            },
            "encoding": {"y": rule, "x": {"value": WIDTH}},
        },
    ]


def _marks(marks: Sequence[Mark], theme: str) -> list[Spec]:
    """Upright lines where something happened, each with its word; one row of words for each."""
    ink = INKS[theme][1]
    found: list[Spec] = []
    for number, mark in enumerate(marks):
        data = {"values": [{"at_ms": mark.at_ms, "label": mark.label}]}
        found.append(
            {
                "data": data,
                "mark": {"type": "rule", "color": ink, "strokeDash": [2, 2]},
                "encoding": {"x": _time()},
            }
        )
        found.append(
            {
                "data": data,
                "mark": {
                    "type": "text",
                    "align": "left",
                    "baseline": "top",
                    "dx": 4,
                    "color": ink,
                },
                "encoding": {
                    "x": _time(),
                    "y": {"value": 4 + 13 * number},
                    "text": {"field": "label"},
                },
            }
        )
    return found
