"""The decision: the unsure and the blind first, the story step by step, what may hold it."""

import math
from dataclasses import replace

import pytest

from knowngood.core.asking import Purpose
from knowngood.core.explain import decision_words
from knowngood.core.model import (
    FLEET,
    Confirming,
    Hold,
    Related,
    Response,
    Severity,
    Sibling,
    Standing,
    State,
    Steady,
    Verifying,
)
from knowngood.core.steps.operator import promote
from tests.core.build import (
    ALL_HERE,
    ALL_SILENT,
    BAD,
    DAY,
    DEFAULT,
    FAIR,
    FINE,
    HOUR,
    MINUTE,
    NOW,
    SECOND,
    Story,
    after,
    calls,
    decided,
    entry,
    kinds,
    moves,
    pages,
    policy,
    settled,
    state,
)

ONE_FAILS = calls(errors=1)
ALL_FAIL = calls(errors=400)
UNDECIDED = [
    pytest.param([], "idle", id="no calls"),
    pytest.param([calls(excluded=400)], "idle", id="calls that are no evidence"),
    pytest.param([ONE_FAILS], "requests", id="1 of 1 failed"),
    pytest.param([ONE_FAILS] * 2, "requests", id="2 of 2 failed"),
    pytest.param([ONE_FAILS] * 3, "evidence", id="3 of 3 failed"),
    pytest.param([calls(errors=3)], "evidence", id="3 of 3 failed, in one second"),
    pytest.param([ALL_FAIL], "evidence", id="400 of 400 failed, in one second"),
    pytest.param([ALL_FAIL] * 3, "evidence", id="1,200 of 1,200 failed, in three seconds"),
    pytest.param([calls(ok=100)] * 9 + [BAD] * 3, "evidence", id="6 % in twelve seconds"),
    pytest.param([calls(ok=19)], "requests", id="19 clean calls"),
]


@pytest.mark.parametrize(("seconds", "waits_on"), UNDECIDED)
def test_unsure_does_nothing_and_says_what_it_waits_on(seconds, waits_on):
    """Too few calls, or too few distinct seconds of failures: nothing is done, nobody is told."""
    story = Story()
    for window in seconds:
        story.sees(v2=window)
    assert story.done == []
    assert waits_on in story.waits()


@pytest.mark.parametrize("seconds", [0, 3, 4, 60])
def test_blind_rolls_nothing_back(seconds):
    """However bad the last reports were: without any process to report nothing is rolled back."""
    story = Story()
    story.census = ALL_SILENT
    story.goes_on(seconds, v2=BAD)
    story.goes_on(3)
    assert moves(story.done) == [] and not story.state.incident
    assert ("reports" in story.waits()) is (seconds > 0)


def test_an_alarm_takes_four_distinct_seconds():
    """However many calls fail, and from the deploy on: one burst of failures is never enough."""
    for window in (ALL_FAIL, BAD, ONE_FAILS):
        story = Story()
        assert kinds(story.goes_on(3, v2=window)) == []
        assert kinds(story.sees(v2=window)) == ["rollback.suspected"]


def test_a_healthy_version_is_left_alone():
    """Half a percent of errors, as on every day before, for ten minutes: not a word."""
    story = Story()
    for _ in range(3):
        story.goes_on(199, v2=calls(ok=1))
        story.sees(v2=calls(errors=1))
    assert story.done == []


def test_the_story_of_a_rollback():
    """Breach, second look, switch, propagation, recovery: each a line of history, in this order."""
    story = Story()
    story.until("rollback.suspected", v2=BAD)
    assert isinstance(story.state.phase, Confirming) and story.serving == "v2"
    done = story.sees(v2=BAD)
    assert moves(done) == ["v1"]
    assert story.state.standing("v2") is Standing.QUARANTINED
    assert isinstance(story.state.phase, Verifying)
    assert story.state.incident and story.state.incident.severity is Severity.CRITICAL
    story.sees(v1=FINE)
    assert isinstance(story.state.phase, Steady) and story.state.incident is None
    assert kinds(story.done) == [
        "rollback.suspected",
        "rollback.confirmed",
        "rollback.target",
        "rollback.switched",
        "rollback.propagated",
        "rollback.verified",
    ]
    assert [(p.audience, p.severity.value) for p in pages(story.done)] == [
        ("incidents", "critical"),
        ("on-call", "critical"),
        ("incidents", "low"),
    ]


def test_every_step_says_what_it_rests_on():
    """Suspected, confirmed and verified carry the windows they were judged by."""
    story = Story()
    story.until("rollback.switched", v2=BAD)
    story.until("rollback.verified", v1=FINE)
    details = {a.kind: a.detail for a in story.done if hasattr(a, "detail")}
    for kind in ("rollback.suspected", "rollback.confirmed", "rollback.verified"):
        assert details[kind]["windows"][0]["sum"]["ok"] > 0


def test_a_breach_says_what_it_is_proven_by():
    """The evidence stands in the line: E against what is asked for, and what is healthy."""
    story = Story()
    story.until("rollback.suspected", v2=BAD)
    (line,) = [a for a in story.done if getattr(a, "kind", "") == "rollback.suspected"]
    proof = line.detail["findings"][0]["proof"]
    assert proof["log_e"] >= math.log(1000) == pytest.approx(-math.log(proof["alpha"]))
    assert 0 < proof["healthy"] < proof["limit"] == 0.05
    assert "of 1,000, healthy up to 0.9%" in line.detail["findings"][0]["proof_words"]


def test_the_second_look_needs_newer_data():
    """The same data seen again confirm nothing: it waits for the next look."""
    story = Story()
    story.until("rollback.suspected", v2=BAD)
    again, done = settled(story.state, story.seen(), DEFAULT, story.now_ms + 500)
    assert not done and isinstance(again.phase, Confirming)
    assert "next_look" in story.waits()


@pytest.mark.parametrize(
    "second",
    [
        pytest.param({"v2": calls(ok=10_000)}, id="clear"),
        pytest.param({}, id="the window has passed: unsure"),
    ],
)
def test_not_confirmed_changes_nothing(second):
    """A breach that the second look does not see again aborts, and the route stays."""
    story = Story()
    story.until("rollback.suspected", v2=BAD)
    done = story.sees(SECOND if second else 6 * MINUTE, **second)
    assert kinds(done) == ["rollback.not_confirmed"]
    assert not pages(done) and not moves(story.done)
    assert isinstance(story.state.phase, Steady)


def test_a_clock_that_was_set_back_does_not_wait_for_what_was():
    """A breach from the future of the clock is looked for anew, not for hours."""
    story = Story()
    story.until("rollback.suspected", v2=BAD)
    decision = decided(story.state, story.seen(), now_ms=story.now_ms - HOUR)
    assert kinds(decision.actions) == ["rollback.not_confirmed"]


def test_a_blind_second_look_confirms_nothing():
    """When the reports stop after a breach, nothing is rolled back on old news."""
    story = Story()
    story.until("rollback.suspected", v2=BAD)
    story.census = ALL_SILENT
    assert "rollback.not_confirmed" in kinds(story.sees())
    assert not moves(story.done)


OFF = Hold(NOW + 2 * HOUR, "a load test", "bob")
STALE = state("v1", entry("v0", "good", -9 * DAY), entry("v1", "good", -2 * DAY), since=-2 * DAY)
SPLIT = state("v1", entry("v1"), entry("v2", "candidate", -MINUTE), trial=("v2", 5000))
ELSEWHERE = Sibling("faq", NOW, NOW - DAY)
TEN = tuple(NOW - MINUTE * n for n in range(10, 0, -1))


def braked(name: str) -> Story:
    """A story in which a rollback trigger will breach and a brake is in force."""
    rules = policy(triggers={"error_critical": {"dry_run": True}, "error_high": None})
    match name:
        case "dry-run":
            return Story(state(), rules)
        case "stale":
            return Story(STALE)
        case "upstream: the control":
            return Story(SPLIT)
        case "automation off":
            return Story(state(automation=OFF))
        case "flap: cooldown":
            return Story(state(rollbacks_ms=(NOW - 5 * MINUTE,)))
        case "flap: two in the hour":
            return Story(state(rollbacks_ms=(NOW - 50 * MINUTE, NOW - 20 * MINUTE)))
    story = Story()
    match name:
        case "upstream: a sibling":
            story.siblings = (ELSEWHERE,)
        case "automation off for all":
            story.fleet = State("production", FLEET, automation=OFF)
        case "flap: the fleet":
            story.fleet = State("production", FLEET, rollbacks_ms=TEN)
    return story


HOLDS = {
    "stale": "held:stale",
    "upstream: the control": "held:upstream",
    "upstream: a sibling": "held:upstream",
    "automation off": "held:automation_off",
    "automation off for all": "held:automation_off",
    "flap: cooldown": "held:flap",
    "flap: two in the hour": "held:flap",
    "flap: the fleet": "held:flap",
}


def breached(story: Story, seconds: int = 8) -> None:
    """Whatever is served fails, for long enough to be found and confirmed."""
    for _ in range(seconds):
        story.sees(**{arm.version: BAD for arm in story.state.route.arms})


@pytest.mark.parametrize("name", HOLDS)
def test_a_brake_holds_opens_an_incident_and_pages_once(name):
    """A brake holds the rollback for as long as it is in force, and says so once."""
    story = braked(name)
    breached(story, 20)
    assert moves(story.done) == []
    assert kinds(story.done).count("rollback.held") == 1
    assert HOLDS[name] in story.state.told and "brake" in story.waits()
    assert story.state.incident and story.state.incident.severity is Severity.CRITICAL
    assert [page.severity for page in pages(story.done)] == [Severity.CRITICAL]
    assert "knowngood rollback cs" in pages(story.done)[0].body


def test_a_page_names_a_command_that_is_not_refused():
    """With nothing known to be good, the page says how to name a target all the same."""
    story = Story(state("v2", entry("v2"), entry("v1", "candidate", -MINUTE)))
    breached(story)
    assert moves(story.done) == []
    (page,) = pages(story.done)
    assert "`knowngood vouch cs VERSION --because ...` makes one good" in page.body
    assert "`knowngood rollback cs VERSION --override not_known_good" in page.body


def test_a_dry_run_only_remembers():
    """A dry-run trigger records once what it would have done, and pages nobody."""
    story = braked("dry-run")
    breached(story)
    assert kinds(story.done) == ["dry_run", "alert"]
    assert story.serving == "v2" and story.state.incident is None


def test_a_dry_run_records_each_episode():
    """When the breach was over and comes again, it is another line of the report."""
    story = braked("dry-run")
    breached(story)
    story.sees(6 * MINUTE, v2=FINE)
    breached(story)
    assert kinds(story.done).count("dry_run") == 2


def test_a_brake_that_ends_lets_the_rollback_go_on():
    """The breach stays confirmed: as soon as the hold ends the route moves."""
    story = braked("automation off")
    breached(story)
    assert moves(story.done) == []
    assert moves(story.sees(2 * HOUR, v2=BAD)) == ["v1"]


def test_a_second_episode_behind_a_brake_pages_again():
    """After the first held breach was resolved, a later one in the same generation is news."""
    story = braked("stale")
    breached(story)
    for _ in range(3):
        story.sees(6 * MINUTE, v1=FINE)
    assert story.state.incident is None
    breached(story)
    assert [p.key for p in pages(story.done) if ":held:" in p.key] == [
        "production/cs/g5.1:held:stale:5",
        "production/cs/g5.2:held:stale:5",
    ]


HELD = ["rollback.suspected", "rollback.held", "rollback.not_confirmed"]
FLICKERS = ("stale", "automation off", "automation off for all", "flap: two in the hour")


def flickering(name: str) -> Story:
    """A breach that is held, is over for a moment, and comes again, and again."""
    story = braked(name)
    for _ in range(3):
        breached(story, 10)
        story.goes_on(20, **{story.serving: FINE})
    breached(story, 10)
    return story


def rollback_lines(story: Story) -> list[str]:
    """What the history says of its rollback."""
    return [kind for kind in kinds(story.done) if kind.startswith("rollback.")]


@pytest.mark.parametrize("name", FLICKERS)
def test_a_held_version_that_flickers_is_told_of_once(name):
    """While the same brake holds, a breach that comes and goes writes no line each time."""
    story = flickering(name)
    assert rollback_lines(story) == HELD
    assert "brake" in story.waits() and moves(story.done) == []
    assert decision_words(story.state, story.decision()).startswith("Rollback held: waiting on ")


@pytest.mark.parametrize("name", FLICKERS)
def test_a_brake_that_goes_away_after_flickers_lets_the_rollback_go_on(name):
    """Silence about the flickers keeps nothing: without the brake the route moves at once."""
    story = flickering(name)
    story.fleet, story.policy = None, replace(story.policy, auto_rollback_stale=True)
    story.state = replace(story.state, automation=None, rollbacks_ms=())
    breached(story, 2)
    assert rollback_lines(story)[:5] == [*HELD, "rollback.suspected", "rollback.confirmed"]
    assert len(moves(story.done)) == 1


def test_another_brake_is_news():
    """A hold that a person adds to a stale version's is told of, once."""
    story = flickering("stale")
    story.state = replace(story.state, automation=OFF)
    breached(story, 4)
    assert rollback_lines(story) == [*HELD, "rollback.suspected", "rollback.held"]
    assert {"held:stale", "held:automation_off"} <= set(story.state.told)


@pytest.mark.parametrize(
    ("name", "story"),
    [
        ("a hold that has ended", Story(state(automation=replace(OFF, until_ms=NOW)))),
        ("an old rollback", Story(state(rollbacks_ms=(NOW - HOUR, NOW - 11 * MINUTE)))),
        ("a young good version", Story(replace(STALE, route=replace(STALE.route, since_ms=NOW)))),
        ("a stale one, if configured", Story(STALE, policy())),
    ],
)
def test_what_is_no_brake(name, story):
    """A brake that is not in force holds nothing."""
    if name == "a stale one, if configured":
        story.policy = replace(story.policy, auto_rollback_stale=True)
    breached(story, 5)
    assert len(moves(story.done)) == 1


@pytest.mark.parametrize(
    ("sibling", "related", "others_clear", "held"),
    [
        pytest.param(ELSEWHERE, False, (), True, id="fails too, deployed long ago"),
        pytest.param(Sibling("faq", NOW, NOW - 9 * MINUTE), False, (), False, id="a common deploy"),
        pytest.param(Sibling("faq", NOW - HOUR, NOW - DAY), False, (), False, id="long before"),
        pytest.param(ELSEWHERE, True, (), True, id="a related prompt, and nobody else is seen"),
        pytest.param(ELSEWHERE, True, ("hr",), False, id="a related one; the provider is well"),
        pytest.param(ELSEWHERE, False, ("hr",), True, id="an unrelated one"),
    ],
)
def test_when_a_sibling_means_upstream(sibling, related, others_clear, held):
    """Prompts of one provider that fail together without a common deploy: the provider fails.

    Unless they are declared related and the provider serves another prompt well.
    """
    story = Story()
    story.siblings = (sibling,)
    story.related = (Related("faq", NOW),) if related else ()
    story.unrelated_clear = others_clear
    breached(story, 5)
    assert (moves(story.done) == []) is held


def test_a_failing_control_alone_is_told():
    """When the control fails and the candidate does not, a rollback would not help: ask."""
    story = Story(SPLIT)
    story.goes_on(6, v1=BAD, v2=FINE)
    assert moves(story.done) == []
    assert [p.audience for p in pages(story.done)] == ["on-call"]


def test_without_a_target_people_are_told_the_options():
    """No known-good version: page once, and say what the ledger has."""
    story = Story(state("v2", entry("v2", "candidate"), entry("v1", "quarantined")))
    breached(story)
    assert moves(story.done) == []
    (told,) = pages(story.done)
    assert "v1 (quarantined)" in told.body and "knowngood vouch cs" in told.body


@pytest.mark.parametrize(
    ("ledger", "trial", "target"),
    [
        ((entry("v0", routed=-9 * DAY), entry("v1"), entry("v2", "candidate")), None, "v1"),
        ((entry("v0", routed=-9 * DAY), entry("v1", "quarantined"), entry("v2")), None, "v0"),
        ((entry("v3", "good", -HOUR), entry("v1"), entry("v2", "candidate")), ("v2", 900), "v1"),
    ],
    ids=["the newest good one", "never a quarantined one", "the control that serves already"],
)
def test_the_target(ledger, trial, target):
    """The newest good version, and the control first if it is good."""
    story = Story(state("v1" if trial else "v2", *ledger, trial=trial))
    story.until("rollback.switched", v2=BAD, v1=FINE)
    assert moves(story.done) == [target]


# --- People


ASKED = {"v2": FAIR}
OBSERVED = {"v2": calls(ok=500, p99=1100)}
ALERTED = {"v2": calls(ok=1970, errors=30)}
OPENED, GROWN = "incident.opened", "incident.grown"


@pytest.mark.parametrize(
    ("seen", "kind", "response", "audience"),
    [
        pytest.param(ASKED, "incident.opened", Response.ASK, "on-call", id="ask"),
        pytest.param(OBSERVED, "incident.opened", Response.OBSERVE, "on-call", id="observe"),
        pytest.param(ALERTED, "alert", None, "team", id="alert"),
    ],
)
def test_people_are_told_exactly_once(seen, kind, response, audience):
    """A breach that is not critical moves nothing, and is told once however long it lasts."""
    story = Story()
    story.goes_on(30, **seen)
    assert kinds(story.done) == [kind]
    assert [p.audience for p in pages(story.done)] == [audience]
    assert story.serving == "v2"
    assert (story.state.incident.response if story.state.incident else None) is response


def test_a_quality_drop_asks_the_product_owner():
    """Each trigger asks whom its policy names."""
    story = Story()
    story.until(OPENED, v2=calls(ok=100, quality=0.5, n_labels=100))
    assert [p.audience for p in pages(story.done)] == ["product-owner"]


def test_severity_only_rises():
    """One incident grows: observe, ask, rollback; weaker findings never bring it down."""
    story, seen = Story(), []
    steps = (
        (OPENED, OBSERVED),
        (GROWN, {"v2": calls(ok=470, errors=30)}),
        ("rollback.suspected", {"v2": calls(ok=500, errors=200)}),
        ("rollback.held", {"v2": calls(ok=500, errors=200)}),
        ("rollback.not_confirmed", OBSERVED),
    )
    story.siblings = (ELSEWHERE,)
    for kind, windows in steps:
        story.until(kind, **windows)
        incident = story.state.incident
        assert incident is not None and incident.id == "production/cs/g5.1"
        seen.append((incident.severity.value, incident.response.value))
    assert seen == [
        ("medium", "observe"), ("high", "ask"), ("high", "ask"), ("critical", "rollback"),
        ("critical", "rollback"),
    ]  # fmt: skip


def test_an_incident_that_becomes_clear_is_resolved():
    """A whole clear window closes it, and says so."""
    story = Story()
    story.until(OPENED, **ASKED)
    story.sees(4 * MINUTE, v2=calls(ok=10_000))
    assert story.state.incident is not None
    assert "incident.resolved" in kinds(story.sees(2 * MINUTE, v2=FINE))
    assert story.state.incident is None


def test_after_an_incident_the_evidence_begins_anew():
    """What was said of a version and is over is no part of the next alarm's proof."""
    story = Story()
    story.until(OPENED, **ASKED)
    story.sees(4 * MINUTE, v2=calls(ok=10_000))
    story.sees(2 * MINUTE, v2=FINE)
    assert story.state.entry("v2").fresh_ms == story.now_ms
    assert kinds(story.goes_on(3, v2=BAD)) == []
    assert kinds(story.sees(v2=BAD)) == ["rollback.suspected"]


@pytest.mark.parametrize("seen", [{}, {"v2": calls(ok=5)}], ids=["no calls", "a few calls"])
def test_unsure_resolves_nothing(seen):
    """An incident does not end because the traffic did: that is no recovery."""
    story = Story()
    story.until(OPENED, **ASKED)
    for _ in range(5):
        story.sees(10 * MINUTE, **seen)
    assert story.state.incident is not None


def test_an_alert_is_evidence_while_an_incident_is_open():
    """What an incident tells already is not told as an alert too."""
    story = Story()
    story.until(OPENED, **ASKED)
    story.goes_on(5, **ASKED)
    assert "alert" not in kinds(story.done)


def test_a_new_generation_has_its_own_incident():
    """One incident per prompt and generation: the next deploy's breach is told to people too."""
    story = Story()
    story.until(OPENED, **ASKED)
    story.does(promote(story.state, "v3", "a fix", (), None))
    assert story.state.incident is None
    assert len(pages(story.until(OPENED, v3=FAIR))) == 1


def test_another_question_reaches_its_own_people():
    """A second trigger whose question is somebody else's is told to them, not swallowed."""
    story = Story()
    story.until(OPENED, **ASKED)
    told = story.until(GROWN, v2=calls(ok=97, errors=3, quality=0.40, n_labels=80))
    assert [p.audience for p in pages(told)] == ["product-owner"]


def test_blindness_pages_once_and_again_after_it_ended():
    """Missing reports page once an episode; the next episode is news."""
    story = Story()
    story.sees(v2=FINE)
    story.census = ALL_SILENT
    for _ in range(3):
        story.sees(20 * SECOND)
    assert [(p.audience, p.severity.value) for p in pages(story.done)] == [("on-call", "high")]
    story.census = ALL_HERE
    story.sees(v2=FINE)
    story.census = ALL_SILENT
    story.sees(20 * SECOND)
    assert kinds(story.done) == ["blind", "blind.ended", "blind"]
    told = pages(story.done)
    assert [p.purpose for p in told] == [Purpose.PAGE, Purpose.RESOLVED, Purpose.PAGE]
    assert len({p.key for p in told}) == 3 and told[0].thread == told[1].thread


@pytest.mark.parametrize("windows", [{"v2": BAD}, ASKED, OBSERVED, ALERTED])
def test_staging_records_and_pages_nobody(windows):
    """On staging everything is done and recorded as in production, but nobody is woken."""
    story = Story(state(environment="staging"))
    story.goes_on(6, **windows)
    story.sees(v1=FINE)
    story.census = ALL_SILENT
    story.sees()
    assert pages(story.done) == [] and kinds(story.done)


# --- The target afterwards


def test_after_a_rollback_the_bad_version_is_never_the_target():
    """v1 breaks an hour after v2 was rolled back: v0 is the target, not the previous row."""
    ledger = (
        entry("v0", "good", -9 * DAY), entry("v2", "quarantined", -2 * HOUR), entry("v1", "good"),
    )  # fmt: skip
    story = Story(state("v1", *ledger, since=-HOUR))
    breached(story, 5)
    assert moves(story.done) == ["v0"]


def test_a_decision_is_applied_once():
    """What was decided on a state changes it: the same decision is not made again."""
    story = Story()
    story.until("rollback.suspected", v2=BAD)
    story.now_ms += SECOND
    first = story.decision()
    assert moves(first.actions) == ["v1"]
    story.state = after(story.state, first, story.now_ms)
    assert moves(story.decision().actions) == []
