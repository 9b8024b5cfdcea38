"""The suites that a user declares in a file: which command evaluates a version, and how it answers.

suites:
  accuracy:
    command: [pytest, -q, "--junitxml={result}", tests/evals]
    result: junit
    timeout: 10m
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knowngood.core.content import check_suite_name
from knowngood.core.errors import BadRequest, BadSuite, KnowngoodError
from knowngood.core.evaluation import Scale
from knowngood.core.units import duration_ms, is_number

SUITES_FILE = Path("knowngood-suites.yaml")
TIMEOUT = "30m"  # a few hundred calls, one after the other, with a judge behind each
TIMEOUT_MAX = "1d"
KEYS = ("command", "result", "timeout", "exit_codes", "scale")
SCALE_KEYS = ("min", "max", "pass_at")
# The exit codes that go with a whole result: pytest says 1 and promptfoo 100 when a test failed.
EXIT_CODES = {"junit": (0, 1), "promptfoo": (0, 100), "scores": (0,)}


@dataclass(frozen=True, slots=True)
class Suite:
    """One declared suite. `folder` is that of its file, in which the command runs."""

    name: str
    command: tuple[str, ...]
    result: str
    timeout_ms: int
    exit_codes: tuple[int, ...]
    scale: Scale
    folder: Path


def load_suite(file: Path, name: str) -> Suite:
    """The suite of this name in the file. Raises BadSuite, with the known ones, or BadRequest."""
    check_suite_name(name)
    suites = _suites(file)
    if name not in suites:
        raise BadSuite(f"{file} declares no suite {name!r}", known=[str(each) for each in suites])
    where = f"{file}: suites.{name}"
    said = _mapping(suites[name], where, KEYS)
    try:
        return _suite(said, name, file.absolute().parent, where)
    except BadSuite:
        raise
    except KnowngoodError as error:
        raise BadSuite(
            f"{where}: {error.message}", known=error.known, next_step=error.next_step
        ) from error


def _suites(file: Path) -> Mapping[str, Any]:
    from knowngood.server.policy_file import strict_yaml

    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadSuite(
            f"there is no file {file}, so no suite is declared",
            next_step="write one, or name it with --suites FILE",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadSuite(f"cannot read {file}: {why}") from error
    data = _mapping(strict_yaml(text, str(file), BadSuite), str(file), ("suites",))
    return _mapping(data.get("suites"), f"{file}: suites")


def _mapping(data: Any, where: str, keys: tuple[str, ...] | None = None) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise BadSuite(f"{where} is not a mapping", known=keys or ())
    for key in data:
        if keys is not None and key not in keys:
            raise BadSuite(f"{where} has the unknown key {str(key)[:100]!r}", known=keys)
    return data


def _suite(said: Mapping[str, Any], name: str, folder: Path, where: str) -> Suite:
    from knowngood.adapters.catalog import result_reader  # it brings the server's logging along

    if not (result := said.get("result")):
        raise BadSuite(f"{where} does not say what form its result has", known=list(EXIT_CODES))
    result_reader(str(result))
    timeout_ms = duration_ms(said.get("timeout", TIMEOUT))
    if timeout_ms > duration_ms(TIMEOUT_MAX):
        raise BadSuite(f"{where}.timeout is {said['timeout']}; the longest is {TIMEOUT_MAX}")
    return Suite(
        name=name,
        command=_command(said.get("command"), where),
        result=str(result),
        timeout_ms=timeout_ms,
        exit_codes=_exit_codes(said.get("exit_codes", EXIT_CODES[str(result)]), where),
        scale=_scale(_mapping(said.get("scale", {}), f"{where}.scale", SCALE_KEYS)),
        folder=folder,
    )


def _command(said: Any, where: str) -> tuple[str, ...]:
    if not isinstance(said, list) or not said or not all(isinstance(w, str) and w for w in said):
        raise BadSuite(
            f"{where}.command is not a list of words; no shell runs it",
            next_step='write it as [pytest, -q, "--junitxml={result}"]',
        )
    return tuple(said)


def _exit_codes(said: Any, where: str) -> tuple[int, ...]:
    if not isinstance(said, list | tuple) or not said or not all(type(c) is int for c in said):
        raise BadSuite(f"{where}.exit_codes is not a list of whole numbers")
    return tuple(said)


def _scale(said: Mapping[str, Any]) -> Scale:
    for key, value in said.items():
        if not is_number(value):
            raise BadRequest(f"scale.{key} is no number: {str(value)[:40]}")
    return Scale(**said)
