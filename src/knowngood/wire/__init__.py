"""The JSON between SDK and server, version 1: observations, receipts, snapshots and call ids.

A batch whose envelope is malformed is refused as a whole. A single malformed row, unit or late
score is left out and counted under a plain reason, because the rest of the batch is evidence still.
Unknown fields are ignored, so that either side can be upgraded first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from knowngood.core.errors import BadRequest as BadRequest  # the SDK catches it from here
from knowngood.core.errors import KnowngoodError
from knowngood.core.model import Arm, Content, Message, Route, ScoreRange
from knowngood.core.window import (
    ERROR_KINDS,
    MAX_LATENCY_BUCKET,
    MIN_LATENCY_BUCKET,
    NANO_PER_USD,
    SCORE_BINS,
    Bins,
    Counts,
    Window,
    to_row,
)
from knowngood.wire.calls import CALL_ID_CHARS_MAX as CALL_ID_CHARS_MAX
from knowngood.wire.calls import CallId as CallId
from knowngood.wire.calls import call_id as call_id
from knowngood.wire.calls import parse_call_id as parse_call_id
from knowngood.wire.units import SUMS_PER_FLUSH_MAX as SUMS_PER_FLUSH_MAX
from knowngood.wire.units import Compared as Compared
from knowngood.wire.units import UnitGroup as UnitGroup
from knowngood.wire.units import UnitSum as UnitSum
from knowngood.wire.units import decode_group, encode_group
from knowngood.wire.units import tagged as tagged
from knowngood.wire.units import unit_of as unit_of
from knowngood.wire.values import CLIENT_CHARS_MAX as CLIENT_CHARS_MAX
from knowngood.wire.values import COUNT_MAX as COUNT_MAX
from knowngood.wire.values import NAME_CHARS_MAX as NAME_CHARS_MAX
from knowngood.wire.values import NAMES_PER_ROW_MAX as NAMES_PER_ROW_MAX
from knowngood.wire.values import NUMBER_MAX as NUMBER_MAX
from knowngood.wire.values import LeftOut, checked_count, checked_name, checked_number

VERSION = 1

# An SDK holds at most 2,000 rows while the server is away (50 versions for 40 s) and sends them at
# once. More is not an SDK of ours.
ROWS_MAX = 2_000
# A job that scores yesterday's calls sends them in portions of at most this many.
LATE_SCORES_MAX = 10_000
TOKENS_MAX = 10**12
COST_USD_MAX = 1_000_000.0
SCORE_ABS_MAX = 1e15  # beyond it floats no longer resolve one
AGO_MS_MAX = 24 * 3_600_000  # no process holds rows longer than a day
NEXT_FLUSH_MS_MAX = 60_000  # a process that is told to be silent longer would look dead
VERSIONS_PER_PROMPT_MAX = 1_000
PROMPTS_MAX = 100_000


# --- What travels


@dataclass(frozen=True, slots=True)
class LateScore:
    """A score of a call that is named by its id."""

    call: str
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Row:
    """What happened to one version in one second that began `ago_ms` before the batch was sent."""

    prompt: str
    version: str
    ago_ms: int
    window: Window


@dataclass(frozen=True, slots=True)
class Batch:
    """One flush of one process.

    `(client_id, boot, seq)` names the flush for good: a repetition is the same flush. `generation`
    is the one the process serves from. `dropped` counts calls that found its buffers full, and
    `refused` values that it could not record, by reason, both since its last flush. `closing` says
    that the process ends properly and its silence is no alarm. `units` are sums of single units.
    """

    client_id: str
    boot: str
    seq: int
    environment: str
    generation: int
    rows: tuple[Row, ...] = ()
    late_scores: tuple[LateScore, ...] = ()
    dropped: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    closing: bool = False
    units: tuple[UnitGroup, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The server's answer to a batch; `ignored` counts what it left out, by reason.

    A receipt whose `generation` is above the process's own says that a newer snapshot is there.
    """

    ignored: Mapping[str, int] = field(default_factory=dict)
    generation: int = 0
    next_flush_ms: int = 1000
    accepted: int = 1


@dataclass(frozen=True, slots=True)
class VersionContent:
    """A version as it is served."""

    content: Content
    digest: str


@dataclass(frozen=True, slots=True)
class PromptSnapshot:
    """A prompt's route, and its routed and hot versions: a rollback never fetches anything.

    `compared`: its arms are compared unit by unit, and the process is asked for their sums.
    """

    route: Route
    versions: Mapping[str, VersionContent]
    compared: Compared | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a process needs to serve an environment.

    `boot` names the lineage of the server's data: generations are compared only within one, and a
    client refuses an older generation of the same.
    """

    environment: str
    generation: int
    scores: Mapping[str, ScoreRange] = field(default_factory=dict)
    prompts: Mapping[str, PromptSnapshot] = field(default_factory=dict)
    boot: str = ""


# --- Batches


def encode_batch(batch: Batch) -> dict[str, Any]:
    """The batch as JSON data; empty optional fields are left out."""
    data: dict[str, Any] = {
        "v": VERSION,
        "client": {"id": batch.client_id, "boot": batch.boot},
        "seq": batch.seq,
        "environment": batch.environment,
        "generation": batch.generation,
        "dropped": batch.dropped,
        "rows": [_encode_row(row) for row in batch.rows],
        "late_scores": [
            {"call": late.call, "name": late.name, "value": late.value}
            for late in batch.late_scores
        ],
    }
    if batch.refused:
        data["refused"] = dict(batch.refused)
    if batch.closing:
        data["closing"] = True
    if batch.units:
        data["units"] = [encode_group(group) for group in batch.units]
    return data


def _encode_row(row: Row) -> dict[str, Any]:
    data = to_row(row.window)
    cost_nano_usd = data.pop("cost_nano_usd", 0)
    if cost_nano_usd:
        data["cost_usd"] = cost_nano_usd / NANO_PER_USD
    return {"prompt": row.prompt, "version": row.version, "ago_ms": row.ago_ms, **data}


def decode_batch(data: object) -> tuple[Batch, dict[str, int]]:
    """The batch in JSON data, and how many rows and late scores were left out, by reason.

    Raises BadRequest, naming the field, when the envelope is malformed.
    """
    if type(data) is not dict:
        raise BadRequest("a batch is a JSON object")
    _check_version(data)
    client = data.get("client")
    if type(client) is not dict:
        raise BadRequest("`client` must be an object with `id` and `boot`")
    rows, late_scores = data.get("rows", ()), data.get("late_scores", ())
    _check_list("rows", rows, ROWS_MAX)
    _check_list("late_scores", late_scores, LATE_SCORES_MAX)
    units = data.get("units", ())
    _check_list("units", units, ROWS_MAX)
    closing = data.get("closing", False)
    if type(closing) is not bool:
        raise BadRequest("`closing` must be true or false")
    ignored: dict[str, int] = {}
    batch = Batch(
        client_id=_envelope_name("client.id", client.get("id"), CLIENT_CHARS_MAX),
        boot=_envelope_name("client.boot", client.get("boot"), CLIENT_CHARS_MAX),
        seq=_envelope_number("seq", data.get("seq")),
        environment=_envelope_name("environment", data.get("environment"), NAME_CHARS_MAX),
        generation=_envelope_number("generation", data.get("generation")),
        rows=tuple(_kept(rows, _decode_row, ignored)),
        late_scores=tuple(_kept(late_scores, _decode_late_score, ignored)),
        dropped=_envelope_number("dropped", data.get("dropped", 0)),
        refused=_refused(data.get("refused")),
        closing=closing,
        units=_units(units, ignored),
    )
    return batch, ignored


def _units(groups: Any, ignored: dict[str, int]) -> tuple[UnitGroup, ...]:
    kept = [decoded for group in groups if (decoded := decode_group(group, ignored)) is not None]
    if sum(len(group.sums) for group in kept) > SUMS_PER_FLUSH_MAX:
        raise BadRequest(f"`units` may hold at most {SUMS_PER_FLUSH_MAX} units at once")
    return tuple(kept)


def _kept(items: Any, decode: Any, ignored: dict[str, int]) -> list[Any]:
    kept = []
    for item in items:
        try:
            kept.append(decode(item))
        except LeftOut as reason:
            text = str(reason)
            ignored[text] = ignored.get(text, 0) + 1
    return kept


def _check_version(data: dict[str, Any]) -> None:
    version = data.get("v")
    if type(version) is not int or version != VERSION:
        raise BadRequest(f"`v` must be {VERSION}; this server speaks no other version")


def _check_list(name: str, value: object, most: int) -> None:
    if type(value) is not list and value != ():
        raise BadRequest(f"`{name}` must be a list")
    if len(value) > most:
        raise BadRequest(f"`{name}` has {len(value)} entries; at most {most} may be sent at once")


def _envelope_name(name: str, value: object, most: int) -> str:
    if type(value) is not str or not 0 < len(value) <= most or not value.isprintable():
        raise BadRequest(f"`{name}` must be a printable text of 1 to {most} characters")
    return value


def _envelope_number(name: str, value: object) -> int:
    if type(value) is not int or not 0 <= value <= NUMBER_MAX:
        raise BadRequest(f"`{name}` must be a whole number from 0 to {NUMBER_MAX}")
    return value


def _refused(value: object) -> dict[str, int]:
    if value is None:
        return {}
    if type(value) is not dict or len(value) > NAMES_PER_ROW_MAX:
        raise BadRequest(f"`refused` must be an object of at most {NAMES_PER_ROW_MAX} counts")
    for reason, count in value.items():
        _envelope_name("refused", reason, NAME_CHARS_MAX)
        _envelope_number(f"refused.{reason}", count)
    return value


def _decode_row(data: Any) -> Row:
    if type(data) is not dict:
        raise LeftOut("not an object")
    get = data.get
    ago_ms = get("ago_ms")
    if type(ago_ms) is not int or not 0 <= ago_ms <= AGO_MS_MAX:
        raise LeftOut("ago_ms out of range")
    errors, scores, counters = get("errors"), get("scores"), get("counters")
    latency, first_token, tokens = get("latency"), get("first_token"), get("tokens")
    input_tokens, output_tokens = _tokens(tokens) if tokens is not None else (0, 0)
    cost_usd = get("cost_usd")
    window = Window(
        ok=checked_count(get("ok", 0)),
        errors=_errors(errors) if errors else {},
        excluded=checked_count(get("excluded", 0)),
        repeat=checked_count(get("repeat", 0)),
        units=checked_count(get("units", 0)),
        latency=_bins(latency, _LATENCY_INDEX) if latency else {},
        first_token=_bins(first_token, _LATENCY_INDEX) if first_token else {},
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_nano_usd=_cost(cost_usd) if cost_usd is not None else 0,
        scores=_scores(scores) if scores else {},
        counters=_counters(counters) if counters else {},
    )
    return Row(checked_name(get("prompt")), checked_name(get("version")), ago_ms, window)


def _decode_late_score(data: Any) -> LateScore:
    if type(data) is not dict:
        raise LeftOut("not an object")
    call: Any = data.get("call")
    try:
        parse_call_id(call)
    except BadRequest:
        raise LeftOut("not a call id") from None
    value = checked_number(data.get("value"))
    if abs(value) > SCORE_ABS_MAX:
        raise LeftOut("number too large")
    return LateScore(call, checked_name(data.get("name")), value)


def _errors(value: Any) -> Counts:
    if type(value) is not dict:
        raise LeftOut("not an object")
    for kind, count in value.items():
        if kind not in ERROR_KINDS:
            raise LeftOut("unknown error kind")
        checked_count(count)
    return value


def _counters(value: Any) -> Counts:
    if type(value) is not dict:
        raise LeftOut("not an object")
    if len(value) > NAMES_PER_ROW_MAX:
        raise LeftOut("too many counters")
    return {checked_name(name): checked_count(count) for name, count in value.items()}


def _tokens(value: Any) -> tuple[int, int]:
    if type(value) is not list or len(value) != 2:
        raise LeftOut("tokens are not a pair")
    return checked_count(value[0], TOKENS_MAX), checked_count(value[1], TOKENS_MAX)


def _cost(value: Any) -> int:
    cost_usd = checked_number(value)
    if not 0 <= cost_usd <= COST_USD_MAX:
        raise LeftOut("negative cost" if cost_usd < 0 else "cost too large")
    return round(cost_usd * NANO_PER_USD)


def _scores(value: Any) -> dict[str, Bins]:
    if type(value) is not dict:
        raise LeftOut("not an object")
    if len(value) > NAMES_PER_ROW_MAX:
        raise LeftOut("too many scores")
    return {checked_name(name): _bins(bins, _SCORE_INDEX) for name, bins in value.items()}


class _Index(dict[str, int]):
    """The indices of a histogram by their JSON key; each key is parsed and checked once."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.low, self.high = low, high

    def __missing__(self, key: str) -> int:
        # Only canonical keys in range are remembered, so the table cannot grow beyond the range.
        digits = key[1:] if key[:1] == "-" else key
        index = int(key) if digits.isascii() and digits.isdigit() and len(key) < 8 else self.low - 1
        if not self.low <= index <= self.high or str(index) != key:
            raise LeftOut("bucket out of range")
        self[key] = index
        return index


_LATENCY_INDEX = _Index(MIN_LATENCY_BUCKET, MAX_LATENCY_BUCKET)
_SCORE_INDEX = _Index(0, SCORE_BINS)


def _bins(value: Any, index: _Index) -> Bins:
    if type(value) is not dict:
        raise LeftOut("not an object")
    bins = {}
    for key, count in value.items():
        # The same as _count, in place: this loop is most of the work of a batch.
        if type(count) is not int or not 0 <= count <= COUNT_MAX:
            checked_count(count)
        bins[index[key]] = count
    return bins


# --- Receipts


def encode_receipt(receipt: Receipt) -> dict[str, Any]:
    """The receipt as JSON data."""
    return {
        "accepted": receipt.accepted,
        "ignored": dict(receipt.ignored),
        "generation": receipt.generation,
        "next_flush_ms": receipt.next_flush_ms,
    }


def decode_receipt(data: object) -> Receipt:
    """The receipt in JSON data; a hint to be silent too long is cut. Raises BadRequest."""
    if type(data) is not dict:
        raise BadRequest("a receipt is a JSON object")
    next_flush_ms = _envelope_number("next_flush_ms", data.get("next_flush_ms"))
    ignored = data.get("ignored", {})
    if type(ignored) is not dict:
        raise BadRequest("`ignored` must be an object")
    return Receipt(
        ignored={str(k): _envelope_number(f"ignored.{k}", n) for k, n in ignored.items()},
        generation=_envelope_number("generation", data.get("generation")),
        next_flush_ms=min(next_flush_ms, NEXT_FLUSH_MS_MAX),
        accepted=_envelope_number("accepted", data.get("accepted")),
    )


# --- Snapshots


def encode_snapshot(snapshot: Snapshot) -> dict[str, Any]:
    """The snapshot as JSON data."""
    data: dict[str, Any] = {
        "v": VERSION,
        "environment": snapshot.environment,
        "generation": snapshot.generation,
        "scores": {
            name: {"min": declared.min, "max": declared.max, "better": declared.better}
            for name, declared in snapshot.scores.items()
        },
        "prompts": {name: _encode_prompt(prompt) for name, prompt in snapshot.prompts.items()},
    }
    if snapshot.boot:
        data["boot"] = snapshot.boot
    return data


def _encode_prompt(prompt: PromptSnapshot) -> dict[str, Any]:
    data: dict[str, Any] = {
        "arms": [[arm.version, arm.weight_bp] for arm in prompt.route.arms],
        "salt": prompt.route.salt,
        "versions": {name: _encode_version(v) for name, v in prompt.versions.items()},
    }
    if compared := prompt.compared:
        data["compared"] = {"generation": compared.generation, "scores": list(compared.scores)}
    return data


def _encode_version(version: VersionContent) -> dict[str, Any]:
    content = version.content
    data: dict[str, Any] = {"config": dict(content.config), "digest": version.digest}
    if content.messages is None:
        data["text"] = content.text
    else:
        data["messages"] = [{"role": m.role, "content": m.content} for m in content.messages]
    return data


def decode_snapshot(data: object) -> Snapshot:
    """The snapshot in JSON data. Raises BadRequest, naming the field, when anything is malformed.

    A snapshot is taken whole or not at all: half of one could serve what nobody ever routed.
    """
    if type(data) is not dict:
        raise BadRequest("a snapshot is a JSON object")
    _check_version(data)
    scores = _object("scores", data.get("scores", {}), NAMES_PER_ROW_MAX)
    prompts = _object("prompts", data.get("prompts"), PROMPTS_MAX)
    boot = data.get("boot", "")
    if type(boot) is not str:
        raise BadRequest("`boot` must be a text")
    return Snapshot(
        environment=_envelope_name("environment", data.get("environment"), NAME_CHARS_MAX),
        generation=_envelope_number("generation", data.get("generation")),
        scores={name: _decode_range(f"scores.{name}", r) for name, r in scores.items()},
        prompts={name: _decode_prompt(f"prompts.{name}", p) for name, p in prompts.items()},
        boot=boot,
    )


def _object(name: str, value: object, most: int) -> dict[str, Any]:
    if type(value) is not dict or len(value) > most:
        raise BadRequest(f"`{name}` must be an object of at most {most} entries")
    return value


def _decode_range(name: str, data: object) -> ScoreRange:
    data = _object(name, data, NAMES_PER_ROW_MAX)
    try:
        low, high = checked_number(data.get("min")), checked_number(data.get("max"))
    except LeftOut:
        raise BadRequest(f"`{name}` needs numbers `min` and `max`") from None
    better = data.get("better", "higher")
    if not low < high or better not in ("higher", "lower"):
        raise BadRequest(f"`{name}` needs min < max, and `better` higher or lower")
    return ScoreRange(low, high, better)


def _decode_prompt(name: str, data: object) -> PromptSnapshot:
    data = _object(name, data, NAMES_PER_ROW_MAX)
    versions = _object(f"{name}.versions", data.get("versions"), VERSIONS_PER_PROMPT_MAX)
    arms, salt = data.get("arms"), data.get("salt", "")
    if type(arms) is not list or type(salt) is not str:
        raise BadRequest(f"`{name}` needs a list `arms` and a text `salt`")
    route = _decode_route(name, arms, salt)
    for arm in route.arms:
        if arm.version not in versions:
            raise BadRequest(f"`{name}` routes {arm.version}, which is not among its versions")
    return PromptSnapshot(
        route,
        {v: _decode_version(f"{name}.versions.{v}", content) for v, content in versions.items()},
        _decode_compared(f"{name}.compared", data.get("compared")),
    )


def _decode_compared(name: str, data: object) -> Compared | None:
    if data is None:
        return None
    data = _object(name, data, NAMES_PER_ROW_MAX)
    scores = data.get("scores", [])
    if type(scores) is not list or not all(type(each) is str for each in scores):
        raise BadRequest(f"`{name}.scores` must be a list of names")
    generation = _envelope_number(f"{name}.generation", data.get("generation"))
    return Compared(generation, tuple(scores))


def _decode_route(name: str, arms: list[Any], salt: str) -> Route:
    for arm in arms:
        if (
            type(arm) is not list
            or len(arm) != 2
            or type(arm[0]) is not str
            or type(arm[1]) is not int
        ):
            raise BadRequest(f"`{name}.arms` must be pairs of a version and its basis points")
    try:
        return Route(tuple(Arm(version, weight_bp) for version, weight_bp in arms), salt)
    except KnowngoodError as error:
        raise BadRequest(f"`{name}.arms`: {error.message}") from error


def _decode_version(name: str, data: object) -> VersionContent:
    data = _object(name, data, NAMES_PER_ROW_MAX)
    text, messages = data.get("text"), data.get("messages")
    digest, config = data.get("digest", ""), data.get("config", {})
    if type(digest) is not str or type(config) is not dict:
        raise BadRequest(f"`{name}` needs a text `digest` and an object `config`")
    if (text is None) == (messages is None):
        raise BadRequest(f"`{name}` needs either `text` or `messages`")
    if messages is None:
        if type(text) is not str:
            raise BadRequest(f"`{name}.text` must be a text")
        return VersionContent(Content(text=text, config=config), digest)
    if type(messages) is not list or not all(_is_message(m) for m in messages):
        raise BadRequest(f"`{name}.messages` must be a list of objects with `role` and `content`")
    chat = tuple(Message(m["role"], m["content"]) for m in messages)
    return VersionContent(Content(messages=chat, config=config), digest)


def _is_message(data: object) -> bool:
    return type(data) is dict and type(data.get("role")) is str and type(data.get("content")) is str
