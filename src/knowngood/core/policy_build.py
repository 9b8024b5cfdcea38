"""A checked policy file, merged over the defaults, and the policy in force for a prompt."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from knowngood.core.asking import Purpose
from knowngood.core.evaluation import Requirement
from knowngood.core.inbound import InboundRule
from knowngood.core.model import Comparison, Method, Response, ScoreRange, Severity
from knowngood.core.people import CHANGES, Channel, Person
from knowngood.core.policy_ab import build_ab, check_ab, merge_ab, without_false
from knowngood.core.policy_checks import Reader, below, is_removal
from knowngood.core.policy_condition import parse_condition
from knowngood.core.policy_freeze import parse_freeze
from knowngood.core.policy_parse import NAMED_SECTIONS, age_range, healthy_share, limit_below
from knowngood.core.policy_people import build_approvals, build_escalation
from knowngood.core.rollout import Ladder
from knowngood.core.rules import (
    AlertRule,
    BakeRule,
    BaselineRule,
    EvaluationRule,
    FlapRule,
    PromptPolicy,
    SoakRule,
    Trigger,
    VerifyRule,
)
from knowngood.core.units import duration_ms, exact_fraction, share_bp
from knowngood.core.watch import is_rate

Data = Mapping[str, Any]
SCORES = ("quality", "score")
SEVERITIES = [severity.value for severity in Severity]


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """A valid policy. `revision` is the sha256 of `canonical`, which parses to the same policy.

    `data` is the merged file; `data["prompts"]` holds overrides, as written, in the order in which
    they apply. Two files are equal when their canonical texts are.
    """

    canonical: str
    revision: str
    data: Data = field(compare=False, repr=False)
    scores: Mapping[str, ScoreRange] = field(compare=False)
    counters: tuple[str, ...] = field(compare=False)
    related: tuple[tuple[str, ...], ...] = field(compare=False)
    people: tuple[Person, ...] = field(compare=False)
    channels: tuple[Channel, ...] = field(compare=False)
    audiences: Mapping[str, tuple[str, ...]] = field(compare=False)
    inbound: tuple[InboundRule, ...] = field(compare=False)
    _resolved: dict[tuple[str, ...], PromptPolicy] = field(
        default_factory=dict, compare=False, repr=False
    )

    def for_prompt(self, name: str) -> PromptPolicy:
        """The policy in force for the prompt: the defaults, then each glob that matches, in the
        order of the file, then the entry of exactly this name."""
        return self.resolve(self.entries_of(name))

    def resolve(self, entries: tuple[str, ...]) -> PromptPolicy:
        """The defaults with these entries of `prompts:` over them, in this order; made once."""
        if entries not in self._resolved:
            merged = merge_prompt(self.data, entries)
            built = build(merged, self.scores, self.counters, self.revision)
            self._resolved[entries] = replace(
                built, delegated=self._delegated(), listed_audiences=tuple(self.audiences)
            )
        return self._resolved[entries]

    def entries_of(self, name: str) -> tuple[str, ...]:
        """The keys under `prompts:` that apply to the prompt, the strongest last."""
        return matching(self.data["prompts"], name)

    def related_to(self, prompt: str) -> tuple[str, ...]:
        """The prompts that are declared related to this one, sorted."""
        groups = [group for group in self.related if prompt in group]
        return tuple(sorted({name for group in groups for name in group} - {prompt}))

    def channels_for(self, audience: str) -> tuple[Channel, ...]:
        """The channels that an audience is told on: those listed for it, else all there are."""
        names = self.audiences.get(audience)
        return tuple(c for c in self.channels if names is None or c.name in names)

    @property
    def takers_of_changes(self) -> tuple[str, ...]:
        """The channels that hear of each move of a route.

        Those that are listed for `changes`, else those that take such by their kind or their word.
        """
        if CHANGES in self.audiences:
            listed = self.channels_for(CHANGES)
            return tuple(c.name for c in listed if not c.refuses_changes)
        return tuple(c.name for c in self.channels if Purpose.CHANGE in c.takes)

    def inbound_from(self, source: str) -> InboundRule | None:
        """How the alerts of a source are read; None for one that the policy does not know."""
        return next((rule for rule in self.inbound if rule.source == source), None)

    def _delegated(self) -> tuple[str, ...]:
        """Audiences of a pager that escalates by itself; `*` is any that is not listed."""
        of_names = {name: self.channels_for(name) for name in (*self.audiences, "*")}
        return tuple(
            name
            for name, channels in of_names.items()
            if any(channel.escalates for channel in channels)
        )

    def people_for(self, who: str) -> tuple[Person, ...]:
        """The people who bear this name or role."""
        return tuple(p for p in self.people if who == p.name or who in p.roles)


# --- Merging


def plain(value: Any) -> Any:
    """A copy as dicts and lists; texts lose the white space that means nothing."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return " ".join(value.split()) if isinstance(value, str) else value


def merge_file(defaults: Data, file: Data) -> dict[str, Any]:
    """The whole file over the whole default file; prompts stay what they override."""
    merged = {**defaults, **file}
    sections = merge_sections(defaults["defaults"], file.get("defaults", {}))
    # No gate is what holds anyway, so it says nothing: such a file is the same policy.
    merged["defaults"] = {k: v for k, v in sections.items() if k != "ab" or v is not None}
    merged["scores"] = _merge_named(defaults["scores"], file.get("scores", {}), _over)
    merged["counters"] = sorted(set(merged["counters"]))
    prompts = merged["prompts"]
    order = [*filter(is_glob, prompts), *sorted(key for key in prompts if not is_glob(key))]
    merged["prompts"] = {key: _without_false(prompts[key]) for key in order}
    return merged


def merge_sections(base: Data, over: Data) -> dict[str, Any]:
    """Sections over sections, key by key; triggers and alerts name by name."""
    merged = dict(base)
    for key, value in over.items():
        if key == "triggers":
            merged[key] = _merge_named(base.get(key, {}), value, merge_trigger)
        elif key == "alerts":
            merged[key] = _merge_named(base.get(key, {}), value, _over)
        elif key == "ab":
            merged[key] = merge_ab(base.get(key), value)
        elif isinstance(value, Mapping):
            merged[key] = {**base.get(key, {}), **value}
        else:
            merged[key] = value
    return merged


def merge_prompt(file: Data, entries: Iterable[str]) -> dict[str, Any]:
    """The sections of the defaults with these entries of `prompts:` over them, in this order."""
    merged: dict[str, Any] = dict(file["defaults"])
    for entry in entries:
        merged = merge_sections(merged, file["prompts"][entry])
    return merged


def merge_trigger(base: Data, over: Data) -> dict[str, Any]:
    """A trigger over another. What is only inherited is dropped where it no longer has a meaning:
    the waiting of an observation that became a rollback, the person who is no longer asked."""
    merged = {**base, **over}
    for key in [key for key in merged if key not in over and not fits(key, merged)]:
        del merged[key]
    if merged.get("action") == "rollback" != base.get("action") and "who" not in over:
        merged.pop("who", None)  # the system decides from now on
    return merged


def fits(key: str, trigger: Data) -> bool:
    """Does this key of a trigger have a meaning beside its others?"""
    action = trigger.get("action")
    match key:
        case "for" | "then":
            return action == "observe"
        case "on_timeout":
            return action in ("ask", "observe")
        case "kinds":
            return str(trigger.get("when", "")).startswith("error_rate")
        case "min_requests":
            return trigger.get("evidence") == "none"
        case "min_labels":
            return trigger.get("evidence") != "none" and _metric_of(trigger) in SCORES
    return True


def _metric_of(trigger: Data) -> str:
    """The kind of metric that the condition names."""
    return re.split(r"[\s.<>]", str(trigger.get("when", "")).strip(), maxsplit=1)[0]


def _over(base: Data, over: Data) -> dict[str, Any]:
    return {**base, **over}


def _merge_named(base: Data, over: Data, merge: Any) -> dict[str, Any]:
    """Known names keep their place, new ones follow by name, so that no order of keys matters."""
    merged = dict(base)
    for key in [*(k for k in base if k in over), *sorted(k for k in over if k not in base)]:
        item = over[key]
        merged[key] = None if is_removal(item) else merge(merged.get(key) or {}, item)
    return merged


def _without_false(entry: Data) -> dict[str, Any]:
    """An override in which what is removed is always null."""
    return {
        key: {name: None if is_removal(item) else item for name, item in value.items()}
        if key in NAMED_SECTIONS
        else without_false(value)
        if key == "ab"
        else value
        for key, value in entry.items()
    }


def canonical_text(file: Data) -> str:
    """The file as JSON, keys sorted, but for the globs, whose order has a meaning."""
    ordered = {key: _sorted(file[key]) for key in sorted(file)}
    ordered["prompts"] = {key: _sorted(entry) for key, entry in file["prompts"].items()}
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def revision_of(canonical: str) -> str:
    """The policy revision: the sha256 of the canonical text, in hex."""
    return hashlib.sha256(canonical.encode()).hexdigest()


def _sorted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


# --- Globs


def is_glob(name: str) -> bool:
    """Does this key under `prompts:` stand for more than one name?"""
    return "*" in name or "?" in name


def matching(prompts: Iterable[str], name: str) -> tuple[str, ...]:
    """The keys that apply to a prompt, in their order; its own name comes last."""
    globs = [key for key in prompts if is_glob(key) and _pattern(key).fullmatch(name)]
    return (*globs, *(key for key in prompts if key == name and not is_glob(key)))


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(re.escape(glob).replace(r"\*", ".*").replace(r"\?", "."))


@lru_cache(maxsize=65_536)
def overlap(a: str, b: str) -> bool:
    """Is there a name that both globs match?"""
    if not a or not b:
        return not (a + b).strip("*")
    if a[0] == "*":
        return overlap(a[1:], b) or overlap(a, b[1:])
    if b[0] == "*":
        return overlap(b, a)
    return (a[0] == b[0] or "?" in (a[0], b[0])) and overlap(a[1:], b[1:])


# --- Rules that concern several keys


def check_resolved(reader: Reader, path: str, merged: Data) -> None:
    """Note what contradicts itself in sections that are each well formed."""
    for name, trigger in merged["triggers"].items():
        if trigger is not None:
            _check_trigger(reader, below(path, f"triggers.{name}"), trigger)
    for name, alert in merged["alerts"].items():
        if alert is not None and "when" not in alert:
            reader.wrong(below(path, f"alerts.{name}.when"), "the conditions are missing")
    check_ab(reader, below(path, "ab"), merged.get("ab"))
    for section, less, more in (
        ("verify", "goal", "deadline"),
        ("canary", "hold", "wait_at_most"),
    ):
        rule = merged[section]
        if duration_ms(rule[less]) > duration_ms(rule[more]):
            reader.wrong(
                below(path, f"{section}.{less}"),
                f"{rule[less]} is longer than {more}, {rule[more]}",
            )


def _check_trigger(reader: Reader, path: str, trigger: Data) -> None:
    for key in ("when", "severity", "action"):
        if key not in trigger:
            reader.wrong(f"{path}.{key}", "this trigger needs it", next_step=f"add {key}:")
    if any(key not in trigger for key in ("when", "severity", "action")):
        return
    for key in trigger:
        if not fits(key, trigger):
            reader.wrong(f"{path}.{key}", f"it means nothing here: {_needs(key)}")
    _check_evidence(reader, path, trigger)
    action = trigger["action"]
    if action == "observe" and "for" not in trigger:
        reader.wrong(f"{path}.for", "an observation needs a length", next_step="add for: 1h")
    asks = action == "ask" or trigger.get("then") == "ask"
    if "who" not in trigger and action != "rollback":
        reader.wrong(f"{path}.who", "nobody is named", next_step="add who: on-call")
    elif asks and trigger.get("who") == "system":
        reader.wrong(
            f"{path}.who",
            "the system cannot answer a question",
            next_step="name the person or role who decides, such as on-call",
        )


def _check_evidence(reader: Reader, path: str, trigger: Data) -> None:
    """A q0 of one's own is a healthy share of calls, below the limit of the same trigger."""
    given = trigger.get("evidence")
    if not isinstance(given, Mapping) or "q0" not in given:
        return
    when = parse_condition(trigger["when"], reader.scores, reader.counters)
    if when.comparison is not Comparison.ABOVE or not is_rate(when.metric):
        known = ("error_rate >", "refusal_rate >", "counter.NAME >")
        reader.wrong(f"{path}.evidence.q0", "only a limit on a share of calls has a q0", known)
    elif healthy_share(given["q0"]) >= when.limit:
        reader.wrong(
            f"{path}.evidence.q0",
            f"{given['q0']} is not below the limit, {when.text}",
            next_step="q0 is what a healthy version may show; leave it out to take the baseline's",
        )


def _needs(key: str) -> str:
    match key:
        case "for" | "then":
            return "only action: observe waits"
        case "on_timeout":
            return "only a question can time out"
        case "kinds":
            return "only error_rate has kinds"
        case "min_labels":
            return "only a score that is judged by evidence has labels"
    return "the automatic evidence decides how many requests it needs; say evidence: none"


def check_scores(reader: Reader, scores: Data) -> None:
    """Note declared ranges that are not ranges."""
    for name, score in scores.items():
        for key in ("min", "max"):
            if key not in score:
                reader.wrong(f"scores.{name}.{key}", "a score declares its range")
        if "min" in score and "max" in score and not score["min"] < score["max"]:
            reader.wrong(f"scores.{name}.max", f"{score['max']} is not above {score['min']}")


def overlapping_pairs(prompts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every two globs that may apply to one prompt, in their order."""
    globs = [key for key in prompts if is_glob(key)]
    for index, first in enumerate(globs):
        yield from ((first, second) for second in globs[index + 1 :] if overlap(first, second))


# --- Building


def build(
    merged: Data, scores: Mapping[str, ScoreRange], counters: Sequence[str], revision: str
) -> PromptPolicy:
    """The policy of a prompt out of checked and merged sections."""
    baseline, verify, bake, flap, soak = (
        merged[key] for key in ("baseline", "verify", "bake", "flap", "soak")
    )
    reader = Reader(scores, frozenset(counters))
    triggers = [
        build_trigger(reader, name, trigger, merged["window"])
        for name, trigger in merged["triggers"].items()
        if trigger is not None
    ]
    alerts = [
        build_alert(reader, name, alert)
        for name, alert in merged["alerts"].items()
        if alert is not None
    ]
    return PromptPolicy(
        window_ms=duration_ms(merged["window"]),
        baseline=BaselineRule(
            sources=tuple(baseline["from"]),
            window_ms=duration_ms(baseline["window"]),
            min_requests=baseline["min_requests"],
            min_labels=baseline["min_labels"],
        ),
        triggers=tuple(sorted(triggers, key=lambda t: SEVERITIES.index(t.severity))),
        alerts=tuple(sorted(alerts, key=lambda a: a.min_age_ms)),
        verify=VerifyRule(
            error_rate_below=limit_below(verify["error_rate"]),
            goal_ms=duration_ms(verify["goal"]),
            deadline_ms=duration_ms(verify["deadline"]),
            takes_next=verify.get("not_recovered") == "next_good",
        ),
        bake=BakeRule(duration_ms(bake["for"]), share_bp(bake["holdback"])),
        flap=FlapRule(
            cooldown_ms=duration_ms(flap["cooldown"]),
            per_prompt_hour_count=flap["per_prompt_hour"],
            fleet_hour_count=flap["fleet_hour"],
        ),
        scores=scores,
        soak=SoakRule(
            environment=soak["environment"],
            for_ms=duration_ms(soak["for"]),
            min_calls=soak["min_calls"],
            required=soak.get("required", "used"),
        ),
        canary=build_ladder(merged["canary"]["stages"], merged["canary"]),
        gradual=build_ladder(merged["gradual"]["stages"], merged["gradual"]),
        pause_above=reader.condition(merged["gradual"]["pause_above"]),
        freezes=tuple(parse_freeze(each) for each in merged.get("freeze", ())),
        evaluations=tuple(build_evaluation(each) for each in merged.get("evaluations", ())),
        keep_hot_count=merged["keep"]["hot"],
        archive_ms=duration_ms(merged["keep"]["archive"]),
        purges_itself=merged["keep"].get("purge", "auto") == "auto",
        auto_rollback_stale=merged.get("auto_rollback_stale", False),
        authors=tuple(merged.get("authors", ())),
        ab=build_ab(merged.get("ab")),
        escalation=build_escalation(merged["escalation"]),
        approvals=build_approvals(merged["approvals"]),
        revision=revision,
    )


def build_ladder(stages: Sequence[Any], data: Data) -> Ladder:
    """A ladder; what has no limit of its own may wait for ever."""
    hold_ms = duration_ms(data["hold"])
    wait_ms = duration_ms(data["wait_at_most"]) if "wait_at_most" in data else hold_ms
    return Ladder(tuple(share_bp(each) for each in stages), hold_ms, wait_ms)


def build_evaluation(data: Data) -> EvaluationRule:
    """One evaluation; without `for` it is needed for both."""
    used = data.get("for", ("promotion", "target"))
    max_age_ms = duration_ms(data["max_age"]) if "max_age" in data else None
    requirement = Requirement(data["suite"], float(exact_fraction(data["at_least"])), max_age_ms)
    return EvaluationRule(requirement, "promotion" in used, "target" in used)


def build_trigger(reader: Reader, name: str, data: Data, window: str) -> Trigger:
    """One trigger; without a method, medium severity moves gradually and any other at once."""
    severity = Severity(data["severity"])
    default = Method.GRADUAL if severity is Severity.MEDIUM else Method.INSTANT
    given = data.get("evidence", "auto")
    figures = given if isinstance(given, Mapping) else {}
    return Trigger(
        name=name,
        when=parse_condition(data["when"], reader.scores, reader.counters),
        severity=severity,
        action=Response(data["action"]),
        who=data.get("who", "system"),
        window_ms=duration_ms(data.get("window", window)),
        limit_ms=duration_ms(data["limit"]) if "limit" in data else None,
        method=Method(data.get("method", default)),
        kinds=tuple(data.get("kinds", ())),
        for_ms=duration_ms(data["for"]) if "for" in data else None,
        then=Response(data["then"]) if "then" in data else None,
        on_timeout=data.get("on_timeout", "escalate"),
        dry_run=data.get("dry_run", False),
        evidence=given if isinstance(given, str) else "given",
        min_requests=data.get("min_requests"),
        alpha=figures.get("alpha"),
        healthy=healthy_share(figures["q0"]) if "q0" in figures else None,
        min_labels=data.get("min_labels"),
    )


def build_alert(reader: Reader, name: str, data: Data) -> AlertRule:
    """One alert; without an age it holds at any."""
    min_age_ms, max_age_ms = age_range(data["age"]) if "age" in data else (0, None)
    conditions = tuple(reader.condition(when) for when in data["when"])
    return AlertRule(name, conditions, min_age_ms, max_age_ms)
