"""What a step of a runbook expects: a metric on one side of a limit, or a fact by its name.

    error_rate < 1%        the metric of a version over the last minutes, on enough calls
    recovered              a fact, see FACTS
    evaluation accuracy    the newest evaluation by that suite passes at least `at_least`

Unlike a trigger, which waits for harm, an expectation may look in either direction.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from knowngood.core.errors import BadPolicy
from knowngood.core.explain import amount, metric_words
from knowngood.core.measure import Measure
from knowngood.core.model import Comparison, Verdict
from knowngood.core.plain import is_relative
from knowngood.core.policy_condition import Scores, parse_condition
from knowngood.core.rules import Condition

FACTS: Mapping[str, str] = {
    "confirmed": "a trigger is in breach now",
    "recovered": "the rollback is verified, or nothing is in breach any more",
    "propagated": "no connected process runs an older route",
    "reporting": "the processes report; we are not blind",
    "target": "there is a known-good version to go back to",
    "served": "the version is on the route",
    "not_served": "the version is off the route",
}
EVALUATION = "evaluation"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What should hold; exactly one of its three parts is given. `text` is what the author wrote.

    `suite` with `at_least`: the share of its examples that have to pass.
    """

    text: str
    condition: Condition | None = None
    fact: str = ""
    suite: str = ""
    at_least: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """Whether it holds: `clear` it does, `breach` it does not, `unsure` and `blind` nobody knows.

    Neither of the last two ever lets a step pass.
    """

    verdict: Verdict
    words: str

    @property
    def holds(self) -> bool:
        """Whether it is known to hold."""
        return self.verdict is Verdict.CLEAR


def parse_expectation(text: object, scores: Scores, counters: Collection[str]) -> Expectation:
    """The expectation that a text means. Raises BadPolicy, with what is known."""
    if isinstance(text, str) and text.strip() in FACTS:
        return Expectation(text.strip(), fact=text.strip())
    if isinstance(text, str) and " " not in text.strip() and text.strip().isidentifier():
        raise BadPolicy(
            f"{text.strip()!r} is nothing that can be expected",
            known=[*FACTS, "METRIC < LIMIT", "METRIC > LIMIT"],
            next_step="write it as in: error_rate < 1%, or name a fact",
        )
    condition = parse_condition(text, scores, counters, either_way=True)
    if is_relative(condition):
        raise BadPolicy(
            f"{condition.text!r} is relative to a baseline",
            next_step="expect `confirmed` or `recovered`: they judge by the policy's own baseline",
        )
    return Expectation(condition.text, condition=condition)


def judge_metric(condition: Condition, found: Measure, blind: bool) -> Judged:
    """Whether the metric of a window is on its side of the limit."""
    if blind:
        return Judged(Verdict.BLIND, "no reports arrive")
    if found.estimate is None or found.n < found.min_n:
        words = f"{found.n} of {found.min_n} {found.unit} so far"
        return Judged(Verdict.UNSURE, f"too little to say, {words}")
    above = condition.comparison is Comparison.ABOVE
    holds = found.estimate > condition.limit if above else found.estimate < condition.limit
    value = amount(condition.metric, found.estimate)
    words = f"{metric_words(condition.metric)} {value} ({found.n} {found.unit})"
    return Judged(Verdict.CLEAR if holds else Verdict.BREACH, words)
