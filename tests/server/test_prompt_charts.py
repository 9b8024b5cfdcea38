"""The charts of a prompt: its versions as they do now, the limits in force, and what happened."""

import json
from dataclasses import replace
from typing import Any

import pytest

from knowngood.core.errors import BadRequest, UnknownChart, UnknownPrompt
from knowngood.core.history import AuditEntry
from knowngood.core.model import Comparison, Finding, Response, Severity, Verdict
from knowngood.core.policy import parse
from knowngood.server import charts
from knowngood.server.chart_layers import WIDTH
from knowngood.server.charts import Chart, Limit, Mark
from knowngood.server.prompt_charts import (
    KINDS,
    SPANS_MS,
    charts_of,
    limits_of,
    mark_of,
    one_of,
    table_of,
)
from tests.server.world import PROMPT, World, world

QUARTER_MS = SPANS_MS["15m"]
ROW: dict[str, Any] = {"latency": {"523": 40}, "scores": {"quality": {"80": 5}}}


@pytest.fixture(scope="module")
def shop():
    """v1.9.0 has been well for half a minute, v2.0.0 came, failed, and was rolled back."""
    with world() as made:
        made.push("v1.9.0")
        made.push("v2.0.0")
        made.promote("v1.9.0")
        for _ in range(30):
            made.report("v1.9.0", 50, **ROW)
            made.tick()
        made.promote("v2.0.0")
        for _ in range(7):
            made.report("v2.0.0", 44, 6, **ROW)
            made.tick()
        for _ in range(30):
            made.report("v1.9.0", 50, **ROW)
            made.tick()
        yield made


def drawn(shop: World, span_ms: int = QUARTER_MS, **named: Any) -> dict[str, Chart]:
    desk = shop.runtime.desk
    found = charts_of(desk, "production", PROMPT, span_ms, "light", shop.clock.ms, **named)
    return {chart.name: chart for chart in found}


def layers(chart: Chart, key: str) -> list[Any]:
    """All values under a name in the data of the chart's layers."""
    rows = [row for layer in chart.spec["layer"] for row in layer.get("data", {}).get("values", [])]
    return [row[key] for row in rows if key in row]


def test_every_chart_that_has_anything_to_show(shop):
    """Errors, latency, quality and shares, each of both versions."""
    found = drawn(shop)
    assert list(found) == list(KINDS) == ["error-rate", "p99", "quality", "traffic-share"]
    for chart in found.values():
        assert {row["version"] for row in chart.spec["data"]["values"]} == {"v1.9.0", "v2.0.0"}
        assert charts.svg(chart.spec).startswith("<svg")


def test_nothing_to_show(world):
    """A prompt without calls has no charts, and one that is asked for is empty."""
    world.push("v1")
    world.promote("v1")
    assert drawn(world) == {}
    desk = world.runtime.desk
    empty = one_of(desk, "production", PROMPT, "p99", QUARTER_MS, "dark", world.clock.ms)
    assert empty.spec["data"]["values"] == []
    assert charts.svg(empty.spec).startswith("<svg")


def test_no_route_has_no_charts(world):
    """What was only pushed serves nobody, and is held against nothing."""
    world.push("v1")
    assert drawn(world) == {}


@pytest.mark.parametrize("span", SPANS_MS)
def test_points_stay_in_the_stretch(shop, span):
    """Whatever stretch is asked for: its points are in it, and no more than fit."""
    span_ms, now_ms = SPANS_MS[span], shop.clock.ms
    for chart in drawn(shop, span_ms).values():
        times = {row["at_ms"] for row in chart.spec["data"]["values"]}
        assert all(now_ms - span_ms - 5_000 <= at_ms < now_ms for at_ms in times)
        assert 1 <= len(times) <= 90


def test_a_version_has_one_colour(shop):
    """Over all charts and all stretches of time."""
    found: set[tuple[str, str]] = set()
    for span_ms in SPANS_MS.values():
        for chart in drawn(shop, span_ms).values():
            scale = chart.spec["layer"][0]["encoding"]["color"]["scale"]
            found |= set(zip(scale["domain"], scale["range"], strict=True))
    assert len(found) == len(dict(found)) == 2


def test_what_happened_is_marked(shop):
    """Deploys, the rollback and the recovery, from the history."""
    labels = set(layers(drawn(shop)["error-rate"], "label"))
    assert {"v2.0.0 to 100%", "rolled back to v1.9.0", "recovered"} <= labels


def test_the_limits_in_force_are_drawn(shop):
    """Those of the policy on errors, each with what follows; on p99 where the baseline puts it."""
    labels = layers(drawn(shop)["error-rate"], "label")
    assert {"5.0%: rolls back", "2.0%: asks on-call, alerts"} <= set(labels)


def test_limits_follow_the_age_of_a_version(world):
    """In its first hour a candidate is minded more closely."""
    world.route_two()
    world.live(5, "v2.0.0", 50)
    assert "0.5%: alerts" in layers(drawn(world)["error-rate"], "label")


def test_one_of_them(shop):
    """By its name, the same as among all; an unknown name is answered with those that exist."""
    desk, now_ms = shop.runtime.desk, shop.clock.ms
    one = one_of(desk, "production", PROMPT, "p99", QUARTER_MS, "light", now_ms)
    assert one == drawn(shop)["p99"]
    with pytest.raises(UnknownChart) as wrong:
        one_of(desk, "production", PROMPT, "p98", QUARTER_MS, "light", now_ms)
    assert wrong.value.known == list(KINDS)
    with pytest.raises(UnknownPrompt):
        one_of(desk, "production", "nobody", "p99", QUARTER_MS, "light", now_ms)


@pytest.mark.parametrize(("span_ms", "theme"), [(1, "light"), (QUARTER_MS, "pink")])
def test_what_no_chart_can_be_asked(shop, span_ms, theme):
    """Another stretch of time or theme is refused with those that exist."""
    with pytest.raises(BadRequest) as wrong:
        charts_of(shop.runtime.desk, "production", PROMPT, span_ms, theme, shop.clock.ms)
    assert wrong.value.known in (list(SPANS_MS), list(charts.THEMES))


def test_documents_have_a_width(shop):
    """A chart is wide for pages, and fixed when asked."""
    assert drawn(shop)["p99"].spec["width"] == "container"
    assert drawn(shop, is_wide=False)["p99"].spec["width"] == WIDTH


def test_the_table_has_the_same_figures(shop):
    """All calls are in it, and all failures."""
    rows = table_of(shop.runtime.desk, "production", PROMPT, QUARTER_MS, shop.clock.ms)
    assert sum(row.errors for row in rows) == 7 * 6
    assert {row.version for row in rows} == {"v1.9.0", "v2.0.0"}
    assert rows[0].time >= rows[-1].time


def test_a_straggler_is_shown(world):
    """A process that goes on with a version after the rollback is seen, not hidden."""
    world.route_two()
    world.live(3, "v2.0.0", 50)
    world.post("/api/rollback", prompt=PROMPT, target_version="v1.9.0", because="test")
    world.tick(3)
    world.live(20, "v2.0.0", 1)
    newest = drawn(world)["traffic-share"].spec["data"]["values"]
    assert [row["version"] for row in newest if row["share"] == 1.0][-1] == "v2.0.0"


# --- The parts


def finding(trigger: str, comparison: Comparison, limit: float, **more: Any) -> Finding:
    made = Finding(
        trigger, "v2", "error_rate", comparison, limit, Verdict.CLEAR, Response.ASK, Severity.HIGH,
        100,
    )  # fmt: skip
    return replace(made, **more)


def test_relative_limits_stand_where_the_baseline_puts_them():
    """Without a baseline they stand nowhere."""
    policy = parse({"policy": 1}).for_prompt("")
    slow = finding("latency_high", Comparison.INCREASE, 1.0, metric="latency_p99", baseline=500.0)
    poor = finding("quality_high", Comparison.DROP, 0.2, metric="quality", baseline=0.9)
    found = limits_of([slow, poor, replace(poor, baseline=None, limit=0.1)], policy)
    assert found == {
        "latency_p99": [Limit(1000.0, "1000 ms: asks on-call")],
        "quality": [Limit(0.72, "0.720: asks product-owner")],
    }


def test_one_line_for_one_value():
    """Two triggers with the same limit share their line; what is in no policy has none."""
    policy = parse({"policy": 1}).for_prompt("")
    high = finding("error_high", Comparison.ABOVE, 0.02)
    alert = replace(high, trigger="settled.error_rate", response=Response.ALERT)
    always = replace(high, trigger="cascade", limit=0.03)
    found = limits_of([high, alert, alert, always], policy)
    assert found == {"error_rate": [Limit(0.02, "2.0%: asks on-call, alerts")]}


@pytest.mark.parametrize(
    ("kind", "detail", "label"),
    [
        ("route.moved", {"to": [["v1", 9500], ["v2", 500]]}, "v2 to 5%"),
        ("route.moved", {"to": [["v2", 10000]]}, "v2 to 100%"),
        ("rollout.stage", {"version": "v2", "share_bp": 2500}, "v2 to 25%"),
        ("rollback.switched", {"from": "v2", "to": "v1"}, "rolled back to v1"),
        ("rollback.gradual", {"from": "v2", "to": "v1"}, "v2 gives way to v1"),
        ("rollback.verified", {}, "recovered"),
        ("version.good", {}, None),
    ],
)
def test_marks(kind, detail, label):
    """What a line of history is called on a chart."""
    line = AuditEntry(5, "production", PROMPT, kind, "", "", 1, 1, detail=detail)
    assert mark_of(line) == (Mark(5, label) if label else None)


def test_a_page_is_small(shop):
    """All charts of a page together are a fraction of the script that draws them."""
    assert sum(len(json.dumps(chart.spec)) for chart in drawn(shop).values()) < 200_000
