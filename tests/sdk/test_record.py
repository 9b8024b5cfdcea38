"""Laws of recording: what a call is, where it is counted, and what is refused."""

import asyncio
import math
import threading
from decimal import Decimal

import pytest

from knowngood.core.window import EMPTY, Window, latency_bucket
from knowngood.sdk import outbox as outbox_module
from knowngood.sdk import recorder as recorder_module
from knowngood.wire import NAMES_PER_ROW_MAX, parse_call_id
from tests.sdk.server import WAIT_S, snapshot


@pytest.fixture
def ready(stepped, step):
    """A client that has its first snapshot."""
    client = stepped()
    step(client)
    return client


def windows(server, client) -> list[Window]:
    """What the server gets to hear of everything so far, row by row."""
    before = len(server.rows())
    assert client.flush()
    return [row.window for row in server.rows()[before:]]


def window(server, client) -> Window:
    """The same when it is at most one row."""
    (found,) = windows(server, client) or [EMPTY]
    return found


def test_a_call_records_its_latency_and_success(server, ready, clock):
    """Leaving the block without an exception is ok; the time in between is the latency."""
    with ready.get("bot").call():
        clock.advance(0.25)
    assert window(server, ready) == Window(ok=1, latency={latency_bucket(250.0): 1})


def test_a_call_records_tokens_cost_and_first_token(server, ready, clock):
    """Retries add up; only the first token counts."""
    with ready.get("bot").call() as call:
        clock.advance(0.1)
        call.first_token()
        clock.advance(0.1)
        call.first_token()
        call.tokens(input=10, output=1)
        call.tokens(input=5)
        call.cost(0.001)
        call.cost(Decimal("0.002"))
        call.count("retry")
        call.count("retry", 2)
    found = window(server, ready)
    assert (found.input_tokens, found.output_tokens) == (15, 1)
    assert found.cost_nano_usd == 3_000_000
    assert list(found.first_token) == [latency_bucket(100.0)]
    assert found.counters == {"retry": 3}


class APITimeoutError(Exception):
    """What providers' clients raise is named like this and derives from nothing we know."""


class ReadTimeout(Exception):
    """Another one."""


class CancelledError(Exception):
    """concurrent.futures has one that is an ordinary exception."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("x"), Window(errors={"provider": 1})),
        (TimeoutError(), Window(errors={"timeout": 1}, latency={latency_bucket(2000.0): 1})),
        (APITimeoutError(), Window(errors={"timeout": 1}, latency={latency_bucket(2000.0): 1})),
        (ReadTimeout(), Window(errors={"timeout": 1}, latency={latency_bucket(2000.0): 1})),
        (CancelledError(), Window(excluded=1)),
        (asyncio.CancelledError(), Window(excluded=1)),
        (GeneratorExit(), Window(excluded=1)),
        (KeyboardInterrupt(), Window(excluded=1)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_exception_tells_the_outcome_and_goes_on(server, ready, clock, error, expected):
    """Timeouts count with their latency, cancellations are no evidence, the rest is the provider's.

    The caller sees its exception.
    """

    def use() -> None:
        with ready.get("bot").call():
            clock.advance(2)
            raise error

    with pytest.raises(type(error)) as caught:
        use()
    assert caught.value is error
    assert window(server, ready) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("prompt", Window(errors={"prompt": 1})),
        ("provider", Window(errors={"provider": 1})),
        ("caller", Window(excluded=1)),
        ("cancelled", Window(excluded=1)),
        ("synthetic", Window(excluded=1)),
    ],
)
def test_the_application_has_the_last_word(server, ready, kind, expected):
    """`fail` beats what an exception seems to say."""
    with ready.get("bot").call() as call:
        call.fail(kind)
    assert window(server, ready) == expected

    def use() -> None:
        with ready.get("bot").call() as call:
            call.fail(kind)
            raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        use()
    assert window(server, ready) == expected


def test_an_unknown_kind_is_a_failure_still(server, ready):
    """Who says `fail` does not mean ok; the misspelling is counted."""
    with ready.get("bot").call() as call:
        call.fail("rate limit")
    assert window(server, ready).errors == {"provider": 1}
    assert server.batches[-1].refused == {"unknown failure kind": 1}


def test_excluded_calls_leave_nothing(server, ready):
    """No tokens, scores or units of a synthetic call reach the sums."""
    with ready.get("bot", unit="u").call() as call:
        call.tokens(5, 5)
        call.score("quality", 1)
        assert call.id
        call.fail("synthetic")
    assert window(server, ready) == Window(excluded=1)
    assert server.batches[-1].late_scores == ()


def fail(client, unit=None):
    with client.get("bot", unit=unit).call() as call:
        call.fail("prompt")


def test_a_unit_fails_once_a_second(server, ready, clock, step):
    """Further failures of a unit in its second are repeats, even across an explicit flush."""
    fail(ready, "ada")
    fail(ready, "ada")
    fail(ready, "bob")
    with ready.get("bot", unit="ada").call():
        pass
    found = window(server, ready)
    assert (found.errors, found.repeat, found.units, found.ok) == ({"prompt": 2}, 1, 2, 1)
    fail(ready, "ada")
    found = window(server, ready)
    assert (found.errors, found.repeat, found.units) == ({}, 1, 0)
    clock.advance(1)
    fail(ready, "ada")
    found = window(server, ready)
    assert (found.errors, found.repeat, found.units) == ({"prompt": 1}, 0, 1)


def test_calls_without_a_unit_never_repeat(server, ready):
    """Nobody can tell whether they are the same person's."""
    fail(ready)
    fail(ready)
    found = window(server, ready)
    assert (found.errors, found.repeat, found.units) == ({"prompt": 2}, 0, 0)


def test_a_unit_can_be_named_at_the_call(server, ready):
    """`call(unit=…)` beats the one given to `get`."""
    with ready.get("bot", unit="a").call(unit="b") as call:
        assert call.unit == "b"
    with ready.get("bot").call(unit=7) as call:
        assert call.unit == "7"
    assert window(server, ready).units == 2


def test_rows_are_seconds_by_version(server, stepped, step, clock):
    """One row per version and second, with its age by the monotonic clock."""
    server.snapshot = snapshot(candidate_bp=5_000)
    client = stepped()
    step(client)
    for second in range(3):
        for i in range(20):
            with client.get("bot", unit=f"user-{i}").call():
                pass
        if second < 2:
            clock.advance(1)
    clock.advance(0.4)
    assert client.flush()
    rows = server.rows()
    assert {(row.version, row.ago_ms) for row in rows} == {
        (version, ago_ms) for version in ("v1", "v2") for ago_ms in (2400, 1400, 400)
    }
    assert sum(row.window.ok for row in rows) == 60


def test_only_whole_seconds_are_sent_by_themselves(server, ready, clock, step):
    """A second is reported right after it is over, within the server's watermark of 2 s."""
    clock.advance(0.5)
    with ready.get("bot").call():
        pass
    step(ready, 0.25)
    assert server.rows() == []
    step(ready, 0.5)
    (row,) = server.rows()
    assert row.ago_ms == 1250


def test_scores_are_summed_in_bins(server, ready):
    """Without an id a call's scores are counts in 1 % bins; the last value per name counts."""
    with ready.get("bot").call() as call:
        call.score("quality", 0.1)
        call.score("quality", 0.72)
        call.score("stars", 5)
    with ready.get("bot").call() as call:
        call.score("quality", 0.72)
    assert window(server, ready).scores == {"quality": {72: 2}, "stars": {100: 1}}
    assert server.batches[-1].late_scores == ()


def test_scores_travel_with_an_id_that_was_read(server, ready, clock):
    """Once the id is out, the scores are named, so that one value per call can hold."""
    clock.advance(5)
    with ready.get("bot").call() as call:
        call.score("quality", 0.3)
        call.score("quality", 0.4)
        parsed = parse_call_id(call.id)
        assert call.id == call.id
        clock.advance(3)
    call.score("quality", 0.5)
    ready.score(call.id, "stars", 4)
    assert (parsed.environment, parsed.prompt, parsed.version) == ("production", "bot", "v1")
    assert parsed.start_s == 1_700_000_005
    assert window(server, ready).scores == {}
    late = [(s.call, s.name, s.value) for s in server.batches[-1].late_scores]
    assert late == [
        (call.id, "quality", 0.4), (call.id, "quality", 0.5), (call.id, "stars", 4.0),
    ]  # fmt: skip


def test_a_score_after_the_end_is_not_counted_twice(server, ready):
    """A value in an anonymous sum cannot be corrected; saying so beats counting both."""
    with ready.get("bot").call() as call:
        call.score("quality", 0.3)
    call.score("quality", 0.5)
    call.score("stars", 2)
    assert window(server, ready).scores == {"quality": {30: 1}}
    assert [s.name for s in server.batches[-1].late_scores] == ["stars"]
    assert server.batches[-1].refused == {"second score of a call whose id was not read": 1}


def test_ids_differ():
    """Two calls of the same second are told apart."""
    from knowngood.testing import FakeClient

    client = FakeClient({"bot": "x"})
    assert len({client.get("bot").call().id for _ in range(1_000)}) == 1_000


class Broken:
    """A number that is none."""

    def __float__(self):
        raise RuntimeError("no")

    __index__ = __int__ = __float__


NO_NUMBERS = [math.nan, math.inf, -math.inf, "0.5", b"1", None, [], {}, object(), 10**400, Broken()]


@pytest.mark.parametrize("value", [*NO_NUMBERS, 1e300], ids=lambda v: type(v).__name__)
def test_what_is_no_number_is_refused(server, ready, value):
    """Nothing raises, nothing is recorded, everything is counted by reason."""
    with ready.get("bot").call() as call:
        call.cost(value)
        call.tokens(value, 1)
        call.tokens(1, value)
        call.count("c", value)
        call.score("quality", value)
        ready.score("production:bot:v1:65f0:ab", "quality", value)
    found = window(server, ready)
    assert (found.ok, found.cost_nano_usd, found.input_tokens, found.scores) == (1, 0, 0, {})
    assert server.batches[-1].refused == {
        "cost is not a number >= 0": 1,
        "tokens are not whole numbers >= 0": 2,
        "counter is not a name with a whole number >= 0": 1,
        "score is not a number": 2,
    }
    assert ready.stats().refused == server.batches[-1].refused


def test_what_is_out_of_range_is_refused(server, ready):
    """Ranges are the declared ones; a score that nobody declared has none."""
    with ready.get("bot").call() as call:
        call.score("quality", 1.01)
        call.score("stars", 0.5)
        call.score("beauty", 0.5)
        call.score("", 0.5)
        call.score(None, 0.5)
        call.cost(-0.01)
        call.tokens(-1)
        call.tokens(1.5)
        call.tokens(True)
        call.count("c", -1)
        call.count("", 1)
        call.count("a\nb", 1)
        call.count([], 1)
    ready.score("no id", "quality", 1)
    ready.score(None, "quality", 1)
    assert window(server, ready).ok == 1
    assert server.batches[-1].refused == {
        "score outside its range": 2,
        "undeclared score": 1,
        "score without a name": 2,
        "cost is not a number >= 0": 1,
        "tokens are not whole numbers >= 0": 3,
        "counter is not a name with a whole number >= 0": 4,
        "not a call id": 2,
    }


def test_scores_of_other_environments_are_passed_on(server, ready):
    """A job may score calls of staging; their ranges are for the server to know."""
    ready.score("staging:bot:v1:65f0:ab", "anything", 17)
    ready.flush()
    assert [s.value for s in server.batches[-1].late_scores] == [17.0]


def test_refusals_are_told_once(server, ready, clock):
    """Each batch says what is new since the last."""
    ready.score("x", "quality", 1)
    ready.flush()
    with ready.get("bot").call():
        pass
    ready.flush()
    assert [batch.refused for batch in server.batches[-2:]] == [{"not a call id": 1}, {}]
    assert ready.stats().refused == {"not a call id": 1}


def test_counters_are_bounded(server, ready):
    """Nobody's identifiers become series."""
    with ready.get("bot").call() as call:
        for i in range(NAMES_PER_ROW_MAX + 5):
            call.count(f"c{i}")
        call.count("c0")
    with ready.get("bot").call() as call:
        call.count("one more")
    assert len(window(server, ready).counters) == NAMES_PER_ROW_MAX
    assert server.batches[-1].refused == {"too many counters": 6}


def test_a_call_is_used_once(server, ready, clock):
    """Entering a call again records nothing more."""
    call = ready.get("bot").call()
    with call:
        clock.advance(0.1)
    with call:
        clock.advance(5)
    assert window(server, ready) == Window(ok=1, latency={latency_bucket(100.0): 1})
    assert server.batches[-1].refused == {"call used twice": 1}


def test_calls_work_in_asyncio(server, ready, clock):
    """`async with` records alike; a cancelled task is no evidence."""

    async def one(wait: asyncio.Event, error: Exception | None = None) -> None:
        async with ready.get("bot").call():
            await wait.wait()
            if error:
                raise error

    async def main() -> None:
        wait = asyncio.Event()
        tasks = [asyncio.create_task(one(wait)) for _ in range(20)]
        failing = asyncio.create_task(one(wait, ValueError("x")))
        cancelled = asyncio.create_task(one(asyncio.Event()))
        slow = asyncio.create_task(asyncio.wait_for(one(asyncio.Event()), 0.001))
        while ready.stats().waiting_count < 1:  # the one that was too slow
            await asyncio.wait([slow], timeout=WAIT_S)
        cancelled.cancel()
        wait.set()
        await asyncio.gather(*tasks, failing, cancelled, slow, return_exceptions=True)

    asyncio.run(main())
    found = window(server, ready)
    assert (found.ok, found.errors, found.excluded) == (20, {"provider": 1}, 2)


def test_threads_lose_nothing(server, make_client):
    """What many threads record while the worker folds and sends arrives exactly once."""
    client = make_client()
    assert client.wait_ready(WAIT_S)

    def hammer() -> None:
        for _ in range(2_000):
            with client.get("bot").call() as call:
                call.tokens(1, 2)

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert client.flush()
    found = [row.window for row in server.rows()]
    assert sum(w.ok for w in found) == 16_000
    assert sum(w.input_tokens for w in found) == 16_000
    assert sum(w.output_tokens for w in found) == 32_000
    assert client.stats().dropped_count == 0


def test_a_full_queue_drops_and_counts(server, ready, monkeypatch):
    """The buffer is bounded; what found no room is reported."""
    monkeypatch.setattr(recorder_module, "CALLS_HELD_MAX", 10)
    monkeypatch.setattr(recorder_module, "LATE_SCORES_HELD_MAX", 2)
    for _ in range(15):
        with ready.get("bot").call():
            pass
    for _ in range(5):
        ready.score("production:bot:v1:65f0:ab", "quality", 1)
    assert window(server, ready).ok == 10
    assert server.batches[-1].dropped == 5 + 3 == ready.stats().dropped_count


def test_held_rows_are_bounded(server, ready, clock, monkeypatch):
    """While the server is away the oldest seconds go first, and their calls are counted."""
    monkeypatch.setattr(outbox_module, "ROWS_HELD_MAX", 3)
    outbox = ready._worker._outbox
    for _ in range(5):
        with ready.get("bot").call():
            pass
        clock.advance(1)
        outbox.fold(clock())
    assert [row.ok for row in windows(server, ready)] == [1, 1, 1]
    assert server.batches[-1].dropped == 2
    with ready.get("bot").call():
        pass
    clock.advance(400)
    outbox.fold(clock())
    assert windows(server, ready) == []
    assert ready.stats().dropped_count == 3
