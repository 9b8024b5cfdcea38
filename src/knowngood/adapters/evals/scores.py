"""The plainest form: a JSON object that gives each example its score, or true or false.

    {"refund-1": 0.9, "refund-2": true, "greeting": false, "timeout-1": null}

`null` is for an example that could not be judged.
"""

import json
from typing import Any, NoReturn

from knowngood.core.errors import BadEvaluation
from knowngood.core.evaluation import Example, Results, Scale

NEXT = 'write `{"example": 0.9, "another": true, ...}`'


def read(data: bytes, scale: Scale) -> Results:
    """The results in the file's bytes; a score has to be in the range of `scale`.

    Raises BadEvaluation for anything else, also for an example that is there twice.
    """
    try:
        found = json.loads(data, object_pairs_hook=_Pairs, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BadEvaluation(f"not valid JSON: {error}", next_step=NEXT) from error
    if not isinstance(found, _Pairs):
        raise BadEvaluation("not one JSON object", next_step=NEXT)
    return Results(tuple(_example(id_, value, scale) for id_, value in found))


class _Pairs(list[tuple[str, Any]]):
    """An object as it is written: JSON itself would silently keep the last of two equal keys."""


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _example(id_: str, value: Any, scale: Scale) -> Example:
    if value is None:
        return Example(id_, False, error=True)
    if isinstance(value, bool):
        return Example(id_, value)
    if isinstance(value, int | float):
        return scale.example(id_, value)
    raise BadEvaluation(f"{id_!r} has neither a score nor true, false or null", next_step=NEXT)
