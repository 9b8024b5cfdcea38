"""The `ab` section of a policy: merged, checked against itself, and built into a rule."""

from collections.abc import Mapping
from typing import Any

from knowngood.core.policy_checks import Reader, below, is_removal
from knowngood.core.policy_parse import level, margin_share
from knowngood.core.rules import Aim, ExperimentRule, Looks, Margin
from knowngood.core.units import duration_ms
from knowngood.core.watch import is_score

Data = Mapping[str, Any]
DEFAULT = ExperimentRule()  # of whatever a section leaves out
# The sequences of core/compare.py are one-sided up to here.
ALPHA_BELOW = 0.5


def merge_ab(base: Data | None, over: Data | None) -> dict[str, Any] | None:
    """One section over another, guardrails metric by metric; None: no gate is asked for."""
    if over is None or is_removal(over):
        return None
    merged = {**(base or {}), **over}
    if "guardrails" in merged:
        named = {**(base or {}).get("guardrails", {}), **over.get("guardrails", {})}
        merged["guardrails"] = _removed(named)
    return merged


def without_false(section: Data | None) -> Data | None:
    """A section as written, in which what is removed is always null."""
    if section is None or is_removal(section):
        return None
    if "guardrails" not in section:
        return section
    return {**section, "guardrails": _removed(section["guardrails"])}


def _removed(guardrails: Data) -> dict[str, Any]:
    return {metric: None if is_removal(each) else each for metric, each in guardrails.items()}


def build_ab(section: Data | None) -> ExperimentRule | None:
    """The rule of a checked section, with the defaults where it says nothing."""
    if section is None:
        return None
    margins: dict[str, Any] = {each.metric: each.margin for each in DEFAULT.guardrails}
    margins |= dict(sorted(section.get("guardrails", {}).items()))  # no order of keys matters
    return ExperimentRule(
        primary=section.get("primary", DEFAULT.primary),
        aim=Aim(section.get("mode", DEFAULT.aim)),
        looks=Looks(section.get("method", DEFAULT.looks)),
        alpha=level(section.get("alpha", DEFAULT.alpha)),
        guardrails=tuple(
            Margin(metric, margin_share(margin))
            for metric, margin in margins.items()
            if margin is not None
        ),
        min_units_count=section.get("min_units", DEFAULT.min_units_count),
        max_units_count=section.get("max_units", DEFAULT.max_units_count),
        min_time_ms=(
            duration_ms(section["min_time"]) if "min_time" in section else DEFAULT.min_time_ms
        ),
    )


def check_ab(reader: Reader, path: str, section: Data | None) -> None:
    """Note what contradicts itself in a section that is well formed."""
    rule = build_ab(section)
    if rule is None:
        return
    if rule.aim is Aim.NON_INFERIORITY and rule.margin_of(rule.primary) is None:
        reader.wrong(
            below(path, f"guardrails.{rule.primary}"),
            f"mode: non_inferiority needs a margin for the primary metric, {rule.primary}",
            next_step=f"add guardrails: {{{rule.primary}: 2%}}, or say mode: superiority",
        )
    if rule.min_units_count > rule.max_units_count:
        reader.wrong(
            below(path, "min_units"),
            f"{rule.min_units_count} is more than max_units, {rule.max_units_count}",
        )
    if rule.alpha >= ALPHA_BELOW:
        reader.wrong(below(path, "alpha"), f"{rule.alpha:g} is not below {ALPHA_BELOW:g}")
    for each in rule.guardrails:
        where = below(path, f"guardrails.{each.metric}")
        declared = reader.scores.get(each.metric.removeprefix("score."))
        falls = is_score(each.metric) and declared is not None and declared.better == "higher"
        if declared is not None and is_score(each.metric) and declared.min < 0:
            reader.wrong(
                where,
                f"a relative margin of {each.metric} means nothing: its range goes below zero",
            )
        elif (falls or each.metric == "error_rate") and each.margin >= 1:
            reader.wrong(where, "a margin of 100% or more bears anything")
