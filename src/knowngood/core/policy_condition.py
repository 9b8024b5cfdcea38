"""One line of a trigger: `error_rate > 5%`, `quality drop > 20%`, `latency_p99 > 2.5s`.

    condition  = metric comparison limit
    comparison = ">" | "above" | "<" | "below" | "drop >" | "increase >"

`drop` and `increase` are relative to the baseline, the others absolute.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from enum import Enum
from fractions import Fraction

from knowngood.core.errors import BadPolicy, BadRequest
from knowngood.core.model import Comparison, ScoreRange
from knowngood.core.rules import Condition
from knowngood.core.units import duration_ms, exact_fraction, shown


class Kind(Enum):
    """What a metric's limit is written in, and which way is worse."""

    RATE = "rate"
    TIME = "time"
    AMOUNT = "amount"
    SCORE = "score"
    COUNTER = "counter"


METRICS = {
    "error_rate": Kind.RATE,
    "latency_p50": Kind.TIME,
    "latency_p90": Kind.TIME,
    "latency_p99": Kind.TIME,
    "first_token_p99": Kind.TIME,
    "tokens_per_call": Kind.AMOUNT,
    "cost_per_call": Kind.AMOUNT,
    "quality": Kind.SCORE,
    "refusal_rate": Kind.RATE,
}
COMPARISONS = {
    ">": Comparison.ABOVE,
    "above": Comparison.ABOVE,
    "<": Comparison.BELOW,
    "below": Comparison.BELOW,
    "drop >": Comparison.DROP,
    "increase >": Comparison.INCREASE,
}
RELATIVE = (Comparison.DROP, Comparison.INCREASE)
CONDITION_MAX = 200  # characters; four words need far fewer
INCREASE_MAX = 100  # hundred times the baseline; a larger number is a percent sign forgotten

_METRIC = re.compile(r"([A-Za-z0-9_.-]+)\s*(.*)")
_COMPARISON = re.compile(r"((?:[A-Za-z]+\s*)?[<>=!]+|[A-Za-z]+)\s*(.*)")

Scores = Mapping[str, ScoreRange]


def known_metrics(scores: Scores, counters: Collection[str]) -> list[str]:
    """Every metric that a condition can name, given the declared scores and counters."""
    return [
        *METRICS,
        *(f"score.{name}" for name in sorted(scores) if name != "quality"),
        *(f"counter.{name}" for name in sorted(counters)),
    ]


def did_you_mean(name: str, known: Collection[str]) -> str:
    """ "did you mean error_rate?", or nothing when no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""


def parse_condition(
    text: object, scores: Scores, counters: Collection[str], *, either_way: bool = False
) -> Condition:
    """The condition as a value; limits of rates and changes as fractions, of times in ms.

    Raises BadPolicy, without a path, when it does not mean anything or could not hurt anybody:
    an unknown metric or comparison, a limit out of its range, a change for the better (unless
    `either_way`).
    """
    match = _METRIC.fullmatch(text.strip()) if isinstance(text, str) else None
    if not isinstance(text, str) or match is None or len(text) > CONDITION_MAX:
        raise BadPolicy(
            f"{shown(text)} is not a condition", next_step="write it as in: error_rate > 5%"
        )
    named, rest = match.groups()
    metric, kind = _metric(named, scores, counters)
    comparison, written = _comparison(rest)
    if not either_way:
        _refuse_improvement(metric, comparison, scores)
    if comparison in RELATIVE:
        limit = _relative_limit(metric, comparison, written, scores)
    else:
        limit = _absolute_limit(metric, kind, written, scores)
    return Condition(metric, comparison, float(limit), " ".join(text.split()))


def score_of(metric: str) -> str | None:
    """The name of the score that a metric reads, if it reads one."""
    if metric == "quality":
        return metric
    return metric.removeprefix("score.") if metric.startswith("score.") else None


def _metric(named: str, scores: Scores, counters: Collection[str]) -> tuple[str, Kind]:
    metric = "quality" if named == "score.quality" else named
    known = known_metrics(scores, counters)
    if metric in known:
        kind = Kind.SCORE if score_of(metric) else METRICS.get(metric, Kind.COUNTER)
        return metric, kind
    raise BadPolicy(f"unknown metric {named!r}", known=known, next_step=_meant(named, known))


def _meant(named: str, known: Collection[str]) -> str:
    """What to write instead of an unknown metric: a bare name or a prefixed one."""
    for prefix, section in (("score.", "scores"), ("counter.", "counters")):
        if named.startswith(prefix):
            bare = named.removeprefix(prefix)
            declared = [name.removeprefix(prefix) for name in known if name.startswith(prefix)]
            close = difflib.get_close_matches(bare, declared, n=1)
            return f"did you mean {prefix}{close[0]}?" if close else f"declare {bare} in {section}:"
        if prefix + named in known:
            return f"did you mean {prefix}{named}?"
    return did_you_mean(named, known)


def _comparison(rest: str) -> tuple[Comparison, str]:
    match = _COMPARISON.fullmatch(rest)
    if match is None:
        raise BadPolicy(
            f"no comparison in {rest!r}" if rest else "the comparison and the limit are missing",
            known=list(COMPARISONS),
            next_step="write it as in: error_rate > 5%, or: quality drop > 20%",
        )
    word = re.sub(r"\s*([<>=!]+)$", r" \1", match[1]).strip()
    if word not in COMPARISONS:
        advice = f"write {word} >" if f"{word} >" in COMPARISONS else ""
        if word in (">=", "<="):
            advice = f"write {word[0]}"
        raise BadPolicy(
            f"unknown comparison {word!r}",
            known=list(COMPARISONS),
            next_step=advice or did_you_mean(word, COMPARISONS),
        )
    return COMPARISONS[word], match[2].strip()


def _refuse_improvement(metric: str, comparison: Comparison, scores: Scores) -> None:
    """A trigger waits for harm: a metric that gets better must not roll anything back.

    A counter counts what should be rare: a fall to nothing must not look like a lack of evidence.
    """
    score = score_of(metric)
    higher_is_better = score is not None and scores[score].better == "higher"
    better = "higher" if higher_is_better else "lower"
    harmful = "drop > or below" if higher_is_better else "increase > or >"
    for_better = (
        (Comparison.ABOVE, Comparison.INCREASE)
        if higher_is_better
        else (Comparison.BELOW, Comparison.DROP)
    )
    if comparison in for_better:
        raise BadPolicy(
            f"{comparison.value} on {metric} would fire on an improvement: {better} is better",
            next_step=f"use {harmful} with {metric}",
        )


def _relative_limit(metric: str, comparison: Comparison, written: str, scores: Scores) -> Fraction:
    score = score_of(metric)
    if score is not None and scores[score].min < 0:
        raise BadPolicy(
            f"a relative change of {metric} means nothing: its range goes below zero",
            next_step="state an absolute limit in the score's own units",
        )
    if not written.endswith("%"):
        raise BadPolicy(
            f"{written!r} is not a percentage",
            next_step=f"write it as in: {metric} {comparison.value} > 20%",
        )
    limit = _number(written)
    top = 1 if comparison is Comparison.DROP else INCREASE_MAX
    too_large = limit >= top if comparison is Comparison.DROP else limit > top
    if limit <= 0 or too_large:
        span = "between 0% and 100%" if top == 1 else "between 0% and 10000%"
        raise BadPolicy(f"a limit of {written} is not {span}")
    return limit


def _absolute_limit(metric: str, kind: Kind, written: str, scores: Scores) -> Fraction:
    match kind:
        case Kind.RATE:
            return _rate(metric, written)
        case Kind.TIME:
            return Fraction(_time_ms(metric, written))
        case Kind.SCORE:
            return _score(metric, written, scores[score_of(metric) or ""])
        case Kind.AMOUNT:
            if written.endswith("%"):
                raise BadPolicy(
                    f"an absolute limit of {metric} is not a percentage",
                    next_step=f"write {metric} increase > {written} for a relative change",
                )
            return _positive(metric, written)
        case Kind.COUNTER:
            return _positive(metric, written)


def _rate(metric: str, written: str) -> Fraction:
    limit = _number(written)
    if not 0 < limit < 1:
        advice = f"did you mean {written}%?" if 1 <= limit < 100 and "%" not in written else ""
        raise BadPolicy(
            f"a limit of {written} for {metric} is not between 0% and 100%", next_step=advice
        )
    return limit


def _time_ms(metric: str, written: str) -> int:
    if written.endswith("%"):
        raise BadPolicy(
            f"an absolute limit of {metric} is not a percentage",
            next_step=f"write {metric} increase > {written} for a relative change",
        )
    try:
        return duration_ms(written)
    except BadRequest as error:
        raise BadPolicy(
            f"the limit of {metric}: {error.message}",
            known=error.known,
            next_step=f"write it as in: {metric} > 2500ms",
        ) from None


def _score(metric: str, written: str, score: ScoreRange) -> Fraction:
    sign = -1 if written.startswith("-") else 1
    limit = sign * _number(written.removeprefix("-"))
    if not score.min < limit < score.max:
        raise BadPolicy(
            f"a limit of {written} for {metric} is not within its declared range, "
            f"{score.min:g} to {score.max:g}",
            next_step="write the limit in the score's own units",
        )
    return limit


def _positive(metric: str, written: str) -> Fraction:
    limit = _number(written)
    if limit <= 0:
        raise BadPolicy(f"a limit of {written} for {metric} is not above zero")
    return limit


def _number(written: str) -> Fraction:
    try:
        return exact_fraction(written)
    except BadRequest:
        what = f"{written!r} is not a number or a percentage" if written else "the limit is missing"
        raise BadPolicy(what, next_step="write it as in: error_rate > 5%") from None
