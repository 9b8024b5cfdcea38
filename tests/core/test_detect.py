"""One trigger against what its detector shows: the unsure and blind cases first."""

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core.detect import Baseline, Frame, detect
from knowngood.core.explain import article_words, finding_words, proof_words, strongest
from knowngood.core.model import Finding, Response, Verdict
from knowngood.core.policy import parse
from knowngood.core.track import Plan, Track
from knowngood.core.watch import watches
from knowngood.core.window import EMPTY, Window, merge, quantile_ms, score_moments
from tests.core.build import (
    HEALTHY_DAY,
    MINUTE,
    NOW,
    SECOND,
    SPREAD_MS,
    calls,
    labels,
    latencies,
    spread,
)

POLICY = parse(
    {
        "scores": {"toxicity": {"min": 0, "max": 1, "better": "lower"}},
        "defaults": {
            "triggers": {
                "quality_low": {
                    "when": "quality below 0.60",
                    "severity": "high",
                    "action": "ask",
                    "who": "on-call",
                },
                "too_slow": {
                    "when": "latency_p99 > 2s",
                    "severity": "high",
                    "action": "ask",
                    "who": "on-call",
                },
                "toxic": {
                    "when": "score.toxicity increase > 20%",
                    "severity": "high",
                    "action": "ask",
                    "who": "on-call",
                },
                "slower": {
                    "when": "latency_p99 increase > 10%",
                    "severity": "high",
                    "action": "ask",
                    "who": "on-call",
                },
                "costly": {
                    "when": "cost_per_call increase > 50%",
                    "severity": "high",
                    "action": "ask",
                    "who": "on-call",
                },
                "own_fault": {
                    "when": "error_rate > 5%",
                    "severity": "high",
                    "action": "ask",
                    "who": "on-call",
                    "kinds": ["prompt"],
                },
            }
        },
    }
).for_prompt("cs")
DAY = calls(ok=19_900, errors=100, latency=latencies(800, 20_000), quality=0.8, n_labels=400)
TOXIC_DAY = replace(DAY, scores=labels(0.08, 0.12, times=200, name="toxicity"))
SOURCE = "previous good v1"


def frame_of(
    window: Window,
    baseline: Window | None = None,
    blind: bool = False,
    over: int = SPREAD_MS,
    policy=POLICY,
) -> Frame:
    """A version that came five minutes ago and had these calls in the last `over` ms."""
    track = Track(NOW - 5 * MINUTE)
    track.plan(Plan(watches(policy), policy.baseline, policy.scores, day=baseline, source=SOURCE))
    for bucket in spread(window, NOW, over):
        track.add(bucket.at_ms, SECOND, bucket.window, EMPTY, None)
    bases = (Baseline(SOURCE, baseline),) if baseline is not None else ()
    reading = track.read(policy.window_ms, NOW)
    return Frame("v2", NOW - 5 * MINUTE, NOW, window, bases, blind, reading)


def found(trigger: str, window: Window, baseline: Window | None = None, **more) -> Any:
    rule = next(t for t in POLICY.triggers if t.name == trigger)
    return detect(rule, frame_of(window, baseline, **more), POLICY)


NO_DATA = [
    pytest.param("error_critical", EMPTY, None, "idle", id="errors, no calls"),
    pytest.param("latency_high", EMPTY, DAY, "idle", id="latency, no calls"),
    pytest.param("quality_high", EMPTY, DAY, "idle", id="quality, no calls"),
    pytest.param("quality_high", calls(ok=900), DAY, "labels", id="calls, none labelled"),
    pytest.param("latency_high", calls(ok=900), DAY, "requests", id="calls, none timed"),
    pytest.param("error_critical", calls(excluded=900), None, "idle", id="only excluded calls"),
]
TOO_LITTLE = [
    pytest.param("error_critical", calls(ok=19), None, "requests", id="19 clean calls"),
    pytest.param("error_critical", calls(errors=1), None, "requests", id="1 of 1 failed"),
    pytest.param("error_critical", calls(errors=2), None, "requests", id="2 of 2 failed"),
    pytest.param("error_critical", calls(errors=3), None, "evidence", id="3 of 3 failed"),
    pytest.param("error_critical", calls(ok=17, errors=3), None, "evidence", id="3 of 20 failed"),
    pytest.param("error_critical", calls(ok=94, errors=6), None, "evidence", id="6 of 100 failed"),
    pytest.param("error_critical", calls(ok=18, errors=2), None, "errors", id="2 of 20 failed"),
    pytest.param("error_high", calls(ok=60, errors=2), None, "errors", id="2 of 62 failed"),
    pytest.param(
        "quality_high", calls(ok=9, quality=0.2, n_labels=8), DAY, "labels", id="8 bad labels"
    ),
    pytest.param("latency_high", calls(ok=3, p99=9000), DAY, "evidence", id="3 slow calls"),
    pytest.param("latency_high", calls(ok=99, p99=800), DAY, "requests", id="99 quick calls"),
    pytest.param("too_slow", calls(ok=99, p99=800), None, "requests", id="99 quick ones, bare"),
    pytest.param(
        "quality_high", calls(ok=99, quality=0.2, n_labels=98), None, "baseline", id="no baseline"
    ),
    pytest.param(
        "quality_high",
        calls(ok=99, quality=0.2, n_labels=98),
        calls(quality=0.8, n_labels=48),
        "baseline",
        id="a baseline of 48 labels",
    ),
    pytest.param(
        "latency_high",
        calls(ok=900, p99=9000),
        calls(ok=99, p99=800),
        "baseline",
        id="a baseline of 99 timed calls",
    ),
    pytest.param(
        "latency_medium",
        calls(ok=900, p99=9000),
        calls(ok=458, p99=800),
        "baseline",
        id="a p99 alone needs a baseline of 459",
    ),
    pytest.param(
        "slower",
        calls(ok=900, p99=9000),
        calls(ok=980, errors=20, kind="timeout", p99=800),
        "not_separable",
        id="two of a hundred time out on a healthy day",
    ),
    pytest.param(
        "quality_high",
        calls(ok=51, scores=labels(0.0, 1.0, 1.0, times=17)),
        DAY,
        "separable",
        id="labels that swing: 51 of them show a fall that is noise",
    ),
    pytest.param(
        "quality_high",
        calls(ok=51, scores=labels(0.0, 1.0, 1.0, times=17)),
        calls(scores=labels(0.7, 1.0, times=200)),
        "evidence",
        id="as many labels as one fixed test would take, looked at each second",
    ),
]


@pytest.mark.parametrize(("trigger", "window", "baseline", "waits_on"), NO_DATA + TOO_LITTLE)
def test_unsure_says_what_it_waits_on(trigger, window, baseline, waits_on):
    """No data, too little, or no more than noise: unsure, and it says what is missing."""
    finding = found(trigger, window, baseline)
    assert finding.verdict is Verdict.UNSURE
    assert [wait.kind for wait in finding.waiting_on] == [waits_on]


@pytest.mark.parametrize("trigger", [t.name for t in POLICY.triggers])
@pytest.mark.parametrize("window", [EMPTY, calls(errors=900), calls(ok=900)])
def test_blind_is_blind_whatever_was_seen(trigger, window):
    """When expected reports are missing, what is there is old news: blind, not clear, no breach."""
    finding = found(trigger, window, DAY, blind=True)
    assert finding.verdict is Verdict.BLIND
    assert [wait.kind for wait in finding.waiting_on] == ["reports"]


JUDGED = [
    ("error_critical", calls(errors=4), None, "breach"),
    ("error_critical", calls(ok=10, errors=5), None, "breach"),  # of fewer than 20 calls
    ("error_critical", calls(ok=950, errors=50), None, "clear"),  # 5 % is not above 5 %
    ("error_critical", calls(ok=940, errors=60), None, "breach"),
    ("error_critical", calls(ok=20), None, "clear"),
    ("error_high", calls(ok=980, errors=20), None, "clear"),
    ("error_high", calls(ok=960, errors=40), None, "breach"),
    ("own_fault", calls(ok=80, errors=20, kind="provider"), None, "clear"),
    ("own_fault", calls(ok=80, errors=20, kind="prompt"), None, "breach"),
    ("quality_high", calls(ok=9, quality=0.20, n_labels=10), DAY, "breach"),
    ("quality_high", calls(ok=9, quality=0.60, n_labels=100), DAY, "breach"),
    ("quality_high", calls(ok=9, quality=0.70, n_labels=100), DAY, "clear"),
    ("quality_medium", calls(ok=9, quality=0.70, n_labels=100), DAY, "breach"),
    ("quality_medium", calls(ok=9, quality=0.90, n_labels=100), DAY, "clear"),
    ("quality_low", calls(ok=9, quality=0.50, n_labels=100), None, "breach"),
    ("quality_low", calls(ok=9, quality=0.70, n_labels=100), None, "clear"),
    ("toxic", calls(ok=9, scores=labels(0.2, times=100, name="toxicity")), TOXIC_DAY, "breach"),
    ("toxic", calls(ok=9, scores=labels(0.05, times=100, name="toxicity")), TOXIC_DAY, "clear"),
    ("latency_high", calls(ok=100, p99=800), DAY, "clear"),
    ("latency_high", calls(ok=459, p99=1700), DAY, "breach"),
    ("latency_high", calls(ok=459, p99=1700), calls(ok=100, p99=800), "breach"),  # by its p50
    ("latency_high", calls(ok=459, p99=1500), DAY, "clear"),
    ("latency_high", calls(ok=980, latency=latencies(800, 980, 1700, 20)), DAY, "breach"),
    ("latency_medium", calls(ok=459, p99=1000), DAY, "breach"),
    ("latency_medium", calls(ok=459, p99=900), DAY, "clear"),
    ("latency_medium", calls(ok=459, p99=100), DAY, "clear"),
    ("slower", calls(ok=459, p99=900), DAY, "breach"),
    ("slower", calls(ok=459, p99=850), DAY, "clear"),
    ("too_slow", calls(ok=459, p99=2100), None, "breach"),
    ("too_slow", calls(ok=459, p99=1900), None, "clear"),
]


@pytest.mark.parametrize(
    ("trigger", "window", "baseline", "verdict"),
    [pytest.param(*row, id=f"{number}-{row[0]}-{row[3]}") for number, row in enumerate(JUDGED)],
)
def test_enough_evidence_is_judged(trigger, window, baseline, verdict):
    """Past its threshold and proven is a breach; within it, of enough calls, is clear."""
    finding = found(trigger, window, baseline)
    assert finding.verdict.value == verdict
    assert finding.waiting_on == ()


def test_the_same_failures_prove_less_in_fewer_seconds():
    """A burst in one second is one event, however many calls it hit."""
    seconds = [found("error_critical", calls(errors=400), over=s * SECOND) for s in (1, 3, 4)]
    assert [f.verdict.value for f in seconds] == ["unsure", "unsure", "breach"]
    es = [wait.have for f in seconds for wait in f.waiting_on]
    assert es == [pytest.approx(0.5 * 10, rel=0.01), pytest.approx(0.5 * 10**3, rel=0.01)]


def test_an_unsure_finding_says_how_long_it_may_take():
    """At today's traffic: the missing evidence over what each call adds to it on average."""
    (wait,) = found("error_critical", calls(ok=94, errors=6)).waiting_on
    assert wait.need == pytest.approx(1000) and wait.have == pytest.approx(1.53, abs=0.01)
    told = 0.06 * math.log(0.05 / 0.02) + 0.94 * math.log(0.95 / 0.98)
    missing_calls = (math.log(1000) - math.log(wait.have)) / told
    assert wait.eta_ms == pytest.approx(missing_calls / (100 / 300) * 1000, rel=1e-3)


def after_calm(calm: int, window: Window, over: int) -> Any:
    """What the critical trigger says of these calls in the last `over` ms, after calm minutes."""
    before = calls(ok=calm)
    track = Track(NOW - 5 * MINUTE)
    track.plan(Plan(watches(POLICY), POLICY.baseline, POLICY.scores))
    for bucket in (*spread(before, NOW - over, 4 * MINUTE), *spread(window, NOW, over)):
        track.add(bucket.at_ms, SECOND, bucket.window, EMPTY, None)
    reading = track.read(POLICY.window_ms, NOW)
    frame = Frame("v2", NOW - 5 * MINUTE, NOW, merge(before, window), reading=reading)
    return detect(next(t for t in POLICY.triggers if t.name == "error_critical"), frame, POLICY)


@pytest.mark.parametrize(
    ("calm", "window", "over"),
    [
        pytest.param(280, calls(ok=14, errors=6), 15 * SECOND, id="2 % of all are healthy"),
        pytest.param(290, calls(ok=50, errors=10), MINUTE, id="3 % of all add no evidence"),
    ],
)
def test_no_time_is_told_where_the_whole_window_proves_nothing(calm, window, over):
    """The worst quarter of a minute passes the gate, and is no promise that it goes on so."""
    finding = after_calm(calm, window, over)
    (wait,) = finding.waiting_on
    assert finding.proof.window_ms == over and finding.bad / finding.n > 0.15
    assert wait.kind == "evidence" and wait.eta_ms is None


def test_the_time_is_told_by_the_rate_of_the_whole_window():
    """One call in six failed in the last minute, one in twenty in the window: that one goes on."""
    finding = after_calm(140, calls(ok=50, errors=10), MINUTE)
    (wait,) = finding.waiting_on
    assert finding.proof.window_ms == MINUTE
    told = 0.05 * math.log(0.05 / 0.02) + 0.95 * math.log(0.95 / 0.98)
    missing_calls = (math.log(1000) - math.log(wait.have)) / told
    assert wait.eta_ms == pytest.approx(missing_calls / (200 / 300) * 1000, rel=1e-3)


def test_no_traffic_proves_anything_faster_than_a_second_may():
    """A burst of failures leaves the time that the cap on a second leaves: 2 of 3 more ticks."""
    (wait,) = found("error_critical", calls(errors=9_000), over=SECOND).waiting_on
    left = math.log(1000) - math.log(wait.have)
    assert wait.eta_ms == pytest.approx(1000 * left / (math.log(1000) / 3), abs=1)


def test_a_prompt_that_is_called_rarely_is_told_by_the_longer_window_of_its_gate():
    """Too few calls for a rate in five minutes: then all that were seen are one."""
    (wait,) = found("error_critical", calls(ok=10, errors=5), over=3 * SECOND).waiting_on
    told = 5 / 15 * math.log(0.4 / 0.02) + 10 / 15 * math.log(0.6 / 0.98)
    missing_calls = (math.log(1000) - math.log(wait.have)) / told
    assert wait.eta_ms == pytest.approx(missing_calls / (15 / 300) * 1000, rel=1e-3)


def test_what_is_proven_at_one_level_may_be_unsure_at_another():
    """6 % of 300 calls: on-call is asked (1 in 100), nothing is rolled back (1 in 1,000)."""
    window = calls(ok=235, errors=15)
    assert found("error_high", window).verdict is Verdict.BREACH
    assert found("error_critical", window).verdict is Verdict.UNSURE


def test_a_known_healthy_level_proves_faster():
    """Against half a percent of yesterday 6 % is found with fewer calls than against nothing."""
    window = calls(ok=150, errors=10)
    assert found("error_critical", window, DAY).verdict is Verdict.BREACH
    assert found("error_critical", window).verdict is Verdict.UNSURE


def test_a_limit_too_close_to_health_is_raised_and_says_so():
    """Where 4 % fail on a good day, proof is asked for twice that; 5 % is told of all the same."""
    sick_day = calls(ok=19_200, errors=800, p99=800)
    finding = found("error_critical", calls(ok=930, errors=70), sick_day)
    assert finding.verdict is Verdict.UNSURE
    assert [wait.kind for wait in finding.waiting_on] == ["evidence"]
    assert finding.proof is not None and not finding.proof.separable
    assert finding.proof.limit == pytest.approx(2 * 0.0423, abs=0.0005)
    assert "THRESHOLD_NOT_SEPARABLE" in str(proof_words(finding))
    worse = found("error_critical", calls(ok=800, errors=200), sick_day)
    assert worse.verdict is Verdict.BREACH


def test_a_score_takes_the_baseline_it_is_held_against():
    """The finding names what the detector compared with."""
    finding = found("quality_high", calls(ok=9, quality=0.5, n_labels=100), DAY)
    assert (finding.baseline_source, finding.baseline) == (SOURCE, pytest.approx(0.8))
    assert finding_words(finding).endswith("0.800 -> 0.500, against the previous good v1 (n = 50)")


def test_a_latency_names_the_baseline_it_is_held_against():
    """A breach by the p50 of a hundred old calls never says that there is no baseline."""
    finding = found("latency_high", calls(ok=459, p99=1700), calls(ok=100, p99=800))
    assert finding.baseline_source == SOURCE and "no baseline" not in finding_words(finding)


def test_a_latency_is_never_told_against_another_baseline_than_it_was_judged_by():
    """The detector began with the frozen day: a control that is as slow by now is not its words."""
    frame = frame_of(calls(ok=459, p99=1700), DAY)
    control = Baseline("control", calls(ok=2_000, p99=1700))
    rule = next(t for t in POLICY.triggers if t.name == "latency_high")
    finding = detect(rule, replace(frame, baselines=(control, *frame.baselines)), POLICY)
    assert finding.verdict is Verdict.BREACH and finding.baseline_source == SOURCE
    assert finding_words(finding).startswith("p99 latency up 111.1% (limit 100.0%)")


def test_not_separable_says_about_how_many_labels():
    """Unsure for noise: more labels than there are, and fewer the larger the move is."""
    few = found("quality_high", calls(ok=51, scores=labels(0.0, 1.0, 1.0, times=17)), DAY)
    (wait,) = few.waiting_on
    assert wait.need is not None and wait.have == 51
    assert 51 < wait.need < 1000


def test_a_finding_can_be_checked():
    """It carries the window that decided, the failures in it, the estimate and the limit."""
    finding = found("error_critical", calls(ok=900, errors=100))
    assert (finding.n, finding.bad, finding.estimate, finding.limit) == (300, 30, 0.10, 0.05)
    assert (finding.since_ms, finding.until_ms) == (NOW - 300_000, NOW)
    proof = finding.proof
    assert proof is not None and proof.over and proof.window_ms == 15 * SECOND
    assert (proof.limit, proof.healthy, proof.alpha) == (0.05, pytest.approx(0.02), 0.001)
    assert proof.over_since_ms is not None and NOW - SPREAD_MS < proof.over_since_ms < NOW


def test_a_finding_says_how_long_rates_would_take():
    """Expected time to detect 6, 20 and 100 % at this traffic: shorter the worse, never too short.

    The cap on a second makes at least four failing seconds of it, and a bucket has to close.
    """
    proof = found("error_critical", calls(ok=300), over=5 * MINUTE).proof
    assert proof is not None
    times = {e.rate: e.after_ms for e in proof.time_to_detect}
    assert list(times) == [0.06, 0.2, 1.0]
    assert times[0.06] > times[0.2] > times[1.0] == 6 * SECOND


@pytest.mark.parametrize(("n", "verdict"), [(999, "unsure"), (1000, "breach")])
def test_the_policy_says_how_much_a_baseline_must_hold(n, verdict):
    """A baseline of a mean holds `min_requests`; a quantile's holds as many as our side."""
    window = calls(ok=500, cost_nano_usd=500 * 9)
    assert found("costly", window, calls(ok=n, cost_nano_usd=n)).verdict.value == verdict


@given(st.integers(0, 300), st.integers(0, 300), st.booleans(), st.sampled_from([1, 3, 50]))
@settings(max_examples=100)
def test_a_breach_of_errors_always_has_its_evidence(ok, errors, blind, seconds):
    """For any counts: a breach has 3 failures, a rate above its limit, and E of 1,000.

    A version that is clear had 20 calls and is not above its limit.
    """
    finding = found("error_critical", calls(ok, errors), blind=blind, over=seconds * SECOND)
    proof = finding.proof
    assert proof is not None
    if finding.verdict is Verdict.BREACH:
        assert not blind and seconds > 3 and finding.bad is not None and finding.bad >= 3
        assert finding.bad / finding.n > 0.05 and math.exp(proof.log_e) >= 1000 * (1 - 1e-9)
    if finding.verdict is Verdict.CLEAR:
        assert not blind and finding.n >= 20 and finding.estimate is not None
        assert finding.estimate <= 0.05


@given(st.floats(0.02, 0.98), st.integers(0, 200), st.floats(0.02, 0.98))
@settings(max_examples=100)
def test_quality_is_never_blamed_without_labels(quality, n_labels, before):
    """For any labels: a breach has at least 10 of them and a fall beyond its limit."""
    base = calls(quality=before, n_labels=400)
    finding = found("quality_high", calls(ok=9, quality=quality, n_labels=n_labels), base)
    if finding.verdict is Verdict.BREACH:
        assert finding.proof is not None and finding.proof.n >= 10
        assert finding.estimate is not None and finding.baseline is not None
        assert finding.estimate < 0.8 * finding.baseline


def test_the_healthy_day_is_a_baseline():
    """The tests' healthy day has enough of everything."""
    window = calls(ok=100, p99=800, quality=0.8, n_labels=100)
    for trigger in ("error_critical", "error_high", "quality_high", "latency_high", "slower"):
        assert found(trigger, window, HEALTHY_DAY).verdict is Verdict.CLEAR


# --- The bare threshold: `evidence: none`


BARE_NAMES = ("error_critical", "error_high", "quality_high", "latency_high")
BARE = parse(
    {
        "defaults": {
            "triggers": {name: {"evidence": "none"} for name in BARE_NAMES}
            | {"quality_medium": None, "latency_medium": None},
            "alerts": {"first_hour": None, "settled": None},
        }
    }
).for_prompt("cs")


def article_s_rule(metrics: dict[str, float]) -> dict[str, object]:
    """The article's `check_rollback_criteria`, copied."""
    error_rate = metrics["error_rate_pct"]
    quality_drop = metrics["quality_drop_pct"]
    latency_increase = metrics["latency_increase_pct"]
    if error_rate > 5.0:
        return {
            "should_rollback": True,
            "reason": f"Error rate {error_rate:.1f}% exceeds 5% threshold",
            "severity": "critical",
            "auto": True,
        }
    if error_rate > 2.0:
        return {
            "should_rollback": True,
            "reason": f"Error rate {error_rate:.1f}% exceeds 2% threshold",
            "severity": "high",
            "auto": False,
        }
    if quality_drop > 20.0:
        return {
            "should_rollback": True,
            "reason": f"Quality dropped {quality_drop:.1f}%",
            "severity": "high",
            "auto": False,
        }
    if latency_increase > 100.0:
        return {
            "should_rollback": True,
            "reason": f"Latency increased {latency_increase:.1f}%",
            "severity": "high",
            "auto": False,
        }
    return {"should_rollback": False, "reason": "All metrics healthy"}


def our_criteria(findings: list[Finding]) -> dict[str, object]:
    """What the findings say, in the article's shape."""
    worst = strongest(findings)[0]
    if worst.verdict is not Verdict.BREACH:
        return {"should_rollback": False, "reason": article_words(worst)}
    return {
        "should_rollback": True,
        "reason": article_words(worst),
        "severity": worst.severity.value,
        "auto": worst.response is Response.ROLLBACK,
    }


def bare(window: Window) -> list[Finding]:
    return [detect(t, frame_of(window, DAY, policy=BARE), BARE) for t in BARE.triggers]


def test_one_failed_call_of_one():
    """The article's rule rolls back on it; with evidence it is 1 call of the 20 that are needed."""
    window = calls(errors=1, p99=800, quality=0.8, n_labels=2)
    assert our_criteria(bare(window)) == {
        "should_rollback": True,
        "reason": "Error rate 100.0% exceeds 5% threshold",
        "severity": "critical",
        "auto": True,
    }
    held = found("error_critical", window)
    assert held.verdict is Verdict.UNSURE
    assert held.proof is not None
    # 10.6 by the formula, of which the cap on one second leaves 4.
    assert math.exp(held.proof.log_e) == pytest.approx(3.97, abs=0.01)
    assert math.exp(held.proof.log_e) < 10.6 < 1 / held.proof.alpha == 1000


BRANCHES = [
    ("critical", calls(ok=927, errors=73), "Error rate 7.3% exceeds 5% threshold", True),
    ("high", calls(ok=969, errors=31), "Error rate 3.1% exceeds 2% threshold", False),
    ("high", calls(ok=9, quality=0.60, n_labels=50), "Quality dropped 25.0%", False),
    ("high", calls(ok=9, p99=1760), "Latency increased 120.0%", False),
    (None, calls(ok=980, errors=20, p99=1500), "All metrics healthy", False),
    (None, EMPTY, "All metrics healthy", False),
]


@pytest.mark.parametrize(
    ("severity", "window", "reason", "auto"), [pytest.param(*row, id=row[2]) for row in BRANCHES]
)
def test_the_branches_of_the_article_s_class(severity, window, reason, auto):
    """Four branches and none: the same reason, severity and who decides, to the letter."""
    findings = bare(window)
    if "Latency" in reason:  # a histogram's bucket is half a percent off: 120.5 %
        exact = [replace(f, estimate=1760.0, baseline=800.0) for f in findings if f.bad is None]
        findings = [f for f in findings if f.bad is not None] + exact
    said = our_criteria(findings)
    assert said["reason"] == reason
    assert said.get("severity") == severity
    assert said["should_rollback"] is (severity is not None)
    assert said.get("auto", False) is auto


@given(st.integers(0, 99), st.integers(1, 900), st.floats(0.1, 0.9), st.integers(400, 2400))
@settings(max_examples=200)
def test_without_evidence_the_article_s_class_decides(errors, ok, quality, p99):
    """`evidence: none` gives what the article's class gives of the same metrics, to the letter."""
    window = calls(ok, errors, p99=p99, quality=quality, n_labels=40)
    (_, mean, _), (_, before, _) = (score_moments(w.scores["quality"]) for w in (window, DAY))
    now_ms, day_ms = (quantile_ms(w.latency, 0.99) for w in (window, DAY))
    assert now_ms is not None and day_ms is not None
    metrics = {
        "error_rate_pct": 100 * errors / (ok + errors),
        "quality_drop_pct": 100 * ((before - mean) / before),
        "latency_increase_pct": 100 * ((now_ms - day_ms) / day_ms),
    }
    said = our_criteria(bare(window))
    assert said == article_s_rule(metrics)


@pytest.mark.parametrize(
    ("trigger", "window", "words"),
    [
        ("too_slow", calls(ok=459, p99=2100), "Latency 2104 ms exceeds 2000 ms threshold"),
        ("quality_low", calls(ok=9, quality=0.5, n_labels=50), "Quality 0.500 is below 0.600"),
        ("toxic", calls(scores=labels(0.2, times=50, name="toxicity")), "Toxicity increased"),
        ("costly", calls(ok=900, cost_nano_usd=9000), "Cost per call increased"),
    ],
)
def test_other_triggers_are_said_in_the_same_way(trigger, window, words):
    """What the article has no words for gets words of the same kind."""
    rule = next(t for t in POLICY.triggers if t.name == trigger)
    day = replace(TOXIC_DAY, cost_nano_usd=20_000)
    finding = detect(replace(rule, evidence="none"), frame_of(window, day), POLICY)
    assert article_words(finding).startswith(words)
    assert article_words(None) == "All metrics healthy"
