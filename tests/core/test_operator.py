"""What a person may ask for: every refusal says what to do instead, and no brake holds them."""

from dataclasses import replace
from typing import Any

import pytest

from knowngood.core.decide import decide
from knowngood.core.errors import KnowngoodError
from knowngood.core.model import (
    FLEET,
    Arm,
    Confirming,
    Hold,
    MoveRoute,
    Observed,
    Severity,
    Sibling,
    Standing,
    State,
    Steady,
    Verifying,
    whole,
)
from knowngood.core.steps.case import Case
from knowngood.core.steps.operator import (
    MAX_HOLD_MS,
    RollbackRequest,
    move,
    promote,
    roll_back,
    set_automation,
    unquarantine,
    vouch,
    waive_verification,
)
from knowngood.core.window import Window
from tests.core.build import (
    BAD,
    DAY,
    DEFAULT,
    FINE,
    HEALTHY_DAY,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    Story,
    changed,
    entry,
    kinds,
    moves,
    observed,
    pages,
    policy,
    read,
    state,
)

LEDGER = (
    entry("v0", "quarantined", -9 * DAY),
    entry("v1", "good", -2 * DAY, HEALTHY_DAY),
    entry("v2", "candidate", -10 * MINUTE),
    entry("v3", "candidate", None),
)
HERE = state("v2", *LEDGER)
VERIFYING = Verifying("v2", "v1", ("error_critical",), NOW, NOW + HOUR, "system", True)
UNDER_WAY = state("v1", *LEDGER, phase=VERIFYING)
CONFIRMING = state("v2", *LEDGER, phase=Confirming("error_critical", "v2", NOW, NOW))
SPLIT = state("v1", *LEDGER, trial=("v2", 500))


def rolled_back(start: State, seen: Observed | None = None, **request):
    seen = read(start, seen or observed(v2=FINE))
    case = Case(start, seen, DEFAULT, decide(start, seen, DEFAULT, NOW).findings, NOW)
    return roll_back(case, RollbackRequest("users complain", **request))


REFUSALS = [
    (
        "no route",
        lambda: rolled_back(State("production", "cs")),
        ("not_routed", [], "knowngood promote cs VERSION --env production"),
    ),
    (
        "no known-good version",
        lambda: rolled_back(state("v2", entry("v2", "candidate"), entry("v0", "quarantined"))),
        ("no_target", ["v2 (candidate)", "v0 (quarantined)"], "knowngood vouch cs VERSION"),
    ),
    (
        "a quarantined target",
        lambda: rolled_back(HERE, target="v0"),
        ("quarantined", ["v1"], "knowngood unquarantine cs v0 --because"),
    ),
    (
        "a target that was never good",
        lambda: rolled_back(HERE, target="v3"),
        ("not_known_good", ["v1"], "knowngood vouch cs v3 --env production --because"),
    ),
    (
        "a target that was never routed",
        lambda: rolled_back(HERE, target="v9"),
        ("not_known_good", ["v1"], "knowngood vouch cs v9 --env production --because"),
    ),
    (
        "the version on trial",
        lambda: rolled_back(SPLIT, target="v2"),
        ("bad_request", [], "knowngood promote cs v2"),
    ),
    (
        "nothing is found wrong",
        lambda: rolled_back(HERE, if_confirmed=True),
        ("not_confirmed", [], "roll back without asking"),
    ),
    (
        "promoting a quarantined version",
        lambda: promote(HERE, "v0", "hope", (), None),
        ("quarantined", [], "knowngood unquarantine cs v0 --because"),
    ),
    (
        "promoting while a rollback is verified",
        lambda: promote(UNDER_WAY, "v3", "hope", (), None),
        ("in_progress", [], "knowngood explain cs says how far it is"),
    ),
    (
        "promoting while a breach is confirmed",
        lambda: promote(CONFIRMING, "v3", "hope", (), None),
        ("in_progress", [], "knowngood explain cs says how far it is"),
    ),
    (
        "vouching for a quarantined version",
        lambda: vouch(HERE, "v0", "hope"),
        ("quarantined", [], "knowngood unquarantine cs v0 --because ..., then vouch"),
    ),
    (
        "lifting no quarantine",
        lambda: unquarantine(HERE, "v1", "hope"),
        ("bad_request", ["v0"], ""),
    ),
    (
        "automation off for ever",
        lambda: set_automation(HERE, MAX_HOLD_MS + 1, "tired", "bob", NOW),
        ("bad_request", [], "name an end with --for"),
    ),
    (
        "automation off for no time",
        lambda: set_automation(HERE, 0, "tired", "bob", NOW),
        ("bad_request", [], "name an end with --for"),
    ),
]


@pytest.mark.parametrize(
    ("ask", "refusal"), [pytest.param(row[1], row[2], id=row[0]) for row in REFUSALS]
)
def test_a_refusal_says_what_to_do_instead(ask, refusal):
    """Every refusal has its code, what is known, and the next command."""
    code, known, next_step = refusal
    with pytest.raises(KnowngoodError) as caught:
        ask()
    assert (caught.value.code, caught.value.known) == (code, known)
    assert caught.value.next_step.startswith(next_step)


@pytest.mark.parametrize(
    "ask",
    [
        lambda here: rolled_back(here, target="v0"),
        lambda here: promote(here, "v0", "hope", (), None),
        lambda here: vouch(here, "v0", "hope"),
    ],
)
def test_the_next_command_acts_on_the_same_environment(ask):
    """What is copied from a refusal on staging never changes production."""
    with pytest.raises(KnowngoodError) as caught:
        ask(replace(HERE, environment="staging"))
    assert "knowngood unquarantine cs v0 --env staging --because" in caught.value.next_step


OFF = Hold(NOW + HOUR, "a load test", "bob")
BRAKES: dict[str, tuple[State, dict[str, Any]]] = {
    "automation off": (replace(HERE, automation=OFF), {}),
    "all automation off": (HERE, {"fleet": State("production", FLEET, automation=OFF)}),
    "upstream": (HERE, {"siblings": (Sibling("faq", NOW, NOW - DAY),)}),
    "flap": (replace(HERE, rollbacks_ms=(NOW - SECOND,) * 5), {}),
    "confirming": (CONFIRMING, {}),
    "verifying another one": (
        state("v2", *LEDGER, phase=replace(VERIFYING, from_version="v1", to_version="v2")),
        {},
    ),
    "long good": (state("v2", LEDGER[1], entry("v2", "good", -2 * DAY), since=-2 * DAY), {}),
}


@pytest.mark.parametrize("name", BRAKES)
def test_a_persons_rollback_is_never_held(name):
    """No brake, no phase and no incident holds a person: the route moves at once."""
    start, more = BRAKES[name]
    actions = rolled_back(start, observed(v2=BAD, **more))
    end = changed(start, actions, NOW)
    assert moves(actions) == ["v1"] and end.route.arms == whole("v1")
    assert end.standing("v2") is Standing.QUARANTINED
    assert isinstance(end.phase, Verifying) and end.phase.by == "operator"


@pytest.mark.parametrize(
    ("seen", "confirmed", "says"),
    [
        (FINE, False, "users complain (confirmation skipped by the operator; nothing was found"),
        (BAD, False, "users complain (confirmation skipped by the operator; errors 20.0% > 5.0%"),
        (BAD, True, "users complain (confirmed; errors 20.0% > 5.0%"),
    ],
)
def test_history_says_whether_it_was_confirmed(seen, confirmed, says):
    """A person's rollback skips the confirmation, and says so."""
    actions = rolled_back(HERE, observed(v2=seen), if_confirmed=confirmed)
    assert kinds(actions) == ["rollback.requested", "rollback.switched"]
    assert next(a.because for a in actions if hasattr(a, "kind")).startswith(says)


def test_a_rollback_of_a_breach_has_its_incident():
    """What was found wrong is the incident that is verified; people are told."""
    end = changed(HERE, rolled_back(HERE, observed(v2=BAD)), NOW)
    assert end.incident and end.incident.severity is Severity.CRITICAL
    assert "error_critical" in end.phase.triggers
    assert [p.audience for p in pages(rolled_back(HERE))] == ["incidents"]


def test_a_rollback_of_nothing_wrong_has_no_incident():
    """Without a finding there is no incident, and the recovery is proven all the same."""
    end = changed(HERE, rolled_back(HERE), NOW)
    assert end.incident is None and end.phase.triggers == ()


def test_the_target_that_serves_already_is_unchanged():
    """Nothing to do is no error, whatever the ledger says of the version."""
    assert rolled_back(HERE, target="v2") == ()
    assert rolled_back(state("v1", *LEDGER), target="v1") == ()
    assert rolled_back(state("v0", *LEDGER), target="v0") == ()


def test_without_quarantine():
    """`--no-quarantine` leaves the version's standing as it was."""
    end = changed(HERE, rolled_back(HERE, quarantine=False), NOW)
    assert end.standing("v2") is Standing.CANDIDATE


@pytest.mark.parametrize(
    ("target", "override"), [("v0", ("quarantined",)), ("v3", ("not_known_good",))]
)
def test_an_override_steps_over_its_refusal(target, override):
    """A person may insist; the version becomes a candidate, and history has the override."""
    actions = rolled_back(HERE, target=target, override=override)
    end = changed(HERE, actions, NOW)
    assert end.route.arms == whole(target)
    assert end.standing(target) is Standing.CANDIDATE
    assert next(a.detail["override"] for a in actions if hasattr(a, "kind")) == list(override)


def test_one_override_is_not_another():
    """Stepping over one refusal does not step over the next."""
    with pytest.raises(KnowngoodError):
        rolled_back(HERE, target="v0", override=("not_known_good",))


def test_a_split_route_goes_back_to_its_control():
    """Without a target the candidate goes, and the control serves everybody."""
    assert moves(rolled_back(SPLIT)) == ["v1"]


# --- Promote


def test_the_first_version_is_good_as_declared():
    """The first version ever routed in an environment is good; the second is a candidate."""
    fresh = State("production", "cs")
    first = changed(fresh, promote(fresh, "v1", "hello", (), None), NOW)
    assert first.standing("v1") is Standing.GOOD
    second = changed(first, promote(first, "v2", "better", (), HEALTHY_DAY), NOW + DAY)
    assert second.standing("v2") is Standing.CANDIDATE


def test_a_promote_freezes_the_day_of_what_leaves():
    """The previous good version's last 24 h are its baseline, frozen at the deploy."""
    start = state("v1", entry("v1"))
    end = changed(start, promote(start, "v2", "better", (), HEALTHY_DAY), NOW)
    assert end.entry("v1").baseline == HEALTHY_DAY


@pytest.mark.parametrize("outgoing", [None, Window()])
def test_a_day_without_calls_freezes_nothing(outgoing):
    """An empty day does not overwrite the baseline that there is."""
    start = state("v1", entry("v1", baseline=HEALTHY_DAY))
    end = changed(start, promote(start, "v2", "better", (), outgoing), NOW)
    assert end.entry("v1").baseline == HEALTHY_DAY


def test_a_promote_of_what_serves_is_nothing():
    """The same route again changes nothing, also while a rollback is verified."""
    assert promote(HERE, "v2", "again", (), HEALTHY_DAY) == ()
    assert promote(UNDER_WAY, "v1", "again", (), HEALTHY_DAY) == ()


def test_overriding_a_promote_in_progress():
    """A person may promote into a verification; it ends, and the quarantine can be overridden."""
    override = ("in_progress", "quarantined")
    end = changed(UNDER_WAY, promote(UNDER_WAY, "v0", "I know", override, None), NOW)
    assert end.route.arms == whole("v0") and isinstance(end.phase, Steady)
    assert end.standing("v0") is Standing.CANDIDATE


def test_a_promote_after_a_failed_rollback_is_watched_again():
    """A failed rollback holds automation for its own target, not for the fix that follows it."""
    story = Story(replace(UNDER_WAY, phase=replace(VERIFYING, began_ms=NOW - HOUR)))
    story.now_ms = NOW + 2 * HOUR
    story.sees(v1=BAD)
    assert "rollback.not_recovered" in kinds(story.done)
    story.does(promote(story.state, "v4", "a fix", (), None))
    story.until("rollback.switched", v4=BAD)
    assert moves(story.done)[-1] == "v1"


# --- Splits


def arms(share: int, candidate: str = "v2", control: str = "v1") -> tuple[Arm, ...]:
    return (Arm(control, 10_000 - share), Arm(candidate, share))


def salt_of(actions) -> str:
    return next(a.salt for a in actions if isinstance(a, MoveRoute))


def test_a_larger_share_keeps_the_users():
    """While the same candidate is on trial its salt stays: who is in stays in."""
    start = state("v1", *LEDGER)
    first = move(start, arms(100), "1 %", (), HEALTHY_DAY)
    then = changed(start, first, NOW)
    for share in (500, 2500):
        assert salt_of(move(then, arms(share), "more", (), None)) == salt_of(first)
    assert salt_of(move(then, whole("v2"), "all", (), None)) == salt_of(first)


def test_another_candidate_has_other_users():
    """Not always the same users go first: the next trial has its own salt."""
    start = state("v1", *LEDGER)
    here = changed(start, move(start, arms(100), "1 %", (), None), NOW)
    assert salt_of(move(here, arms(100, "v3"), "other", (), None)) != here.route.salt


def test_a_quarantined_arm_is_refused():
    """A canary of a quarantined version needs the same word as a promote."""
    with pytest.raises(KnowngoodError, match="quarantined"):
        move(state("v1", *LEDGER), arms(100, "v0"), "again", (), None)


# --- Words about versions


def test_vouching_makes_good():
    """A person's word makes any version good, also one that never served; twice is once."""
    end = changed(HERE, vouch(HERE, "v3", "tested by hand"), NOW)
    assert end.standing("v3") is Standing.GOOD
    assert "tested by hand" in end.entry("v3").because and end.entry("v3").actor == "ann"
    assert vouch(end, "v3", "again") == ()
    fresh = changed(HERE, vouch(HERE, "v7", "new"), NOW)
    assert fresh.standing("v7") is Standing.GOOD


def test_a_lifted_quarantine_makes_a_candidate():
    """Quarantined becomes candidate by a person's word, and never good at once."""
    end = changed(HERE, unquarantine(HERE, "v0", "it was the provider"), NOW)
    assert end.standing("v0") is Standing.CANDIDATE


# --- Automation


def test_automation_off_has_an_end():
    """Off for at most a week; on again by a word or by itself, each a line of history."""
    off = set_automation(HERE, MAX_HOLD_MS, "holidays", "bob", NOW)
    end = changed(HERE, off, NOW)
    assert end.automation == Hold(NOW + MAX_HOLD_MS, "holidays", "bob")
    assert kinds(off) == ["automation.off"]
    assert kinds(set_automation(end, None, "back", "bob", NOW)) == ["automation.on"]
    assert set_automation(HERE, None, "back", "bob", NOW) == ()


def test_automation_comes_back_by_itself():
    """When the hold has ended it is written off, once, with who had asked for it."""
    story = Story(replace(HERE, automation=replace(OFF, until_ms=NOW + SECOND)))
    assert kinds(story.sees(v2=FINE)) == ["automation.on"]
    assert story.state.automation is None


def test_a_verification_can_be_waived():
    """Recorded traffic cannot be re-routed: its rollback is closed as not verifiable."""
    end = changed(UNDER_WAY, waive_verification(UNDER_WAY, "a replay"), NOW)
    assert isinstance(end.phase, Steady) and end.incident is None
    assert waive_verification(HERE, "a replay") == ()


def test_a_policy_with_gaps_still_rolls_back():
    """Without any trigger a person's rollback works, and its errors are verified."""
    rules = policy(triggers={t.name: None for t in DEFAULT.triggers})
    case = Case(HERE, observed(v2=BAD), rules, (), NOW)
    assert moves(roll_back(case, RollbackRequest("because"))) == ["v1"]
