"""Observe, judge, act: what is looked at, and what survives races, errors and restarts."""

from dataclasses import replace
from typing import Any

import pytest

from knowngood.core.asking import Alarm
from knowngood.core.decide import IDLE_RECHECK_MS
from knowngood.core.errors import StaleState
from knowngood.core.model import (
    FLEET,
    Change,
    ClientSeen,
    Confirming,
    Enter,
    Hold,
    SetAlarm,
    SetAutomation,
    SetRollout,
    Standing,
    Steady,
    Verifying,
)
from knowngood.core.release import Member, Release
from knowngood.core.rollout import Ladder
from knowngood.core.steps.jointly import joined
from knowngood.core.steps.rollouts import Promotion, begin
from knowngood.core.window import Bucket, Window
from knowngood.engine import reconcile
from knowngood.engine.observe import census
from knowngood.engine.reconcile import look, new_reconciler, tick_reconcile
from tests.engine.shop import HOUR, MINUTE, SECOND, START, Shop, stocked

BAD = {"ok": 80, "errors": 20}
FINE = {"ok": 100}
WATERMARK_S = 2  # as engine.ingest: how long a second stays open


def deployed(*prompts: str, **policy) -> Shop:
    """A shop whose prompts serve v2 since a moment, with v1 known to be good."""
    shop = Shop(*prompts, **policy)
    shop.promotes("v1")
    shop.now_ms += HOUR
    shop.promotes("v2")
    return shop


def counted(monkeypatch) -> list[str]:
    """The prompts that are looked at, in order."""
    looked: list[str] = []
    plain = reconcile.look

    def looking(reconciler, environment, prompt, *rest):
        looked.append(prompt)
        return plain(reconciler, environment, prompt, *rest)

    monkeypatch.setattr(reconcile, "look", looking)
    return looked


def test_from_breach_to_recovery_in_seconds():
    """Through the whole engine: a bad deploy is rolled back and verified, and people are told."""
    shop = deployed()
    while shop.serving() == "v2":
        shop.second(**BAD)
    assert isinstance(shop.state().phase, Verifying)
    shop.seconds(6, **FINE)
    assert isinstance(shop.state().phase, Steady) and shop.state().incident is None
    assert shop.kinds()[2:] == [
        "rollback.suspected", "rollback.confirmed", "rollback.target", "rollback.switched",
        "rollback.propagated", "rollback.verified",
    ]  # fmt: skip
    assert len(shop.pager.subjects) == 3 and not shop.errors


def test_a_healthy_deploy_becomes_good():
    """An hour of clean traffic: the ledger calls it good, and nothing else happens."""
    shop = deployed()
    for _ in range(62):
        shop.second(ok=5)
        shop.now_ms += MINUTE - SECOND
    assert shop.state().standing("v2") is Standing.GOOD
    assert shop.kinds()[2:] == ["version.good"] and not shop.pager.subjects


# --- Cost


def test_a_tick_looks_only_at_what_was_touched(monkeypatch):
    """A hundred idle prompts cost nothing while one of them has traffic."""
    names = [f"p{number:02}" for number in range(50)]
    shop = deployed(*names)
    shop.seconds(5)
    looked = counted(monkeypatch)
    shop.seconds(5, p07=(10, 0))
    assert set(looked) == {"p07"} and len(looked) <= 5
    shop.seconds(30)
    assert looked.count("p07") <= 5 + 12  # for a while it is looked at each 5 s without traffic
    assert set(looked) == {"p07"}


def test_an_idle_prompt_is_looked_at_now_and_then(monkeypatch):
    """Nothing reported, nothing under way: every five minutes is enough."""
    shop = deployed("cs")
    shop.seconds(5)
    looked = counted(monkeypatch)
    for _ in range(60):
        shop.now_ms += 29 * SECOND
        shop.second()
    assert 5 <= len(looked) <= 7


def test_a_promote_is_looked_at_at_once(monkeypatch):
    """What a person or another process changes wakes the prompt, reported on or not."""
    shop = deployed("cs", "faq")
    shop.seconds(5)
    looked = counted(monkeypatch)
    shop.promotes("v3", "faq")
    shop.second()
    assert looked == ["faq"]


def test_an_open_bucket_is_looked_at_when_it_closes():
    """No report is forgotten between the tick that wrote it and the tick that may read it."""
    shop = deployed()
    shop.seconds(5)
    shop.seconds(4, ok=10, errors=90)
    assert "rollback.suspected" not in shop.kinds()
    shop.seconds(3)
    assert "rollback.suspected" in shop.kinds()


# --- Races


class Racing:
    """States whose next apply is beaten by somebody else's."""

    def __init__(self, states, meanwhile):
        self.states, self.meanwhile = states, meanwhile

    def apply(self, changes, now_ms):
        if self.meanwhile:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        return self.states.apply(changes, now_ms)

    def __getattr__(self, name):
        return getattr(self.states, name)


def test_a_stale_state_is_looked_at_again():
    """What was decided on an old state is not done; the next look decides anew."""
    shop = deployed()
    shop.until("rollback.suspected", **BAD)
    states = Racing(shop.store.states, lambda: shop.promotes("v3"))
    shop.store = shop.engine.reconciler.store = replace(shop.store, states=states)
    shop.seconds(3, ok=0)
    assert shop.serving() == "v3"
    assert "rollback.switched" not in shop.kinds()
    assert not shop.errors


def test_two_engines_make_one_rollback():
    """Both see the breach and both decide; one apply is stale, and the route moves once."""
    shop = deployed()
    twin = new_reconciler(shop.store, shop.policy, shop.now_ms)
    for _ in range(12):
        shop.second(**(BAD if shop.serving() == "v2" else FINE))
        tick_reconcile(twin, shop.engine.until_ms, shop.now_ms)
    assert shop.kinds().count("rollback.switched") == 1
    assert shop.kinds().count("rollback.suspected") == 1
    assert shop.state().rollbacks_ms and len(shop.state().rollbacks_ms) == 1
    assert len(shop.store.states.get("production", FLEET).rollbacks_ms) == 1


def test_two_engines_that_decided_on_the_same_state():
    """The second apply of the same decision is refused as stale, whole."""
    shop = deployed()
    shop.until("rollback.suspected", **BAD)
    assert isinstance(shop.state().phase, Confirming)
    until_ms = shop.engine.until_ms + SECOND
    both = [
        look(new_reconciler(shop.store, shop.policy, shop.now_ms), "production", "cs", until_ms,
             shop.now_ms)
        for _ in range(2)
    ]  # fmt: skip
    shop.store.states.apply(reconcile.changes(both[0]), shop.now_ms)
    lines = len(shop.kinds())
    with pytest.raises(StaleState):
        shop.store.states.apply(reconcile.changes(both[1]), shop.now_ms)
    assert len(shop.kinds()) == lines


def test_all_prompts_of_a_deploy_are_rolled_back_in_one_tick():
    """Each counts for the fleet; no look is lost because another changed the fleet's state."""
    shop = deployed("a", "b", "c")
    shop.until("rollback.switched", "a", **BAD)
    assert [shop.serving(p) for p in "abc"] == ["v1"] * 3
    assert len(shop.store.states.get("production", FLEET).rollbacks_ms) == 3


def test_all_that_is_due_after_a_long_stall_is_done_in_one_tick():
    """Five things at once are no decision that has no end."""
    shop = released("cs")
    shop.seconds(3, ok=5)
    state = shop.state()
    rollout = state.rollout
    assert rollout is not None
    shop.store.states.apply(
        [
            Change(
                "production",
                "cs",
                state.revision,
                (
                    Enter(Confirming("error_critical", "v2", shop.now_ms, shop.now_ms)),
                    SetAutomation(Hold(shop.now_ms + MINUTE, "maintenance", "ann")),
                    SetAlarm(Alarm("a-thread", "on-call", "critical", "a page", shop.now_ms)),
                    SetRollout(replace(rollout, unseen=True)),
                ),
                "ann",
            )
        ],
        shop.now_ms,
    )
    before = shop.kinds()
    shop.now_ms += 10 * MINUTE
    shop.engine.tick(shop.now_ms)
    assert shop.kinds()[len(before) :] == [
        "rollback.not_confirmed", "blind", "automation.on", "page.escalated", "rollout.stage_anew",
    ]  # fmt: skip
    last = look(shop.engine.reconciler, "production", "cs", shop.engine.until_ms, shop.now_ms)
    assert not last.decision.actions


def released(*prompts: str) -> Shop:
    """A shop in which v2 of every prompt has just begun to climb, as one release."""
    shop = Shop(*prompts)
    shop.promotes("v1")
    shop.now_ms += HOUR
    steps = Ladder((1_000, 10_000), 10 * SECOND, HOUR)
    asked = Promotion("v2", steps, 0, "better", "ann")
    states = [shop.state(prompt) for prompt in prompts]
    begun = tuple((each, begin(each, asked, None, shop.now_ms)) for each in states)
    release = Release("spring", tuple(Member(prompt, "v2") for prompt in prompts))
    shop.store.states.apply(
        [
            Change("production", each.prompt, each.revision, actions, "ann")
            for each, actions in joined(release, begun, "salt")
        ],
        shop.now_ms,
    )
    return shop


@pytest.mark.parametrize(("a", "b"), [("a", "b"), ("b", "a")])
def test_a_partner_takes_its_word_back_in_the_tick_that_would_have_used_it(a, b):
    """What is known of a partner counts, whichever of the two is looked at first."""
    plain = released("a", "b")
    seconds = 0
    while "rollout.stage" not in plain.kinds(a):
        plain.second(**{a: (2, 0), b: (20, 0)})
        seconds += 1
    shop = released("a", "b")
    for second in range(seconds):
        # The last second that the gates of `a` need is a bad one for `b`.
        failing = second == seconds - 1 - WATERMARK_S
        shop.second(**{a: (2, 0), b: (0, 20) if failing else (5, 0)})
    assert "rollout.ready" in shop.kinds(b) and "rollout.stage" not in shop.kinds(b)
    shop.until("rollout.stage", a, **{a: (2, 0), b: (200, 0)})
    assert "rollout.stage" in shop.kinds(b) and not shop.errors


def test_one_prompts_error_does_not_stop_the_others():
    """A prompt that cannot be read is told and tried again; the others are judged."""
    shop = deployed("broken", "cs")
    registry = shop.store.registry

    class Patchy:
        def get(self, prompt, version):
            if prompt == "broken":
                raise OSError("no such page")
            return registry.get(prompt, version)

    patchy: Any = Patchy()
    shop.engine.reconciler.outlook.store = replace(shop.store, registry=patchy)
    shop.until("rollback.switched", **BAD)
    assert shop.serving("cs") == "v1"
    assert {key for key, _ in shop.errors} == {("production", "broken")}
    shop.engine.reconciler.outlook.store = shop.store
    shop.seconds(8, **BAD)
    assert shop.serving("broken") == "v1"


# --- Restarts


def test_a_restart_continues_a_confirmation():
    """The suspicion is in the store: the next engine confirms it and switches, once."""
    shop = deployed()
    shop.until("rollback.suspected", **BAD)
    assert isinstance(shop.state().phase, Confirming)
    shop.open()
    shop.seconds(2, **BAD)
    assert shop.serving() == "v1"
    assert shop.kinds().count("rollback.suspected") == 1


@pytest.mark.parametrize("every", [1, 2, 3])
def test_restarts_at_any_time_end_in_the_same_place(every):
    """A server that is restarted all the time rolls back once and verifies."""
    shop = deployed()
    for number in range(24):
        if number % every == 0:
            shop.open()
        shop.second(**(BAD if shop.serving() == "v2" else FINE))
    assert shop.kinds().count("rollback.switched") == 1
    assert shop.kinds()[-1] == "rollback.verified"


def test_a_restart_is_not_blindness():
    """After the server was away, processes get their time to report before anybody is paged."""
    shop = deployed()
    shop.seconds(5, **FINE)
    shop.now_ms += 5 * MINUTE
    shop.open()
    shop.engine.tick(shop.now_ms)
    assert "blind" not in shop.kinds()
    shop.seconds(3, **FINE)
    assert "blind" not in shop.kinds()
    shop.now_ms += MINUTE
    shop.engine.tick(shop.now_ms)
    assert shop.kinds()[-1] == "blind"


def outage(shop: Shop) -> None:
    """Two prompts with their own deploys, long ago, fail together."""
    shop.seconds(5, **BAD)


def two_deploys() -> Shop:
    shop = Shop("a", "b")
    shop.promotes("v1")
    shop.now_ms += HOUR
    shop.promotes("v2", "a")
    shop.now_ms += HOUR
    shop.promotes("v2", "b")
    shop.now_ms += 10 * MINUTE
    return shop


def test_a_provider_that_fails_rolls_nothing_back():
    """Two prompts of one provider fail together without a common deploy: hold, and page."""
    shop = two_deploys()
    shop.seconds(5, **FINE)
    shop.seconds(60, **BAD)
    assert [shop.serving(p) for p in "ab"] == ["v2", "v2"]
    assert shop.kinds("a").count("rollback.held") == shop.kinds("b").count("rollback.held") == 1


def test_a_restart_does_not_lift_the_upstream_hold():
    """Also an engine that has just started sees that others fail too before it acts."""
    shop = two_deploys()
    shop.seconds(5, **FINE)
    shop.seconds(30, **BAD)
    for _ in range(12):
        shop.now_ms += 59 * SECOND
        shop.second(**BAD)
    shop.open()
    shop.seconds(10, **BAD)
    assert [shop.serving(p) for p in "ab"] == ["v2", "v2"]


def test_a_trouble_of_its_own_is_not_upstream():
    """A prompt that began to fail long after the other is rolled back."""
    shop = two_deploys()
    shop.seconds(5, **FINE)
    shop.until("rollback.switched", "b", a=(100, 0), b=(80, 20))
    assert (shop.serving("a"), shop.serving("b")) == ("v2", "v1")


# --- Cascades: related prompts that fail together


SOME = (97, 3)  # 3 %: alone a question for on-call
WELL = (100, 0)
RELATED = {"related": [["a", "b"]]}


def landscape(hours_ago: int = 1, **policy) -> Shop:
    """Three prompts of one provider; a and b were deployed apart, `hours_ago` and one before."""
    shop = Shop("a", "b", "c", **(policy or RELATED))
    shop.promotes("v1")
    shop.now_ms += HOUR
    shop.promotes("v2", "a")
    shop.now_ms += HOUR
    shop.promotes("v2", "b")
    shop.now_ms += hours_ago * HOUR
    shop.seconds(30, ok=10)
    return shop


def served(shop: Shop) -> str:
    return " ".join(shop.serving(prompt) for prompt in "abc")


def incidents(shop: Shop, *prompts: str) -> list[tuple[str, str]]:
    found = [shop.state(prompt).incident for prompt in prompts]
    return [(i.severity.value, i.response.value) if i else ("", "") for i in found]


def test_related_prompts_that_fail_together_are_rolled_back():
    """Two of them above 2 % while the provider serves another well: both changed today, both go.

    Neither has the 5 % that alone would roll it back.
    """
    shop = landscape()
    shop.seconds(60, a=SOME, b=SOME, c=WELL)
    assert served(shop) == "v1 v1 v1"
    for prompt in "ab":
        (line,) = [e for e in shop.store.log.read(prompt=prompt) if e.kind == "rollback.confirmed"]
        assert "cascade" in {f["trigger"] for f in line.detail["findings"]}
        other = {"a": "b", "b": "a"}[prompt]
        assert f", together with {other}, while c is well" in line.because
    assert not shop.errors


def test_a_cascade_of_old_versions_is_paged():
    """What changed longer ago than a day is not rolled back for it: on-call is asked, critical."""
    shop = landscape(hours_ago=30)
    shop.seconds(60, a=SOME, b=SOME, c=WELL)
    assert served(shop) == "v2 v2 v1"
    assert incidents(shop, "a", "b") == [("critical", "ask")] * 2


def test_a_cascade_rolls_back_what_changed_today_and_pages_for_the_rest():
    """Each by its own age."""
    shop = landscape(hours_ago=30)
    shop.promotes("v3", "a")
    shop.seconds(60, a=SOME, b=SOME, c=WELL)
    assert shop.serving("a") == shop.serving("b") == "v2"
    assert "rollback.switched" in shop.kinds("a") and "rollback.switched" not in shop.kinds("b")


@pytest.mark.parametrize(
    ("policy", "seconds", "of_c"),
    [
        pytest.param({"related": [["a", "c"]]}, 0, WELL, id="not declared related"),
        pytest.param(RELATED, 0, SOME, id="the provider fails for all of its prompts"),
        pytest.param(RELATED, 30, (0, 0), id="nothing is known of other prompts of the provider"),
        pytest.param(RELATED, 400, (0, 0), id="the other prompt was well, some minutes ago"),
    ],
)
def test_what_is_no_cascade(policy, seconds, of_c):
    """Then three of a hundred are what they always are: a question for on-call."""
    shop = landscape(**policy)
    if seconds == 30:
        shop.now_ms += 2 * HOUR
        shop.promotes("v2", "c")  # nothing was seen of it since
    shop.seconds(seconds, a=(10, 0), b=(10, 0))
    shop.seconds(60, a=SOME, b=SOME, c=of_c)
    assert shop.serving("a") == shop.serving("b") == "v2"
    assert incidents(shop, "a", "b") == [("high", "ask")] * 2


def test_related_prompts_are_no_veto_for_each_other():
    """A cascade at 20 % is rolled back, where two unrelated prompts would mean upstream."""
    shop = landscape()
    shop.seconds(60, a=(80, 20), b=(80, 20), c=WELL)
    assert served(shop) == "v1 v1 v1"


def test_a_provider_that_fails_for_all_is_upstream_for_related_prompts_too():
    """Being related lifts no veto of a third prompt that fails as well."""
    shop = landscape()
    shop.promotes("v2", "c")
    shop.now_ms += HOUR
    shop.seconds(120, ok=80, errors=20)
    assert served(shop) == "v2 v2 v2"
    assert all(shop.kinds(p).count("rollback.held") == 1 for p in "abc")


def test_a_restart_does_not_forget_a_cascade():
    """How the others are is rebuilt from the store before the first deed."""
    shop = landscape()
    shop.until("incident.opened", "a", a=SOME, b=(10, 0), c=WELL)
    shop.open()
    shop.seconds(40, a=SOME, b=SOME, c=WELL)
    assert served(shop) == "v1 v1 v1"


def test_moods_are_kept_of_every_prompt():
    """Since when one is elevated, and who is well, as last looked at."""
    shop = landscape()
    shop.seconds(20, a=SOME, b=WELL, c=(0, 0))
    moods = {key[1]: mood for key, mood in shop.engine.reconciler.moods.items()}
    assert moods["a"].elevated_since_ms is not None and not moods["a"].is_well
    assert shop.now_ms - 20 * SECOND < moods["a"].elevated_since_ms < shop.now_ms
    assert moods["b"].elevated_since_ms is None and moods["b"].is_well
    assert {mood.provider for mood in moods.values()} == {"acme"}


# --- The census


def client(name: str, generation: int = 5, ago_s: int = 1, closed: bool = False) -> ClientSeen:
    return ClientSeen(name, "production", "b1", 1, generation, START - ago_s * SECOND, closed)


@pytest.mark.parametrize(
    ("clients", "expected"),
    [
        pytest.param([], (0, 0, (), ()), id="nobody"),
        pytest.param([client("a"), client("b", 6)], (2, 2, (), ()), id="all there"),
        pytest.param([client("a"), client("b", 4)], (2, 1, ("b",), ()), id="one behind"),
        pytest.param([client("a", ago_s=15)], (1, 1, (), ()), id="heard within 15 s"),
        pytest.param([client("a", ago_s=16)], (0, 0, (), ("a",)), id="silent"),
        pytest.param([client("a", 4, 16)], (0, 0, (), ("a",)), id="silent ones are not behind"),
        pytest.param([client("a", 4, 16, True)], (0, 0, (), ()), id="it said goodbye"),
    ],
)
def test_the_census(clients, expected):
    """Live, current, behind and silent, by name."""
    found = census(clients, 5, START)
    assert (found.live_count, found.current_count, found.behind, found.silent) == expected


def test_without_a_route_nothing_is_wanted():
    """A prompt that was pushed and never promoted waits for that."""
    shop = Shop(store=stocked("cs"))
    seen = look(shop.engine.reconciler, "production", "cs", START, START)
    assert [wait.kind for wait in seen.decision.waiting_on] == ["route"]


def test_quiet_prompts_are_not_all_looked_at_in_one_tick():
    """A server finds them together when it starts; from then on they are spread."""
    names = [f"p{i}" for i in range(40)]
    shop = Shop(*names)
    shop.promotes("v1")
    shop.open()
    shop.second()
    due = list(shop.engine.reconciler.next_ms.values())
    assert len(due) == 40 and len(set(due)) > 20
    assert max(due) <= shop.now_ms + IDLE_RECHECK_MS
    assert min(due) >= shop.now_ms + IDLE_RECHECK_MS // 2


def test_what_was_overtaken_leaves_the_heap():
    """However often a prompt is woken, its entries go when their time comes."""
    shop = Shop()
    shop.promotes("v1")
    shop.open()
    shop.seconds(60, ok=5)
    assert len(shop.engine.reconciler.due) < 10


def test_what_another_engine_wrote_late_wakes_an_idle_prompt(monkeypatch):
    """A server that was held up writes seconds that this one has passed; it looks all the same."""
    shop = deployed("cs", "faq")
    shop.seconds(5)
    late = Bucket(shop.now_ms - 3 * SECOND, Window(ok=5))
    shop.seconds(60)
    looked = counted(monkeypatch)
    shop.seconds(12)
    assert looked == []
    shop.store.series.append([(("production", "faq", "v1"), late)], [], {}, {})
    shop.seconds(12)
    assert "faq" in looked and "cs" not in looked
