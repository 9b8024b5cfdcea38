"""What is kept of versions, why, and what a purge writes."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.check import problems
from knowngood.core.codec import to_data
from knowngood.core.errors import BadRequest, InUse, StaleState, UnknownVersion
from knowngood.core.evolve import evolve
from knowngood.core.explain_retention import kept_words, reason_words
from knowngood.core.model import (
    Arm,
    Change,
    Confirming,
    Content,
    Entry,
    Incident,
    MoveRoute,
    Record,
    Response,
    Route,
    SetRollout,
    Severity,
    Spell,
    Stand,
    Standing,
    State,
    Steady,
    Strike,
    Verifying,
    Version,
    whole,
)
from knowngood.core.purge import Head, Purge, Settled, named, purge_of, refuse_purged, settle
from knowngood.core.release import Member, Release
from knowngood.core.retention import (
    PINS_MAX,
    Kept,
    Pin,
    Reason,
    ReasonKind,
    Shelved,
    hot_versions,
    refuse_pin,
    released_in,
    shelve,
)
from knowngood.core.rollout import Ladder, Rollout, RolloutKind
from tests.core.build import DAY, NOW, PROMPT, policy

RULES = policy(keep={"hot": 2, "archive": "30d"})
LADDER = Ladder((100, 10_000), 0, 0)
NAMES = ("ver-a", "ver-b", "ver-c", "ver-d", "ver-e", "ver-f")


def versions(*names: str, age_days: int = 90) -> list[Version]:
    """Versions pushed so long ago, each a millisecond after the one before."""
    return [
        Version(PROMPT, name, Content(text=name), f"digest {name}", "ann", NOW - age_days * DAY + n)
        for n, name in enumerate(names)
    ]


def line(version: str, standing: str, routed: int | None = -80, left: int | None = -70) -> Entry:
    """A line of the ledger: routed and left so many days ago."""
    return Entry(
        version,
        Standing(standing),
        NOW - 85 * DAY,
        routed_ms=None if routed is None else NOW + routed * DAY,
        left_ms=None if left is None else NOW + left * DAY,
    )


def state(serving: str, *ledger: Entry, **more: Any) -> State:
    """A prompt that has served one version for long."""
    entries = (line(serving, "good", -60, None), *ledger)
    route = Route(whole(serving), generation=1, since_ms=NOW - 60 * DAY)
    return State("production", PROMPT, 3, **{"route": route, "ledger": entries, **more})


def incident(version: str) -> Incident:
    return Incident(
        f"production/{PROMPT}/g1.1", version, 1, Severity.HIGH, Response.ASK, ("x",), NOW
    )


def pin(version: str, prompt: str = PROMPT) -> Pin:
    return Pin(prompt, version, "legal signed it off", "ann", NOW)


def shelved(there: list[Version], *states: State, **more: Any) -> dict[str, Shelved]:
    pins, evaluated = more.get("pins", ()), more.get("evaluated", {})
    found = shelve(there, states, pins, more.get("released", {}), evaluated, RULES, NOW)
    assert [each.version for each in found] == [each.version for each in there]
    return {each.version: each for each in found}


# --- One after the other: v1 is looked at, v9 serves


CASES = {
    "never served": (state("v9"), "purgeable", "nothing refers to it, and it was last used 90 d"),
    "nowhere": (None, "purgeable", "kept for 30 d"),
    "a candidate that left": (state("v9", line("v1", "candidate")), "purgeable", "70 d ago"),
    "a candidate that left lately": (
        state("v9", line("v1", "candidate", -80, -20)),
        "archived",
        "last used 20 d ago, kept for 10 d more",
    ),
    "a candidate of which nobody wrote when it left": (
        replace(
            state("v9", line("v1", "candidate", -80, None)),
            route=Route(whole("v9"), generation=1, since_ms=NOW - 20 * DAY),
        ),
        "archived",
        "last used 20 d ago",
    ),
    "serving": (state("v1"), "hot", "serves 100% of production"),
    "on trial": (
        state(
            "v9",
            line("v1", "candidate", -1, None),
            route=Route((Arm("v9", 9_750), Arm("v1", 250)), generation=1, since_ms=NOW),
        ),
        "hot",
        "serves 2.5% of production",
    ),
    "in a rollout": (
        state(
            "v9",
            rollout=Rollout(RolloutKind.CANARY, "v1", "v9", LADDER, NOW, NOW, "go", "ann"),
        ),
        "hot",
        "part of the rollout in production",
    ),
    "good and new": (
        state("v9", line("v1", "good")),
        "hot",
        "among the 2 newest good versions of production",
    ),
    "good and old": (
        state("v9", line("v1", "good"), line("v2", "good", -50, -40)),
        "archived",
        "known good in production: a rollback may go there",
    ),
    "vouched for, never served": (
        state("v9", line("v1", "good", None, None), line("v2", "good")),
        "archived",
        "known good in production",
    ),
    "quarantined": (
        state("v9", line("v1", "quarantined")),
        "archived",
        "quarantined in production: the ledger warns of it",
    ),
    "being confirmed": (
        state("v9", phase=Confirming("x", "v1", NOW, NOW)),
        "archived",
        "part of the rollback under way in production",
    ),
    "being recovered from": (
        state("v9", phase=Verifying("v1", "v9", (), NOW, NOW, "ann", False)),
        "archived",
        "part of the rollback under way in production",
    ),
    "in an incident": (
        state("v9", incident=incident("v1")),
        "archived",
        "an incident of production was about it",
    ),
    "in an incident that is over": (
        state("v9", spells=(Spell(NOW - 80 * DAY, NOW - 79 * DAY, "v1"),)),
        "archived",
        "an incident of production was about it",
    ),
}


@pytest.mark.parametrize(("where", "kept", "words"), CASES.values(), ids=CASES.keys())
def test_where_a_version_is(where, kept, words):
    """Hot, archived or purgeable, with the reason; whatever is referred to stays."""
    states = [where] if where else []
    found = shelved(versions("v1", "v2", "v9"), *states)["v1"]
    assert found.kept == kept
    assert words in kept_words(found)
    assert (found.free_ms is None) == (kept == "hot" or "used" not in kept_words(found))


def test_any_environment_keeps_a_version():
    """What one environment has forgotten, another may serve."""
    staging = replace(state("v1"), environment="staging")
    found = shelved(versions("v1", "v9"), state("v9", line("v1", "quarantined")), staging)["v1"]
    assert found.kept is Kept.HOT
    assert (
        kept_words(found) == "serves 100% of staging; among the 2 newest good versions of staging"
    )


def test_a_pin_is_hot():
    """A person's word keeps a version, in every process's memory, and says who and why."""
    found = shelved(versions("v1", "v9"), state("v9"), pins=[pin("v1"), pin("v8")])["v1"]
    assert (found.kept, found.pin) == (Kept.HOT, pin("v1"))
    assert kept_words(found) == "pinned by ann: legal signed it off"


def test_a_release_keeps_its_versions():
    """It may be promoted yet, or again."""
    spring = Release("spring", (Member(PROMPT, "v1"), Member("other", "v2")))
    released = released_in([spring], PROMPT)
    found = shelved(versions("v1", "v2", "v9"), released=released)
    assert [each.kept for each in found.values()][:2] == [Kept.ARCHIVED, Kept.PURGEABLE]
    assert kept_words(found["v1"]) == "part of the release spring"


def test_the_newest_version_stays():
    """A prompt never vanishes, however long ago somebody worked on it."""
    found = shelved(versions("v1", "v2"))
    assert [each.kept for each in found.values()] == [Kept.PURGEABLE, Kept.ARCHIVED]
    assert kept_words(found["v2"]) == "the newest version of the prompt"
    assert shelve([], [], [], {}, {}, RULES, NOW) == ()


@pytest.mark.parametrize(
    ("age_ms", "kept"), [(30 * DAY - 1, Kept.ARCHIVED), (30 * DAY, Kept.PURGEABLE)]
)
@pytest.mark.parametrize("by", ["push", "evaluation", "ledger"])
def test_the_archive_counts_from_the_last_use(by, age_ms, kept):
    """To the millisecond: from the push, the last evaluation, or the last word in a ledger."""
    pushed = versions("v1", "v9", age_days=400)
    ledger: tuple[Entry, ...] = ()
    evaluated = {}
    match by:
        case "push":
            pushed[0] = replace(pushed[0], created_ms=NOW - age_ms)
        case "evaluation":
            evaluated = {"v1": NOW - age_ms}
        case _:
            ledger = (Entry("v1", Standing.CANDIDATE, NOW - age_ms),)
    found = shelved(pushed, state("v9", *ledger), evaluated=evaluated)["v1"]
    assert (found.kept, found.used_ms, found.free_ms) == (
        kept,
        NOW - age_ms,
        NOW - age_ms + 30 * DAY,
    )


def test_a_clock_that_ran_ahead_says_nothing_absurd():
    """A version of tomorrow was used just now."""
    found = shelved([*versions("v1", age_days=-1), *versions("v9", age_days=-2)])["v1"]
    assert kept_words(found) == "last used 0 s ago, kept for 30 d more"


def test_one_newest_is_not_among_many():
    """Words for a policy that keeps one."""
    assert reason_words(Reason(ReasonKind.NEWEST_GOOD, "eu", "1")) == (
        "the newest good version of eu"
    )


def test_hot_versions_come_by_their_use():
    """The route first, then what is rolled out, then the newest good ones, then the pins."""
    rollout = Rollout(RolloutKind.CANARY, "v7", "v9", LADDER, NOW, NOW, "go", "ann")
    served = state(
        "v9", line("v1", "good"), line("v2", "good", -50, -40), line("v3", "candidate"),
        rollout=rollout,
    )  # fmt: skip
    assert hot_versions(served, RULES, ["v4", "v2"]) == ("v9", "v7", "v2", "v4")
    assert hot_versions(State("production", PROMPT), RULES, []) == ()


def test_pins_are_few():
    """A prompt may have so many, and is told how to let one go."""
    refuse_pin(pin("v"), [pin(f"v{n}") for n in range(PINS_MAX - 1)])
    with pytest.raises(BadRequest, match="every process holds them all") as wrong:
        refuse_pin(pin("v"), [pin(f"v{n}") for n in range(PINS_MAX)])
    assert "knowngood unpin cs" in wrong.value.next_step


# --- Purging


def heads(there: list[Version]) -> list[Head]:
    return [Head(v.version, v.digest, v.created_ms) for v in there]


def order(there: list[Version], *states: State, pins: Any = ()) -> Purge | None:
    found = shelve(there, states, pins, {}, {}, RULES, NOW)
    return purge_of(PROMPT, there, found, states, "old", "ann", "policy-1")


def carried_out(settled: Settled, there: list[Version], states: tuple[State, ...]) -> Any:
    """What is left after a purge."""
    left = [version for version in there if version.version not in settled.digests]
    changes = {change.environment: change for change in settled.changes}
    after = tuple(
        evolve(s, changes[s.environment], 1, NOW) if s.environment in changes else s for s in states
    )
    return left, after


def test_a_purge_takes_the_candidate_s_line_along():
    """What is gone is in no ledger, and the history says so in both places."""
    there = versions("v1", "v2", "v9")
    where = state("v9", line("v1", "candidate"))
    wanted = order(there, where)
    assert wanted and wanted.versions == {"v1": there[0].created_ms, "v2": there[1].created_ms}
    done = settle(wanted, [where], [], {}, heads(there), NOW)
    assert dict(done.digests) == {"v1": "digest v1", "v2": "digest v2"}
    (change,) = done.changes
    assert change.actions == (Strike("v1"), Record("ledger.struck", "old", {"versions": ["v1"]}))
    assert [(entry.kind, entry.detail["version"]) for entry in done.lines] == [
        ("version.purged", "v1"), ("version.purged", "v2"),
    ]  # fmt: skip
    left, (after,) = carried_out(done, there, (where,))
    assert [version.version for version in left] == ["v9"]
    assert [entry.version for entry in after.ledger] == ["v9"]


def test_nothing_is_ordered_where_nothing_is_free():
    """No order, no transaction."""
    there = versions("v1", "v9")
    assert order(there, state("v9", line("v1", "good"))) is None


def test_a_purge_is_refused_where_the_world_moved_on():
    """A state that changed, a pin, or a reference that the order's maker did not see."""
    there, where = versions("v1", "v9"), state("v9")
    wanted = order(there, where)
    assert wanted
    with pytest.raises(StaleState, match="has changed"):
        settle(wanted, [replace(where, revision=4)], [], {}, heads(there), NOW)
    with pytest.raises(StaleState, match="has changed"):
        settle(wanted, [], [], {}, heads(there), NOW)
    with pytest.raises(StaleState, match="v1 was pinned"):
        settle(wanted, [where], [pin("v1")], {}, heads(there), NOW)
    with pytest.raises(InUse, match=r"v1 is referred to in production \(good\)"):
        settle(wanted, [state("v9", line("v1", "good"))], [], {}, heads(there), NOW)
    with pytest.raises(InUse, match="newest"):
        settle(wanted, [where], [], {}, heads(there[:1]), NOW)
    with pytest.raises(InUse, match="v1 is part of the release spring"):
        settle(wanted, [where], [], {"v1": "spring"}, heads(there), NOW)
    settle(wanted, [where], [pin("v9")], {}, heads(there), NOW)


def test_what_changes_bring_in_is_named():
    """Routes, rollouts and words in the ledger: none of them may speak of what was purged."""
    rollout = Rollout(RolloutKind.CANARY, "v3", "v4", LADDER, NOW, NOW, "go", "ann")
    actions = (
        MoveRoute((Arm("v1", 1), Arm("v2", 9_999))), Stand("v5", Standing.GOOD, ""),
        SetRollout(rollout), SetRollout(None), Strike("v6"),
    )  # fmt: skip
    changes = [Change("production", PROMPT, 0, actions, "ann")]
    assert named(changes) == {(PROMPT, f"v{n}") for n in range(1, 6)}
    refuse_purged([])
    with pytest.raises(UnknownVersion, match="cs:v1 was purged") as wrong:
        refuse_purged([(PROMPT, "v2"), (PROMPT, "v1")])
    assert wrong.value.next_step == "push it again: knowngood push cs v1 FILE"


# --- Laws


AGES = st.sampled_from([0, 1, 29, 30, 31, 400])
SOME = st.sampled_from(NAMES)


@st.composite
def lines(draw):
    """A ledger in which any version may have any standing."""
    found = []
    for name in draw(st.sets(SOME)):
        times = [draw(AGES) * DAY for _ in range(3)]
        found.append(
            Entry(
                name,
                draw(st.sampled_from(Standing)),
                NOW - times[0],
                routed_ms=draw(st.sampled_from([None, NOW - times[1]])),
                left_ms=draw(st.sampled_from([None, NOW - times[2]])),
            )
        )
    return tuple(found)


@st.composite
def states(draw, environment: str):
    """A state in which anything may refer to anything."""
    route = rollout = None
    phase: Any = Steady()
    ledger = draw(lines())
    if draw(st.booleans()):
        arms = draw(st.lists(SOME, min_size=1, max_size=2, unique=True))
        weights = [10_000] if len(arms) == 1 else [9_000, 1_000]
        route = Route(tuple(map(Arm, arms, weights)), generation=1, since_ms=NOW - draw(AGES) * DAY)
        known = {entry.version for entry in ledger}
        ledger += tuple(Entry(a, Standing.CANDIDATE, NOW) for a in arms if a not in known)
        if draw(st.booleans()):
            phase = Verifying(draw(SOME), arms[0], (), NOW, NOW, "ann", True)
        elif draw(st.booleans()):
            phase = Confirming("x", draw(SOME), NOW, NOW)
        elif draw(st.booleans()):
            kind = draw(st.sampled_from(RolloutKind))
            rollout = Rollout(kind, draw(SOME), draw(SOME), LADDER, NOW, NOW, "go", "ann")
    told = draw(st.none() | SOME)
    spells = tuple(Spell(0, 1, name) for name in draw(st.lists(SOME, max_size=2)))
    return State(
        environment, PROMPT, draw(st.integers(1, 9)), route, ledger, phase,
        incident(told) if told else None, spells=spells, rollout=rollout,
    )  # fmt: skip


@st.composite
def worlds(draw):
    """Versions of every age, two environments, and pins."""
    there = [replace(v, created_ms=NOW - draw(AGES) * DAY) for v in versions(*NAMES)]
    there.sort(key=lambda version: version.created_ms)
    where = tuple(draw(states(environment)) for environment in ("production", "staging"))
    return there, where, [pin(name) for name in draw(st.sets(SOME, max_size=2))]


def spoken_of(where: State) -> str:
    """All that a state says, but for the lines of candidates."""
    kept = tuple(e for e in where.ledger if e.standing is not Standing.CANDIDATE)
    return json.dumps(to_data(replace(where, ledger=kept)))


@given(worlds())
def test_nothing_that_is_referred_to_is_purgeable(world):
    """Whatever the state: its name stands nowhere but in a candidate's line, and in no pin."""
    there, where, pins = world
    for each in shelve(there, where, pins, {}, {}, RULES, NOW):
        if each.kept is Kept.PURGEABLE:
            assert not any(f'"{each.version}"' in spoken_of(state) for state in where)
            assert each.version not in {p.version for p in pins}
            assert each.version != there[-1].version
            assert each.used_ms <= NOW - 30 * DAY


@given(worlds())
def test_hot_is_what_a_process_holds(world):
    """A version is hot if and only if some environment's processes hold it."""
    there, where, pins = world
    held = {v for state in where for v in hot_versions(state, RULES, [p.version for p in pins])}
    found = shelve(there, where, pins, {}, {}, RULES, NOW)
    assert {each.version for each in found if each.kept is Kept.HOT} == held


@given(worlds())
def test_purging_twice_is_purging_once(world):
    """After a purge nothing is free, what is left is where it was, and no state is broken by it."""
    there, where, pins = world
    wanted = order(there, *where, pins=pins)
    if wanted is None:
        return
    before = {e.version: e for e in shelve(there, where, pins, {}, {}, RULES, NOW)}
    done = settle(wanted, where, pins, {}, heads(there), NOW)
    assert set(done.digests) == set(wanted.versions)
    left, after = carried_out(done, there, where)
    assert order(left, *after, pins=pins) is None
    assert list(shelve(left, after, pins, {}, {}, RULES, NOW)) == [before[v.version] for v in left]
    for old, new in zip(where, after, strict=True):
        assert {p.message for p in problems(new)} <= {p.message for p in problems(old)}
        assert hot_versions(new, RULES, ()) == hot_versions(old, RULES, ())
    again = replace(wanted, revisions={s.environment: s.revision for s in after})
    assert settle(again, after, pins, {}, heads(left), NOW) == Settled({})
