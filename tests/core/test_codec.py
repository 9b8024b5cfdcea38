"""Values of core survive JSON exactly; JSON that is not such a value is refused with its place."""

import inspect
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core import model, reading
from knowngood.core.codec import BadData, from_data, plain, to_data
from knowngood.core.counts import Count
from knowngood.core.levels import Level
from knowngood.core.model import (
    Arm,
    Change,
    Evidence,
    Observed,
    Phase,
    Route,
    State,
    Steady,
    Verifying,
)
from knowngood.core.window import Bucket, Window

# What was seen is put away by `frozen`, which keeps the sums that were asked for and no bucket.
SEEN = (Evidence, Observed)
VALUES = [
    value
    for module in (model, reading)
    for _, value in sorted(vars(module).items())
    if inspect.isclass(value) and is_dataclass(value) and value.__module__ == module.__name__
    if value not in SEEN
]
SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=5),
    int: st.integers(-(2**60), 2**60),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    types.NoneType: st.none(),
}
JSON = st.recursive(
    st.one_of(*SCALARS.values()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
COUNTS = st.dictionaries(st.text(max_size=5), SCALARS[int], max_size=2)
BINS = st.dictionaries(st.integers(-640, 1983), SCALARS[int], max_size=2)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Every value that a type hint of core allows."""
    if hint in SCALARS:
        return SCALARS[hint]
    if hint is Any:
        return JSON
    if hint is Route:
        return st.integers(1, 9_999).flatmap(routes)
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    if inspect.isclass(hint) and is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{f.name: field_values(hint, hints[f.name]) for f in fields(hint)})
    inner = [argument for argument in get_args(hint) if argument is not ...]
    match get_origin(hint):
        case types.UnionType:
            return st.one_of([values(member) for member in inner])
        case origin if origin is tuple:
            return st.lists(values(inner[0]), max_size=2).map(tuple)
        case origin if origin is Mapping:
            return st.dictionaries(st.text(max_size=5), values(inner[1]), max_size=2)
    raise AssertionError(f"a hint that core has not used so far: {hint}")


def field_values(owner: type, hint: Any) -> st.SearchStrategy[Any]:
    if owner is Window:
        keys, _ = get_args(hint) or (None, None)
        if hint == Mapping[str, Mapping[int, int]]:
            return st.dictionaries(st.text(max_size=5), BINS, max_size=2)
        return {int: BINS, str: COUNTS, None: SCALARS[int]}[keys]
    return values(hint)


def routes(weight_bp: int) -> st.SearchStrategy[Route]:
    arms = st.sampled_from(
        [(Arm("v1", 10_000),), (Arm("v1", weight_bp), Arm("v2", 10_000 - weight_bp))]
    )
    return st.builds(Route, arms, SCALARS[str], SCALARS[int], SCALARS[int])


@pytest.mark.parametrize(
    "kind", [*VALUES, Window, Bucket, Count, Level], ids=lambda kind: kind.__name__
)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_every_value_survives_json(kind: type, data: st.DataObject):
    """What is read back from JSON text equals what was written, for every class of core."""
    value = data.draw(values(kind))
    text = json.dumps(to_data(value), allow_nan=False)
    assert from_data(kind, json.loads(text)) == value


@pytest.mark.parametrize("kind", SEEN)
def test_what_was_seen_is_not_put_away_whole(kind: type):
    """Thousands of buckets in a line of history would be a mistake: it is refused, not written."""
    with pytest.raises(TypeError, match="no JSON form"):
        to_data(kind(until_ms=1) if kind is Observed else kind())


def test_defaults_are_left_out():
    """Data holds only what differs from the default."""
    assert to_data(State("production", "support")) == {
        "environment": "production",
        "prompt": "support",
    }
    assert from_data(State, {"environment": "e", "prompt": "p"}) == State("e", "p")


def test_members_of_a_union_carry_their_name():
    """Where a field may hold several classes, the data says which."""
    state = State("e", "p", phase=Verifying("v2", "v1", ("a",), 1, 2, "ann", True))
    assert to_data(state)["phase"] == {
        "type": "Verifying", "from_version": "v2", "to_version": "v1", "triggers": ["a"],
        "began_ms": 1, "deadline_ms": 2, "by": "ann", "automatic": True,
    }  # fmt: skip
    assert from_data(Phase, {"type": "Steady"}) == Steady()


ENTRY = {"version": "v1", "standing": "good", "since_ms": 1}
STATE = {"environment": "e", "prompt": "p"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "State: expected an object, got None"),
        ({"prompt": "p"}, "State: the field 'environment' is missing"),
        ({**STATE, "colour": 1}, "State: unknown field 'colour'"),
        ({**STATE, "prompt": 5}, "State.prompt: expected a string, got 5"),
        ({**STATE, "revision": True}, "State.revision: expected a whole number, got True"),
        ({**STATE, "revision": 1.0}, "State.revision: expected a whole number, got 1.0"),
        ({**STATE, "ledger": ENTRY}, "State.ledger: expected a list, got {"),
        (
            {**STATE, "ledger": [ENTRY, {**ENTRY, "standing": "best"}]},
            "State.ledger[1].standing: 'best' is none of candidate, good, quarantined",
        ),
        ({**STATE, "ledger": [{**ENTRY, "standing": []}]}, "State.ledger[0].standing: [] is none"),
        ({**STATE, "phase": {"type": "Panic"}}, "State.phase: type 'Panic' is none of Steady, "),
        ({**STATE, "phase": {}}, "State.phase: type None is none of Steady, "),
        (
            {**STATE, "ledger": [{**ENTRY, "baseline": {"okay": 1}}]},
            "State.ledger[0].baseline: unknown field 'okay'",
        ),
    ],
)
def test_wrong_data_is_refused_with_its_place(data: Any, message: str):
    """Nothing is ignored or guessed: the error says where and what, and what would be known."""
    with pytest.raises(BadData) as wrong:
        from_data(State, data)
    assert wrong.value.message.startswith(message)


def test_wrong_union_is_named():
    """Also where the outermost value is one of several classes."""
    with pytest.raises(BadData, match=r"Steady \| .*Verifying: expected an object"):
        from_data(Phase, [])


def test_plain_data_is_a_copy():
    """Later changes of the original do not reach the copy; enums and values become plain."""
    original: dict[str, Any] = {"list": [1], "who": model.Severity.HIGH, "arm": Arm("v1", 1)}
    copy = plain(original)
    original["list"].append(2)
    assert copy == {"list": [1], "who": "high", "arm": {"version": "v1", "weight_bp": 1}}
    assert type(copy["who"]) is str


@pytest.mark.parametrize("data", [{1: 2}, {"x": {1, 2}}, {"x": b""}])
def test_plain_data_is_json(data: Any):
    """What JSON cannot say is refused when it is written, not when it is read."""
    with pytest.raises(TypeError):
        plain(data)


def test_unclear_types_are_refused():
    """A class that could not be read back is refused before anything is written."""

    @dataclass(frozen=True, slots=True)
    class Unclear:
        when: int | str

    with pytest.raises(TypeError, match="told apart"):
        to_data(Unclear(1))
    with pytest.raises(TypeError, match="told apart"):
        from_data(Unclear, {"when": 1})


def test_change_with_every_action_survives():
    """A change is data too: its actions keep their order and kinds."""
    change = Change(
        "e", "p", 3, (model.MoveRoute((Arm("v1", 10_000),)), model.CountRollback()), "a"
    )
    assert from_data(Change, json.loads(json.dumps(to_data(change)))) == change
