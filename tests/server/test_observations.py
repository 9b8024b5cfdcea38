"""Reports: evidence in, and everything that is none left out and counted."""

import json

import pytest

from knowngood.core.window import MAX_LATENCY_BUCKET, MIN_LATENCY_BUCKET, total
from tests.server.world import PROMPT, error_of

JSON = {"Content-Type": "application/json"}
PATH = "/api/observations"


def row(**changes):
    return {"prompt": PROMPT, "version": "v1.9.0", "ago_ms": 0, "ok": 1, **changes}


def counted(world, version="v1.9.0"):
    """What has arrived in the store."""
    world.tick(3)
    key = ("production", PROMPT, version)
    return total(b.window for b in world.runtime.store.series.read(key, 0, 2**60))


def test_a_report_becomes_evidence(world):
    """Accepted, answered with the generation, and found in the windows."""
    world.route_two()
    receipt = world.report("v1.9.0", 41, 3, latency={"523": 4}, scores={"quality": {"72": 3}})
    assert receipt == {"accepted": 1, "ignored": {}, "generation": 2, "next_flush_ms": 1000}
    window = counted(world)
    assert (window.ok, window.errors, window.latency) == (41, {"prompt": 3}, {523: 4})


@pytest.mark.parametrize("seqs", [(1, 1), (2, 1), (1, 2, 2, 1), (5, 4, 3)])
def test_a_repeated_or_late_flush_changes_nothing(world, seqs):
    """Dropping loses evidence, repeating would invent it."""
    world.route_two()
    seen = []
    for seq in seqs:
        world.post(PATH, **world.batch(rows=[row()]) | {"seq": seq})
        seen.append(seq)
    rising = sum(seq > max(seen[:i], default=0) for i, seq in enumerate(seen))
    assert counted(world).ok == rising


def test_a_repetition_across_a_restart_changes_nothing(world):
    """The sequence numbers are kept with the observations."""
    world.route_two()
    body = world.batch(rows=[row()])
    world.post(PATH, **body)
    world.tick()
    world.runtime.ingest._heard.clear()
    receipt = world.post(PATH, **body)
    assert receipt["ignored"] == {"duplicate or out of order": 1}
    assert counted(world).ok == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": "v7"}, "unknown version"),
        ({"prompt": "nope"}, "unknown prompt"),
        ({"ok": -1}, "negative count"),
        ({"ok": 1.5}, "not a whole number"),
        ({"ok": True}, "not a whole number"),
        ({"ok": 10**9}, "count too large"),
        ({"ago_ms": -5}, "ago_ms out of range"),
        ({"errors": {"alien": 1}}, "unknown error kind"),
        ({"latency": {"523": -1}}, "negative count"),
        ({"latency": {"-99999": 1}}, "bucket out of range"),
        ({"latency": {str(MIN_LATENCY_BUCKET - 1): 1}}, "bucket out of range"),
        ({"latency": {str(MAX_LATENCY_BUCKET + 1): 1}}, "bucket out of range"),
        ({"first_token": {"9" * 300: 1}}, "bucket out of range"),
        ({"latency": {"NaN": 1}}, "bucket out of range"),
        ({"latency": [523]}, "not an object"),
        ({"scores": {"quality": {"101": 1}}}, "bucket out of range"),
        ({"scores": {"quality": {"-1": 1}}}, "bucket out of range"),
        ({"scores": {"quality": {"9" * 300: 1}}}, "bucket out of range"),
        ({"cost_usd": -1}, "negative cost"),
        ({"tokens": [1]}, "tokens are not a pair"),
        ({"prompt": "a\nb"}, "not a name"),
    ],
)
def test_a_row_that_is_no_evidence_is_left_out_and_counted(world, changes, reason):
    """The rest of the report is taken."""
    world.route_two()
    receipt = world.post(PATH, **world.batch(rows=[row(**changes), row()]))
    assert (receipt["accepted"], receipt["ignored"]) == (1, {reason: 1})
    assert counted(world).ok == 1


def test_an_undeclared_score_is_left_out(world):
    """The row itself counts."""
    world.route_two()
    receipt = world.report("v1.9.0", 5, scores={"charm": {"3": 1}})
    assert receipt["ignored"] == {"unknown score": 1}
    assert counted(world).scores == {}


@pytest.mark.parametrize(
    ("call", "value", "reason"),
    [
        ("production:customer-support:v1.9.0:1:r", 0.5, None),
        ("production:customer-support:v1.9.0:1:r", 1.5, "score outside its range"),
        ("production:customer-support:v1.9.0:1:r", -0.1, "score outside its range"),
        ("production:customer-support:v9:1:r", 0.5, "unknown version"),
        ("nowhere:customer-support:v1.9.0:1:r", 0.5, "unknown environment"),
        ("nonsense", 0.5, "not a call id"),
        ("production:customer-support:v1.9.0:1:r", "good", "not a number"),
    ],
)
def test_a_late_score_is_within_its_range(world, call, value, reason):
    """A score outside its declared range is no score."""
    world.route_two()
    late = [{"call": call, "name": "quality", "value": value}]
    receipt = world.post(PATH, **world.batch(late_scores=late))
    assert receipt["ignored"] == ({reason: 1} if reason else {})
    assert counted(world).scores == ({} if reason else {"quality": {50: 1}})


@pytest.mark.parametrize(
    "text",
    [
        '{"v": 1, "seq": NaN}',
        '{"late_scores": [{"value": Infinity}]}',
        '{"late_scores": [{"value": -Infinity}]}',
        "{",
        "",
        "[1,",
        "[" * 200_000,
        b"\xff\xff",
    ],
)
def test_what_is_no_json_is_refused(world, text):
    """NaN and Infinity are no JSON, and too deep a nesting is no report."""
    error = error_of(world.client.post(PATH, content=text, headers=JSON), 422)
    assert error["code"] == "bad_request"


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"v": 2}, "`v`"),
        ({"client": "me"}, "`client`"),
        ({"client": {"id": "", "boot": "b"}}, "`client.id`"),
        ({"seq": -1}, "`seq`"),
        ({"seq": 1.0}, "`seq`"),
        ({"generation": "7"}, "`generation`"),
        ({"environment": None}, "`environment`"),
        ({"rows": {}}, "`rows`"),
        ({"rows": [{}] * 2001}, "`rows`"),
        ({"closing": "yes"}, "`closing`"),
    ],
)
def test_a_malformed_envelope_is_refused_as_a_whole(world, changes, word):
    """422 names the field."""
    world.route_two()
    error = error_of(world.client.post(PATH, json=world.batch(**changes)), 422)
    assert word in error["message"]


def test_an_unknown_environment_is_refused(world):
    """404 with the known ones."""
    error = error_of(world.client.post(PATH, json=world.batch(environment="prod")), 404)
    assert error["known"] == ["production", "staging"]


def test_names_that_nobody_knows_do_not_keep_the_store_busy(world, monkeypatch):
    """A client gone wild asks the registry once a tick at most."""
    world.route_two()
    asked: list[str] = []
    monkeypatch.setattr(world.runtime.store.registry, "versions", asked.append)
    rows = [row(prompt=f"wild-{number}") for number in range(1000)]
    receipt = world.post(PATH, **world.batch(rows=rows))
    assert receipt["ignored"] == {"unknown prompt": 1000}
    assert not asked


def test_reasons_that_clients_invent_are_counted_as_one(world):
    """Nobody grows the server's figures without bound."""
    world.route_two()
    for batch in range(5):
        refused = {f"reason {batch}-{number}": 1 for number in range(50)}
        world.post(PATH, **world.batch(refused=refused))
    figures = world.client.get("/metrics").text
    assert figures.count("knowngood_ingest_ignored_total{") <= 101
    assert 'reason="other"' in figures


def test_a_version_is_known_soon_after_its_push(world):
    """What was looked up in vain is looked up again in the next tick."""
    world.route_two()
    assert world.report("v3", 1)["accepted"] == 0
    world.push("v3")
    world.tick()
    assert world.report("v3", 1)["accepted"] == 1


def test_figures_for_prometheus(world):
    """What came in, what was left out, ticks, and the census."""
    world.route_two()
    world.report("v1.9.0", 5)
    world.report("v7", 5)
    world.tick()
    text = world.client.get("/metrics").text
    for line in (
        "knowngood_ingest_accepted_total 1.0",
        'knowngood_ingest_ignored_total{reason="unknown version"} 1.0',
        "knowngood_tick_seconds_count 1.0",
        "knowngood_outbox_waiting 0.0",
        'knowngood_clients_live{environment="production"} 1.0',
        'knowngood_generation{environment="production"} 2.0',
    ):
        assert line in text


def test_the_receipt_is_plain_json(world):
    """For every language's client."""
    world.route_two()
    answer = world.client.post(PATH, content=json.dumps(world.batch()), headers=JSON)
    assert answer.headers["content-type"] == "application/json"
