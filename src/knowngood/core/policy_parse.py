"""The shape of a policy file: every key, every type, every unit, each with its path.

All problems of a file are collected, so that its owner mends it in one go.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from knowngood.core.compare import MIN_PER_ARM
from knowngood.core.errors import BadPolicy
from knowngood.core.ladder import problem
from knowngood.core.model import Method, Response, ScoreRange, Severity
from knowngood.core.policy_checks import (
    NAME,
    Check,
    Reader,
    below,
    count,
    duration,
    fields,
    flag,
    is_removal,
    listed,
    named,
    number,
    one_of,
    section,
    text,
)
from knowngood.core.policy_freeze import parse_freeze
from knowngood.core.policy_people import APPROVALS, ESCALATION, audiences, channel, inbound
from knowngood.core.rollout import RolloutKind
from knowngood.core.rules import Aim, Looks
from knowngood.core.units import (
    UNITS_MS,
    duration_ms,
    exact_fraction,
    is_number,
    share_bp,
    shown,
)
from knowngood.core.window import ERROR_KINDS

GLOBS_MAX = 100  # every two that overlap are tried together: at most 4,950 pairs
ALPHA_MAX = 0.5  # a coin's toss
WINDOW_MIN_MS = 5 * UNITS_MS["s"]  # the slowest evaluation: a shorter window would have gaps
WINDOW_MAX_MS = 24 * UNITS_MS["h"]  # the longest window of the detectors' gate
MARGIN_MAX = 10  # ten times worse: a larger number is a percent sign forgotten

NAMED_SECTIONS = ("triggers", "alerts")
DIRECTIONS = ("higher", "lower")
BASELINE_SOURCES = ("control", "previous_good")
TIMEOUTS = ("escalate", "rollback")
COMPARABLE = ("error_rate", "latency_p99", "tokens_per_call", "cost_per_call")
EVALUATED_FOR = ("promotion", "target")
FAILED_ROLLBACK = ("ask", "next_good")
SOAKS = ("always", "used", "never")
PURGES = ("auto", "manual")
THEN = (Response.ROLLBACK.value, Response.ASK.value, Response.ALERT.value)
ROLES = ("on-call", "product-owner", "author")

GLOB = re.compile(r"[a-z0-9*?][a-z0-9._*?-]{0,199}")
AGE = re.compile(r"(<|>=)\s*(.+)")
BELOW = re.compile(r"<\s*(.+)")


def window(reader: Reader, path: str, value: Any) -> None:
    """A duration that a trigger can look back."""

    def read(value: Any) -> None:
        if not WINDOW_MIN_MS <= duration_ms(value) <= WINDOW_MAX_MS:
            raise BadPolicy(f"a window of {value} is not between 5s and 24h")

    reader.attempt(path, read, value)


def condition(reader: Reader, path: str, value: Any) -> None:
    """One condition."""
    reader.attempt(path, reader.condition, value)


def error_condition(reader: Reader, path: str, value: Any) -> None:
    """A condition on the error rate: all that is known of a target at once."""

    def read(value: Any) -> None:
        metric = reader.condition(value).metric
        if metric != "error_rate":
            raise BadPolicy(
                f"only error_rate can be watched here, not {metric}", known=["error_rate"]
            )

    reader.attempt(path, read, value)


def limit_below(value: Any) -> float:
    """The fraction of `< 1%`. Raises KnowngoodError."""
    match = BELOW.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise BadPolicy(f"{shown(value)} is not a limit", next_step='write it as in: "< 1%"')
    if not 0 < (limit_bp := share_bp(match[1])) < 10_000:
        raise BadPolicy(f"a limit of {match[1]} is not between 0% and 100%")
    return limit_bp / 10_000


def age_range(value: Any) -> tuple[int, int | None]:
    """The ages in ms, [from, to), of `< 60m` or `>= 60m`. Raises KnowngoodError."""
    match = AGE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise BadPolicy(
            f"{shown(value)} is not an age",
            known=("<", ">="),
            next_step='write "< 60m" or ">= 60m"',
        )
    age_ms = duration_ms(match[2])
    return (0, age_ms) if match[1] == "<" else (age_ms, None)


def level(value: Any) -> float:
    """A false-alarm level within 0 and one half. Raises BadPolicy."""
    if not is_number(value) or not 0 < value <= ALPHA_MAX:
        raise BadPolicy(
            f"{shown(value)} is not a level between 0 and {ALPHA_MAX:g}",
            next_step="alpha: 0.001 finds a healthy version at fault about once in 2,000 days",
        )
    return float(value)


def healthy_share(value: Any) -> float:
    """A share such as `1%` or 0.01, strictly between 0 and 1. Raises KnowngoodError."""
    share = exact_fraction(value)
    if not 0 < share < 1:
        raise BadPolicy(f"{shown(value)} is not between 0% and 100%")
    return float(share)


def evidence(reader: Reader, path: str, value: Any) -> None:
    """`auto`, `none`, or figures of one's own: `{alpha: 0.01, q0: 1%}`."""
    if not isinstance(value, Mapping):
        one_of("evidence", ("auto", "none"))(reader, path, value)
        return
    if not value:
        reader.wrong(path, "it names neither alpha nor q0", tuple(EVIDENCE), "say auto")
    fields(reader, path, value, EVIDENCE)


def _level(reader: Reader, path: str, value: Any) -> None:
    reader.attempt(path, level, value)


def _healthy(reader: Reader, path: str, value: Any) -> None:
    reader.attempt(path, healthy_share, value)


EVIDENCE: dict[str, Check] = {"alpha": _level, "q0": _healthy}


def comparable_metrics(scores: Mapping[str, ScoreRange]) -> list[str]:
    """What two arms can be compared by, given the declared scores."""
    named = (name if name == "quality" else f"score.{name}" for name in sorted(scores))
    return [*COMPARABLE, *named]


def comparable(reader: Reader, path: str, value: Any) -> None:
    """A metric that two arms can be compared by."""
    one_of("metric of a comparison", comparable_metrics(reader.scores))(reader, path, value)


def margin_share(value: Any) -> float:
    """How much worse is still borne, such as `0.5%` or 0.02. Raises KnowngoodError."""
    share = exact_fraction(value)
    if not 0 < share <= MARGIN_MAX:
        raise BadPolicy(f"{shown(value)} is not between 0% and {MARGIN_MAX * 100}%")
    return float(share)


def guardrails(reader: Reader, path: str, value: Any) -> None:
    """A margin for each metric; null or false takes one out."""
    known = comparable_metrics(reader.scores)
    if not isinstance(value, Mapping):
        reader.wrong(path, f"{shown(value)} is not a mapping of metrics to margins", known)
        return
    for metric, margin in value.items():
        if metric not in known:
            reader.unknown(below(path, metric), "metric of a comparison", metric, known)
        elif not is_removal(margin):
            reader.attempt(below(path, metric), margin_share, margin)


def comparison(reader: Reader, path: str, value: Any) -> None:
    """The A/B gate; null or false: none is asked for."""
    if not is_removal(value):
        fields(reader, path, value, AB)


def stages(kind: RolloutKind) -> Check:
    """The check of a ladder: shares that rise to 100 %, or fall to 0 %, without repeats."""

    def read(value: Any) -> None:
        if wrong := problem(tuple(share_bp(item) for item in value), kind):
            raise BadPolicy(wrong)

    def run(reader: Reader, path: str, value: Any) -> None:
        if not isinstance(value, Sequence) or isinstance(value, str):
            reader.wrong(path, f"{shown(value)} is not a list of shares")
        else:
            reader.attempt(path, read, value)

    return run


def holdback(reader: Reader, path: str, value: Any) -> None:
    """A share of at most one half: a larger one would be the control arm, not the rest of it."""

    def read(value: Any) -> None:
        if share_bp(value) > 5_000:
            raise BadPolicy(f"a holdback of {value} is more than one half")

    reader.attempt(path, read, value)


def alert_conditions(reader: Reader, path: str, value: Any) -> None:
    """A list of one condition or more."""
    listed(condition)(reader, path, value)
    if value == []:
        reader.wrong(path, "the list of conditions is empty", next_step="set the alert to null")


def freeze(reader: Reader, path: str, value: Any) -> None:
    """A time in which nothing is promoted."""
    reader.attempt(path, parse_freeze, value)


def at_least(reader: Reader, path: str, value: Any) -> None:
    """The share of a suite that has to pass, such as `75%`."""

    def read(value: Any) -> None:
        if not 0 <= exact_fraction(value) <= 1:
            raise BadPolicy(f"{shown(value)} is not between 0% and 100%")

    reader.attempt(path, read, value)


def evaluation(reader: Reader, path: str, value: Any) -> None:
    """An evaluation that a version needs."""
    known: dict[str, Check] = {
        "suite": name,
        "at_least": at_least,
        "max_age": duration,
        "for": listed(one_of("use of an evaluation", EVALUATED_FOR)),
    }
    fields(reader, path, value, known)
    for key in ("suite", "at_least"):
        if isinstance(value, Mapping) and key not in value:
            reader.wrong(below(path, key), "an evaluation needs it", tuple(known))


def related_prompts(reader: Reader, path: str, value: Any) -> None:
    """A list of two prompt names or more."""
    listed(name)(reader, path, value)
    if isinstance(value, list) and (len(value) < 2 or len(set(map(str, value))) < len(value)):
        reader.wrong(path, "a group of related prompts names two or more different prompts")


def name(reader: Reader, path: str, value: Any) -> None:
    """The name of a prompt, a counter or an environment."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        reader.wrong(
            path,
            f"{shown(value)} is not a name",
            next_step="use a-z, 0-9, dot, underscore and hyphen",
        )


def age(reader: Reader, path: str, value: Any) -> None:
    """The ages at which an alert holds."""
    reader.attempt(path, age_range, value)


def error_limit(reader: Reader, path: str, value: Any) -> None:
    """An error rate to stay below."""
    reader.attempt(path, limit_below, value)


def version_of_format(reader: Reader, path: str, value: Any) -> None:
    """The format's version, 1."""
    if value != 1 or isinstance(value, bool):
        reader.wrong(path, f"unknown policy format {value!r}", ("1",), "write policy: 1")


TRIGGER: dict[str, Check] = {
    "when": condition,
    "severity": one_of("severity", [s.value for s in Severity]),
    "action": one_of("action", [r.value for r in Response]),
    "who": text,
    "limit": duration,
    "window": window,
    "method": one_of("method", [m.value for m in Method]),
    "kinds": listed(one_of("error kind", ERROR_KINDS)),
    "for": duration,
    "then": one_of("action", THEN),
    "on_timeout": one_of("answer to a time-out", TIMEOUTS),
    "evidence": evidence,
    "min_requests": count(1),
    "min_labels": count(1),
    "dry_run": flag,
}
AB: dict[str, Check] = {
    "primary": comparable,
    "mode": one_of("mode", [aim.value for aim in Aim]),
    "method": one_of("method", [looks.value for looks in Looks]),
    "alpha": _level,
    "guardrails": guardrails,
    "min_units": count(1),
    "max_units": count(MIN_PER_ARM),
    "min_time": duration,
}
SECTIONS: dict[str, Check] = {
    "window": window,
    "baseline": section(
        {
            "from": listed(one_of("source of a baseline", BASELINE_SOURCES)),
            "window": duration,
            "min_requests": count(1),
            "min_labels": count(1),
        }
    ),
    "triggers": named(section(TRIGGER), removable=True),
    "alerts": named(section({"age": age, "when": alert_conditions}), removable=True),
    "verify": section(
        {
            "error_rate": error_limit,
            "goal": duration,
            "deadline": duration,
            "not_recovered": one_of("answer to a failed rollback", FAILED_ROLLBACK),
        }
    ),
    "soak": section(
        {
            "environment": name,
            "for": duration,
            "min_calls": count(0),
            "required": one_of("demand", SOAKS),
        }
    ),
    "canary": section(
        {"stages": stages(RolloutKind.CANARY), "hold": duration, "wait_at_most": duration}
    ),
    "gradual": section(
        {"stages": stages(RolloutKind.GRADUAL), "hold": duration, "pause_above": error_condition}
    ),
    "bake": section({"for": duration, "holdback": holdback}),
    "flap": section({"cooldown": duration, "per_prompt_hour": count(1), "fleet_hour": count(1)}),
    "keep": section(
        {"hot": count(1), "archive": duration, "purge": one_of("way to purge", PURGES)}
    ),
    "freeze": listed(freeze),
    "evaluations": listed(evaluation),
    "ab": comparison,
    "escalation": section(ESCALATION),
    "approvals": section(APPROVALS),
}
PROMPT: dict[str, Check] = {**SECTIONS, "auto_rollback_stale": flag, "authors": listed(text)}
PERSON: dict[str, Check] = {
    "mail": text,
    "slack": text,
    "pagerduty": text,
    "roles": listed(text),
}
SCORE: dict[str, Check] = {
    "min": number,
    "max": number,
    "better": one_of("direction", DIRECTIONS),
}
PERSON_NAME = re.compile(r"\S(?:.*\S)?")
DECLARATIONS: dict[str, Check] = {
    "scores": named(section(SCORE)),
    "counters": listed(name),
}
FILE: dict[str, Check] = {
    "policy": version_of_format,
    "defaults": section(SECTIONS),
    **DECLARATIONS,
    "people": named(section(PERSON), PERSON_NAME),
    "channels": named(channel),
    "audiences": audiences,
    "inbound": named(inbound),
    "related": listed(related_prompts),
    "prompts": named(section(PROMPT), GLOB),
}
