"""The laws of the decision, for any state and anything seen; and the sentences people read."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core.check import refuse
from knowngood.core.decide import decide
from knowngood.core.explain import (
    decision_words,
    duration,
    finding_words,
    percent,
    phase_words,
    route_words,
    strongest,
    wait_words,
)
from knowngood.core.look import breaches
from knowngood.core.model import (
    FLEET,
    Census,
    Confirming,
    Hold,
    Incident,
    Outcome,
    Related,
    Response,
    Severity,
    Sibling,
    Standing,
    State,
    Steady,
    Verdict,
    Verifying,
    Wait,
)
from knowngood.core.steps.case import Case
from knowngood.core.steps.operator import RollbackRequest, roll_back
from tests.core.build import (
    ALL_HERE,
    ALL_SILENT,
    BAD,
    DAY,
    DEFAULT,
    FAIR,
    FINE,
    HEALTHY_DAY,
    HOUR,
    MINUTE,
    NOBODY,
    NOW,
    SECOND,
    Story,
    after,
    calls,
    decided,
    entry,
    moves,
    observed,
    pages,
    policy,
    read,
    settled,
    state,
)

AGES = st.sampled_from([-10 * MINUTE, -HOUR, -2 * DAY, -MINUTE, -1])
MOSTLY = st.sampled_from([True, True, True, False])
VERSIONS = ("v0", "v1", "v2")
RULES = [
    DEFAULT,
    policy(triggers={"error_critical": {"dry_run": True}}),
    policy(triggers={"quality_high": {"action": "rollback", "who": "system"}}),
    replace(DEFAULT, auto_rollback_stale=True),
]
NOTICES = ["blind:v2", "held:stale", "held:flap", "straggler", "dry_run:error_critical:v2"]


@st.composite
def windows(draw):
    """Calls of every health, from none to many, with labels and latencies or without."""
    ok, errors = draw(st.sampled_from([5, 70, 1000, 0])), draw(st.sampled_from([60, 400, 4, 2, 0]))
    return calls(
        ok=ok,
        errors=errors,
        p99=draw(st.sampled_from([100, 1000, 5000])) if draw(st.booleans()) else None,
        quality=draw(st.sampled_from([0.3, 0.65, 0.8])) if draw(st.booleans()) else None,
        n_labels=draw(st.sampled_from([10, 100, 400])),
    )


@st.composite
def ledgers(draw):
    """Every version with any standing, with a frozen day or without."""
    return tuple(
        entry(
            version,
            draw(st.sampled_from(["good", "candidate", "quarantined"])),
            draw(AGES),
            HEALTHY_DAY if draw(st.booleans()) else None,
        )
        for version in VERSIONS
    )


@st.composite
def incidents(draw, since):
    """No incident, or one of any strength."""
    if draw(st.booleans()):
        return None
    names = st.sampled_from([t.name for t in DEFAULT.triggers] + ["gone"])
    return Incident(
        id="production/cs/g5.1",
        version="v2",
        generation=5,
        severity=draw(st.sampled_from(list(Severity))),
        response=draw(st.sampled_from([Response.ROLLBACK, Response.ASK, Response.OBSERVE])),
        triggers=tuple(draw(st.lists(names, min_size=1, max_size=2, unique=True))),
        opened_ms=NOW + since,
        outcome=draw(st.sampled_from([None, Outcome.NOT_RECOVERED, Outcome.INCONCLUSIVE])),
    )


@st.composite
def states(draw):
    """Any state that makes sense."""
    since = draw(AGES)
    trial = ("v2", draw(st.sampled_from([100, 5000]))) if draw(st.booleans()) else None
    serving = "v1" if trial else "v2"
    began = NOW + max(since, draw(AGES))
    phase = draw(st.sampled_from(["steady", "confirming", "verifying"]))
    made = {
        "steady": Steady(),
        "confirming": Confirming(
            "error_critical", "v2", draw(st.sampled_from([NOW - SECOND, NOW])), began
        ),
        "verifying": Verifying(
            "v0", serving, draw(st.sampled_from([(), ("error_critical",), ("quality_high",)])),
            began, NOW + draw(st.sampled_from([-1, MINUTE])), "system", True,
            draw(st.sampled_from([None, NOW])), draw(st.sampled_from([1, 5, 96])),
        ),
    }[phase]  # fmt: skip
    incident = draw(incidents(since))
    hold = None if draw(MOSTLY) else Hold(NOW + draw(st.sampled_from([-1, HOUR])), "a test", "bob")
    return state(
        serving,
        *draw(ledgers()),
        trial=trial,
        since=since,
        environment="production",
        phase=made,
        incident=incident,
        incident_count=1 if incident else 0,
        told=tuple(draw(st.lists(st.sampled_from(NOTICES), unique=True, max_size=3))),
        automation=hold,
        rollbacks_ms=()
        if draw(MOSTLY)
        else draw(st.sampled_from([(NOW - MINUTE,), (NOW - HOUR,)])),
    )


BEHIND = Census(4, 3, ("web-4",), ("web-9",))


@st.composite
def observations(draw):
    """Anything that may be seen, in one second or over minutes."""
    seen = {version: draw(windows()) for version in VERSIONS if draw(MOSTLY)}
    sibling = Sibling("faq", NOW - draw(st.sampled_from([0, HOUR])), NOW - DAY)
    return observed(
        over=draw(st.sampled_from([20, 4, 200, 1])) * SECOND,
        census=ALL_HERE if draw(MOSTLY) else draw(st.sampled_from([ALL_SILENT, NOBODY, BEHIND])),
        siblings=() if draw(MOSTLY) else (sibling,),
        related=draw(st.sampled_from([(), (Related("faq", NOW),)])),
        unrelated_clear=draw(st.sampled_from([(), ("hr",)])),
        fleet=State("production", FLEET, rollbacks_ms=() if draw(MOSTLY) else (NOW - 1,) * 10),
        **seen,
    )


@st.composite
def critical(draw):
    """Any state in which a breach is being confirmed, and a suspect that goes on failing."""
    start, seen = draw(states()), draw(observations())
    phase = Confirming("error_critical", "v2", NOW - SECOND, NOW - draw(st.sampled_from([1, 90])))
    failing = observed(over=20 * SECOND, v2=calls(ok=60, errors=60)).versions
    versions = {**seen.versions, **failing}
    return replace(start, phase=phase), replace(seen, versions=versions, census=ALL_HERE)


CASES = st.one_of(st.tuples(states(), observations()), critical())


@given(CASES, st.sampled_from(RULES))
@settings(max_examples=100, deadline=None)
def test_deciding_again_changes_nothing(case, rules):
    """Decide and apply until nothing is wanted: that takes few rounds and leaves a sound state.

    No message is queued twice on the way, and no route moves twice.
    """
    start, seen = case
    end, done = settled(start, seen, rules)
    refuse(end)
    keys = [page.key for page in pages(done)]
    assert len(set(keys)) == len(keys)
    assert len(moves(done)) <= 1
    assert end.revision - start.revision <= 4


@given(CASES, st.sampled_from(RULES))
@settings(max_examples=100, deadline=None)
def test_unsure_and_blind_move_no_route(case, rules):
    """The route moves only on a breach that asks for it, proven, on the version that leaves it."""
    start, seen = case
    decision = decided(start, seen, rules)
    if moves(decision.actions):
        mine = breaches(decision.findings, start.route.suspect.version, Response.ROLLBACK)
        assert mine and all(f.proof and f.proof.over for f in mine)
        assert all(math.exp(f.proof.log_e) >= 1 / f.proof.alpha - 1e-6 for f in mine if f.proof)


@given(CASES, st.sampled_from(RULES))
@settings(max_examples=100, deadline=None)
def test_only_known_good_versions_come_back(case, rules):
    """Whatever is known and seen: the target is good and not the suspect, which is quarantined."""
    start, seen = case
    decision = decided(start, seen, rules)
    if target := moves(decision.actions):
        assert start.standing(target[0]) is Standing.GOOD
        assert target[0] != start.route.suspect.version
        end = after(start, decision, NOW)
        assert end.standing(start.route.suspect.version) is Standing.QUARANTINED


@given(states(), observations(), st.sampled_from(RULES))
@settings(max_examples=50, deadline=None)
def test_a_decision_says_why_or_what_it_waits_on(start, seen, rules):
    """Nothing to do is never without a reason, and every wait has words."""
    decision = decided(start, seen, rules)
    undecided = any(f.verdict is not Verdict.CLEAR for f in decision.findings)
    held = start.incident is not None or not isinstance(start.phase, Steady)
    for wait in decision.waiting_on:
        assert wait_words(wait) not in ("", wait.kind)
    if not decision.actions and undecided and held:
        breach = any(f.verdict is Verdict.BREACH for f in decision.findings)
        assert decision.waiting_on or breach
    assert decision_words(start, decision).endswith(".")
    assert 0 < decision.recheck_after_ms <= 3_600_000


NO_BRAKE = [None, Hold(NOW - 1, "over", "bob")]


@given(
    states(),
    st.sampled_from(NO_BRAKE),
    st.sampled_from([0, 100, 400]),
    st.sampled_from([100, 5000]),
    st.lists(st.sampled_from(NOTICES), unique=True),
)
@settings(max_examples=50, deadline=None)
def test_nothing_masks_a_rollback(start, hold, n_labels, p99, told):
    """A rollback trigger that stays breached moves the route, whatever else is open or asked.

    Only the four brakes may stop it, a rollback that failed (a person decides then), one that is
    being verified, or the lack of a known-good version.
    """
    phase = start.phase if isinstance(start.phase, Confirming) else Steady()
    incident = replace(start.incident, outcome=None) if start.incident else None
    ledger = (entry("v0"), entry("v1", "good", -DAY), entry("v2", "candidate", -10 * MINUTE))
    route = replace(start.route, since_ms=NOW - 10 * MINUTE)
    story = Story(
        replace(
            start, phase=phase, incident=incident, ledger=ledger, route=route,
            automation=hold, rollbacks_ms=(), told=tuple(told),
        )
    )  # fmt: skip
    worst = calls(ok=500, errors=500, p99=p99, quality=0.3, n_labels=n_labels)
    story.until("rollback.switched", v1=FINE, v2=worst)
    assert moves(story.done) == ["v1"]


@given(states(), observations(), st.sampled_from(RULES))
@settings(max_examples=50, deadline=None)
def test_no_brake_holds_a_person(start, seen, rules):
    """A person's rollback to a known-good version moves the route in every state."""
    goods = [e.version for e in start.ledger if e.standing is Standing.GOOD]
    goods = [v for v in goods if v != start.route.suspect.version]
    if not goods or start.route.weight_bp(goods[0]) == 10_000:
        return
    seen = read(start, seen, rules)
    found = decide(start, seen, rules, NOW).findings
    case = Case(start, seen, rules, found, NOW)
    assert moves(roll_back(case, RollbackRequest("because", goods[0]))) == [goods[0]]


@given(states(), observations())
@settings(max_examples=50, deadline=None)
def test_staging_never_pages(start, seen):
    """No state of staging queues a message."""
    incident = start.incident and replace(start.incident, id="staging/cs/g5.1")
    _, done = settled(replace(start, environment="staging", incident=incident), seen)
    assert pages(done) == []


# --- Words


GOLDEN = [
    (state(), {}, "Nothing: not enough evidence for any trigger yet."),
    (
        state(),
        {"v2": FINE},
        "Nothing: no trigger is breached; 6 of 9 triggers are unsure.",
    ),
    (
        state(),
        {"v2": FAIR},  # 3 of 100: nothing is proven
        "Nothing: no trigger is breached; 8 of 9 triggers are unsure.",
    ),
    (
        state(),
        {"v2": BAD},
        "Breach of error_critical on v2: errors 20.0% > 5.0% (20 of 100).",
    ),
    (
        state(),
        {"v2": calls(ok=970, errors=30)},
        "Breach of error_high on v2: errors 3.0% > 2.0% (30 of 1000).",
    ),
    (
        state(),
        {"v2": calls(ok=500, p99=1700)},
        "Breach of latency_high on v2: p99 latency up 111.1% (limit 100.0%), 803 ms -> 1694 ms, "
        "against the previous good v1 (n = 500).",
    ),
    (
        state(),
        {"v2": calls(ok=100, quality=0.5, n_labels=100)},
        "Breach of quality_high on v2: quality down 37.5% (limit 20.0%), 0.800 -> 0.500, "
        "against the previous good v1 (n = 50).",
    ),
    (
        state(phase=Confirming("error_critical", "v2", NOW, NOW)),
        {"v2": BAD},
        "Confirming error_critical on v2.",
    ),
    (
        state(
            phase=Confirming("error_critical", "v2", NOW - SECOND, NOW),
            automation=Hold(NOW + 2 * HOUR, "a load test", "bob"),
        ),
        {"v2": BAD},
        "Rollback held: waiting on a brake: automation is off for cs by bob: a load test "
        "(2 h left).",
    ),
    (
        state("v1", phase=Verifying("v2-RC1", "v1", (), NOW, NOW + MINUTE, "system", True)),
        {},
        "Verifying the rollback v2-RC1 -> v1.",
    ),
    (State("production", "cs"), {}, "Nothing to judge."),
]


@pytest.mark.parametrize(
    ("start", "seen", "words"), [pytest.param(*row, id=row[2][:60]) for row in GOLDEN]
)
def test_the_sentence_of_a_decision(start, seen, words):
    """What was decided, or why nothing, in the words of CLI, page, API and messages."""
    assert decision_words(start, decided(start, observed(**seen))) == words


def test_the_sentence_of_blindness():
    """Blind is said as such."""
    seen = observed(census=ALL_SILENT, v2=FINE)
    decision = decided(state(), seen)
    assert decision_words(state(), decision) == ("Blind on v2: no reports, so nothing is decided.")
    assert finding_words(decision.findings[0]) == "errors: blind, no reports"


WAITS = [
    (Wait("requests", 20, 5, "error_rate"), "15 more requests for errors (5 of 20)"),
    (Wait("labels", 50, 20, "score.accuracy"), "30 more labels for accuracy (20 of 50)"),
    (Wait("errors", 3, 2, "error_rate"), "1 more error (2 of 3)"),
    (Wait("idle", 20, 0, "error_rate"), "traffic: no calls in the window"),
    (
        Wait("baseline", detail="latency_p99"),
        "a baseline for p99 latency: neither a control nor the previous good version has one",
    ),
    (
        Wait("separable", 310, 51, "quality"),
        "about 310 labels a side: with 51 the change of quality is not separable from noise",
    ),
    (
        Wait("evidence", 1000, 38.2, "error_rate", 190_000),
        "more evidence on errors: E = 38 of 1,000, about 3 min 10 s at this traffic",
    ),
    (
        Wait("evidence", 1000, 3.96, "error_rate"),
        "more evidence on errors: E = 4.0 of 1,000",
    ),
    (
        Wait("not_separable", detail="latency_p99"),
        "a wider limit for p99 latency: a healthy version passes this one by chance "
        "(THRESHOLD_NOT_SEPARABLE)",
    ),
    (
        Wait("attribution", 20, 3.14, "v1"),
        "proof that it is the version and not its provider: E = 3.1 of 20 against the control v1",
    ),
    (
        Wait("control_calls", 3, 1, "v1"),
        "calls of the control v1, to see whether it fails too (1 of 3)",
    ),
    (Wait("next_look"), "the next look, to confirm the breach on newer data"),
    (
        Wait("clients", 4, 3, "web-4"),
        "processes that still run an older generation (3 of 4): web-4",
    ),
    (
        Wait("verify_requests", 70, 12),
        "proof of recovery on the target: 12 of 70 calls, if no more fail",
    ),
    (
        Wait("bake_evidence", 124, 100, "v2"),
        "calls to prove v2 good: 100 of 124, if no more fail",
    ),
    (Wait("bake_time", 1_500_000, detail="v2"), "the bake: 25 min left before v2 can be good"),
    (
        Wait("verify_metric", detail="quality_high"),
        "the target's quality_high to be back: not enough evidence yet",
    ),
    (Wait("operator", detail="on-call to decide"), "an operator: on-call to decide"),
]


@pytest.mark.parametrize(
    ("wait", "words"), [pytest.param(*row, id=f"{i}-{row[0].kind}") for i, row in enumerate(WAITS)]
)
def test_the_words_of_a_wait(wait, words):
    """The most-read line of the product."""
    assert wait_words(wait) == words


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0 s"), (499, "0 s"), (27_000, "27 s"), (59_600, "1 min"), (250_000, "4 min 10 s"),
        (3_599_600, "1 h"), (3_900_000, "1 h 5 min"), (2 * DAY, "2 d"), (DAY + HOUR, "1 d 1 h"),
    ],
)  # fmt: skip
def test_durations(ms, words):
    """A time span in its two largest units."""
    assert duration(ms) == words


@pytest.mark.parametrize(
    ("fraction", "words"), [(0, "0.0%"), (0.112, "11.2%"), (0.0004, "0.04%"), (1, "100.0%")]
)
def test_percentages(fraction, words):
    """One decimal, and two where one would say nothing."""
    assert percent(fraction) == words


def test_the_worst_comes_first():
    """Breaches before the rest, the most severe first; and names keep their capitals."""
    found = decided(state(), observed(v2=BAD)).findings
    assert [f.trigger for f in strongest(found)][:3] == [
        "error_critical", "error_high", "first_hour.error_rate",
    ]  # fmt: skip
    assert route_words(state("v1", trial=("v2", 500)).route) == "v1 95% + v2 5%"
    assert route_words(None) == "no route" and phase_words(Steady()) == "steady"
