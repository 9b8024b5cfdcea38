"""Every policy shown in the documentation is a valid policy."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from knowngood.core.measure import MIN_LATENCIES
from knowngood.core.model import Method, Response, Severity
from knowngood.core.policy import PolicyFile, parse
from knowngood.core.policy_condition import METRICS
from knowngood.core.policy_freeze import freeze_in_force
from knowngood.core.policy_parse import AB, PROMPT, TRIGGER
from knowngood.core.policy_parse import FILE as FILE_KEYS
from knowngood.core.policy_people import APPROVALS, ESCALATION, KINDS
from knowngood.core.rules import Aim, ExperimentRule, Margin, PromptPolicy, Trigger
from knowngood.core.stats import WEIGHT_PER_DAY
from knowngood.core.watch import ALPHAS, MIN_LABELS, SCORE_ALPHAS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "write-a-policy.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def example(number: int) -> PolicyFile:
    return parse(yaml.safe_load(EXAMPLES[number]))


def trigger(policy: PromptPolicy, name: str) -> Trigger:
    return next(t for t in policy.triggers if t.name == name)


def test_there_are_examples():
    """Triggers, evidence, rollouts, people, and four whole policies."""
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize("text", EXAMPLES)
def test_example_is_valid(text):
    """What the page shows can be copied."""
    assert parse(yaml.safe_load(text)).revision


def test_evidence_of_ones_own_is_what_the_page_says():
    """Alpha, a healthy share, labels, and the bare limit; what is left out is the default."""
    policy = example(1).for_prompt("checkout-assistant")
    critical, high, low = (
        trigger(policy, name) for name in ("error_critical", "error_high", "accuracy_low")
    )
    assert (critical.alpha, critical.healthy) == (0.01, None)
    assert (high.alpha, high.healthy, low.min_labels) == (None, 0.005, 30)
    bare = trigger(example(1).for_prompt("nightly-report"), "error_critical")
    assert (bare.evidence, bare.min_requests) == ("none", 10)


def test_the_levels_that_the_page_names_are_in_force():
    """What holds where nothing is said, and what an alpha means."""
    defaults = re.search(r"^\| `alpha` \| (.*) \| (.*) \|$", TEXT, re.MULTILINE)
    assert defaults
    assert "0.01 is at most once in 200 days" in defaults[1]
    assert 1 / (0.01 * WEIGHT_PER_DAY) == 200
    named = [float(level) for level in re.findall(r"0\.\d+", defaults[2])]
    asked, score = ALPHAS[Response.ASK], SCORE_ALPHAS[Response.ASK]
    assert asked == ALPHAS[Response.ALERT]
    assert named == [ALPHAS[Response.ROLLBACK], asked, score, ALPHAS[Response.OBSERVE]]
    assert re.search(rf"^\| `min_labels` .* \| {MIN_LABELS} \|$", TEXT, re.MULTILINE)
    assert f"it needs {MIN_LATENCIES} calls" in TEXT


def test_people_are_what_the_page_says():
    """Its defaults are those in force; each key of the sections is in its table."""
    policy, default = example(3), parse({}).for_prompt("any")
    shown = policy.for_prompt("any")
    assert shown.approvals == default.approvals
    assert shown.escalation.repeat_count == default.escalation.repeat_count
    assert [level.ack_timeout_ms for level in shown.escalation.levels] == [
        level.ack_timeout_ms for level in default.escalation.levels
    ]
    assert [c.name for c in policy.channels_for("on-call")] == ["incidents", "pager"]
    assert [c.name for c in policy.channels_for("anybody")] == ["incidents", "mail", "pager"]
    assert shown.delegated == ("on-call", "*")
    for key in (*ESCALATION, *APPROVALS, *KINDS):
        assert f"`{key}`" in TEXT or f".{key}`" in TEXT, key


def test_rollouts_are_what_the_page_says():
    """Its defaults are those in force; each key of the sections is in its table."""
    any_prompt, default = example(2).for_prompt("any"), parse({}).for_prompt("any")
    for section in ("soak", "canary", "bake", "gradual", "pause_above"):
        assert getattr(any_prompt, section) == getattr(default, section), section
    friday_night = datetime(2026, 10, 2, 23, 59, tzinfo=UTC).timestamp() * 1000
    for moment_ms, because in (
        (friday_night, "nobody is here on Friday night"),
        (friday_night + 120_000, "the weekend"),
        (datetime(2026, 12, 28, tzinfo=UTC).timestamp() * 1000, "the holidays"),
        (datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000, None),
    ):
        held = freeze_in_force(any_prompt.freezes, round(moment_ms))
        assert (held[0].because if held else None) == because
    report, checkout = (
        example(2).for_prompt(name) for name in ("nightly-report", "checkout-assistant")
    )
    assert report.canary.stages_bp == (1_000, 5_000, 10_000)
    assert (checkout.soak.required, checkout.soak.min_calls) == ("always", 100)
    used = [(e.requirement.suite, e.of_promotion, e.of_target) for e in checkout.evaluations]
    assert used == [("refunds", True, True), ("tone", True, False)]
    assert trigger(checkout, "error_critical").method is Method.GRADUAL
    assert not parse({"prompts": {"any": {"freeze": []}}}).for_prompt("any").freezes


def test_refunds_are_decided_by_their_own_score():
    """The first example does what its sentence says."""
    policy = example(4).for_prompt("refund-approval")
    accuracy = trigger(policy, "accuracy")
    assert (accuracy.when.metric, accuracy.when.limit) == ("score.refund_accuracy", 0.75)
    assert [p.name for p in example(4).people_for(accuracy.who)] == ["Ana"]
    assert trigger(policy, "error_critical").kinds == ("prompt", "timeout")


def test_internal_tools_are_nobodys_emergency_but_one():
    """The second example does what its sentence says."""
    wiki, payroll = (example(5).for_prompt(f"internal-{n}") for n in ("wiki", "payroll"))
    assert trigger(wiki, "error_critical").action is Response.ASK
    assert trigger(payroll, "error_critical").action is Response.ROLLBACK
    assert trigger(payroll, "error_critical").severity is Severity.CRITICAL
    assert payroll.window_ms == 900_000
    assert not [t for t in payroll.triggers if t.when.metric == "latency_p99"]


def test_watching_changes_nothing():
    """The third example does what its sentence says."""
    dry = [t.name for t in example(6).for_prompt("any").triggers if t.dry_run]
    assert dry == ["error_critical"]


def test_a_comparison_is_what_the_page_says():
    """The fourth example does what its sentence says; the table's defaults are in force."""
    rule = example(7).for_prompt("any").ab
    assert rule == ExperimentRule(
        aim=Aim.SUPERIORITY, guardrails=(Margin("error_rate", 0.005), Margin("quality", 0.02))
    )
    assert example(7).for_prompt("internal-wiki").ab is None
    said = dict(re.findall(r"^\| `(\w+)`(?:, `\w+`)? \| .* \| (.+) \|$", TEXT, re.MULTILINE))
    assert (said["primary"], said["mode"], said["method"]) == (
        "`quality`",
        "`non_inferiority`",
        "`anytime`",
    )
    assert (said["min_units"], said["min_time"]) == ("200, 20000", "24h")
    margins = dict(re.findall(r"`(\w+): ([\d.]+)%`", said["guardrails"]))
    assert {each.metric: 100 * each.margin for each in ExperimentRule().guardrails} == {
        metric: pytest.approx(float(margin)) for metric, margin in margins.items()
    }


def test_the_page_names_every_key_and_metric():
    """What can be written is on the page."""
    known = [*FILE_KEYS, *PROMPT, *TRIGGER, *METRICS, *AB]
    assert not [name for name in known if not re.search(rf"\b{re.escape(name)}\b", TEXT)]
