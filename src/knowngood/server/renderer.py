"""Work for the renderer of charts, in a process of its own.

The renderer holds the interpreter's lock for as long as it works: up to three seconds, in which no
rollback would happen and no request be answered.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from knowngood.core.errors import KnowngoodError
from knowngood.server.charts import Spec

SAID_MAX = 300  # of what a renderer that failed says
# Only what is installed is imported (-P), not what happens to lie where the server was started.
PYTHON = (sys.executable, "-P", "-c")
BUNDLE = """
import sys, vl_convert
sys.stdout.buffer.write(vl_convert.javascript_bundle().encode())
"""
PNG = """
import json, sys
from knowngood.server.charts import png
sys.stdout.buffer.write(png(json.load(sys.stdin)))
"""

SVG = """
import json, sys
from knowngood.server.charts import svg
sys.stdout.buffer.write(svg(json.load(sys.stdin)).encode())
"""
SVGS = """
import json, sys
from knowngood.server.charts import svg
json.dump([svg(spec) for spec in json.load(sys.stdin)], sys.stdout)
"""


class RendererFailed(KnowngoodError):
    """The charts' renderer did not answer."""

    code = "renderer_failed"


def javascript(limit_s: float) -> bytes:
    """The script that draws specifications in a browser. Raises RendererFailed."""
    return _run(BUNDLE, b"", limit_s)


def png(spec: Spec, limit_s: float) -> bytes:
    """The chart as a PNG image. Raises RendererFailed."""
    return _run(PNG, json.dumps(spec).encode(), limit_s)


def svg(spec: Spec, limit_s: float) -> bytes:
    """The chart as an SVG image. Raises RendererFailed."""
    return _run(SVG, json.dumps(spec).encode(), limit_s)


def svgs(specs: Sequence[Spec], limit_s: float) -> list[str]:
    """Several of them, in the time that it takes to start for one. Raises RendererFailed."""
    found: list[str] = json.loads(_run(SVGS, json.dumps(specs).encode(), limit_s)) if specs else []
    return found


def _run(code: str, given: bytes, limit_s: float) -> bytes:
    try:
        done = subprocess.run(  # noqa: S603 - our own lines, by this interpreter
            [*PYTHON, code], input=given, capture_output=True, timeout=limit_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RendererFailed(f"{error}"[:SAID_MAX]) from error
    if done.returncode or not done.stdout:
        said = done.stderr.decode("utf-8", "replace").strip()
        raise RendererFailed(f"exit {done.returncode}: {said[-SAID_MAX:]}")
    return done.stdout
