"""One trigger against what was reported: the unsure and blind cases first."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core.detect import Baseline, Frame, detect
from knowngood.core.model import Finding, Verdict
from knowngood.core.policy import parse
from knowngood.core.window import EMPTY, Window
from tests.core.build import HEALTHY_DAY, NOW, calls, labels, latencies

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


def found(
    trigger: str, window: Window, baseline: Window | None = None, blind: bool = False
) -> Finding:
    rule = next(t for t in POLICY.triggers if t.name == trigger)
    bases = (Baseline("control", baseline),) if baseline is not None else ()
    return detect(rule, Frame("v2", NOW - 300_000, NOW, window, bases, blind), POLICY)


NO_DATA = [
    pytest.param("error_critical", EMPTY, None, "idle", id="errors, no calls"),
    pytest.param("latency_high", EMPTY, DAY, "idle", id="latency, no calls"),
    pytest.param("quality_high", EMPTY, DAY, "idle", id="quality, no calls"),
    pytest.param("quality_high", calls(ok=900), DAY, "labels", id="calls, none labelled"),
    pytest.param("latency_high", calls(ok=900), DAY, "requests", id="calls, none timed"),
    pytest.param("error_critical", calls(excluded=900), None, "idle", id="only excluded calls"),
]
TOO_LITTLE = [
    pytest.param("error_critical", calls(errors=19), None, "requests", id="19 of 19 failed"),
    pytest.param("error_critical", calls(ok=18, errors=2), None, "errors", id="2 of 20 failed"),
    pytest.param("error_high", calls(ok=60, errors=2), None, "errors", id="2 of 62 failed"),
    pytest.param(
        "quality_high", calls(quality=0.2, n_labels=48, ok=48), DAY, "labels", id="48 bad labels"
    ),
    pytest.param("latency_high", calls(ok=458, p99=9000), DAY, "requests", id="458 slow calls"),
    pytest.param("too_slow", calls(ok=458, p99=9000), None, "requests", id="458 too slow calls"),
    pytest.param("quality_high", calls(quality=0.2, n_labels=100), None, "baseline", id="no base"),
    pytest.param(
        "quality_high",
        calls(quality=0.2, n_labels=100),
        calls(quality=0.8, n_labels=48),
        "baseline",
        id="a baseline of 48 labels",
    ),
    pytest.param(
        "latency_high",
        calls(ok=900, p99=9000),
        calls(ok=458, p99=800),
        "baseline",
        id="a baseline of 458 calls",
    ),
    pytest.param(
        "quality_high",
        calls(scores=labels(0.0, 1.0, 1.0, times=17)),
        calls(scores=labels(0.7, 1.0, times=200)),
        "separable",
        id="labels that swing: 51 of them show a fall that is noise",
    ),
    pytest.param(
        "latency_high",
        calls(ok=460, latency=latencies(800, 453, 1700, 7)),
        calls(ok=460, latency=latencies(800, 457, 1700, 3)),
        "noise",
        id="p99 doubles because seven calls were slow instead of three",
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
    ("error_critical", calls(ok=17, errors=3), None, "breach"),
    ("error_critical", calls(ok=95, errors=5), None, "clear"),  # 5 % is not above 5 %
    ("error_critical", calls(ok=94, errors=6), None, "breach"),
    ("error_critical", calls(ok=20), None, "clear"),
    ("error_high", calls(ok=980, errors=20), None, "clear"),
    ("error_high", calls(ok=979, errors=21), None, "breach"),
    ("own_fault", calls(ok=80, errors=20, kind="provider"), None, "clear"),
    ("own_fault", calls(ok=80, errors=20, kind="prompt"), None, "breach"),
    ("quality_high", calls(quality=0.60, n_labels=100), DAY, "breach"),
    ("quality_high", calls(quality=0.70, n_labels=100), DAY, "clear"),
    ("quality_medium", calls(quality=0.70, n_labels=100), DAY, "breach"),
    ("quality_medium", calls(quality=0.90, n_labels=100), DAY, "clear"),
    ("quality_low", calls(quality=0.50, n_labels=100), None, "breach"),
    ("quality_low", calls(quality=0.70, n_labels=100), None, "clear"),
    ("toxic", calls(scores=labels(0.2, times=100, name="toxicity")), TOXIC_DAY, "breach"),
    ("toxic", calls(scores=labels(0.05, times=100, name="toxicity")), TOXIC_DAY, "clear"),
    ("latency_high", calls(ok=459, p99=1700), DAY, "breach"),
    ("latency_high", calls(ok=459, p99=1500), DAY, "clear"),
    ("latency_medium", calls(ok=459, p99=1000), DAY, "breach"),
    ("latency_medium", calls(ok=459, p99=900), DAY, "clear"),
    ("latency_medium", calls(ok=459, p99=100), DAY, "clear"),
    ("too_slow", calls(ok=459, p99=2100), None, "breach"),
    ("too_slow", calls(ok=459, p99=1900), None, "clear"),
]


@pytest.mark.parametrize(
    ("trigger", "window", "baseline", "verdict"),
    [pytest.param(*row, id=f"{number}-{row[0]}-{row[3]}") for number, row in enumerate(JUDGED)],
)
def test_enough_evidence_is_judged(trigger, window, baseline, verdict):
    """With enough evidence a metric past its limit is a breach, and else it is clear."""
    finding = found(trigger, window, baseline)
    assert finding.verdict.value == verdict
    assert finding.waiting_on == ()


def test_the_first_baseline_that_has_enough_is_taken():
    """The control's window counts only if it holds enough; the next source comes then."""
    rule = next(t for t in POLICY.triggers if t.name == "quality_high")
    bases = (
        Baseline("control", calls(quality=0.2, n_labels=10)),
        Baseline("previous good v1", DAY),
    )
    window = calls(quality=0.5, n_labels=100)
    finding = detect(rule, Frame("v2", 0, NOW, window, bases), POLICY)
    assert (finding.verdict, finding.baseline_source) == (Verdict.BREACH, "previous good v1")


def test_not_separable_says_about_how_many_labels():
    """Unsure for noise: more labels than there are, and fewer the larger the move is."""
    few = found("quality_high", calls(scores=labels(0.0, 1.0, 1.0, times=17)), DAY).waiting_on[0]
    assert few.need is not None and few.have == 51
    assert 51 < few.need < 1000


def test_a_finding_can_be_checked():
    """It carries n, the failures, the estimate, the limit and the stretch it was read from."""
    finding = found("error_critical", calls(ok=90, errors=10))
    assert (finding.n, finding.bad, finding.estimate, finding.limit) == (100, 10, 0.10, 0.05)
    assert (finding.since_ms, finding.until_ms) == (NOW - 300_000, NOW)


@pytest.mark.parametrize(("n", "verdict"), [(999, "unsure"), (1000, "breach")])
def test_the_policy_says_how_much_a_baseline_must_hold(n, verdict):
    """A baseline of a mean holds `min_requests`; a quantile's holds as many as our side."""
    window = calls(ok=500, cost_nano_usd=500 * 9)
    assert found("costly", window, calls(ok=n, cost_nano_usd=n)).verdict.value == verdict


def test_without_evidence_the_plain_threshold_decides():
    """`evidence: none` is the article's plain threshold, to the letter: 1 failure of 3 breaches."""
    rule = replace(POLICY.triggers[0], evidence="none")
    window = calls(ok=2, errors=1)
    assert detect(rule, Frame("v2", 0, NOW, window), POLICY).verdict is Verdict.BREACH


@given(st.integers(0, 300), st.integers(0, 300), st.booleans())
@settings(max_examples=100)
def test_a_breach_of_errors_always_has_its_evidence(ok, errors, blind):
    """For any counts: a breach has 20 requests, 3 failures and a rate above its limit."""
    finding = found("error_critical", calls(ok=ok, errors=errors), None, blind)
    breach = not blind and ok + errors >= 20 and errors >= 3 and errors / (ok + errors) > 0.05
    assert (finding.verdict is Verdict.BREACH) is breach


@given(st.floats(0.02, 0.98), st.integers(0, 200), st.floats(0.02, 0.98))
@settings(max_examples=100)
def test_quality_is_never_blamed_without_labels(quality, n_labels, before):
    """For any labels: a breach has at least 50 of them and a fall beyond its limit."""
    base = calls(quality=before, n_labels=400)
    finding = found("quality_high", calls(quality=quality, n_labels=n_labels), base)
    if finding.verdict is Verdict.BREACH:
        assert finding.n >= 50 and finding.estimate is not None and finding.baseline is not None
        assert finding.estimate < 0.8 * finding.baseline


def test_the_healthy_day_is_a_baseline():
    """The tests' healthy day has enough of everything."""
    assert found("quality_high", calls(quality=0.8, n_labels=100), HEALTHY_DAY).baseline
