"""Call ids: each says of its call what is needed to score it later, without a table."""

from dataclasses import dataclass

from knowngood.core.errors import BadRequest
from knowngood.wire.values import NAME_CHARS_MAX, NUMBER_MAX

CALL_ID_CHARS_MAX = 4 * NAME_CHARS_MAX


@dataclass(frozen=True, slots=True)
class CallId:
    """What a call id says of its call; `start_s` is seconds since the Unix epoch."""

    environment: str
    prompt: str
    version: str
    start_s: int
    random_part: str


def call_id(environment: str, prompt: str, version: str, start_s: int, random_part: str) -> str:
    """The id of a call: `environment:prompt:version:<hex start second>:<random>`."""
    return f"{environment}:{prompt}:{version}:{start_s:x}:{random_part}"


def parse_call_id(text: object) -> CallId:
    """The parts of a call id. Raises BadRequest when the text is not one."""
    if type(text) is not str or len(text) > CALL_ID_CHARS_MAX or not text.isprintable():
        raise BadRequest(f"a call id is a printable text of at most {CALL_ID_CHARS_MAX} characters")
    parts = text.split(":")
    if len(parts) != 5 or not all(parts):
        raise BadRequest(
            f"{text!r} is not a call id: it has {len(parts)} parts; "
            "environment:prompt:version:start:random is expected"
        )
    try:
        start_s = int(parts[3], 16)
    except ValueError:
        start_s = -1
    if not 0 <= start_s <= NUMBER_MAX or f"{start_s:x}" != parts[3]:
        raise BadRequest(f"{text!r} is not a call id: {parts[3]!r} is not a hexadecimal second")
    return CallId(parts[0], parts[1], parts[2], start_s, parts[4])
