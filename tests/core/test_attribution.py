"""Who is at fault: the version, or what its control depends on as well?"""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.look import WORSE_THAN_CONTROL
from knowngood.core.model import (
    Comparison,
    Evidence,
    Finding,
    Response,
    Severity,
    State,
    Steady,
    Verdict,
)
from knowngood.core.reading import Proof
from knowngood.core.steps.attribution import Attribution, Blame, attribute
from knowngood.core.steps.case import Case
from tests.core.build import (
    BAD,
    DEFAULT,
    FAIR,
    FINE,
    HEALTHY_DAY,
    MINUTE,
    NOW,
    SECOND,
    Story,
    calls,
    entry,
    kinds,
    moves,
    observed,
    pages,
    policy,
    state,
)

VERSION, UPSTREAM, UNCLEAR = Blame.VERSION, Blame.UPSTREAM, Blame.UNCLEAR
BREACH = Finding(
    trigger="error_critical",
    version="v2",
    metric="error_rate",
    comparison=Comparison.ABOVE,
    limit=0.05,
    verdict=Verdict.BREACH,
    response=Response.ROLLBACK,
    severity=Severity.CRITICAL,
    n=100,
    bad=20,
)


def breach(e: float | None = 0.5, n: int = 100, bad: int = 20, **more) -> Finding:
    """A fifth of the candidate's calls fail; E that it does worse than its control."""
    relative = None if e is None else math.log(e)
    proof = Proof(0.001, math.log(5000), True, n=n, bad=bad, log_e_relative=relative)
    return replace(BREACH, proof=proof, **more)


def on_trial(share_bp: int) -> State:
    """v2 has so much of the traffic, v1 the rest."""
    return state("v1", entry("v1"), entry("v2", "candidate", -MINUTE), trial=("v2", share_bp))


def blamed(
    share_bp: int,
    control: tuple[int, int],
    e: float | None = 0.5,
    after_s: int = 0,
    at: int = -SECOND,
    found: tuple[Finding, ...] = (),
    own: tuple[int, int] = (100, 20),
) -> Attribution:
    """The verdict `after_s` the trouble was found; the arms had (calls, failures) at `at`."""
    windows = [calls(n - bad, bad) for n, bad in (control, own)]
    seen = observed(at=NOW + at, v1=windows[0], v2=windows[1])
    where = on_trial(share_bp)
    found = found or (breach(e),)
    return attribute(Case(where, seen, DEFAULT, found, NOW), found, NOW - after_s * SECOND)


HALF, QUARTER, NEARLY_ALL, BAKING = 5_000, 2_500, 5_001, 9_500
TABLE = [
    # the candidate's share, the control's (calls, failures), E against it, seconds since, blame
    pytest.param(HALF, (100, 0), 19.9, 0, UNCLEAR, id="half: it has to prove that it does worse"),
    pytest.param(HALF, (100, 0), 20.1, 0, VERSION, id="half: proven"),
    pytest.param(QUARTER, (100, 0), 20.1, 0, VERSION, id="three quarters: proven"),
    pytest.param(QUARTER, (100, 17), 20.1, 0, VERSION, id="three quarters: proven all the same"),
    pytest.param(QUARTER, (100, 18), 1e6, 0, UPSTREAM, id="three quarters: now it fails as often"),
    pytest.param(HALF, (100, 9), 1.0, 3600, UNCLEAR, id="half: healthy to look at is no proof"),
    pytest.param(HALF, (2, 0), 1.0, 29, UNCLEAR, id="half: an idle control, 29 s"),
    pytest.param(HALF, (2, 0), 1.0, 30, VERSION, id="half: an idle control can prove nothing"),
    pytest.param(HALF, (100, 10), 1.0, 0, UPSTREAM, id="half: it fails half as often"),
    pytest.param(HALF, (100, 10), 1.0, 3600, UPSTREAM, id="half: and goes on failing"),
    pytest.param(HALF, (3, 2), 1.0, 0, UPSTREAM, id="half: two of three failed"),
    pytest.param(HALF, (5, 1), 1.0, 3600, UNCLEAR, id="half: one failure is an accident"),
    pytest.param(HALF, (100, 0), None, 0, VERSION, id="half: nothing to compare, it looks well"),
    pytest.param(NEARLY_ALL, (100, 0), 0.5, 0, VERSION, id="less than half: three are enough"),
    pytest.param(BAKING, (3, 0), 0.5, 0, VERSION, id="bake: three healthy calls, at once"),
    pytest.param(BAKING, (2, 0), 0.5, 29, UNCLEAR, id="bake: two calls, 29 s"),
    pytest.param(BAKING, (2, 0), 0.5, 30, VERSION, id="bake: two calls, 30 s"),
    pytest.param(BAKING, (0, 0), 0.5, 29, UNCLEAR, id="bake: no call, 29 s"),
    pytest.param(BAKING, (0, 0), 0.5, 30, VERSION, id="bake: no call, 30 s"),
    pytest.param(BAKING, (3, 1), 0.5, 29, UNCLEAR, id="bake: one of three failed, 29 s"),
    pytest.param(BAKING, (3, 1), 0.5, 30, VERSION, id="bake: one of three failed, 30 s"),
    pytest.param(BAKING, (3, 2), 0.5, 0, UPSTREAM, id="bake: two of three failed"),
    pytest.param(BAKING, (20, 2), 0.5, 3600, UPSTREAM, id="bake: it vetoes while it fails"),
    pytest.param(BAKING, (21, 2), 0.5, 0, VERSION, id="bake: less than half as often"),
    pytest.param(BAKING, (20, 2), 1e6, 0, UPSTREAM, id="bake: a veto, whatever is proven"),
]


@pytest.mark.parametrize(("share_bp", "control", "e", "after_s", "blame"), TABLE)
def test_the_table_of_blame(share_bp, control, e, after_s, blame):
    """A control with half of the calls is proven against; a smaller one has only a veto."""
    found = blamed(share_bp, control, e, after_s)
    assert found.blame is blame
    assert bool(found.waiting_on) is (blame is UNCLEAR)


def test_what_is_waited_on_while_it_is_unclear():
    """Of a large control the proof, of a small one its calls, and by name."""
    (proof,) = blamed(HALF, (100, 0), 4.0).waiting_on
    assert (proof.kind, proof.need, proof.detail) == ("attribution", 20, "v1")
    assert proof.have == pytest.approx(4.0)
    (few,) = blamed(BAKING, (2, 0)).waiting_on
    assert (few.kind, few.need, few.have, few.detail) == ("control_calls", 3, 2, "v1")


@pytest.mark.parametrize(
    ("at", "after_s", "blame"),
    [
        pytest.param(-10 * SECOND, 0, UPSTREAM, id="just before it was found"),
        pytest.param(-16 * SECOND, 0, UPSTREAM, id="before, as what convicts the candidate"),
        pytest.param(-59 * SECOND, 50, UPSTREAM, id="since then"),
        pytest.param(-61 * SECOND, 300, UPSTREAM, id="since then, and long ago"),
    ],
)
def test_only_the_controls_calls_since_the_trouble_count(at, after_s, blame):
    """What the control did before is another story; a trouble that ended is still the same one.

    Unless nobody has called either arm since: both are held to what convicts the candidate then.
    """
    assert blamed(BAKING, (10, 8), after_s=after_s, at=at).blame is blame


def test_a_candidate_that_fails_still_is_not_excused_by_what_its_control_did_before():
    """The control failed long before this trouble was found, and was hardly called since."""
    old = observed(at=NOW - 16 * SECOND, v1=calls(2, 8), v2=calls(80, 20))
    fresh = observed(at=NOW - SECOND, v2=calls(4, 1))
    both = old.versions["v2"].buckets + fresh.versions["v2"].buckets
    seen = replace(old, versions={**old.versions, "v2": Evidence(both)})
    found = (breach(0.5),)
    case = Case(on_trial(BAKING), seen, DEFAULT, found, NOW)
    assert attribute(case, found, NOW).blame is UNCLEAR


@pytest.mark.parametrize(
    ("share_bp", "own", "control", "blame"),
    [
        pytest.param(HALF, (11, 0), (157, 3), UNCLEAR, id="half: what the control always fails"),
        pytest.param(HALF, (11, 0), (120, 3), UPSTREAM, id="half: half of the limit is too much"),
        pytest.param(BAKING, (11, 0), (157, 3), UNCLEAR, id="bake: what the control always fails"),
        pytest.param(BAKING, (400, 2), (300, 4), UNCLEAR, id="bake: neither fails any more"),
    ],
)
def test_a_candidate_that_fails_no_more_is_excused_by_nothing_that_is_usual(
    share_bp, own, control, blame
):
    """The failures were found late and are over: a healthy control fails now and then as well."""
    proof = Proof(0.001, 9.0, True, limit=0.05, n=148, bad=15, log_e_relative=math.log(0.5))
    found = replace(BREACH, proof=proof)
    assert blamed(share_bp, control, found=(found,), own=own).blame is blame


def test_without_a_control_it_is_the_versions():
    """Nobody to compare with: a version that serves everybody is blamed for what it does."""
    seen = observed(v2=BAD)
    assert attribute(Case(state(), seen, DEFAULT, (), NOW), (breach(),), NOW).blame is VERSION


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(breach(metric="quality"), id="a score: its control is its baseline"),
        pytest.param(breach(metric="score.accuracy"), id="any score"),
    ],
)
def test_what_is_not_held_against_the_control(found):
    """A score was compared with the control's labels already."""
    assert blamed(HALF, (100, 30), found=(found,)).blame is VERSION


@pytest.mark.parametrize("share_bp", [HALF, BAKING])
def test_the_plain_rule_asks_for_no_proof_and_heeds_the_veto(share_bp):
    """`evidence: none` waits for nothing; a control that fails in the same way means upstream."""
    plain = replace(BREACH, proof=None)
    assert blamed(share_bp, (0, 0), found=(plain,)).blame is VERSION
    assert blamed(share_bp, (100, 0), found=(plain,)).blame is VERSION
    assert blamed(share_bp, (100, 30), found=(plain,)).blame is UPSTREAM


@pytest.mark.parametrize(
    ("own", "blame"),
    [
        pytest.param((100, 60), VERSION, id="three times as bad as its control"),
        pytest.param((100, 41), VERSION, id="more than twice"),
        pytest.param((100, 40), UPSTREAM, id="twice"),
        pytest.param((100, 6), UPSTREAM, id="it is well by now, and the control is not"),
    ],
)
def test_both_arms_are_counted_over_the_same_stretch(own, blame):
    """When a common trouble ends, the control is well no sooner than the version."""
    assert blamed(BAKING, (100, 20), own=own).blame is blame


def test_the_worst_of_several_breaches_is_compared():
    """By its own metric: the one of which most calls go wrong."""
    own = calls(ok=80, errors=20, counters={"refusal": 60})
    seen = observed(at=NOW - SECOND, v1=calls(ok=80, errors=20), v2=own)
    case = Case(on_trial(BAKING), seen, DEFAULT, (), NOW)
    refused = breach(bad=60, metric="refusal_rate", trigger="refused")
    assert attribute(case, (breach(), refused), NOW).blame is VERSION
    assert attribute(case, (breach(),), NOW).blame is UPSTREAM


SHARES, COUNTS = st.integers(1, 9_999), st.integers(0, 200)
ES = st.one_of(st.none(), st.floats(0.01, 1e6))


@given(SHARES, COUNTS, COUNTS, ES, st.integers(0, 600))
def test_more_waiting_never_excuses_the_version(share_bp, n, bad, e, after_s):
    """Unclear may become the version's fault with time, and never less."""
    control = (n, min(n, bad))
    now = blamed(share_bp, control, e, after_s, at=-SECOND).blame
    later = blamed(share_bp, control, e, after_s + 60, at=-SECOND).blame
    assert later is now or (now is UNCLEAR and later is VERSION)


@given(SHARES, COUNTS, ES, st.integers(0, 600))
def test_a_control_that_never_failed_vetoes_nothing(share_bp, n, e, after_s):
    """Upstream is only said when the control fails too."""
    assert blamed(share_bp, (n, 0), e, after_s).blame is not UPSTREAM


# --- In the story of a trial


def trial(share_bp: int, baseline: Any = HEALTHY_DAY) -> Story:
    """v2 came a minute ago with so much of the traffic."""
    ledger = (entry("v1", baseline=baseline), entry("v2", "candidate", -MINUTE))
    return Story(state("v1", *ledger, trial=("v2", share_bp), since=-MINUTE))


@pytest.mark.parametrize("share_bp", [500, 2_500, 5_000, 9_500])
def test_a_bad_candidate_is_taken_off_within_seconds(share_bp):
    """Whatever its share: one that fails beside a healthy control is rolled back to it."""
    story = trial(share_bp)
    story.goes_on(12, v1=FINE, v2=BAD)
    assert moves(story.done) == ["v1"]


@pytest.mark.parametrize("share_bp", [2_500, 5_000, 9_500])
def test_a_shared_outage_is_held_and_told_once(share_bp):
    """Both fail: a rollback would not help. One page, and it goes on watching."""
    story = trial(share_bp)
    story.goes_on(90, v1=BAD, v2=BAD)
    assert moves(story.done) == [] and kinds(story.done).count("rollback.held") == 1
    (page,) = pages(story.done)
    assert "upstream: the control v1 fails in the same way" in page.body
    assert "brake" in story.waits()


@pytest.mark.parametrize("share_bp", [2_500, 9_500])
def test_an_outage_that_ends_for_the_control_alone(share_bp):
    """The control is well again and the candidate is not: then it was the candidate as well."""
    story = trial(share_bp)
    story.goes_on(20, v1=BAD, v2=BAD)
    assert moves(story.done) == []
    story.until("rollback.switched", v1=FINE, v2=BAD)
    assert moves(story.done) == ["v1"]


def test_an_outage_that_ends_for_both():
    """Nothing was moved, the suspicion is not confirmed, and the incident ends by itself."""
    story = trial(5_000)
    story.goes_on(20, v1=BAD, v2=BAD)
    for _ in range(4):
        story.sees(6 * MINUTE, v1=calls(ok=10_000), v2=calls(ok=10_000))
    assert moves(story.done) == [] and isinstance(story.state.phase, Steady)
    assert kinds(story.done)[-1] == "incident.resolved"


SLOW, QUICK = calls(ok=100, p99=1_700), calls(ok=100, p99=800)
ROLLS_BACK_SLOW = policy(triggers={"latency_high": {"action": "rollback", "who": "system"}})


@pytest.mark.parametrize("share_bp", [2_500, 5_000, 9_500])
def test_a_provider_that_is_slow_for_both_is_upstream(share_bp):
    """A control is held against the candidate by the metric that breached, not by its errors."""
    story = Story(trial(share_bp).state, ROLLS_BACK_SLOW)
    story.goes_on(100, v1=SLOW, v2=SLOW)
    assert moves(story.done) == []
    alone = Story(trial(share_bp).state, ROLLS_BACK_SLOW)
    alone.goes_on(100, v1=QUICK, v2=SLOW)
    assert moves(alone.done) == ["v1"]


def test_a_control_that_fails_in_another_way_vetoes_nothing():
    """The trigger names the kinds that count: the provider's failures are not the prompt's."""
    rules = policy(triggers={"error_critical": {"kinds": ["prompt"]}, "error_high": None})
    story = Story(trial(9_500).state, rules)
    bad = calls(ok=80, errors=20, kind="prompt")
    story.goes_on(20, v1=calls(ok=90, errors=10, kind="provider"), v2=bad)
    assert moves(story.done) == ["v1"]
    both = Story(trial(9_500).state, rules)
    both.goes_on(20, v1=bad, v2=bad)
    assert moves(both.done) == []


def test_while_it_is_unclear_it_says_what_it_waits_on():
    """A breach at once, a control that was not called: nothing moves, and the reason is told."""
    story = trial(9_500)
    story.goes_on(10, v2=BAD)
    assert moves(story.done) == [] and "control_calls" in story.waits()
    story.until("rollback.switched", v2=BAD)


def test_a_candidate_that_does_worse_than_its_control_is_asked_about():
    """Above 2 % and proven worse by 100: a question, also under a policy without triggers."""
    story = trial(5_000)
    story.policy = replace(DEFAULT, triggers=(), alerts=())
    story.detectors.rules = story.policy
    story.until("incident.opened", v1=FINE, v2=FAIR)
    (told,) = pages(story.done)
    assert (told.audience, told.severity) == ("on-call", Severity.HIGH)
    assert story.state.incident.triggers == (WORSE_THAN_CONTROL,)
    assert story.state.incident.response is Response.ASK and moves(story.done) == []


def test_a_candidate_that_fails_as_its_control_does_is_not_worse():
    """3 % in both arms: the policy asks about 2 %, and nobody blames the candidate alone."""
    story = trial(5_000)
    story.goes_on(60, v1=FAIR, v2=FAIR)
    assert story.state.incident is not None
    assert WORSE_THAN_CONTROL not in story.state.incident.triggers
