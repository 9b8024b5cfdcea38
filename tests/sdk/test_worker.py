"""Laws of the conversation with the server: retry, back-off, confirmation, order."""

import json
import threading
from dataclasses import replace

import pytest

from knowngood.sdk.worker import BACKOFF_MAX_S
from knowngood.wire import ROWS_MAX, Receipt, encode_snapshot
from tests.sdk.server import WAIT_S, snapshot


def use(client, count: int = 1) -> None:
    for _ in range(count):
        with client.get("bot").call():
            pass


def gets(server) -> int:
    return sum(request.startswith("GET") for request in server.requests)


def test_a_new_client_asks_and_confirms_at_once(server, stepped, step):
    """The first step fetches the snapshot and tells the census so."""
    client = stepped(environment="production", token="secret")
    step(client)
    assert client.get("bot").version == "v1"
    assert server.requests == ["GET /api/snapshot?environment=production", "POST /api/observations"]
    assert (server.batches[0].generation, server.batches[0].seq) == (1, 1)
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer secret"}


def test_an_unchanged_snapshot_costs_a_304(server, stepped, step):
    """Asking once a second, give or take a fifth, with the ETag of what is held."""
    client = stepped()
    step(client, 10)
    assert 8 <= gets(server) <= 14
    assert server.statuses.count(200) == 1 + len(server.batches)
    assert client.stats().snapshot_age_s < 1.5


def test_an_idle_process_gives_a_sign_of_life(server, stepped, step):
    """Without calls a flush goes out every 5 s, so that idle is not taken for gone."""
    client = stepped()
    step(client, 21)
    assert 4 <= len(server.batches) <= 5
    assert [batch.seq for batch in server.batches] == list(range(1, len(server.batches) + 1))
    assert server.rows() == []


def test_a_new_generation_is_confirmed_at_once(server, stepped, step, clock):
    """The census hears of a switch with the very poll that brought it."""
    client = stepped()
    step(client, 2)
    before = len(server.batches)
    server.deploy(snapshot(2, candidate_bp=9_999))
    step(client, 1.25)
    assert client.get("bot", unit="u").version == "v2"
    assert server.batches[before].generation == 2


def test_a_receipt_with_a_newer_generation_is_heeded(server, stepped, step, clock):
    """Who reports hears of a rollback without waiting for the next poll."""
    client = stepped()
    step(client, 1)
    use(client)
    clock.advance(1)
    server.receipt = Receipt(generation=2)
    server.snapshot = snapshot(2, candidate_bp=9_999)
    worker = client._worker
    worker._poll_at_s = clock() + 100
    worker.step()
    assert worker.step() < 1.5
    assert client.stats().generation == 2


def test_generations_never_go_backwards(server, stepped, step):
    """A server that lags behind cannot bring a rolled-back version back."""
    client = stepped()
    server.snapshot = snapshot(5, candidate_bp=9_999)
    step(client)
    server.snapshot = snapshot(4)
    step(client, 15)
    assert client.stats().generation == 5
    assert client.get("bot", unit="u").version == "v2"
    assert client.stats().refused["snapshot refused"] >= 1
    assert "older than ours" in client.stats().last_error
    server.snapshot = snapshot(6)
    step(client, 15)
    assert client.stats().generation == 6
    assert client.stats().last_error is None


def test_another_lineage_starts_anew(server, stepped, step):
    """A server whose data was made anew is followed, although it counts from 1 again."""
    client = stepped()
    server.snapshot = snapshot(5)
    step(client)
    server.snapshot = snapshot(1, candidate_bp=9_999, boot="another")
    step(client, 2)
    assert client.stats().generation == 1
    assert client.get("bot", unit="u").version == "v2"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b"\xff", b"[" * 100_000, json.dumps({"v": 2}).encode(),
        json.dumps(encode_snapshot(snapshot(9))).encode()[:-10],
        json.dumps(encode_snapshot(replace(snapshot(9), environment="staging"))).encode(),
    ],
    ids=lambda body: body[:12],
)  # fmt: skip
def test_a_malformed_snapshot_is_refused(server, stepped, step, body):
    """What is held is served on, and the refusal is counted and told."""
    client = stepped()
    step(client)
    server.snapshot = body
    step(client, 3)
    assert client.stats().generation == 1
    assert client.get("bot").version == "v1"
    assert client.stats().refused["snapshot refused"] >= 1
    assert "snapshot" in client.stats().last_error


def test_a_failed_flush_is_repeated_under_its_number(server, stepped, step, clock):
    """A lost answer never doubles the evidence: same number, same rows, newer age."""
    client = stepped()
    step(client)
    use(client, 3)
    server.lose_answers = True
    step(client, 5)
    lost = [batch for batch in server.batches if batch.rows]
    assert len(lost) >= 2
    assert {batch.seq for batch in lost} == {2}
    assert {tuple(row.window.ok for row in batch.rows) for batch in lost} == {(3,)}
    use(client, 2)
    server.lose_answers = False
    step(client, 15)
    by_seq = {batch.seq: batch for batch in server.batches if batch.rows}
    assert sorted(by_seq) == [2, 3]
    assert by_seq[2].rows[0].ago_ms > lost[0].rows[0].ago_ms
    assert [row.window.ok for row in by_seq[3].rows] == [2]
    assert client.stats().dropped_count == 0


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_busy_server_is_asked_again(server, stepped, step, status):
    """Failures of the moment lose nothing."""
    client = stepped()
    step(client)
    use(client, 3)
    server.before = lambda request: (status, b"", {}) if request.command == "POST" else None
    step(client, 6)
    assert f"answered {status}" in client.stats().last_error
    assert client.get("bot").version == "v1"
    server.before = lambda _: None
    step(client, 12)
    assert sum(row.window.ok for row in server.rows()) == 3
    assert client.stats().last_error is None


def test_a_server_that_asks_for_patience_gets_it(server, stepped, step):
    """Retry-After is kept, in seconds."""
    client = stepped()
    step(client)
    use(client)
    server.before = lambda r: (429, b"", {"Retry-After": "30"}) if r.command == "POST" else None
    step(client, 25)
    assert sum(request.startswith("POST") for request in server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 302])
def test_a_refused_report_is_dropped_and_counted(server, stepped, step, status):
    """What the server will never take is not sent for ever; people can see why."""
    client = stepped()
    step(client)
    use(client, 3)
    body = b'{"error": {"code": "x", "message": "no such thing"}}'
    server.before = lambda request: (status, body, {}) if request.command == "POST" else None
    step(client, 2)
    assert client.stats().dropped_count == 3
    assert client.stats().last_error == f"report: the server answered {status}: no such thing"
    server.before = lambda _: None
    step(client, 12)
    assert sum(batch.dropped for batch in server.batches) == 3
    assert client.stats().last_error is None


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"accepted": 1}', b"\xff"])
def test_a_malformed_receipt_is_a_receipt(server, stepped, step, body):
    """The status says that the batch was taken; sending it again could double it."""
    client = stepped()
    step(client)
    use(client)
    server.before = lambda request: (200, body, {}) if request.command == "POST" else None
    step(client, 2)
    assert client.stats().refused["receipt malformed"] >= 1
    server.before = lambda _: None
    step(client, 8)
    assert server.rows() == []


def test_a_server_that_is_gone_is_asked_ever_more_seldom(server, stepped, step, clock):
    """The pauses double to 10 s, with jitter; after its return it is heard within that."""
    client = stepped()
    step(client)
    server.stop()
    worker = client._worker
    pauses = []
    for _ in range(12):
        clock.advance(worker.step())
        before = worker._poll_at_s
        worker.step()
        if worker._poll_at_s != before:
            pauses.append(worker._poll_at_s - clock())
    assert max(pauses) <= BACKOFF_MAX_S
    assert pauses[-1] > 4
    assert client.get("bot").version == "v1"
    assert "Refused" in client.stats().last_error
    server.deploy(snapshot(2, candidate_bp=9_999))
    server.start()
    step(client, BACKOFF_MAX_S)
    assert client.stats().generation == 2
    assert client.stats().last_error is None


def test_a_restarted_server_is_no_trouble(server, stepped, step):
    """A kept connection that was cut is opened again, within the same request."""
    client = stepped()
    step(client)
    server.stop()
    server.start()
    use(client)
    step(client, 2)
    assert client.stats().last_error is None
    assert [row.window.ok for row in server.rows()] == [1]


def test_calls_of_an_outage_arrive_later(server, stepped, step, clock):
    """What was folded while the server was away is sent with its age, in its order."""
    client = stepped()
    step(client)
    server.stop()
    for _ in range(5):
        use(client, 2)
        step(client, 1)
    server.start()
    step(client, 12)
    rows = server.rows()
    assert sum(row.window.ok for row in rows) == 10
    assert [row.ago_ms for row in rows[:1]] >= [5000]


def test_a_hint_to_flush_less_often_is_heeded(server, stepped, step):
    """A busy server can thin out the reports; the rows stay seconds."""
    server.receipt = Receipt(next_flush_ms=5_000)
    client = stepped()
    step(client)
    for _ in range(10):
        use(client)
        step(client, 1)
    assert 2 <= sum(bool(batch.rows) for batch in server.batches) <= 3
    assert len(server.rows()) >= 8


def test_a_large_backlog_travels_in_portions(server, stepped, step, monkeypatch):
    """No batch is larger than the wire allows."""
    monkeypatch.setattr("knowngood.sdk.outbox.ROWS_PER_FLUSH_MAX", 4)
    monkeypatch.setattr("knowngood.sdk.outbox.LATE_SCORES_PER_FLUSH_MAX", 3)
    client = stepped()
    step(client)
    server.before = lambda request: (503, b"", {}) if request.command == "POST" else None
    for _ in range(10):
        use(client)
        client.score("production:bot:v1:65f0:ab", "quality", 1)
        step(client, 1)
    server.before = lambda _: None
    step(client, 12)
    assert sum(row.window.ok for row in server.rows()) == 10
    assert sum(len(batch.late_scores) for batch in server.batches) == 10
    assert max(len(batch.rows) for batch in server.batches) == 4 <= ROWS_MAX
    assert not client._worker._outbox._rows


def test_close_sends_what_is_left_and_says_goodbye(server, stepped, step):
    """The last flush carries `closing`; afterwards prompts are served and calls not recorded."""
    client = stepped()
    step(client)
    use(client, 3)
    client.close()
    assert server.batches[-1].closing
    assert [row.window.ok for row in server.rows()] == [3]
    use(client)
    client.score("production:bot:v1:65f0:ab", "quality", 1)
    client.close()
    assert client.flush()
    assert sum(batch.closing for batch in server.batches) == 1
    assert client.get("bot").version == "v1"
    assert client.stats().waiting_count == 0


def test_a_backlog_is_sent_before_the_goodbye(server, stepped, step, monkeypatch):
    """`closing` is in the last batch only."""
    monkeypatch.setattr("knowngood.sdk.outbox.ROWS_PER_FLUSH_MAX", 1)
    client = stepped()
    step(client)
    server.snapshot = snapshot(2, candidate_bp=5_000)
    step(client, 2)
    for i in range(50):
        with client.get("bot", unit=f"user-{i}").call():
            pass
    client.close()
    assert [batch.closing for batch in server.batches[-2:]] == [False, True]
    assert [len(batch.rows) for batch in server.batches[-2:]] == [1, 1]


def test_closing_does_not_hang_on_a_server_that_is_gone(server, make_client):
    """An application ends when it wants to."""
    client = make_client()
    assert client.wait_ready(WAIT_S)
    use(client)
    server.stop()
    client.close()
    assert client.get("bot").version == "v1"
    server.start()


def test_a_hanging_server_delays_nobody(server, make_client):
    """While the worker waits for an answer, `get` and recording go on."""
    client = make_client(timeout_s=0.2)
    assert client.wait_ready(WAIT_S)
    release, entered = threading.Event(), threading.Event()

    def hang(_: object) -> None:
        server.changed.release()
        entered.set()
        release.wait(WAIT_S)
        server.changed.acquire()

    server.before = hang
    assert entered.wait(WAIT_S)
    use(client, 100)
    assert client.get("bot").version == "v1"
    client.close()
    release.set()
    assert client.stats().last_error is not None


def test_a_process_in_the_background_is_told_of_a_rollback(server, make_client):
    """The whole way with a real thread: deploy, poll, serve, confirm."""
    client = make_client()
    assert client.wait_ready(WAIT_S)
    server.deploy(snapshot(2, candidate_bp=9_999))
    assert server.wait_for(lambda: any(batch.generation == 2 for batch in server.batches))
    assert client.get("bot", unit="u").version == "v2"


def test_waiting_for_a_server_that_is_not_there(server, make_client):
    """`wait_ready` says no in time, and yes as soon as the server is there."""
    server.stop()
    client = make_client()
    assert not client.wait_ready(0.01)
    assert client.get("bot").reason == "no snapshot yet"
    server.start()
    assert client.wait_ready(WAIT_S)
    assert client.get("bot").version == "v1"


def test_a_mistake_of_ours_does_not_end_the_conversation(server, make_client, monkeypatch):
    """The worker outlives its own errors and says so."""
    client = make_client()
    assert client.wait_ready(WAIT_S)
    worker = client._worker
    failed = threading.Event()

    def broken(*_: object, **__: object) -> None:
        failed.set()
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(worker._outbox, "fold", broken)
        assert failed.wait(WAIT_S)
    server.deploy(snapshot(2))
    assert server.wait_for(lambda: any(batch.generation == 2 for batch in server.batches))


def test_refusals_make_no_flush_of_their_own(server, stepped, step, monkeypatch):
    """An application whose every call is refused something still reports once a second."""
    client = stepped()
    step(client)
    post = client._worker._transport.post_batch

    def refusing(batch):
        client.score("no call id", "quality", 1.0)
        return post(batch)

    monkeypatch.setattr(client._worker._transport, "post_batch", refusing)
    before = len(server.batches)
    step(client, 10)
    assert 4 <= len(server.batches) - before <= 12


def test_a_flush_that_stays_unanswered_is_given_up(server, stepped, step, clock):
    """The server would count calls of five minutes ago as calls of now."""
    client = stepped()
    step(client)
    use(client, 3)
    server.lose_answers = True
    step(client, 3)
    clock.advance(400)
    use(client, 2)
    server.lose_answers = False
    before = len(server.batches)
    step(client, 15)
    fresh = [batch for batch in server.batches[before:] if batch.rows]
    assert [row.window.ok for batch in fresh for row in batch.rows] == [2]
    assert client.stats().dropped_count == 3


def test_a_thread_that_cannot_start_is_tried_again(server, make_client, monkeypatch):
    """A process short of threads for a moment is not deaf to rollbacks for ever."""
    client = make_client(start=False)
    start = threading.Thread.start

    def fail(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    assert not client.get("bot")
    assert "can't start" in client.stats().last_error
    monkeypatch.setattr(threading.Thread, "start", start)
    client.get("bot")
    assert client.wait_ready(WAIT_S)
    assert client.get("bot").version == "v1"
    assert client.stats().last_error is None
