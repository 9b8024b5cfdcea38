"""The frozen values of core as JSON data and back, exactly, driven by their type hints.

A field equal to its default is left out; a member of a union of classes carries its class name as
`type`; enums are written by value, tuples as lists, windows as the rows of the wire.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints, overload

from knowngood.core.errors import KnowngoodError
from knowngood.core.window import Window, from_row, to_row

T = TypeVar("T")
Code = Callable[[Any], Any]

TAG = "type"
# What to_row writes: both token counts share a field.
WINDOW_FIELDS = {f.name for f in fields(Window)} - {"input_tokens", "output_tokens"} | {"tokens"}


class BadData(KnowngoodError):
    """The data does not describe such a value."""

    code = "bad_data"


class _Wrong(Exception):
    """Something is wrong at `path`, which grows outwards on the way up."""

    def __init__(self, message: str, known: list[str] | None = None) -> None:
        self.message = message
        self.known = known or []
        self.path = ""
        super().__init__(message)


def to_data(value: Any) -> Any:
    """The value as JSON data (dicts, lists, strings, numbers, booleans, None).

    Raises TypeError for a type that has no JSON form.
    """
    kind: Any = type(value)
    return _encoder(kind)(value)


@overload
def from_data(kind: type[T], data: Any) -> T: ...
@overload
def from_data(kind: Any, data: Any) -> Any: ...
def from_data(kind: Any, data: Any) -> Any:
    """The value that `to_data` wrote; `kind` is its class, or a union such as `Phase`.

    Raises BadData, naming the place, for unknown or missing fields and for values of a wrong type.
    """
    try:
        return _decoder(kind)(data)
    except _Wrong as wrong:
        name = getattr(kind, "__name__", str(kind))
        raise BadData(f"{name}{wrong.path}: {wrong.message}", known=wrong.known) from None


def plain(data: Any) -> Any:
    """A deep copy of JSON-like data as plain JSON data: mappings to dicts, tuples to lists.

    Raises TypeError for anything that JSON cannot say.
    """
    if isinstance(data, Enum):
        return data.value
    if data is None or isinstance(data, str | int | float):
        return data
    if isinstance(data, Mapping):
        return {_key(key): plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [plain(value) for value in data]
    if is_dataclass(data):
        return to_data(data)
    raise TypeError(f"JSON cannot say a {type(data).__name__}")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a JSON object has strings as keys, not {key!r}")
    return key.value if isinstance(key, Enum) else key


def _as_is(value: Any) -> Any:
    return value


@cache
def _encoder(kind: Any) -> Code:
    if kind is Window:
        return to_row
    if kind in (str, int, float, bool, NoneType):
        return _as_is
    if kind is Any:
        return plain
    if isinstance(kind, type) and issubclass(kind, Enum):
        return lambda value: value.value
    if isinstance(kind, type) and is_dataclass(kind):
        return _record_encoder(kind)
    return _container_encoder(kind)


def _container_encoder(kind: Any) -> Code:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        item = _encoder(arguments[0])
        return lambda values: [item(value) for value in values]
    if origin is Mapping and arguments[0] is str:
        part = _encoder(arguments[1])
        return lambda values: {_key(key): part(value) for key, value in values.items()}
    if origin in (Union, UnionType):
        members = _members(kind)
        if len(members) == 1:
            inner = _encoder(members[0])
            return lambda value: None if value is None else inner(value)
        return _tagged_encoder(members)
    raise TypeError(f"no JSON form is known for {kind}")


def _members(kind: Any) -> tuple[Any, ...]:
    return tuple(member for member in get_args(kind) if member is not NoneType)


def _tagged_encoder(members: tuple[Any, ...]) -> Code:
    known = {member: _encoder(_taggable(member)) for member in members}

    def encode(value: Any) -> Any:
        if value is None:
            return None
        return {TAG: type(value).__name__, **known[type(value)](value)}

    return encode


def _taggable(kind: Any) -> Any:
    if not is_dataclass(kind) or kind is Window or any(f.name == TAG for f in fields(kind)):
        raise TypeError(f"{kind} cannot be told apart in a union")
    return kind


def _default(field: Field[Any]) -> Any:
    """The field's default; of a factory one sample, only ever compared with."""
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _record_encoder(kind: Any) -> Code:
    hints = get_type_hints(kind)
    plan = [(f.name, _encoder(hints[f.name]), _default(f)) for f in fields(kind)]

    def encode(value: Any) -> Any:
        data = {}
        for name, encode_part, default in plan:
            part = getattr(value, name)
            if part is not default and part != default:
                data[name] = encode_part(part)
        return data

    return encode


@cache
def _decoder(kind: Any) -> Code:
    if kind is Window:
        return _decode_window
    if kind in SCALARS:
        return SCALARS[kind]
    if kind is Any:
        return _as_is
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_decoder(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        return _record_decoder(kind)
    return _container_decoder(kind)


def _scalar(words: str, *accepted: type) -> Code:
    def decode(data: Any) -> Any:
        # `type(...)`, not isinstance: True is no count.
        if type(data) not in accepted:
            raise _Wrong(f"expected {words}, got {data!r}")
        return data

    return decode


SCALARS: dict[Any, Code] = {
    str: _scalar("a string", str),
    int: _scalar("a whole number", int),
    float: _scalar("a number", float, int),
    bool: _scalar("true or false", bool),
    NoneType: _scalar("null", NoneType),
}


def _enum_decoder(kind: type[Enum]) -> Code:
    members: dict[Any, Enum] = {member.value: member for member in kind}

    def decode(data: Any) -> Any:
        try:
            return members[data]
        except (KeyError, TypeError):
            known = [str(value) for value in members]
            raise _Wrong(f"{data!r} is none of {', '.join(known)}", known) from None

    return decode


def _object(data: Any) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise _Wrong(f"expected an object, got {data!r}")
    return data


def _decode_window(data: Any) -> Window:
    if unknown := _object(data).keys() - WINDOW_FIELDS:
        raise _Wrong(f"unknown field {min(unknown)!r}", sorted(WINDOW_FIELDS))
    return from_row(data)


def _at(place: str, decode: Code, data: Any) -> Any:
    try:
        return decode(data)
    except _Wrong as wrong:
        wrong.path = place + wrong.path
        raise


def _record_decoder(kind: Any) -> Code:
    hints = get_type_hints(kind)
    known = {f.name: _decoder(hints[f.name]) for f in fields(kind)}
    required = [f.name for f in fields(kind) if _default(f) is MISSING]

    def decode(data: Any) -> Any:
        values = {}
        for name, part in _object(data).items():
            decode_part = known.get(name)
            if decode_part is None:
                raise _Wrong(f"unknown field {name!r}", sorted(known))
            try:
                values[name] = decode_part(part)
            except _Wrong as wrong:
                wrong.path = f".{name}{wrong.path}"
                raise
        for name in required:
            if name not in values:
                raise _Wrong(f"the field {name!r} is missing")
        return kind(**values)

    return decode


def _container_decoder(kind: Any) -> Code:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return _list_decoder(_decoder(arguments[0]))
    if origin is Mapping and arguments[0] is str:
        return _mapping_decoder(_decoder(arguments[1]))
    if origin in (Union, UnionType):
        members = _members(kind)
        inner = _decoder(members[0]) if len(members) == 1 else _tagged_decoder(members)
        if NoneType in get_args(kind):
            return lambda data: None if data is None else inner(data)
        return inner
    raise TypeError(f"no JSON form is known for {kind}")


def _list_decoder(decode_item: Code) -> Code:
    def decode(data: Any) -> Any:
        if not isinstance(data, list):
            raise _Wrong(f"expected a list, got {data!r}")
        return tuple([_at(f"[{i}]", decode_item, item) for i, item in enumerate(data)])

    return decode


def _mapping_decoder(decode_part: Code) -> Code:
    def decode(data: Any) -> Any:
        return {
            SCALARS[str](key): _at(f".{key}", decode_part, part)
            for key, part in _object(data).items()
        }

    return decode


def _tagged_decoder(members: tuple[Any, ...]) -> Code:
    known = {member.__name__: _decoder(_taggable(member)) for member in members}

    def decode(data: Any) -> Any:
        tag = _object(data).get(TAG)
        decode_member = known.get(tag) if isinstance(tag, str) else None
        if decode_member is None:
            raise _Wrong(f"{TAG} {tag!r} is none of {', '.join(known)}", list(known))
        return decode_member({name: part for name, part in data.items() if name != TAG})

    return decode
