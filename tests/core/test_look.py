"""Which versions are looked at, over which stretch, against what, and whether we can see at all."""

from dataclasses import replace

import pytest

from knowngood.core.explain import finding_words
from knowngood.core.look import (
    CASCADE,
    WORSE_THAN_CONTROL,
    age_ms,
    alert_rules,
    evidence_since_ms,
    findings,
    frame,
    is_blind,
    is_elevated,
    is_well,
    look_since_ms,
    newest_good,
    overall,
    plan_for,
    split_at,
)
from knowngood.core.model import (
    Arm,
    Census,
    Comparison,
    Evidence,
    Finding,
    Observed,
    Related,
    Response,
    Route,
    Severity,
    ShareStep,
    State,
    Verdict,
    Verifying,
    Wait,
)
from knowngood.core.track import Split
from knowngood.core.watch import watches
from knowngood.core.window import EMPTY, Bucket
from tests.core.build import (
    ALL_HERE,
    ALL_SILENT,
    DAY,
    DEFAULT,
    FINE,
    HEALTHY_DAY,
    HOUR,
    MINUTE,
    NOBODY,
    NOW,
    SECOND,
    calls,
    entry,
    observed,
    policy,
    read,
    state,
)

FINDING = Finding(
    trigger="error_critical",
    version="v2",
    metric="error_rate",
    comparison=Comparison.ABOVE,
    limit=0.05,
    verdict=Verdict.CLEAR,
    response=Response.ROLLBACK,
    severity=Severity.CRITICAL,
    n=100,
)


def seen_over(*at: int) -> Observed:
    """One good call of v2 in each bucket, `at` being relative to NOW."""
    buckets = tuple(Bucket(NOW + ms, calls(ok=1)) for ms in at)
    return Observed(NOW, {"v2": Evidence(buckets)}, ALL_HERE)


@pytest.mark.parametrize(
    ("routed", "n"),
    [
        pytest.param(-2 * DAY, 3, id="long ago: the whole window"),
        pytest.param(-200 * SECOND, 2, id="inside the window: cut there"),
        pytest.param(-1, 1, id="just now: the bucket that was open then"),
        pytest.param(0, 0, id="now: nothing was seen yet"),
    ],
)
def test_the_window_is_cut_where_the_version_came_onto_the_route(routed, n):
    """Calls from before a version's deploy are another story and never judge it."""
    rules = state("v2", entry("v2", "candidate", routed), since=routed)
    seen = seen_over(-400 * SECOND, -300 * SECOND, -200 * SECOND, -SECOND)
    assert frame(rules, seen, DEFAULT, "v2", 5 * MINUTE).window.call_count == n


def test_a_larger_share_does_not_cut_the_window():
    """What a canary showed at 1 % still counts at 5 %."""
    rules = state("v1", entry("v1"), entry("v2", "candidate", -HOUR), trial=("v2", 500), since=-1)
    seen = seen_over(-200 * SECOND, -SECOND)
    assert frame(rules, seen, DEFAULT, "v2", 5 * MINUTE).window.call_count == 2


def test_a_version_that_came_back_begins_anew():
    """A window of a version that was off the route starts at its return."""
    rules = state("v2", entry("v2", "candidate", -10 * SECOND), since=-10 * SECOND)
    assert frame(rules, seen_over(-200 * SECOND), DEFAULT, "v2", 5 * MINUTE).window.ok == 0


V0, V1, V2 = entry("v0", "good", -9 * DAY, HEALTHY_DAY), entry("v1", "good", -2 * DAY), entry("v2")
BASED = entry("v1", "good", -2 * DAY, HEALTHY_DAY)
BAD_OLD = entry("v1", "quarantined", -2 * DAY, HEALTHY_DAY)
TRIAL = ("v2", 500)


@pytest.mark.parametrize(
    ("ledger", "trial", "sources", "expected"),
    [
        pytest.param((BASED, V2), TRIAL, None, ["control", "previous good v1"], id="split"),
        pytest.param((BASED, V2), None, None, ["previous good v1"], id="whole"),
        pytest.param((V0, V1, V2), None, None, ["previous good v0"], id="the newest with a day"),
        pytest.param((V1, V2), None, None, [], id="no frozen day"),
        pytest.param((BAD_OLD, V2), None, None, [], id="a quarantined day is no baseline"),
        pytest.param((V2,), None, None, [], id="the first version"),
        pytest.param((BASED, V2), TRIAL, ["previous_good"], ["previous good v1"], id="policy"),
        pytest.param((BASED, V2), TRIAL, ["control"], ["control"], id="control only"),
    ],
)
def test_baselines_in_order(ledger, trial, sources, expected):
    """First the concurrent control, then the previous good version's day, else none."""
    rules = policy(**({"baseline": {"from": sources}} if sources else {}))
    where = state("v1" if trial else "v2", *ledger, trial=trial)
    seen = observed(v1=FINE, v2=FINE)
    bases = frame(where, seen, rules, "v2", 5 * MINUTE).baselines
    assert [base.source for base in bases] == expected


def test_the_control_is_judged_by_no_candidate():
    """A control is held against the previous good version, never against what is on trial."""
    where = state("v1", V0, V1, entry("v2", "candidate"), trial=TRIAL)
    bases = frame(where, observed(v1=FINE, v2=FINE), DEFAULT, "v1", 5 * MINUTE).baselines
    assert [base.source for base in bases] == ["previous good v0"]


@pytest.mark.parametrize(
    ("census", "reported", "blind"),
    [
        pytest.param(ALL_HERE, True, False, id="processes are here"),
        pytest.param(ALL_HERE, False, False, id="connected and without calls: idle"),
        pytest.param(ALL_SILENT, True, True, id="all fell silent"),
        pytest.param(ALL_SILENT, False, False, id="all silent, nothing was ever reported here"),
        pytest.param(NOBODY, True, False, id="they said goodbye, or never were"),
        pytest.param(Census(1, 1, (), ("web-2",)), True, False, id="one fell silent, one is here"),
    ],
)
def test_idle_is_not_blind(census, reported, blind):
    """Blind is when reports that we have reason to expect are missing, and nothing else is."""
    seen = observed(census=census, **({"v2": FINE} if reported else {}))
    assert is_blind(state(), seen, "v2") is blind
    verdicts = {f.verdict for f in findings(state(), seen, DEFAULT, NOW)}
    assert (verdicts == {Verdict.BLIND}) is blind


def test_blindness_lasts_as_long_as_the_silence():
    """Old buckets run out after minutes; a version that is known to be blind stays so."""
    where = state(told=("blind:v2",))
    seen = observed(census=ALL_SILENT)
    assert {f.verdict for f in findings(where, seen, DEFAULT, NOW)} == {Verdict.BLIND}


@pytest.mark.parametrize(
    ("age", "names"),
    [
        pytest.param(0, ["first_hour"], id="new"),
        pytest.param(HOUR - 1, ["first_hour"], id="59 min 59 s"),
        pytest.param(HOUR, ["settled"], id="an hour"),
        pytest.param(None, ["settled"], id="settled"),
    ],
)
def test_alert_rules_go_by_age(age, names):
    """The first hour has the stricter alerts, later ages the wider ones."""
    assert [rule.name for rule in alert_rules(DEFAULT, age)] == names


@pytest.mark.parametrize(
    ("standing", "since", "age"),
    [("candidate", -5 * MINUTE, 5 * MINUTE), ("good", -5 * MINUTE, None)],
)
def test_only_candidates_have_an_age(standing, since, age):
    """Age counts for candidates, from the last rise of their share."""
    where = state("v2", entry("v2", standing, -DAY), since=since)
    assert age_ms(where, "v2", NOW) == age


def test_every_arm_is_judged_and_alerts_are_for_the_suspect():
    """Triggers look at both arms; alerts only at the one under trial."""
    where = state("v1", BASED, entry("v2", "candidate"), trial=TRIAL)
    found = findings(where, observed(v1=FINE, v2=FINE), DEFAULT, NOW)
    triggers = [t.name for t in DEFAULT.triggers]
    assert [f.trigger for f in found if f.version == "v1"] == triggers
    assert [f.trigger for f in found if f.version == "v2"] == [
        *triggers, "first_hour.error_rate", "first_hour.latency_p99", "first_hour.quality",
    ]  # fmt: skip


def test_without_a_route_nothing_is_found():
    """There is nothing to judge before the first promote."""
    assert findings(State("production", "cs"), observed(), DEFAULT, NOW) == ()


@pytest.mark.parametrize(
    ("ledger", "newest"),
    [
        pytest.param((entry("v0", routed=-9 * DAY), V1), "v1", id="the one that served last"),
        pytest.param((V1, entry("v0", routed=-DAY)), "v0", id="a return counts"),
        pytest.param((V1, entry("v3", "good", None)), "v1", id="one that served before a vouched"),
        pytest.param((entry("v3", "good", None),), "v3", id="a vouched one before none"),
        pytest.param((V1, entry("v3", "quarantined", -HOUR)), "v1", id="never a quarantined one"),
        pytest.param((V1, entry("v3", "candidate", -HOUR)), "v1", id="never a candidate"),
        pytest.param((V2,), None, id="never the suspect itself"),
    ],
)
def test_the_newest_good_version(ledger, newest):
    """The newest known-good version that is not the suspect; never simply the previous row."""
    found = newest_good(state("v2", *ledger), besides="v2")
    assert (found.version if found else None) == newest


@pytest.mark.parametrize(
    ("verdicts", "whole_word"),
    [
        pytest.param((), None, id="nothing judges"),
        pytest.param(("clear", "unsure"), "unsure", id="evidence that will come"),
        pytest.param(("clear", "no labels", "no baseline"), "clear", id="out of reach"),
        pytest.param(("clear", "not separable"), "clear", id="no traffic could make it sure"),
        pytest.param(("no labels", "no baseline"), "unsure", id="nothing else"),
        pytest.param(("clear", "blind"), "blind", id="blind"),
        pytest.param(("blind", "breach", "unsure"), "breach", id="breach"),
    ],
)
def test_the_word_on_a_prompt_as_a_whole(verdicts, whole_word):
    """The worst verdict counts, unless more traffic alone could never make it sure."""
    waits = {
        "unsure": (Wait("requests", 20, 3),),
        "no labels": (Wait("labels", 50, 0),),
        "no baseline": (Wait("baseline"),),
        "not separable": (Wait("not_separable"),),
    }
    found = [
        replace(
            FINDING,
            verdict=Verdict.UNSURE if word in waits else Verdict(word),
            waiting_on=waits.get(word, ()),
        )
        for word in verdicts
    ]
    assert overall(found) == whole_word


# --- What the detectors are held against, and from when


@pytest.mark.parametrize(
    ("routed_ms", "fresh_ms", "since_ms"),
    [
        pytest.param(5_000, None, 5_000, id="from its deploy"),
        pytest.param(5_400, None, 5_000, id="from the bucket that was open then"),
        pytest.param(5_400, 9_000, 9_000, id="from the end of its last alarm"),
        pytest.param(5_400, 9_001, 10_000, id="not from the bucket in which the alarm ended"),
        pytest.param(5_400, 4_000, 5_000, id="an alarm of an earlier time on the route"),
        pytest.param(None, None, 0, id="never routed"),
    ],
)
def test_where_evidence_begins(routed_ms, fresh_ms, since_ms):
    """At the deploy, or where an alarm ended: what was said before is no part of the next proof."""
    line = replace(entry("v2", "candidate"), routed_ms=routed_ms, fresh_ms=fresh_ms)
    assert evidence_since_ms(state("v2", line), "v2") == since_ms
    assert evidence_since_ms(state("v2", line), "v9") == 0


STEPS = (ShareStep(100, 100), ShareStep(200, 500), ShareStep(300, 2_500))


@pytest.mark.parametrize(
    ("steps", "at_ms", "split"),
    [
        pytest.param(STEPS, 300, Split(2_500, 300), id="now"),
        pytest.param(STEPS, 299, Split(500, 200), id="the stage before"),
        pytest.param(STEPS, 200, Split(500, 200), id="from its first moment"),
        pytest.param(STEPS, 50, Split(100, 100), id="before it came: as when it came"),
        pytest.param((), 999, Split(2_500, 300), id="a route that remembers no steps"),
    ],
)
def test_the_share_at_a_moment(steps, at_ms, split):
    """Each second is judged by the share that the candidate had in it, so no stage resets it."""
    arms = (Arm("v1", 7_500), Arm("v2", 2_500))
    where = replace(state(), route=Route(arms, "salt", 5, 300, steps))
    assert split_at(where, at_ms) == split
    assert split_at(state(), at_ms) is None


@pytest.mark.parametrize(
    ("version", "trial", "sources", "control", "source"),
    [
        pytest.param("v2", TRIAL, None, "v1", "previous good v1", id="on trial"),
        pytest.param("v1", TRIAL, None, "", "previous good v0", id="the control itself"),
        pytest.param("v2", None, None, "", "previous good v1", id="alone"),
        pytest.param("v2", TRIAL, ["control"], "v1", "", id="the control only"),
        pytest.param("v2", TRIAL, ["previous_good"], "v1", "previous good v1", id="a day only"),
    ],
)
def test_what_a_version_is_held_against(version, trial, sources, control, source):
    """The other arm if it is on trial, and the newest good day if the policy wants one."""
    rules = policy(**({"baseline": {"from": sources}} if sources else {}))
    where = state("v1" if trial else "v2", V0, BASED, entry("v2", "candidate"), trial=trial)
    plan = plan_for(where, version, rules, watches(rules))
    assert (plan.control, plan.source) == (control, source)
    assert plan.day == (HEALTHY_DAY if source else None)


# --- Two findings that are always there

MILD, WELL = calls(ok=2_910, errors=90), calls(ok=3_000)  # 3 % errors
SEEN = (Related("faq", NOW),)
YOUNG = state(since=-HOUR)
OLD = state("v2", BASED, entry("v2", "candidate", -2 * DAY), since=-2 * DAY)


@pytest.mark.parametrize(
    ("where", "related", "others_clear", "window", "response"),
    [
        pytest.param(YOUNG, SEEN, ("hr",), MILD, "rollback", id="changed today"),
        pytest.param(OLD, SEEN, ("hr",), MILD, "ask", id="changed longer ago than a day"),
        pytest.param(YOUNG, (), ("hr",), MILD, None, id="no related prompt fails"),
        pytest.param(YOUNG, SEEN, (), MILD, None, id="nothing is known of the provider's others"),
        pytest.param(YOUNG, SEEN, ("hr",), WELL, None, id="it does not fail itself"),
        pytest.param(YOUNG, SEEN, ("hr",), EMPTY, None, id="it is idle"),
        pytest.param(
            YOUNG, (Related("faq", NOW - 5 * MINUTE),), ("hr",), MILD, "rollback", id="5 min ago"
        ),
        pytest.param(
            YOUNG, (Related("faq", NOW - 5 * MINUTE - 1),), ("hr",), MILD, None, id="long before"
        ),
        pytest.param(
            YOUNG, SEEN, ("hr",), calls(ok=291, errors=9), None, id="above 2 %, E below 100"
        ),
    ],
)
def test_a_cascade(where, related, others_clear, window, response):
    """Related prompts above 2 % within five minutes, and their provider serves another well."""
    seen = observed(v2=window, related=related, unrelated_clear=others_clear)
    found = [f for f in findings(where, read(where, seen), DEFAULT, NOW) if f.trigger == CASCADE]
    assert [f.response.value for f in found] == ([response] if response else [])
    assert all(f.severity is Severity.CRITICAL and f.verdict is Verdict.BREACH for f in found)


def test_a_cascade_names_who_fails_together_and_who_is_well():
    """Of those that began lately, and one of the provider's others: whom to call, and whom not."""
    related = (Related("faq", NOW), Related("old", NOW - HOUR), Related("web", NOW - MINUTE))
    seen = observed(v2=MILD, related=related, unrelated_clear=("hr", "it"))
    found = {f.trigger: f for f in findings(YOUNG, read(YOUNG, seen), DEFAULT, NOW)}
    assert (found[CASCADE].related, found[CASCADE].well) == (("faq", "web"), "hr")
    words = finding_words(found[CASCADE])
    assert words == "errors 3.0% > 2.0% (90 of 3000), together with faq, web, while hr is well"
    assert "together" not in finding_words(found["error_high"])


@pytest.mark.parametrize(
    ("share_bp", "own", "theirs", "worse"),
    [
        pytest.param(5_000, MILD, WELL, True, id="3 % beside 0 %"),
        pytest.param(5_000, MILD, MILD, False, id="3 % in both"),
        pytest.param(5_000, WELL, MILD, False, id="it does better"),
        pytest.param(5_000, calls(ok=2_950, errors=50), WELL, False, id="1.7 %: worse, not harm"),
        pytest.param(5_000, MILD, EMPTY, False, id="nobody calls the control"),
        pytest.param(9_500, MILD, WELL, False, id="a twentieth of the calls proves little"),
    ],
)
def test_worse_than_the_control(share_bp, own, theirs, worse):
    """A candidate above 2 % that provably does worse than the other arm is worth a question."""
    trial = state("v1", BASED, entry("v2", "candidate", -HOUR), trial=("v2", share_bp), since=-HOUR)
    share = share_bp / 10_000
    part = calls(
        ok=round(theirs.ok * (1 - share) / share),
        errors=round(theirs.error_count * (1 - share) / share),
    )
    seen = read(trial, observed(v2=own, v1=part))
    found = [f for f in findings(trial, seen, DEFAULT, NOW) if f.trigger == WORSE_THAN_CONTROL]
    assert bool(found) is worse
    assert all((f.response, f.version) == (Response.ASK, "v2") for f in found)


@pytest.mark.parametrize(
    ("window", "ago", "elevated", "well"),
    [
        pytest.param(EMPTY, 0, False, False, id="no call"),
        pytest.param(calls(ok=19), 0, False, False, id="19 calls"),
        pytest.param(calls(ok=20), 0, False, True, id="20 clean calls"),
        pytest.param(MILD, 0, True, False, id="3 % of many"),
        pytest.param(calls(ok=97, errors=3), 0, False, False, id="3 % of few: not well either"),
        pytest.param(WELL, 10 * MINUTE, False, False, id="it was well, ten minutes ago"),
    ],
)
def test_how_a_prompt_is_for_the_others(window, ago, elevated, well):
    """Above 2 % with E of 100, or seen to be within it lately; between the two nobody knows."""
    where = state(since=-HOUR)
    seen = read(where, replace(observed(NOW - ago, v2=window), until_ms=NOW))
    reading = seen.evidence("v2").reading
    assert is_elevated(reading, DEFAULT) is elevated
    assert is_well(reading, DEFAULT) is well


@pytest.mark.parametrize(
    ("switched_ms", "reaches_ms"),
    [
        pytest.param(None, 10 * MINUTE, id="steady: ten minutes"),
        pytest.param(5 * MINUTE, 10 * MINUTE, id="a switch within them"),
        pytest.param(45 * MINUTE, 45 * MINUTE, id="as far as the switch"),
        pytest.param(5 * HOUR, 2 * HOUR, id="and two hours at most"),
    ],
)
def test_how_far_back_a_look_reaches(switched_ms, reaches_ms):
    """A verification needs every second since its switch; its length is bounded."""
    where = state()
    if switched_ms is not None:
        began_ms = NOW - switched_ms
        where = replace(
            where, phase=Verifying("v2", "v1", (), began_ms, NOW, "system", automatic=True)
        )
    assert NOW - look_since_ms(where, DEFAULT, NOW) == reaches_ms
