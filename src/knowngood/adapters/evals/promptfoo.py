"""promptfoo's results, as `promptfoo eval --output results.json` writes them (versions 2 and 3).

What counts is what promptfoo decided: `success`, and `failureReason: 2` for a test that could not
be judged since the provider failed. An example is known again by its variables and assertions, not
by its place: a test that was added in between does not shift the pairs of a comparison.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, NoReturn

from knowngood.core.errors import BadEvaluation
from knowngood.core.evaluation import Example, Results, Scale, distinct_id, fitting_id

VERSIONS = (2, 3)
COULD_NOT_BE_JUDGED = 2  # promptfoo's ResultFailureReason.ERROR
LABEL_CHARS_MAX = 60
PROMPTS_SHOWN = 20
NEXT = "write it with `promptfoo eval --output results.json`"

Row = Mapping[str, Any]


def read(data: bytes, scale: Scale) -> Results:
    """The results in the file's bytes; a score has to be in the range of `scale`.

    Raises BadEvaluation for what is no such file, of a version that is not known, incomplete, or of
    more than one prompt: an evaluation is of one version.
    """
    rows = _rows(_parsed(data))
    _refuse_several_prompts(rows)
    with_provider = len({_provider(row) for row in rows}) > 1
    taken: set[str] = set()
    examples = []
    for place, row in enumerate(rows):
        id_ = distinct_id(_id(row, with_provider), taken)
        examples.append(_example(row, place, id_, scale))
    return Results(tuple(examples))


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadEvaluation(f"not valid JSON: {error}", next_step=NEXT) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _rows(data: Any) -> list[Row]:
    """The single results of the file, which holds the summary or wraps it in `results`."""
    summary = data.get("results") if isinstance(data, dict) else None
    if isinstance(summary, list):
        summary = data
    if not isinstance(summary, dict) or not isinstance(summary.get("results"), list):
        raise BadEvaluation(
            "not promptfoo's results: there is no list `results.results`", next_step=NEXT
        )
    if (version := summary.get("version")) not in VERSIONS:
        raise BadEvaluation(
            f"version {str(version)[:20]} of promptfoo's results is not known",
            known=[str(each) for each in VERSIONS],
            next_step="use a known version, or write the scores into a file of their own",
        )
    rows: list[Row] = summary["results"]
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("success"), bool):
            raise BadEvaluation(f"results[{place}] does not say `success: true` or `false`")
    _refuse_incomplete(summary.get("stats"), len(rows))
    return rows


def _refuse_incomplete(stats: Any, row_count: int) -> None:
    counts = [_map(stats).get(name) for name in ("successes", "failures", "errors")]
    said = sum(count for count in counts if type(count) is int)
    if said > row_count:
        raise BadEvaluation(f"the file is incomplete: {row_count} results of {said}")


def _refuse_several_prompts(rows: list[Row]) -> None:
    found = {str(key): _label(row, "prompt") for row in rows if (key := _prompt_key(row))}
    if len(found) > 1:
        raise BadEvaluation(
            f"results of {len(found)} prompts: an evaluation is of one version",
            known=[label[:LABEL_CHARS_MAX] for label in found.values()][:PROMPTS_SHOWN],
            next_step="run promptfoo for one of them: --filter-prompts PATTERN",
        )


def _prompt_key(row: Row) -> Any:
    return row.get("promptId") or _label(row, "prompt")


def _label(row: Row, field: str) -> str:
    named = row.get(field)
    if isinstance(named, dict):
        return str(named.get("label") or named.get("id") or "")
    return str(named or "")


def _provider(row: Row) -> str:
    return _label(row, "provider")


def _id(row: Row, with_provider: bool) -> str:
    """A name that is the same in the next run: a few words, and a digest of what was asked."""
    case, variables = _map(row.get("testCase")), _map(row.get("vars"))
    # What begins with an underscore is put in by promptfoo as it runs.
    asked = {k: v for k, v in variables.items() if not str(k).startswith("_") and k != "sessionId"}
    provider = _provider(row) if with_provider else ""
    identity = json.dumps([asked, case.get("assert"), provider], sort_keys=True)
    said = row.get("description") or case.get("description") or next(iter(asked.values()), "test")
    words = " ".join(str(said).split())[:LABEL_CHARS_MAX] + (f" ({provider})" if provider else "")
    return fitting_id(f"{words} #{sha256(identity.encode()).hexdigest()[:8]}")


def _example(row: Row, place: int, id_: str, scale: Scale) -> Example:
    success, reason = row["success"], row.get("failureReason")
    # Before there was a failureReason, a test that failed without a grade was not judged.
    ungraded = "failureReason" not in row and not row.get("gradingResult")
    if not success and (reason == COULD_NOT_BE_JUDGED or ungraded):
        return Example(id_, False, error=True)
    score = row.get("score")
    if score is None:
        return Example(id_, success)
    if type(score) not in (int, float):
        raise BadEvaluation(f"results[{place}] has a score that is no number: {str(score)[:40]}")
    return replace(scale.example(id_, score), passed=success)


def _map(value: Any) -> Row:
    return value if isinstance(value, dict) else {}
