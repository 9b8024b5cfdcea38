"""Charts for a page: as specifications that the page draws, or as pictures where no script runs."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from knowngood.core.errors import UnknownChart
from knowngood.server import bundle, incident_charts, incidents, prompt_charts, renderer
from knowngood.server.charts import DARK, LIGHT, Chart
from knowngood.server.errors import NotReady
from knowngood.web.visit import HEADERS, Visit, visit_of

USUAL_SPAN = "1h"
SHARED_MAX = 100
FRESH_MS = 2_000  # all who look at the same within this are shown the same drawing
PICTURES_WAITING_MAX = 8  # two pages without scripts; channels are tried in the same lane
PICTURE_LIMIT_S = 30.0  # a process of its own starts for it, which takes seconds on a busy machine
COLUMNS = ("time", "version", "calls", "errors", "error rate", "p99", "quality")
FOREVER = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}

Drawing = dict[str, Any]


@dataclass(slots=True)
class Gallery:
    """What was drawn a moment ago: the charts of one page are asked for one by one."""

    shared: OrderedDict[tuple[object, ...], "asyncio.Task[Drawing]"] = field(
        default_factory=OrderedDict
    )

    async def get(
        self, visit: Visit, name: str, span: str, theme: str, *, is_wide: bool
    ) -> Drawing:
        """A prompt's charts by name, and the figures behind them."""
        key = (visit.environment, name, span, theme, is_wide, visit.now_ms // FRESH_MS)
        return await self._kept(
            key, lambda: visit.server.read(_drawing, visit, name, span, theme, is_wide)
        )

    async def get_incident(self, visit: Visit, named: str, theme: str, *, is_wide: bool) -> Drawing:
        """An incident's charts by name, and the figures behind them."""
        key = ("incident", named, theme, is_wide, visit.now_ms // FRESH_MS)
        return await self._kept(
            key, lambda: visit.server.read(_drawing_of_incident, visit, named, theme, is_wide)
        )

    async def _kept(
        self, key: tuple[object, ...], work: Callable[[], Coroutine[Any, Any, Drawing]]
    ) -> Drawing:
        task = self.shared.get(key)
        if task is None:
            task = asyncio.ensure_future(work())
            self.shared[key] = task
            while len(self.shared) > SHARED_MAX:
                self.shared.popitem(last=False)
        return await asyncio.shield(task)


async def of_prompt(request: Request, gallery: Gallery) -> Response:
    """One chart: `error-rate` as a specification with its figures, `error-rate.svg` as a picture.

    Nothing (204) where it has nothing to show yet.
    """
    visit = visit_of(request)
    name, asked = request.path_params["name"], request.path_params["chart"]
    span = visit.query("span", USUAL_SPAN)
    span = span if span in prompt_charts.SPANS_MS else USUAL_SPAN
    theme = DARK if visit.query("theme") == DARK else LIGHT
    is_wide = not asked.endswith(".svg")  # a picture stands in nothing that is wide
    found = await gallery.get(visit, name, span, theme, is_wide=is_wide)
    return await shown(visit, asked, found)


async def of_incident(request: Request, gallery: Gallery) -> Response:
    """The same of an incident. Raises UnknownIncident."""
    visit = visit_of(request)
    parts = request.path_params
    named = f"{parts['environment']}/{parts['prompt']}/{parts['number']}"
    theme = DARK if visit.query("theme") == DARK else LIGHT
    is_wide = not parts["chart"].endswith(".svg")
    found = await gallery.get_incident(visit, named, theme, is_wide=is_wide)
    return await shown(visit, parts["chart"], found)


async def shown(visit: Visit, asked: str, found: Drawing) -> Response:
    """One of the charts that were drawn, in the form that was asked for. Raises UnknownChart."""
    name = asked.removesuffix(".svg")
    chart: Chart | None = found["charts"].get(name)
    if chart is None:
        if name not in found["known"]:
            raise UnknownChart(f"there is no chart {name[:80]!r}", known=found["known"])
        return Response(status_code=204, headers=HEADERS)
    if name != asked:
        return Response(await _picture(visit, chart, found), 200, HEADERS, "image/svg+xml")
    return JSONResponse({"spec": chart.spec, "table": found["table"]}, 200, HEADERS)


async def _picture(visit: Visit, chart: Chart, found: Drawing) -> bytes:
    """The chart as a picture, kept with its drawing: whoever asks again waits for no process."""
    pictures: dict[str, bytes] = found["pictures"]
    if chart.name not in pictures:
        if visit.server.lanes.tests.statistics().tasks_waiting >= PICTURES_WAITING_MAX:
            raise NotReady("too many pictures are being drawn", next_step="try again in a moment")
        drawn = await visit.server.test(renderer.svg, chart.spec, PICTURE_LIMIT_S)
        pictures[chart.name] = drawn
    return pictures[chart.name]


def _drawing(visit: Visit, name: str, span: str, theme: str, is_wide: bool) -> Drawing:
    desk, place = visit.server.desk, (visit.environment, name, prompt_charts.SPANS_MS[span])
    found = prompt_charts.charts_of(desk, *place, theme, visit.now_ms, is_wide=is_wide)
    rows = prompt_charts.table_of(desk, *place, visit.now_ms)
    return {
        "charts": {chart.name: chart for chart in found},
        "pictures": {},
        "known": list(prompt_charts.KINDS),
        "table": {"columns": COLUMNS, "rows": [list(asdict(row).values()) for row in rows]},
    }


def _drawing_of_incident(visit: Visit, named: str, theme: str, is_wide: bool) -> Drawing:
    desk = visit.server.desk
    record = incidents.record(desk, named, visit.now_ms)
    found = incident_charts.charts_of(desk, record, theme, is_wide=is_wide)
    rows = incident_charts.table_of(desk, record)
    return {
        "charts": {chart.name: chart for chart in found},
        "pictures": {},
        "known": list(incident_charts.NAMES),
        "table": {"columns": COLUMNS, "rows": [list(asdict(row).values()) for row in rows]},
    }


async def script(request: Request) -> Response:
    """The script that draws charts: large, and kept by the browser for as long as it may."""
    visit = visit_of(request)
    made = bundle.made()  # at once; making it takes seconds
    plain, packed, _ = made if made else await visit.server.test(bundle.bundle)
    is_packed = "gzip" in request.headers.get("accept-encoding", "")
    headers = {**FOREVER, **({"Content-Encoding": "gzip"} if is_packed else {})}
    return Response(packed if is_packed else plain, 200, headers, "text/javascript; charset=utf-8")


def script_url() -> str:
    """Its address, which changes with what is installed; making it is left to who asks for it."""
    return f"/assets/draw.js?v={bundle.mark()}"
