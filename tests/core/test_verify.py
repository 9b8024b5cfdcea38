"""Verifying: a rollback is not done until fresh evidence on the target proves recovery."""

from dataclasses import replace

import pytest

from knowngood.core.model import (
    Observed,
    Outcome,
    Severity,
    Standing,
    State,
    Steady,
    Verifying,
)
from knowngood.core.window import EMPTY
from tests.core.build import (
    ALL_HERE,
    ALL_SILENT,
    BAD,
    DAY,
    DEFAULT,
    FAIR,
    FINE,
    HEALTHY_DAY,
    MINUTE,
    NOBODY,
    NOW,
    SECOND,
    Story,
    after,
    calls,
    decided,
    entry,
    kinds,
    moves,
    observed,
    pages,
    policy,
    settled,
    state,
)


def breached(story: Story, seconds: int = 8) -> None:
    """The target goes on failing."""
    story.goes_on(seconds, v1=BAD)


def verifying(
    *triggers: str,
    since: int = 0,
    attempts: int = 1,
    seen: bool = True,
    deadline: int | None = None,
) -> State:
    """v2 was rolled back to v1 `since` ms ago."""
    began_ms = NOW - since
    deadline_ms = began_ms + 5 * MINUTE if deadline is None else NOW + deadline
    phase = Verifying(
        "v2", "v1", triggers or ("error_critical",), began_ms, deadline_ms, "system", True,
        propagated_ms=began_ms if seen else None, attempt_count=attempts,
    )  # fmt: skip
    start = state(
        "v1", entry("v1", "good", -since, HEALTHY_DAY), entry("v2", "quarantined", -DAY),
        since=-since, phase=phase,
    )  # fmt: skip
    found = Story()
    found.until("incident.opened", v2=FAIR)
    return replace(start, incident=replace(found.state.incident, triggers=phase.triggers))


def since_the_switch(start: State, census=ALL_HERE, **windows) -> Observed:
    """What was seen of the versions, spread over the time since the switch, at most a minute."""
    assert isinstance(start.phase, Verifying)
    return observed(over=min(MINUTE, NOW - start.phase.began_ms), census=census, **windows)


LATE = 5 * MINUTE
TARGET_RATE = calls(ok=19_800, errors=200)  # its own healthy level is 1.1 %
VERIFIED = [
    ("70 clean calls", 10 * SECOND, (), calls(ok=70), ALL_HERE, "recovered"),
    ("69 clean calls", 10 * SECOND, (), calls(ok=69), ALL_HERE, "verify_requests"),
    ("1 of 100", 10 * SECOND, (), calls(ok=99, errors=1), ALL_HERE, "verify_requests"),
    ("1 of 130", 10 * SECOND, (), calls(ok=129, errors=1), ALL_HERE, "recovered"),
    ("3 of 300", 10 * SECOND, (), calls(ok=297, errors=3), ALL_HERE, "verify_limit"),
    ("9 of 1000", 10 * SECOND, (), calls(ok=991, errors=9), ALL_HERE, "recovered"),
    ("10 of 1000", 10 * SECOND, (), calls(ok=990, errors=10), ALL_HERE, "verify_limit"),
    ("ill before the goal", 59 * SECOND, (), BAD, ALL_HERE, "verify_requests"),
    ("ill at the goal", 60 * SECOND, (), BAD, ALL_HERE, "not_recovered"),
    ("3 of 19 at the goal", MINUTE, (), calls(ok=16, errors=3), ALL_HERE, "verify_requests"),
    ("2 % at the goal", MINUTE, (), calls(ok=980, errors=20), ALL_HERE, "verify_limit"),
    ("2 % at the deadline", LATE, (), calls(ok=980, errors=20), ALL_HERE, "not_recovered"),
    ("2 of 60 at the deadline", LATE, (), calls(ok=58, errors=2), ALL_HERE, "inconclusive"),
    ("silence at the deadline", LATE, (), EMPTY, ALL_HERE, "inconclusive"),
    ("69 calls at the deadline", LATE, (), calls(ok=69), ALL_HERE, "inconclusive"),
    ("proof at the deadline", LATE, (), calls(ok=70), ALL_HERE, "recovered"),
    ("no census", 10 * SECOND, (), calls(ok=70), NOBODY, "recovered"),
    ("all silent", 10 * SECOND, (), calls(ok=70), ALL_SILENT, "census"),
    ("all silent at the deadline", LATE, (), calls(ok=70), ALL_SILENT, "inconclusive"),
]
QUALITY = ("quality_high",)
LATENCY = ("latency_high",)
METRICS = [
    ("no labels", QUALITY, calls(ok=70), 10 * SECOND, "verify_metric"),
    ("no labels at the deadline", QUALITY, calls(ok=70), LATE, "inconclusive"),
    ("93 %", QUALITY, calls(ok=70, quality=0.77, n_labels=200), 10 * SECOND, "recovered"),
    ("70 %", QUALITY, calls(ok=70, quality=0.56, n_labels=200), 10 * SECOND, "verify_metric"),
    ("70 % at the end", QUALITY, calls(ok=70, quality=0.56, n_labels=200), LATE, "not_recovered"),
    ("1.4 times", LATENCY, calls(ok=500, p99=1100), 10 * SECOND, "recovered"),
    ("1.6 times", LATENCY, calls(ok=500, p99=1300), 10 * SECOND, "verify_metric"),
    ("few calls", LATENCY, calls(ok=400, p99=800), LATE, "inconclusive"),
    ("no such trigger now", ("gone",), calls(ok=70), 10 * SECOND, "recovered"),
    ("both", ("error_critical", *QUALITY), calls(ok=70), 10 * SECOND, "verify_metric"),
]
ENDED = {
    "rollback.verified": "recovered",
    "rollback.not_recovered": "not_recovered",
    "rollback.inconclusive": "inconclusive",
}


def verdict(start: State, seen) -> set[str]:
    """How the verification ended, or what it waits on."""
    decision = decided(start, seen)
    ended = {ENDED[kind] for kind in kinds(decision.actions) if kind in ENDED}
    return ended or {wait.kind for wait in decision.waiting_on}


@pytest.mark.parametrize(
    ("since", "triggers", "window", "census", "expected"),
    [pytest.param(*row[1:], id=row[0]) for row in VERIFIED],
)
def test_recovery_of_errors_is_proven(since, triggers, window, census, expected):
    """70 clean calls (or what is as good), below 1 %, and everybody on the new route."""
    start = verifying(*triggers, since=since)
    assert expected in verdict(start, since_the_switch(start, census, v1=window))


@pytest.mark.parametrize(
    ("triggers", "window", "since", "expected"),
    [pytest.param(*row[1:], id=f"{row[1][0]}: {row[0]}") for row in METRICS],
)
def test_every_metric_that_breached_must_be_back(triggers, window, since, expected):
    """Quality at 93 % of the target's own day, p99 below 1.5 times of it: on labels of its own."""
    start = verifying(*triggers, since=since)
    assert expected in verdict(start, since_the_switch(start, v1=window))


@pytest.mark.parametrize(
    ("window", "day", "need"),
    [
        pytest.param(calls(ok=12), HEALTHY_DAY, 70, id="none failed"),
        pytest.param(calls(ok=99, errors=1), HEALTHY_DAY, 124, id="one failed"),
        pytest.param(calls(ok=99, errors=2), HEALTHY_DAY, 168, id="two failed"),
        pytest.param(calls(ok=12), calls(ok=18_800, errors=1200), 27, id="twice its own 6 %"),
    ],
)
def test_it_says_how_many_calls_the_proof_takes_after_what_failed(window, day, need):
    """Seventy is for a clean record: each failure asks for more, a worse normal for fewer."""
    start = verifying(since=10 * SECOND)
    start = replace(start, ledger=(entry("v1", "good", -10 * SECOND, day),))
    waits = decided(start, since_the_switch(start, v1=window)).waiting_on
    (wait,) = [w for w in waits if w.kind == "verify_requests"]
    assert (wait.need, wait.have) == (need, window.call_count)


def test_the_targets_own_healthy_level_counts():
    """A target that always fails in 6 % of calls has recovered at 5 %."""
    day = calls(ok=18_800, errors=1200)
    start = verifying(since=10 * SECOND)
    start = replace(start, ledger=(entry("v1", "good", -10 * SECOND, day),))
    window = calls(ok=9_500, errors=500)
    assert verdict(start, since_the_switch(start, v1=window)) == {"recovered"}
    few = replace(start, ledger=(entry("v1", "good", -10 * SECOND, calls(ok=900, errors=60)),))
    assert "recovered" not in verdict(few, since_the_switch(few, v1=window))


def test_a_healthy_day_of_nothing_but_failures_stops_nothing():
    """Even an absurd baseline leaves the verification able to end."""
    start = verifying(since=10 * SECOND)
    start = replace(start, ledger=(entry("v1", "good", 0, calls(errors=2000)),))
    assert verdict(start, since_the_switch(start, v1=FINE)) == {"recovered"}


def test_calls_from_before_the_switch_prove_nothing():
    """The target's evidence starts at the switch."""
    seen = observed(v1=calls(ok=900), at=NOW - 11 * SECOND)
    assert "verify_requests" in verdict(verifying(since=10 * SECOND), seen)


@pytest.mark.parametrize(
    ("window", "closes"),
    [
        pytest.param(calls(ok=100, late_ok=30), True, id="70 of the clean calls came in time"),
        pytest.param(calls(ok=100, late_ok=31), False, id="69 did"),
        pytest.param(calls(ok=117, errors=2, late_ok=20), False, id="failures count, late or not"),
    ],
)
def test_calls_reported_late_prove_nothing_good(window, closes):
    """They may have been made before the switch (P6)."""
    start = verifying(since=10 * SECOND)
    after, _ = settled(start, since_the_switch(start, v1=window))
    assert isinstance(after.phase, Steady) is closes


def test_a_switch_that_came_late_is_proven_from_the_first_look_on():
    """An engine that was held between decision and switch does not know when it switched."""
    story = Story()
    story.until("rollback.switched", v2=BAD)
    began_ms = story.state.phase.began_ms
    story.sees(30 * SECOND, v1=calls(ok=1_000))
    assert isinstance(story.state.phase, Verifying)
    assert story.state.phase.began_ms == began_ms + 30 * SECOND
    story.sees(5 * SECOND, v1=FINE)
    assert isinstance(story.state.phase, Steady)


def test_recovery_waits_for_every_live_process():
    """A process on the old generation blocks; after a minute it pages, once, by name."""
    story = Story(verifying(since=30 * SECOND, seen=False))
    story.census = replace(ALL_HERE, current_count=3, behind=("web-4",))
    story.sees(v1=FINE)
    assert "clients" in story.waits() and pages(story.done) == []
    for _ in range(3):
        story.sees(40 * SECOND, v1=FINE)
    assert [p.severity for p in pages(story.done)] == [Severity.HIGH]
    assert "web-4" in pages(story.done)[0].body
    story.census = ALL_HERE
    story.sees(v1=FINE)
    assert "rollback.verified" in kinds(story.done)


def test_a_page_names_a_few_of_many_stragglers():
    """With ten thousand processes a subject stays a subject, and a line of history a line."""
    behind = tuple(f"web-{i:04}" for i in range(9_999))
    story = Story(verifying(since=90 * SECOND, seen=False))
    story.census = replace(ALL_HERE, live_count=10_000, current_count=1, behind=behind)
    story.sees(v1=FINE)
    (told,) = pages(story.done)
    assert "web-0004 and 9,994 more" in told.subject and len(told.subject) < 200
    (line,) = [a for a in story.done if getattr(a, "kind", "") == "rollback.straggler"]
    assert len(line.detail["clients"]) == 100


def test_a_silent_process_is_named_and_does_not_block():
    """Who fell silent cannot serve anybody; its name stands in the line."""
    start = verifying(since=10 * SECOND, seen=False)
    census = replace(ALL_HERE, silent=("web-9",))
    _, done = settled(start, since_the_switch(start, census, v1=FINE))
    (line,) = [a.because for a in done if getattr(a, "kind", "") == "rollback.propagated"]
    assert line.endswith("; silent: web-9")


@pytest.mark.parametrize(
    ("windows", "says"),
    [
        ({"v1": BAD}, "upstream"),
        ({"v1": calls(ok=58, errors=2, quality=0.5, n_labels=200)}, "back"),
    ],
    ids=["errors", "quality"],
)
def test_a_rollback_that_does_not_help_is_a_critical_incident_of_its_own(windows, says):
    """At once, under a second key, with whom to reach and what else could be served."""
    start = verifying("error_critical", "quality_high", since=LATE)
    start = replace(start, ledger=(*start.ledger, entry("v0", "good", -9 * DAY)))
    _, done = settled(start, since_the_switch(start, **windows))
    (told,) = pages(done)
    assert told.severity is Severity.CRITICAL and "rollback-failed" in told.key
    assert says in told.body and "v0" in told.body and "Contact: " in told.body


def test_whoever_pushed_the_versions_is_called():
    """R15: the original authors, by the versions themselves, and whom the policy names besides."""
    start = verifying("error_critical", since=LATE)
    authors = {"v1": "ann (unverified)", "v2": "ben"}
    seen = replace(since_the_switch(start, v1=BAD), authors=authors)
    rules = replace(DEFAULT, authors=("cem", "ben"))
    _, done = settled(start, seen, rules)
    (told,) = pages(done)
    assert "Contact: ben, who pushed v2; ann, who pushed v1; cem." in told.body
    assert told.targets == ("on-call", "author", "ann", "ben")


def test_a_failed_rollback_is_critical_whatever_it_began_as():
    """Not recovered is critical, also when nobody had found anything wrong before."""
    for start in (verifying(since=LATE), replace(verifying(since=LATE), incident=None)):
        end, _ = settled(start, since_the_switch(start, v1=BAD))
        assert end.incident is not None
        assert end.incident.severity is Severity.CRITICAL
        assert end.incident.outcome is Outcome.NOT_RECOVERED


@pytest.mark.parametrize(
    ("triggers", "window", "lifted"),
    [
        pytest.param((), BAD, True, id="the target fails in the same way"),
        pytest.param(QUALITY, BAD, False, id="it fails in another way"),
        pytest.param(
            QUALITY, calls(ok=70, quality=0.5, n_labels=200), True, id="its quality is as bad"
        ),
    ],
)
def test_a_target_that_fails_in_the_same_way_means_upstream(triggers, window, lifted):
    """Then it was not the version: say upstream and lift its quarantine."""
    start = verifying(*triggers, since=LATE)
    end, done = settled(start, since_the_switch(start, v1=window))
    assert (end.standing("v2") is Standing.CANDIDATE) is lifted
    assert ("upstream" in pages(done)[0].body) is lifted


def test_two_failed_calls_lift_no_quarantine():
    """A handful of calls does not show that the target fails in the same way."""
    window = calls(ok=28, errors=2, quality=0.5, n_labels=200)
    _, done = settled(
        verifying("error_critical", "gone", since=LATE), observed(v1=replace(window, scores={}))
    )
    assert "rollback.inconclusive" in kinds(done)


def test_a_failed_rollback_waits_for_a_person():
    """No chain of rollbacks: after one that failed, a person decides."""
    story = Story(verifying(since=LATE))
    breached(story)
    assert moves(story.done) == [] and "operator" in story.waits()


def test_inconclusive_asks_again_and_tires():
    """No traffic: notify and ask again each 15 minutes; after the first hour only record it."""
    story = Story(verifying(since=LATE))
    for _ in range(10):
        story.sees(15 * MINUTE)
    assert kinds(story.done) == ["rollback.inconclusive"] * 10
    assert [p.severity for p in pages(story.done)] == [Severity.HIGH] * 4
    assert story.state.incident and story.state.incident.outcome is Outcome.INCONCLUSIVE
    story.sees(v1=FINE)
    assert "rollback.verified" in kinds(story.done)


def test_inconclusive_for_a_day_ends():
    """It is closed unproven, and never as recovered."""
    end, done = settled(verifying(since=DAY, attempts=96, deadline=0), observed())
    assert isinstance(end.phase, Steady) and end.incident is None
    assert kinds(done) == ["rollback.inconclusive"]


# --- A failed rollback, where the policy says to go on


def failing_target(rules, trigger="quality_high", **ledger):
    """v2 was rolled back for its quality to a v1 that fails calls; v0 is good too, unless said."""
    start = verifying(trigger, since=MINUTE)
    kept = ledger.get("ledger", (*start.ledger, entry("v0", "good", -9 * DAY, HEALTHY_DAY)))
    start = replace(start, ledger=kept)
    return start, decided(start, since_the_switch(start, v1=BAD), rules)


def test_a_target_that_fails_gives_way_to_the_next_good_one():
    """Where `not_recovered: next_good`: the failed target is quarantined, and people are paged."""
    rules = policy(verify={"not_recovered": "next_good"})
    start, decision = failing_target(rules)
    assert moves(decision.actions) == ["v0"]
    assert kinds(decision.actions)[-1] == "rollback.not_recovered"
    assert any("ROLLBACK FAILED" in page.subject for page in pages(decision.actions))
    then = after(start, decision, NOW)
    assert then.standing("v1") is Standing.QUARANTINED
    assert isinstance(then.phase, Verifying) and then.phase.to_version == "v0"


@pytest.mark.parametrize(
    ("rules", "trigger", "more"),
    [
        pytest.param(policy(), "quality_high", {}, id="the policy asks people"),
        pytest.param(
            policy(verify={"not_recovered": "next_good"}),
            "error_critical",
            {},
            id="it fails in the same way: upstream",
        ),
        pytest.param(
            policy(verify={"not_recovered": "next_good"}),
            "quality_high",
            {"ledger": (entry("v1", "good", -MINUTE), entry("v2", "quarantined", -DAY))},
            id="no other good version",
        ),
    ],
)
def test_a_target_that_fails_stays_otherwise(rules, trigger, more):
    """It is a critical incident, people are paged, and nothing moves by itself."""
    _, decision = failing_target(rules, trigger, **more)
    assert moves(decision.actions) == [] and "rollback.not_recovered" in kinds(decision.actions)
    assert any("ROLLBACK FAILED" in page.subject for page in pages(decision.actions))
