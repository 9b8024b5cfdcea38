"""How things are written on pages: the templates' language, and the files that go with them."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from knowngood.core.explain import duration, moment, percent
from knowngood.server.charts import sparkline
from knowngood.web.prose import prose
from knowngood.web.written import changed, visible, written

ASSETS = resources.files("knowngood.web") / "assets"
KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".svg": "image/svg+xml", ".webmanifest": "application/manifest+json"}  # fmt: skip
VERDICTS = {
    "breach": ("breach", "bad", "▲"),
    "clear": ("clear", "good", "●"),
    "unsure": ("unsure", "watching", "◐"),
    "blind": ("blind", "blind", "◌"),
}
STANDINGS = {"good": "good", "candidate": "watching", "quarantined": "bad"}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it travels."""

    body: bytes
    packed: bytes
    kind: str
    mark: str


@cache
def assets() -> dict[str, Asset]:
    """The files of the pages by name."""
    found = {}
    for file in ASSETS.iterdir():
        ending = f".{file.name.rpartition('.')[2]}"
        if ending in KINDS:
            body = file.read_bytes()
            mark = hashlib.blake2b(body, digest_size=6).hexdigest()
            found[file.name] = Asset(body, gzip.compress(body, 9), KINDS[ending], mark)
    return found


def asset_url(name: str) -> str:
    """A file's address, which changes with its content: browsers may keep it for ever."""
    return f"/assets/{name}?v={assets()[name].mark}"


def share(bp: int) -> str:
    """`5%` of 500 basis points."""
    return f"{bp / 100:g}%"


def figure(value: float | None, kind: str) -> str:
    """A headline figure with its unit; a dash where there is none."""
    if value is None:
        return "–"
    if kind == "rate":
        return percent(value)
    if kind == "ms":
        return f"{value / 1000:.1f} s" if value >= 10_000 else f"{value:,.0f} ms"
    return f"{value:.2f}" if kind == "score" else f"{value:,.0f}"


def clock(ms: int | None) -> str:
    """The time of day of an instant, in UTC."""
    return "–" if ms is None else moment(ms)[11:19]


def ago(ms: int | None, now_ms: int) -> str:
    """`4 min 10 s ago`."""
    return "never" if ms is None else f"{duration(max(0, now_ms - ms))} ago"


def verdict(word: str | None) -> dict[str, str]:
    """A verdict's word, its meaning as a colour's name, and its sign."""
    words, meaning, sign = VERDICTS.get(word or "", ("not routed", "none", "○"))
    return {"word": words, "meaning": meaning, "sign": sign}


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("knowngood.web"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "share": share, "figure": figure, "clock": clock, "ago": ago, "verdict": verdict,
        "duration": duration, "moment": moment, "percent": percent, "prose": prose,
    }  # fmt: skip
    made.filters |= {**filters, "visible": visible, "written": written, "changed": changed}
    made.globals |= {"standings": STANDINGS, "sparkline": sparkline}
    return made


ENVIRONMENT = _environment()
