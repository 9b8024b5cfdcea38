"""What is taken away from an incident: its post-mortem with the charts, and its record."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from fastapi import Request, Response

from knowngood.server import incidents, postmortem, renderer
from knowngood.server.errors import NotFound
from knowngood.server.incident_text import incident_text
from knowngood.web.drawings import PICTURE_LIMIT_S, script_url
from knowngood.web.incidents import id_of
from knowngood.web.prose import prose
from knowngood.web.visit import HEADERS, Visit, draw, frame, respond, visit_of

STEM = "postmortem"
ZIPPED = (1980, 1, 1, 0, 0, 0)  # the same incident makes the same bytes


async def preview(request: Request) -> Response:
    """The post-mortem as a page to read before it is taken away."""
    visit = visit_of(request)
    return respond(visit, await visit.server.read(_shown, visit))


def _shown(visit: Visit) -> str:
    named = id_of(visit)
    found = _written(visit)
    charts = f"/charts/incidents/{named}/"
    data = {
        **frame(visit),
        "environment": named.partition("/")[0],
        "id": named,
        "where": f"/incidents/{named}",
        "text": prose(found["markdown"], chart=lambda src: f"{charts}{_name_of(src)}"),
        "script": script_url(),
        "has_charts": bool(found["charts"]),
    }
    return draw("postmortem.html", data)


def _name_of(file: str) -> str:
    """The chart that a picture beside the document shows."""
    return file.removeprefix(f"{STEM}-").removesuffix(".svg")


async def take(request: Request) -> Response:
    """One of FILES, to keep."""
    visit = visit_of(request)
    asked = request.path_params["file"]
    if asked not in FILES:
        raise NotFound(f"an incident has no file {asked[:80]!r}", known=sorted(FILES))
    kind, make = FILES[asked]
    body = await visit.server.test(make, visit)
    stem = id_of(visit).replace("/", "-")
    headers = {**HEADERS, "Content-Disposition": f'attachment; filename="{stem}-{asked}"'}
    return Response(body, 200, headers, kind)


def _written(visit: Visit) -> dict[str, Any]:
    return postmortem.written(visit.server.desk, id_of(visit), STEM, "light", visit.now_ms)


def _markdown(visit: Visit) -> bytes:
    text: str = _written(visit)["markdown"]
    return text.encode()


def _with_charts(visit: Visit) -> bytes:
    found = _written(visit)
    pictures = renderer.svgs([each["spec"] for each in found["charts"]], PICTURE_LIMIT_S)
    files = {f"{STEM}.md": found["markdown"]}
    files |= {each["file"]: svg for each, svg in zip(found["charts"], pictures, strict=True)}
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            packed.writestr(zipfile.ZipInfo(name, ZIPPED), text, zipfile.ZIP_DEFLATED)
    return whole.getvalue()


def _record(visit: Visit) -> bytes:
    return incident_text(incidents.one(visit.server.desk, id_of(visit), visit.now_ms)).encode()


def _data(visit: Visit) -> bytes:
    found = incidents.one(visit.server.desk, id_of(visit), visit.now_ms)
    return json.dumps(found, indent=1).encode()


MARKDOWN = "text/markdown; charset=utf-8"
FILES: dict[str, tuple[str, Callable[[Visit], bytes]]] = {
    "postmortem.md": (MARKDOWN, _markdown),
    "postmortem.zip": ("application/zip", _with_charts),
    "record.md": (MARKDOWN, _record),
    "record.json": ("application/json", _data),
}
