"""`knowngood eval run`: run a suite's own command for a version, here, and record what it finds."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from knowngood.cli.backend import connect, segment
from knowngood.cli.eval_answer import Recorded, conclude, examples_data, parsed, with_hint
from knowngood.cli.names import version_of
from knowngood.cli.options import (
    DEFAULT_URL,
    As,
    AtLeast,
    Because,
    DryRun,
    Json,
    Name,
    OptionalVersion,
    SuiteName,
    Token,
    Url,
)
from knowngood.cli.suite_process import result_of, run_command
from knowngood.cli.suites import SUITES_FILE, Suite, load_suite
from knowngood.core.errors import KnowngoodError

SUFFIXES = {"junit": ".xml"}  # of the result's file; promptfoo chooses its form by it


def run(
    suite: SuiteName,
    name: Name,
    version: OptionalVersion = "",
    suites: Annotated[
        Path, typer.Option("--suites", metavar="FILE", help="The file that declares the suites.")
    ] = SUITES_FILE,
    at_least: AtLeast = "",
    because: Because = "",
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Run a suite for a version on this machine, and record what it finds.

    The command gets the version's content as a file. When it fails, takes too long or writes no
    result, nothing is recorded.
    """
    declared = load_suite(suites, suite)
    prompt, wanted = version_of(name, version)
    backend = connect(url, token, actor)
    stored = backend.get(f"/api/prompts/{segment(prompt)}/versions/{segment(wanted)}")
    recorded = Recorded(suite, prompt, wanted, because, at_least, dry_run, stored["digest"])
    recorded.requirement()  # a typing error is told before anything runs
    with tempfile.TemporaryDirectory(prefix="knowngood-eval-") as place:
        folder = Path(place)
        result = folder / f"result{SUFFIXES.get(declared.result, '.json')}"
        data = _carried_out(declared, stored, url, folder, result)
        try:
            results = parsed(data, "the result", declared.result, declared.scale)
            conclude(backend, recorded, examples_data(results, declared.result), as_json)
        except KnowngoodError as error:
            # A run takes minutes and money: what it found is not thrown away with the folder.
            kept = _kept(result, suite)
            again = f"knowngood eval import {suite} {prompt} {wanted} {kept}"
            form = f" --format {declared.result}" if declared.result == "scores" else ""
            raise with_hint(error, f"the result is kept: {again}{form}") from error


def _carried_out(
    suite: Suite, stored: dict[str, Any], url: str, folder: Path, result: Path
) -> bytes:
    """Run the command on the version's content; what it wrote. Raises SuiteFailed."""
    content = folder / "content.json"
    content.write_text(json.dumps(stored["content"], indent=2), encoding="utf-8")
    words = {
        "prompt": stored["prompt"],
        "version": stored["version"],
        "url": url,
        "content": str(content),
        "result": str(result),
    }
    title = f"{suite.name} of {stored['prompt']}:{stored['version']}"
    run_command(suite, words, folder, title)
    return result_of(suite, result, folder)


def _kept(result: Path, suite: str) -> Path:
    """Where the result is now, in the folder that somebody works in."""
    with tempfile.NamedTemporaryFile(
        prefix=f"knowngood-{suite}-", suffix=result.suffix, dir=Path(), delete=False
    ) as place:
        kept = Path(place.name)
    shutil.copyfile(result, kept)
    return Path(kept.name)
