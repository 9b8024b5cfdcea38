"""Messages on their way out: at least once, each channel for itself, never in the way."""

from dataclasses import replace
from itertools import pairwise

import pytest

from knowngood.core.asking import Alarm, Purpose
from knowngood.core.handing import LIVES_MS, PAUSE_MAX_MS
from knowngood.core.history import Outcome
from knowngood.core.model import Change, Notify, SetAlarm, Severity
from knowngood.core.policy import parse
from knowngood.engine.deliver import BATCH_COUNT, Post, tick_deliver
from knowngood.ports import Delivered, Page, Rejected, Retry
from knowngood.sim.passing import PassingStates
from knowngood.store.memory import open_memory
from tests.core.build import NOW

THREAD = "production/cs/g1.1"
POLICY = parse({})
DECLARED = parse(
    {
        "people": {
            "ana": {"mail": "ana@example.com", "roles": ["on-call"]},
            "ben": {"mail": "ben@example.com"},
        },
        "channels": {
            "pager": {"kind": "pagerduty", "routing_key": "env:KEY"},
            "chat": {"kind": "slack", "token": "env:TOKEN", "channel": "C1"},
        },
        "audiences": {"on-call": ["pager", "chat"], "team": ["chat"]},
        "prompts": {"cs": {"authors": ["ben"]}},
    }
)


class Pager:
    """Answers from a list, and then takes everything."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.pages: list[Page] = []
        self.receipts: list[str] = []

    @property
    def keys(self) -> list[str]:
        return [page.key for page in self.pages]

    def notify(self, page: Page, receipt: str, now_ms: int):
        self.pages.append(page)
        self.receipts.append(receipt)
        answer = self.answers.pop(0) if self.answers else Delivered("ok")
        if isinstance(answer, Exception):
            raise answer
        return answer


def note(key: str, purpose: Purpose = Purpose.NOTE, **fields) -> Notify:
    return Notify(key, "on-call", Severity.CRITICAL, key, "body", purpose=purpose, **fields)


def page(key: str, **fields) -> Notify:
    return note(key, Purpose.PAGE, **{"thread": THREAD, **fields})


def queued(*keys: str):
    """A store with these notes in its outbox."""
    store = open_memory()
    queue(store, *(note(key) for key in keys))
    return store


def queue(store, *notes, now_ms: int = NOW) -> None:
    revision = store.states.get("production", "cs").revision
    store.states.apply([Change("production", "cs", revision, notes, "system")], now_ms)


def alarm(store) -> Alarm:
    (found,) = store.states.get("production", "cs").alarms
    return found


def amend(store, **fields) -> None:
    queue(store, SetAlarm(replace(alarm(store), **fields)))


def outcomes(store) -> list[tuple[str, str, str]]:
    """(key, channel, outcome) of every try, oldest first."""
    rows = reversed(store.deliveries.recent(1_000))
    return [(row.key, row.channel, row.outcome.value) for row in rows]


def kinds(store) -> list[str]:
    return [line.kind for line in store.log.read()]


def tick(store, pagers, now_ms: int = NOW, policy=POLICY) -> int:
    return tick_deliver(Post(store, policy, pagers), now_ms)


def tries_of(store, pager, now_ms: int = NOW) -> list[int]:
    """Tick whenever something is to be tried again; when that was, after `now_ms`."""
    began_ms, seen = now_ms, 0
    at: list[int] = []
    while store.outbox.waiting_count():
        tick(store, {"one": pager}, now_ms)
        at += [now_ms - began_ms] * (len(pager.keys) - seen)
        seen = len(pager.keys)
        if due := store.outbox.due(2**62, 1):
            assert due[0].next_try_ms > now_ms
            now_ms = due[0].next_try_ms
    return at


# --- At least once, and not more often than needed


def test_a_message_is_sent_once():
    """Delivered by all: it is gone, and no later tick sends it again."""
    store, one, two = queued("a"), Pager(), Pager()
    pagers = {"one": one, "two": two}
    assert tick(store, pagers) == 1
    assert tick(store, pagers, NOW + 1) == 0
    assert (one.keys, two.keys, store.outbox.waiting_count()) == (["a"], ["a"], 0)
    assert outcomes(store) == [("a", "one", "delivered"), ("a", "two", "delivered")]


def test_the_same_key_is_queued_once():
    """Once per key, for ever: also after it was sent."""
    store, pager = queued("a"), Pager()
    tick(store, {"one": pager})
    queue(store, note("a"))
    assert tick(store, {"one": pager}, NOW + 1) == 0
    assert pager.keys == ["a"]


@pytest.mark.parametrize(
    ("answer", "wait_ms"),
    [
        pytest.param(Retry("503"), 5_000, id="our own pace"),
        pytest.param(Retry("429", 30_000), 30_000, id="the provider's pace"),
        pytest.param(Retry("429", 10), 5_000, id="never faster than ours"),
        pytest.param(RuntimeError("a bug"), 5_000, id="a notifier that raises"),
    ],
)
def test_a_failed_delivery_is_tried_again(answer, wait_ms):
    """Never lost: it waits, and goes out as soon as the provider takes it."""
    store, pager = queued("a"), Pager(answer)
    assert tick(store, {"one": pager}) == 0
    assert tick(store, {"one": pager}, NOW + wait_ms - 1) == 0
    assert len(pager.keys) == 1
    assert tick(store, {"one": pager}, NOW + wait_ms) == 1


def test_a_page_is_tried_six_times_in_five_minutes():
    """At 0, 5, 15 and 45 s, 2 and 5 min; then its channel is given up."""
    store, pager = open_memory(), Pager(*[Retry("down")] * 99)
    queue(store, page("a"))
    assert tries_of(store, pager) == [0, 5_000, 15_000, 45_000, 120_000, 300_000]
    assert outcomes(store)[-1] == ("a", "one", "gave_up")


def test_a_note_is_tried_for_six_hours():
    """Twice as long each time, a quarter of an hour at most; then it is of no use any more."""
    store, pager = queued("a"), Pager(*[Retry("down")] * 99)
    at = tries_of(store, pager)
    waits = [late - early for early, late in pairwise(at)]
    assert waits[:4] == [5_000, 10_000, 20_000, 40_000] and max(waits) == PAUSE_MAX_MS
    assert LIVES_MS[Purpose.NOTE] - PAUSE_MAX_MS <= at[-1] < LIVES_MS[Purpose.NOTE]
    assert outcomes(store)[-1] == ("a", "one", "expired")
    assert store.deliveries.recent(1)[0].answer.endswith("the last answer was: down")


@pytest.mark.parametrize(("purpose", "life_ms"), LIVES_MS.items())
def test_a_message_that_is_too_old_is_not_handed_over(purpose, life_ms):
    """Whatever kept it until then, such as a server that was down."""
    for late_ms, taken in ((life_ms - 1, 1), (life_ms, 0)):
        store, pager = open_memory(), Pager()
        queue(store, note("a", purpose))
        tick(store, {"one": pager}, NOW + late_ms)
        assert (len(pager.keys), store.outbox.waiting_count()) == (taken, 0)


def test_a_pause_longer_than_the_message_lives_ends_with_it():
    """A provider that asks for a day's patience gets no page a day late."""
    store, pager = open_memory(), Pager(Retry("429", 24 * 3_600_000))
    queue(store, page("a"))
    assert tries_of(store, pager) == [0]
    assert outcomes(store)[-1] == ("a", "one", "expired")


def test_a_rejected_message_is_given_up():
    """What the provider will never take is not tried again."""
    store, pager = queued("a"), Pager(Rejected("400"))
    assert tick(store, {"one": pager}) == 0
    assert store.outbox.waiting_count() == 0 and pager.keys == ["a"]


@pytest.mark.parametrize("answer", [Retry("down"), Rejected("never"), RuntimeError("a bug")])
def test_one_broken_channel_silences_no_other(answer):
    """Every channel gets the message in the same tick, whatever the others answer."""
    store, broken, well = queued("a"), Pager(answer), Pager()
    tick(store, {"broken": broken, "well": well})
    assert well.keys == ["a"]


def test_who_has_it_is_not_told_again():
    """Only the channel that failed is asked again, also by an engine that knows of nothing."""
    store, broken, well = queued("a"), Pager(Retry("down"), Retry("down")), Pager()
    pagers = {"well": well, "broken": broken, "refuses": Pager(Rejected("400"))}
    for later in (0, 5_000, 15_000):
        tick(store, pagers, NOW + later)
    assert (well.keys, broken.keys) == (["a"], ["a"] * 3)
    assert pagers["refuses"].keys == ["a"]
    assert store.outbox.waiting_count() == 0


def test_a_broken_message_stands_before_no_other():
    """The messages behind one that fails go out in the same tick."""
    store, pager = queued("a", "b", "c"), Pager(RuntimeError("a bug"))
    assert tick(store, {"one": pager}) == 2
    assert pager.keys == ["a", "b", "c"]


def test_a_flood_is_sent_in_portions():
    """A tick hands over a bounded number, oldest first."""
    keys = [f"k{number:03}" for number in range(BATCH_COUNT + 5)]
    store, pager = queued(*keys), Pager()
    assert tick(store, {"one": pager}) == BATCH_COUNT
    assert tick(store, {"one": pager}) == 5
    assert pager.keys == keys


def test_a_channel_has_its_own_pace():
    """One that takes a message a second is given no more, and pages overtake the rest."""
    store, slow, fast = queued("a", "b"), Pager(), Pager()
    queue(store, page("p"))
    post = Post(store, POLICY, {"slow": slow, "fast": fast}, paces={"slow": 1})
    tick_deliver(post, NOW)
    assert (slow.keys, fast.keys) == (["p"], ["p", "a", "b"])
    tick_deliver(post, NOW + 1_000)
    assert slow.keys == ["p", "a"]


def test_what_a_dead_channel_leaves_lying_hides_nothing_newer():
    """However much waits for one channel, another is handed what came last."""
    store, well = queued(*(f"k{number:03}" for number in range(3 * BATCH_COUNT))), Pager()
    dead = Pager(*[Retry("down")] * 999)
    for _ in range(3):
        tick(store, {"dead": dead, "well": well})
    queue(store, note("last"))
    tick(store, {"dead": dead, "well": well})
    assert well.keys[-1] == "last"


def test_without_any_channel_nothing_waits():
    """An engine that tells nobody, as in a replay, leaves no alarm behind that nobody was told."""
    store = open_memory()
    queue(store, page("a"))
    assert tick(store, {}) == 1 and not alarm(store).undelivered


# --- Threads


def test_a_channel_goes_on_with_its_own_receipt():
    """The newest of the thread, from its own answers alone, also within one tick."""
    store = open_memory()
    one, two = Pager(Delivered("ok", "1:first")), Pager(Delivered("ok", "2:first"))
    queue(store, page("a"), note("b", thread=THREAD), note("c", thread="other"), note("d"))
    tick(store, {"one": one, "two": two})
    assert one.receipts == ["", "1:first", "", ""] and two.receipts == ["", "2:first", "", ""]


def test_an_end_follows_its_page_and_never_overtakes_it():
    """What says that somebody looks waits until the page has gone out where that is late."""
    store, late, well = open_memory(), Pager(Retry("down")), Pager()
    queue(store, page("a"), note("ack", Purpose.ACKNOWLEDGED, thread=THREAD))
    tick(store, {"late": late, "well": well})
    assert (late.keys, well.keys) == (["a"], ["a", "ack"])
    tick(store, {"late": late, "well": well}, NOW + 5_000)
    assert late.keys == ["a", "a", "ack"]
    assert store.outbox.waiting_count() == 0


def test_a_page_that_failed_is_not_opened_after_its_end():
    """Nobody would close it; the end itself goes out."""
    store, late = open_memory(), Pager(Retry("down"))
    queue(store, page("a"))
    tick(store, {"late": late})
    queue(store, note("end", Purpose.RESOLVED, thread=THREAD), now_ms=NOW + 1_000)
    tick(store, {"late": late}, NOW + 1_000)
    tick(store, {"late": late}, NOW + 5_000)
    assert late.keys == ["a", "end"]
    assert outcomes(store) == [("a", "late", "retry"), ("a", "late", "skipped"),
                               ("end", "late", "delivered")]  # fmt: skip


def test_a_page_and_its_end_both_go_out_when_nothing_failed():
    """In this order: what nobody was told of cannot be over."""
    store, pager = open_memory(), Pager()
    queue(store, page("a"))
    queue(store, note("end", Purpose.RESOLVED, thread=THREAD))
    tick(store, {"one": pager})
    assert pager.keys == ["a", "end"]


# --- Escalation


def test_a_level_is_not_told_once_somebody_has_acknowledged():
    """Looked at just before it goes out; the first page goes out all the same."""
    store, pager = open_memory(), Pager()
    second = f"{THREAD}:level:1:0:{NOW}"
    queue(store, page("first", targets=("ana",)), page(second, targets=("ben",)))
    amend(store, acked_by="ana", acked_ms=NOW)
    tick(store, {"one": pager})
    assert pager.keys == ["first"]
    (skipped,) = store.deliveries.of([2])[2]
    assert skipped.outcome is Outcome.SKIPPED
    assert skipped.answer == "ana had acknowledged before this went out"


def test_a_level_is_not_told_once_it_is_over():
    """The alarm is gone from the state."""
    store, pager = open_memory(), Pager()
    second = f"{THREAD}:level:1:0:{NOW}"
    queue(store, page(second, targets=("ben",)), note("end", Purpose.RESOLVED, thread=THREAD))
    tick(store, {"one": pager})
    assert pager.keys == ["end"]
    assert (second, "one", "skipped") in outcomes(store)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([Rejected("404")], id="rejected"),
        pytest.param([Retry("503")] * 6, id="given up"),
        pytest.param([Retry("429", 3_600_000)], id="expired"),
    ],
)
def test_a_page_that_reaches_nobody_says_so_in_the_state(answers):
    """So that the next level is told at once, whatever the reason was."""
    store, pager = open_memory(), Pager(*answers)
    queue(store, page("a"))
    tries_of(store, pager)
    assert alarm(store).undelivered
    (line,) = store.log.read()
    assert line.kind == "page.undelivered" and line.because.startswith("nobody was reached by 'a'")
    assert line.detail["channels"] == ["one"]


def test_a_page_that_one_channel_took_reached_somebody():
    """Also when all others will never take it."""
    store = open_memory()
    queue(store, page("a"))
    tick(store, {"one": Pager(Rejected("404")), "two": Pager()})
    assert not alarm(store).undelivered and store.outbox.waiting_count() == 0


def test_a_line_in_a_log_reaches_nobody():
    """Where there is another channel; where there is none, the log is all that was wanted."""
    store = open_memory()
    queue(store, page("a"))
    tick(store, {"log": Pager(), "pager": Pager(Rejected("404"))})
    assert alarm(store).undelivered
    store = open_memory()
    queue(store, page("a"))
    tick(store, {"log": Pager()})
    assert not alarm(store).undelivered


def test_a_page_that_no_channel_takes_reaches_nobody():
    """An audience may have channels that are for other things."""
    quiet = parse({**DECLARED.data, "audiences": {"on-call": []}})
    store = open_memory()
    queue(store, page("a"))
    tick(store, {"pager": Pager(), "chat": Pager()}, policy=quiet)
    assert alarm(store).undelivered
    assert kinds(store) == ["page.undelivered"]


@pytest.mark.parametrize("fields", [{"acked_ms": NOW}, {"told_ms": NOW + 1}])
def test_a_late_failure_tells_no_further_level(fields):
    """Somebody looks, or a later level was told meanwhile: this page is history."""
    store = open_memory()
    queue(store, page("a"))
    amend(store, **fields)
    tick(store, {"one": Pager(Rejected("404"))})
    assert not alarm(store).undelivered and store.outbox.waiting_count() == 0


def test_only_the_pager_that_escalates_refuses():
    """Another channel took it, and nobody would call the next: our own levels do."""
    store = open_memory()
    queue(store, page("a"))
    pagers = {"pager": Pager(Rejected("400")), "chat": Pager()}
    tick(store, pagers, policy=DECLARED)
    assert alarm(store).is_ours and not alarm(store).undelivered
    assert kinds(store) == ["page.undelegated"]
    assert "pager: rejected (400)" in store.log.read()[0].because


@pytest.mark.parametrize(
    ("policy", "pager", "fields"),
    [
        pytest.param(DECLARED, [], {}, id="the pager took it"),
        pytest.param(POLICY, [Rejected("400")], {}, id="no pager of ours escalates"),
        pytest.param(DECLARED, [Rejected("400")], {"acked_ms": NOW}, id="somebody looks"),
        pytest.param(DECLARED, [Rejected("400")], {"told_ms": NOW + 1}, id="a later level is told"),
    ],
)
def test_nobody_is_called_by_two_escalators(policy, pager, fields):
    """What a pager has is left to it, and what never was a pager's is escalated all the same."""
    store = open_memory()
    queue(store, page("a"))
    amend(store, **fields)
    tick(store, {"pager": Pager(*pager), "chat": Pager()}, policy=policy)
    assert not alarm(store).is_ours and not alarm(store).undelivered


def test_a_pager_that_has_the_alarm_keeps_it():
    """A second page of the thread that is refused takes nothing from the first."""
    store, pager = open_memory(), Pager(Delivered("202", "key"), Rejected("400"))
    queue(store, page("a"))
    tick(store, {"pager": pager, "chat": Pager()}, policy=DECLARED)
    queue(store, page("b"), now_ms=NOW + 1)
    tick(store, {"pager": pager, "chat": Pager()}, NOW + 1, policy=DECLARED)
    assert pager.keys == ["a", "b"] and not alarm(store).is_ours


class Busy(PassingStates):
    """Somebody else changes the state between each look and its apply."""

    def get(self, environment: str, prompt: str):
        found = self.inner.get(environment, prompt)
        return replace(found, revision=found.revision - 1)


def test_a_state_that_changed_meanwhile_is_looked_at_anew():
    """Nobody is asked again for that; the alarm is marked by the next tick."""
    store, pager = open_memory(), Pager(Rejected("404"))
    queue(store, page("a"))
    tick(replace(store, states=Busy(store.states)), {"one": pager})
    assert store.outbox.waiting_count() == 1 and not alarm(store).undelivered
    tick(store, {"one": pager}, NOW + 1_000)
    assert pager.keys == ["a"] and alarm(store).undelivered
    assert store.outbox.waiting_count() == 0


# --- What a page carries


def test_a_page_knows_its_people_and_what_it_offers():
    """Those of its targets, the prompt's authors among them, and an answer for each button."""
    store, pager = open_memory(), Pager()
    queue(store, page("a", targets=("on-call", "author"), question=3))
    links: list[str] = []

    def link(message, answer, people, now_ms):
        links.append(f"{answer.value} by {'+'.join(p.name for p in people)} at {now_ms - NOW}")
        return f"https://here/{answer.value}"

    tick_deliver(Post(store, DECLARED, {"pager": pager}, link), NOW + 5)
    (told,) = pager.pages
    assert [person.name for person in told.people] == ["ana", "ben"]
    assert [(b.answer.value, b.url) for b in told.buttons] == [
        ("approve", "https://here/approve"),
        ("decline", "https://here/decline"),
        ("ack", "https://here/ack"),
    ]
    assert links[0] == "approve by ana+ben at 5"
    assert (told.incident, told.question, told.created_ms) == (THREAD, 3, NOW)


def test_a_second_key_belongs_to_the_same_incident():
    """`<incident>:rollback-failed` is a thread of its own."""
    store, pager = open_memory(), Pager()
    queue(store, page("a", thread=f"{THREAD}:rollback-failed"))
    tick(store, {"one": pager})
    assert (pager.pages[0].thread, pager.pages[0].incident) == (f"{THREAD}:rollback-failed", THREAD)


def test_a_drill_is_marked():
    """Its messages are for those who drill, and every channel says so."""
    store, pager = open_memory(), Pager()
    queue(store, replace(note("a"), audience="drill"), note("b"))
    tick(store, {"one": pager})
    assert [(page.key, page.drill) for page in pager.pages] == [("a", True), ("b", False)]
