"""Charts as specifications: pure, alike for the same figures, and readable without seeing them."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.incident_record import Spread
from knowngood.server import charts
from knowngood.server.chart_layers import (
    CHARACTER_PX,
    COLOURS,
    LABELS_MAX,
    NOMINAL_WIDTH_PX,
    ROWS_MAX,
    placed_labels,
)
from knowngood.server.charts import Limit, Mark, Point, Sheet

MINUTE_MS = 60_000
OLD, NEW = "v1.9.0", "v2.0.0"
SHADES = charts.colours([OLD, NEW], [OLD, NEW])
LIMITS = [Limit(0.05, "5.0%: rolls back"), Limit(0.02, "2.0%: asks on-call")]
MARKS = [Mark(5 * MINUTE_MS, "v2.0.0 to 5%"), Mark(7 * MINUTE_MS, "rolled back to v1.9.0")]


def point(minute: int, version: str = OLD, calls: int = 100, failed: int = 1, **more: Any) -> Point:
    rate = failed / calls
    bounds = {"low": rate / 2, "high": 2 * rate, "share": 0.5}
    return Point(minute * MINUTE_MS, version, calls, failed, **{"rate": rate, **bounds, **more})


def sheet(**changes: Any) -> Sheet:
    given_: dict[str, Any] = {"marks": MARKS, "shades": SHADES, **changes}
    return Sheet(0, 10 * MINUTE_MS, MINUTE_MS, **given_)


POINTS = [
    each
    for minute in range(10)
    for each in (
        point(minute, p99_ms=500.0, p99_low_ms=480.0, p99_high_ms=610.0, timed=100),
        point(minute, NEW, 50, 6, quality=0.8, quality_low=0.7, quality_high=0.9, labels=20),
    )
]


def every(page: Sheet) -> dict[str, dict[str, Any]]:
    return {
        "error-rate": charts.error_rate(POINTS, LIMITS, page),
        "p99": charts.p99(POINTS, [Limit(1000.0, "1000 ms: asks on-call")], page),
        "quality": charts.quality(POINTS, [], page),
        "traffic-share": charts.traffic_share(POINTS, page),
        "propagation": charts.propagation([Spread(1000, 3, 4)], page),
    }


def parts(spec: Any) -> list[dict[str, Any]]:
    """Every object in a specification."""
    if isinstance(spec, dict):
        return [spec, *(part for value in spec.values() for part in parts(value))]
    return [part for value in spec for part in parts(value)] if isinstance(spec, list) else []


def scales(spec: Any) -> list[dict[str, str]]:
    """Each scale of colours in it."""
    found = [p["scale"] for p in parts(spec) if p.get("field") == "version" and "scale" in p]
    return [dict(zip(scale["domain"], scale["range"], strict=True)) for scale in found]


@pytest.mark.parametrize("theme", charts.THEMES)
@pytest.mark.parametrize("is_wide", [False, True])
def test_every_chart_is_drawn(theme, is_wide):
    """The renderer takes each of them, in both themes, for documents and for pages."""
    for spec in every(sheet(theme=theme, is_wide=is_wide)).values():
        assert charts.svg(spec).startswith("<svg")


def test_an_image_for_messages():
    """The same specification is a PNG image, too."""
    assert charts.png(every(sheet())["error-rate"]).startswith(b"\x89PNG")


def test_nothing_in_a_chart_is_evaluated():
    """A page forbids evaluated code: no expressions, and no transforms made of them."""
    for spec in every(sheet(is_wide=True)).values():
        said = [key for part in parts(spec) for key in part]
        assert not {"expr", "signal", "calculate", "filter", "test", "transform"} & set(said)


def test_a_version_keeps_its_colour():
    """Over all charts of a page, also where another version has nothing to show."""
    for name, spec in every(sheet()).items():
        assert name == "propagation" or scales(spec)
        for scale in scales(spec):
            assert scale.items() <= SHADES.items()
    shown = scales(charts.quality(POINTS, [], sheet()))
    assert shown[0] == {NEW: SHADES[NEW]}


@given(known=st.lists(st.text(min_size=1), unique=True, max_size=20), data=st.data())
def test_colours_are_told_apart(known, data):
    """No two of six versions look alike; which others exist beyond the known changes nothing."""
    shown = data.draw(st.lists(st.sampled_from(known), unique=True) if known else st.just([]))
    found = charts.colours(known, shown)
    assert found == charts.colours(reversed(known), reversed(shown))
    assert set(found) == set(shown) and set(found.values()) <= set(COLOURS)
    if len(shown) <= len(COLOURS):
        assert len(set(found.values())) == len(shown)


def test_a_colour_is_settled_by_all_versions_that_are_known():
    """One more version on a wider chart takes nobody's colour; v1.10 comes after v1.9."""
    known = ["v1.10", "v1.9", "v2.0"]
    assert list(charts.colours(known, known)) == ["v1.9", "v1.10", "v2.0"]
    every_one = charts.colours(known, known)
    assert charts.colours(known, ["v2.0"]) == {"v2.0": every_one["v2.0"]}


def test_the_description_says_what_is_seen():
    """Whoever cannot see the chart hears the newest figures and the limits."""
    said = every(sheet())["error-rate"]["description"]
    assert said == (
        "Error rate of each version. v2.0.0: 12.0% (6 of 50); v1.9.0: 1.0% (1 of 100); "
        "limits: 5.0%: rolls back, 2.0%: asks on-call."
    )
    old = charts.error_rate([point(1)], [], sheet())["description"]
    assert old.endswith("v1.9.0: 1.0% (1 of 100), at 1970-01-01 00:01:00Z.")


def test_limits_are_lines_with_words():
    """Each within the axis, with its words, and no words on top of others."""
    spec = charts.error_rate(POINTS, [*LIMITS, Limit(0.019, "1.9%: alerts")], sheet())
    texts = [p for p in parts(spec) if "px" in p and "limit" in p][-3:]
    assert [t["label"] for t in texts] == ["1.9%: alerts", "2.0%: asks on-call", "5.0%: rolls back"]
    heights = [t["px"] for t in texts]
    assert all(a - b >= 13 for a, b in pairwise(heights))


def test_a_far_limit_presses_nothing_to_the_ground():
    """A limit of half a minute is no line on a chart of half a second; it is still told."""
    spec = charts.p99(POINTS, [Limit(30_000.0, "30000 ms: asks on-call")], sheet())
    assert not [p for p in parts(spec) if "limit" in p]
    assert "30000 ms" in spec["description"]


def test_a_long_silence_interrupts_a_line():
    """A short one is low traffic, and the line goes on."""
    spec = charts.error_rate([point(0), point(3), point(9)], [], sheet())
    rows = spec["data"]["values"]
    assert [row["at_ms"] // MINUTE_MS for row in rows] == [0, 3, 4, 9]
    assert "value" not in rows[2]


def test_a_share_of_nothing_is_shown():
    """A version without calls beside others has a share of none, and silence is empty."""
    spec = charts.traffic_share([point(0), point(0, NEW), point(1), point(8)], sheet())
    rows = {(r["at_ms"] // MINUTE_MS, r["version"]): r["share"] for r in spec["data"]["values"]}
    assert rows[1, NEW] == 0 and rows[1, OLD] == 0.5
    assert rows[2, OLD] == rows[2, NEW] == 0
    assert (5, OLD) not in rows


def test_a_page_is_answered_exactly():
    """A pointer gets the figures with what they rest on; a document has no pointer."""
    row = every(sheet(is_wide=True))["p99"]["data"]["values"][0]
    assert row["figures"] == "500 ms (n = 100), 95%: 480 ms to 610 ms"
    assert row["time"] == "1970-01-01 00:00:00Z, 1 min"
    assert "figures" not in every(sheet())["p99"]["data"]["values"][0]


def test_wide_charts_fit_into_what_they_stand_in():
    """A document has a fixed width and a background; a page has its own."""
    wide, fixed = every(sheet(is_wide=True))["p99"], every(sheet())["p99"]
    assert wide["width"] == "container" and wide["background"] == "transparent"
    assert isinstance(fixed["width"], int) and fixed["background"] == "#ffffff"


@given(
    st.lists(
        st.builds(Mark, st.integers(0, 10 * MINUTE_MS), st.text(min_size=1, max_size=30)),
        max_size=30,
    )
)
def test_words_of_marks_never_overlap(marks):
    """At most a dozen, in a few rows, the newest first."""
    placed = placed_labels(marks, 0, 10 * MINUTE_MS)
    assert len(placed) <= LABELS_MAX
    assert [m.at_ms for m, *_ in placed] == sorted((m.at_ms for m, *_ in placed), reverse=True)
    if marks:
        assert placed[0][0].at_ms == max(m.at_ms for m in marks)
    rows: dict[int, list[tuple[float, float]]] = {}
    for mark, row, side in placed:
        begin = mark.at_ms / (10 * MINUTE_MS) * NOMINAL_WIDTH_PX
        width = CHARACTER_PX * len(mark.label)
        rows.setdefault(row, []).append(
            (begin, begin + width) if side == "left" else (begin - width, begin)
        )
    assert set(rows) <= set(range(ROWS_MAX))
    for ends in rows.values():
        ends.sort()
        assert all(a[1] <= b[0] for a, b in pairwise(ends))


def test_marks_outside_are_left_out():
    """What happened before the stretch would widen it."""
    spec = charts.error_rate(POINTS, [], sheet(marks=[Mark(-1, "before"), Mark(0, "at once")]))
    assert "before" not in json.dumps(spec) and "at once" in json.dumps(spec)


def test_the_table_holds_the_figures():
    """The newest first, in the words of everything else, empty where nothing is known."""
    rows = charts.table_of(POINTS)
    assert len(rows) == len(POINTS)
    assert rows[0] == charts.TableRow("1970-01-01 00:09:00Z", OLD, 100, 1, "1.0%", "500 ms", "")
    assert (rows[1].version, rows[1].errors, rows[1].quality) == (NEW, 6, "0.800")


@pytest.mark.parametrize(
    ("counts", "points"),
    [
        ([], ""),
        ([0, 0, 0], "0,20 50,20 100,20"),
        ([0, 5, 10], "0,20 50,10 100,0"),
        ([7], "0,0 100,0"),
        ([0], "0,20 100,20"),
        ([-1, 4], "0,20 100,0"),
    ],
)
def test_sparklines(counts, points):
    """None stands on the ground, the most reaches the top, one alone is a level line."""
    assert charts.sparkline(counts, 100, 20) == points


@given(st.lists(st.integers(0, 10**9), max_size=200), st.integers(1, 500), st.integers(1, 100))
def test_sparklines_stay_inside(counts, width, height):
    """No point leaves the picture."""
    for pair in charts.sparkline(counts, width, height).split():
        x, y = map(float, pair.split(","))
        assert 0 <= x <= width and 0 <= y <= height
