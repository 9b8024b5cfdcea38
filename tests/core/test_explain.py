"""What findings are called: sentences that people act on at night."""

from dataclasses import replace

from knowngood.core.detect import detect
from knowngood.core.explain import finding_words, proof_words
from knowngood.core.model import Verdict
from knowngood.core.window import EMPTY
from tests.core.build import SECOND, calls, latencies
from tests.core.test_detect import DAY, POLICY, found, frame_of

HEAVY_TAIL = calls(ok=10_000, latency=latencies(300, 9_000, 4_000, 1_000))


def test_a_latency_is_told_by_the_rung_that_proved_it():
    """Six calls in ten take three times as long and the tail is gone: the p99 would say better."""
    window = calls(ok=500, latency=latencies(900, 305, 300, 195))
    finding = found("latency_high", window, HEAVY_TAIL, over=15 * SECOND)
    assert finding.verdict is Verdict.BREACH and finding.estimate < finding.baseline
    assert finding_words(finding) == (
        "p50 latency: 61.0% of calls slower than 609 ms > 50.0% (305 of 500)"
    )
    assert str(proof_words(finding)).endswith(
        " of 300 on the p50 latency, healthy up to 20.0% slower than 609 ms"
    )


def test_a_rung_that_is_not_proven_yet_names_itself_as_well():
    """What is past its limit and what more evidence is needed on is the same latency."""
    window = calls(ok=30, latency=latencies(900, 19, 300, 11))
    finding = found("latency_high", window, HEAVY_TAIL, over=2 * SECOND)
    (wait,) = finding.waiting_on
    assert (wait.kind, wait.detail) == ("evidence", "latency_p50")
    assert finding_words(finding).startswith("p50 latency: 63.3% of calls slower than 609 ms")


def test_a_latency_s_own_quantile_keeps_its_words():
    """A slow tail is the p99's, and so is whatever is within the limit."""
    window = calls(ok=500, latency=latencies(300, 470, 9_000, 30))
    finding = found("latency_high", window, HEAVY_TAIL, over=15 * SECOND)
    assert finding.verdict is Verdict.BREACH
    assert finding_words(finding).startswith("p99 latency up 125.3% (limit 100.0%)")
    assert " on the p99 latency, " in str(proof_words(finding))


def test_without_traffic_nobody_can_tell_how_soon():
    """It is unknown then: `never` would say that the version is safe to fail."""
    idle, busy = (found("error_critical", w) for w in (EMPTY, calls(ok=300)))
    assert str(proof_words(idle)).endswith(
        "healthy up to 2.0%, time to detect unknown without traffic"
    )
    assert ", time to detect 6% 5 min 53 s, " in str(proof_words(busy))
    assert "time to detect" not in str(
        proof_words(found("latency_high", calls(ok=9, p99=800), DAY))
    )


def test_what_is_within_the_limit_is_never_found():
    """A limit of 10 % lets 6 % pass for ever, at whatever traffic."""
    rule = next(t for t in POLICY.triggers if t.name == "error_critical")
    wide = replace(rule, when=replace(rule.when, limit=0.1))
    policy = replace(POLICY, triggers=(wide,))
    words = proof_words(detect(wide, frame_of(calls(ok=300), policy=policy), policy))
    assert "time to detect 6% never, 20% " in str(words)
