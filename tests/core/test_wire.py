"""Laws of the JSON between SDK and server: what is sent arrives, what is malformed is named."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.errors import BadRequest
from knowngood.core.model import Arm, Content, Message, Route, ScoreRange, whole
from knowngood.core.window import (
    ERROR_KINDS,
    MAX_LATENCY_BUCKET,
    MIN_LATENCY_BUCKET,
    NANO_PER_USD,
    Window,
)
from knowngood.wire import (
    AGO_MS_MAX,
    COUNT_MAX,
    LATE_SCORES_MAX,
    NAMES_PER_ROW_MAX,
    NEXT_FLUSH_MS_MAX,
    ROWS_MAX,
    TOKENS_MAX,
    Batch,
    CallId,
    Compared,
    LateScore,
    PromptSnapshot,
    Receipt,
    Row,
    Snapshot,
    UnitGroup,
    UnitSum,
    VersionContent,
    call_id,
    decode_batch,
    decode_receipt,
    decode_snapshot,
    encode_batch,
    encode_receipt,
    encode_snapshot,
    parse_call_id,
    tagged,
    unit_of,
)

# The example of the wire's definition, word for word.
EXAMPLE: dict[str, Any] = {
    "v": 1,
    "client": {"id": "host:pid:rand", "boot": "b"},
    "seq": 17,
    "environment": "production",
    "generation": 981,
    "dropped": 0,
    "rows": [
        {
            "prompt": "cs",
            "version": "v2.0.0",
            "ago_ms": 1400,
            "ok": 41,
            "errors": {"provider": 3},
            "excluded": 1,
            "repeat": 0,
            "units": 37,
            "latency": {"523": 4},
            "tokens": [9100, 2200],
            "cost_usd": 0.11,
            "scores": {"quality": {"72": 3}},
        }
    ],
    "late_scores": [{"call": "production:cs:v1:65f0:ab", "name": "quality", "value": 0.7}],
}

counts = st.integers(0, COUNT_MAX)
names = st.text(alphabet="abcXYZ09._- é", min_size=1, max_size=20)
histograms = st.dictionaries(
    st.integers(MIN_LATENCY_BUCKET, MAX_LATENCY_BUCKET), counts, max_size=5
)
windows = st.builds(
    Window,
    ok=counts,
    errors=st.dictionaries(st.sampled_from(ERROR_KINDS), counts),
    excluded=counts,
    repeat=counts,
    units=counts,
    latency=histograms,
    first_token=histograms,
    input_tokens=st.integers(0, TOKENS_MAX),
    output_tokens=st.integers(0, TOKENS_MAX),
    cost_nano_usd=st.integers(0, 1000 * NANO_PER_USD),
    scores=st.dictionaries(
        names, st.dictionaries(st.integers(0, 100), counts, min_size=1, max_size=3), max_size=3
    ),
    counters=st.dictionaries(names, counts, max_size=3),
)
late_scores = st.builds(
    LateScore,
    st.just(call_id("production", "cs", "v1", 1_700_000_000, "ab12")),
    names,
    st.floats(-1e9, 1e9),
)
batches = st.builds(
    Batch,
    client_id=names,
    boot=names,
    seq=st.integers(0, 2**53),
    environment=names,
    generation=st.integers(0, 2**53),
    rows=st.lists(
        st.builds(Row, names, names, st.integers(0, AGO_MS_MAX), windows), max_size=3
    ).map(tuple),
    late_scores=st.lists(late_scores, max_size=3).map(tuple),
    dropped=counts,
    refused=st.dictionaries(names, counts, max_size=3),
    closing=st.booleans(),
)


def over_the_wire(data):
    return json.loads(json.dumps(data))


def with_row(**changes):
    """The example with one row changed; None takes a field away."""
    row = {**EXAMPLE["rows"][0], **changes}
    return {**EXAMPLE, "rows": [{k: v for k, v in row.items() if v is not None}]}


@given(batches)
def test_a_batch_arrives_as_it_was_sent(batch):
    """Decoding undoes encoding, through real JSON, to the last nano-dollar."""
    assert decode_batch(over_the_wire(encode_batch(batch))) == (batch, {})


def test_the_example_of_the_definition_is_understood():
    """What the definition shows is what the code speaks."""
    batch, ignored = decode_batch(over_the_wire(EXAMPLE))
    assert ignored == {}
    assert batch.rows[0] == Row(
        "cs",
        "v2.0.0",
        1400,
        Window(
            ok=41,
            errors={"provider": 3},
            excluded=1,
            units=37,
            latency={523: 4},
            input_tokens=9100,
            output_tokens=2200,
            cost_nano_usd=110_000_000,
            scores={"quality": {72: 3}},
        ),
    )
    assert batch.late_scores == (LateScore("production:cs:v1:65f0:ab", "quality", 0.7),)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ok": -1}, "negative count"),
        ({"ok": True}, "not a whole number"),
        ({"ok": 1.0}, "not a whole number"),
        ({"ok": "1"}, "not a whole number"),
        ({"ok": COUNT_MAX + 1}, "count too large"),
        ({"excluded": -1}, "negative count"),
        ({"repeat": []}, "not a whole number"),
        ({"units": 10**400}, "count too large"),
        ({"errors": {"provider": -1}}, "negative count"),
        ({"errors": {"weather": 1}}, "unknown error kind"),
        ({"errors": {"caller": 1}}, "unknown error kind"),
        ({"errors": [1]}, "not an object"),
        ({"latency": {"523": -4}}, "negative count"),
        ({"latency": {"523": True}}, "not a whole number"),
        ({"latency": {str(MAX_LATENCY_BUCKET + 1): 1}}, "bucket out of range"),
        ({"latency": {str(MIN_LATENCY_BUCKET - 1): 1}}, "bucket out of range"),
        ({"latency": {"": 1}}, "bucket out of range"),
        ({"latency": {"x": 1}}, "bucket out of range"),
        ({"latency": {"1.5": 1}}, "bucket out of range"),
        ({"latency": {"+5": 1}}, "bucket out of range"),
        ({"latency": {"05": 1}}, "bucket out of range"),
        ({"latency": {"1_0": 1}}, "bucket out of range"),
        ({"latency": {"٣": 1}}, "bucket out of range"),
        ({"latency": {"9" * 5000: 1}}, "bucket out of range"),
        ({"latency": [1]}, "not an object"),
        ({"first_token": {"x": 1}}, "bucket out of range"),
        ({"tokens": [1]}, "tokens are not a pair"),
        ({"tokens": 5}, "tokens are not a pair"),
        ({"tokens": [1, -1]}, "negative count"),
        ({"tokens": [1, TOKENS_MAX + 1]}, "count too large"),
        ({"cost_usd": float("nan")}, "not a number"),
        ({"cost_usd": float("inf")}, "not a number"),
        ({"cost_usd": "1"}, "not a number"),
        ({"cost_usd": True}, "not a number"),
        ({"cost_usd": -0.01}, "negative cost"),
        ({"cost_usd": 1e7}, "cost too large"),
        ({"cost_usd": 10**400}, "number too large"),
        ({"scores": {"quality": {"101": 1}}}, "bucket out of range"),
        ({"scores": {"quality": {"-1": 1}}}, "bucket out of range"),
        ({"scores": {"quality": 3}}, "not an object"),
        ({"scores": {"": {"1": 1}}}, "not a name"),
        ({"scores": {f"s{i}": {} for i in range(NAMES_PER_ROW_MAX + 1)}}, "too many scores"),
        ({"counters": {"c": -1}}, "negative count"),
        ({"counters": {"a\nb": 1}}, "not a name"),
        ({"counters": {f"c{i}": 1 for i in range(NAMES_PER_ROW_MAX + 1)}}, "too many counters"),
        ({"counters": [1]}, "not an object"),
        ({"ago_ms": -1}, "ago_ms out of range"),
        ({"ago_ms": 1.5}, "ago_ms out of range"),
        ({"ago_ms": None}, "ago_ms out of range"),
        ({"ago_ms": AGO_MS_MAX + 1}, "ago_ms out of range"),
        ({"prompt": None}, "not a name"),
        ({"prompt": 7}, "not a name"),
        ({"version": ""}, "not a name"),
        ({"version": "\ud800"}, "not a name"),
        ({"version": "v" * 129}, "not a name"),
    ],
)
def test_a_malformed_row_is_left_out_and_counted(changes, reason):
    """One bad row costs itself, not its batch, and the receipt can say why."""
    data = with_row(**changes)
    data["rows"].append(EXAMPLE["rows"][0])
    batch, ignored = decode_batch(data)
    assert ignored == {reason: 1}
    assert len(batch.rows) == 1


@pytest.mark.parametrize("row", [None, [], 1, "row", True])
def test_a_row_that_is_no_object_is_left_out(row):
    """A row is an object."""
    batch, ignored = decode_batch({**EXAMPLE, "rows": [row, row]})
    assert (batch.rows, ignored) == ((), {"not an object": 2})


@pytest.mark.parametrize(
    ("late", "reason"),
    [
        (None, "not an object"),
        ({}, "not a call id"),
        ({"call": "a:b:c"}, "not a call id"),
        ({"value": float("nan")}, "not a number"),
        ({"value": None}, "not a number"),
        ({"value": True}, "not a number"),
        ({"value": 1e300}, "number too large"),
        ({"value": 10**400}, "number too large"),
        ({"name": ""}, "not a name"),
    ],
)
def test_a_malformed_late_score_is_left_out_and_counted(late, reason):
    """One bad score costs itself only."""
    good = EXAMPLE["late_scores"][0]
    bad = {**good, **late} if late else late
    batch, ignored = decode_batch({**EXAMPLE, "late_scores": [bad, good]})
    assert ignored == {reason: 1}
    assert len(batch.late_scores) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"v": 2}, "`v` must be 1"),
        ({"v": True}, "`v` must be 1"),
        ({"v": None}, "`v` must be 1"),
        ({"client": "x"}, "`client` must be an object"),
        ({"client": {"boot": "b"}}, "`client.id`"),
        ({"client": {"id": "x" * 401, "boot": "b"}}, "`client.id`"),
        ({"client": {"id": "a\0", "boot": "b"}}, "`client.id`"),
        ({"client": {"id": "a"}}, "`client.boot`"),
        ({"seq": -1}, "`seq` must be a whole number"),
        ({"seq": True}, "`seq` must be a whole number"),
        ({"seq": 2**53 + 1}, "`seq` must be a whole number"),
        ({"seq": 1.0}, "`seq` must be a whole number"),
        ({"environment": ""}, "`environment`"),
        ({"environment": None}, "`environment`"),
        ({"generation": "981"}, "`generation`"),
        ({"dropped": -1}, "`dropped`"),
        ({"rows": {}}, "`rows` must be a list"),
        ({"rows": None}, "`rows` must be a list"),
        ({"rows": [None] * (ROWS_MAX + 1)}, "`rows` has 2001 entries"),
        ({"late_scores": "x"}, "`late_scores` must be a list"),
        ({"late_scores": [None] * (LATE_SCORES_MAX + 1)}, "`late_scores` has 10001 entries"),
        ({"refused": []}, "`refused` must be an object"),
        ({"refused": {"x": -1}}, "`refused.x`"),
        ({"refused": {"": 1}}, "`refused`"),
        ({"closing": 1}, "`closing` must be true or false"),
    ],
)
def test_a_malformed_envelope_is_refused_by_field(changes, message):
    """Nobody guesses what a batch of unknown origin meant; the message names the field."""
    with pytest.raises(BadRequest, match=message):
        decode_batch({**EXAMPLE, **changes})


@pytest.mark.parametrize("data", [None, [], 1, "x", True])
def test_a_batch_is_an_object(data):
    """Anything else is refused."""
    with pytest.raises(BadRequest, match="a batch is a JSON object"):
        decode_batch(data)


def test_optional_and_unknown_fields():
    """Old clients may lack a field, new ones may send one more."""
    required = {k: EXAMPLE[k] for k in ("v", "client", "seq", "environment", "generation")}
    batch, ignored = decode_batch({**required, "news": [1, 2]})
    assert (batch.rows, batch.late_scores, batch.dropped, ignored) == ((), (), 0, {})
    assert not batch.closing


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(st.sampled_from([*EXAMPLE, *EXAMPLE["rows"][0], *EXAMPLE["late_scores"][0]]), json_values)
def test_garbage_is_refused_or_left_out(field, value):
    """No JSON whatsoever raises anything but BadRequest."""
    for data in (value, {**EXAMPLE, field: value}, with_row(**{field: value})):
        for decode in (decode_batch, decode_receipt, decode_snapshot):
            try:
                decode(data)
            except BadRequest as refusal:
                assert refusal.message  # noqa: PT017 # only that kind is expected


def test_decoding_is_fast():
    """2,000 posts a second leave 500 us for each: decoding takes a fraction of that."""
    row = {**EXAMPLE["rows"][0], "latency": {str(500 + i): 4 for i in range(10)}}
    data = over_the_wire({**EXAMPLE, "rows": [row]})
    best = 1.0
    for _ in range(20):
        began = time.perf_counter()
        for _ in range(100):
            decode_batch(data)
        best = min(best, (time.perf_counter() - began) / 100)
    assert best < 100e-6


@given(names, names, names, st.integers(0, 2**53), st.text(alphabet="0123456789abcdef", min_size=1))
def test_a_call_id_tells_its_parts(environment, prompt, version, start_s, random_part):
    """Any process can score a call later without a table."""
    text = call_id(environment, prompt, version, start_s, random_part)
    assert parse_call_id(text) == CallId(environment, prompt, version, start_s, random_part)


@pytest.mark.parametrize(
    "text",
    [
        "", "a:b:c:d", "a:b:c:1:x:y", "a:b:c::x", "a:b:c:g:x", "a:b:c:-1:x", "a:b:c:0x1:x",
        "a:b:c: 1:x", "a:b:c:1_0:x", "a:b:c:FF:x", "a:b:\n:1:x", f"a:b:{'c' * 600}:1:x",
        "a:b:c:fffffffffffffffffff:x", None, 7, b"a:b:c:1:x",
    ],
)  # fmt: skip
def test_other_texts_are_no_call_ids(text):
    """The error says what a call id looks like."""
    with pytest.raises(BadRequest, match="call id"):
        parse_call_id(text)


@given(st.builds(Receipt, st.dictionaries(names, counts), counts, st.integers(0, 60_000), counts))
def test_a_receipt_arrives_as_it_was_sent(receipt):
    """Decoding undoes encoding."""
    assert decode_receipt(over_the_wire(encode_receipt(receipt))) == receipt


def test_a_receipt_cannot_silence_a_process():
    """A hint to be silent for an hour is cut to what the census tolerates."""
    data = encode_receipt(Receipt(next_flush_ms=3_600_000))
    assert decode_receipt(data).next_flush_ms == NEXT_FLUSH_MS_MAX


SNAPSHOT = Snapshot(
    environment="production",
    generation=981,
    scores={"quality": ScoreRange(0, 1), "cost": ScoreRange(-1.5, 3, "lower")},
    prompts={
        "cs": PromptSnapshot(
            Route((Arm("v1", 9_500), Arm("v2", 500)), "0123456789abcdef"),
            {
                "v1": VersionContent(Content(text="Hi {{ x }}", config={"model": "m"}), "d1"),
                "v2": VersionContent(Content(messages=(Message("user", "Hi"),)), "d2"),
                "v0": VersionContent(Content(text="hot"), "d0"),
            },
        ),
        "plain": PromptSnapshot(Route(whole("v1")), {"v1": VersionContent(Content(text="x"), "")}),
    },
    boot="lineage",
)


def test_a_snapshot_arrives_as_it_was_sent():
    """Routes, salts, routed and hot versions, scores: all there."""
    assert decode_snapshot(over_the_wire(encode_snapshot(SNAPSHOT))) == SNAPSHOT
    without = replace(SNAPSHOT, boot="")
    assert "boot" not in encode_snapshot(without)
    assert decode_snapshot(over_the_wire(encode_snapshot(without))) == without


def test_a_snapshot_looks_as_defined():
    """The format is a contract with SDKs in other languages."""
    cs = encode_snapshot(SNAPSHOT)["prompts"]["cs"]
    assert cs["arms"] == [["v1", 9500], ["v2", 500]]
    assert cs["versions"]["v1"] == {
        "text": "Hi {{ x }}", "config": {"model": "m"}, "digest": "d1",
    }  # fmt: skip
    assert cs["versions"]["v2"]["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["v"], 2, "`v` must be 1"),
        (["environment"], None, "`environment`"),
        (["generation"], -1, "`generation`"),
        (["boot"], 5, "`boot`"),
        (["scores", "quality"], {"min": 1, "max": 1}, "min < max"),
        (["scores", "quality"], {"min": "0", "max": 1}, "needs numbers"),
        (["scores", "quality"], {"min": 0, "max": 1, "better": "bigger"}, "better"),
        (["prompts"], None, "`prompts` must be an object"),
        (["prompts", "cs"], [], "`prompts.cs` must be an object"),
        (["prompts", "cs", "arms"], [], "prompts.cs.arms`: a route has one or two arms"),
        (["prompts", "cs", "arms"], [["v1", 9999]], "sum to 9999"),
        (["prompts", "cs", "arms"], [["v1", 1.0]], "pairs"),
        (["prompts", "cs", "arms"], [["v9", 10_000]], "routes v9, which is not among"),
        (["prompts", "cs", "salt"], 7, "a text `salt`"),
        (["prompts", "cs", "versions", "v1"], {}, "either `text` or `messages`"),
        (["prompts", "cs", "versions", "v1"], {"text": 1}, "v1.text` must be a text"),
        (["prompts", "cs", "versions", "v1"], {"messages": [{}]}, "v1.messages` must be a list"),
        (["prompts", "cs", "versions", "v1"], {"text": "", "config": 1}, "object `config`"),
    ],
)
def test_a_malformed_snapshot_is_refused_as_a_whole(path, value, message):
    """Half a snapshot could serve what nobody ever routed."""
    data = over_the_wire(encode_snapshot(SNAPSHOT))
    at = data
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    with pytest.raises(BadRequest, match=message):
        decode_snapshot(data)


# --- Units

_unit_sums = st.builds(
    lambda unit, calls, errors, scores: UnitSum(unit, calls, min(calls, errors), scores),
    st.integers(0, 2**64 - 1),
    st.integers(0, COUNT_MAX),
    st.integers(0, COUNT_MAX),
    st.dictionaries(
        st.sampled_from(["quality", "tone"]),
        st.integers(0, 1000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n * 10_000))),
    ),
)


@given(st.lists(_unit_sums, max_size=5, unique_by=lambda each: each.unit), st.integers(0, 2**53))
def test_units_arrive_as_they_were_sent(sums, generation):
    """Hash, counts and scores, exactly."""
    sent = Batch("c", "b", 1, "production", 1, units=(UnitGroup("cs", "v1", generation, (*sums,)),))
    assert decode_batch(json.loads(json.dumps(encode_batch(sent)))) == (sent, {})


GOOD = "00000000000000ff"


@pytest.mark.parametrize(
    ("sums", "reason"),
    [
        pytest.param({"ff": [1, 0]}, "not a unit", id="a short hash"),
        pytest.param({"00000000000000FF": [1, 0]}, "not a unit", id="not as we write it"),
        pytest.param({GOOD: 1}, "sums of a unit are not a list", id="no list"),
        pytest.param({GOOD: [1]}, "sums of a unit are not a list", id="too short"),
        pytest.param({GOOD: [1, 2]}, "more errors than calls", id="more errors than calls"),
        pytest.param({GOOD: [1, -1]}, "negative count", id="negative"),
        pytest.param({GOOD: [1.0, 0]}, "not a whole number", id="a float"),
        pytest.param({GOOD: [1, 0, []]}, "not an object", id="scores are no object"),
        pytest.param({GOOD: [1, 0, {"q": [1]}]}, "sums of a score are not a pair", id="no pair"),
        pytest.param({GOOD: [1, 0, {"q": [1, 10_001]}]}, "score outside its range", id="too good"),
        pytest.param({GOOD: [1, 0, {"": [1, 1]}]}, "not a name", id="no name"),
        pytest.param([], "not an object", id="no object"),
    ],
)
def test_a_malformed_unit_is_left_out_and_counted(sums, reason):
    """The rest of the batch is evidence still."""
    good = {"prompt": "cs", "version": "v1", "generation": 1, "sums": {"0" * 16: [2, 1]}}
    batch, ignored = decode_batch({**EXAMPLE, "units": [{**good, "sums": sums}, good]})
    assert ignored == {reason: 1}
    assert [each.unit for group in batch.units for each in group.sums] == [0]


def test_more_units_than_a_flush_may_hold_are_refused():
    """At most 10,000, however they are grouped."""
    sums = {f"{n:016x}": [1, 0] for n in range(6_000)}
    groups = [{"prompt": "cs", "version": v, "generation": 1, "sums": sums} for v in ("v1", "v2")]
    with pytest.raises(BadRequest, match="10000 units"):
        decode_batch({**EXAMPLE, "units": groups})


def test_the_largest_flush_of_units_fits_into_a_report():
    """10,000 sums stay far below the limit of 1 MiB."""
    sums = tuple(
        UnitSum(2**64 - 1 - n, 1_000, 1_000, {"quality": (99, 990_000)}) for n in range(5_000)
    )
    sent = Batch("c", "b", 1, "production", 1, units=(UnitGroup("cs", "v1", 1, sums),))
    assert len(json.dumps(encode_batch(sent))) < 400_000


@given(st.integers(0, 2**53), st.integers(0, 2**64 - 1))
def test_a_call_id_may_name_its_unit(generation, unit):
    """And is a call id like any other."""
    text = call_id("production", "cs", "v1", 17, tagged("0" * 16, generation, unit))
    assert unit_of(parse_call_id(text).random_part) == (generation, unit)


@pytest.mark.parametrize("text", ["abc", "a.1", "a.x.0", "a..0", f"a.1.{'g' * 16}", "a.1.0.0"])
def test_any_other_call_id_names_none(text):
    """Whoever makes ids of their own may put anything there."""
    assert unit_of(text) is None


@pytest.mark.parametrize(
    "compared",
    [
        7,
        {},
        {"generation": -1},
        {"generation": 1, "scores": "quality"},
        {"generation": 1, "scores": [1]},
    ],
    ids=str,
)
def test_a_malformed_comparison_spoils_the_snapshot(compared):
    """A snapshot is taken whole or not at all."""
    data = encode_snapshot(
        Snapshot(
            "production",
            1,
            prompts={
                "cs": PromptSnapshot(
                    Route(whole("v1")),
                    {"v1": VersionContent(Content(text="x"), "")},
                    Compared(3, ("quality",)),
                )
            },
        )
    )
    assert decode_snapshot(data).prompts["cs"].compared == Compared(3, ("quality",))
    data["prompts"]["cs"]["compared"] = compared
    with pytest.raises(BadRequest):
        decode_snapshot(data)
