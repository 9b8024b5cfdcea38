"""Which limits of a policy cannot be told from health, by what the prompts show today."""

from collections.abc import Iterator
from typing import Any

from knowngood.core.explain import metric_words, percent
from knowngood.core.levels import latency_levels, rate_level
from knowngood.core.look import newest_good
from knowngood.core.measure import QUANTILES
from knowngood.core.model import State
from knowngood.core.policy import PolicyFile, warnings
from knowngood.core.rules import PromptPolicy, Trigger
from knowngood.core.watch import Watch, alert_triggers, is_rate, watch_of
from knowngood.core.window import Window, from_row
from knowngood.server.desk import Desk

CODE = "THRESHOLD_NOT_SEPARABLE"


def not_separable(desk: Desk, policy: PolicyFile) -> list[dict[str, Any]]:
    """Each trigger and alert whose limit a healthy version may pass by chance, with what follows.

    Health is what the version in service shows since its deploy, else the frozen day of the newest
    good version; a prompt with neither says nothing.
    """
    found: list[dict[str, Any]] = []
    for state in desk.store.states.all():
        found += of_prompt(desk, policy, state)
    return found


def of_prompt(desk: Desk, policy: PolicyFile, state: State) -> Iterator[dict[str, Any]]:
    """The same of one prompt in one environment."""
    rules = policy.for_prompt(state.prompt)
    day = _healthy(desk, state, rules)
    if day is not None:
        yield from _of_prompt(state, rules, day)


def check(desk: Desk, policy: PolicyFile) -> dict[str, Any]:
    """What there is to say of a policy, on its own and beside what the prompts show today."""
    return {
        "ok": True,
        "revision": policy.revision,
        "warnings": warnings(policy),
        "not_separable": not_separable(desk, policy),
    }


def _healthy(desk: Desk, state: State, rules: PromptPolicy) -> Window | None:
    if state.route is None:
        return None
    serving = state.route.control.version
    kept = desk.store.checkpoints.load((state.environment, state.prompt, serving))
    if kept is not None and not state.incident:
        seen = from_row(kept[1]["lifetime"])
        if seen.call_count >= rules.baseline.min_requests:
            return seen
    good = newest_good(state, besides="", with_baseline=True)
    return good.baseline if good else None


def _of_prompt(state: State, rules: PromptPolicy, day: Window) -> Iterator[dict[str, Any]]:
    for trigger in _triggers(rules):
        watch = watch_of(trigger)
        words = watch and _words(watch, day, rules)
        if words:
            yield {
                "code": CODE,
                "environment": state.environment,
                "prompt": state.prompt,
                "trigger": trigger.name,
                "when": trigger.when.text,
                "words": words,
            }


def _triggers(rules: PromptPolicy) -> list[Trigger]:
    return [*rules.triggers, *(t for rule in rules.alerts for t in alert_triggers(rule, rules))]


def _words(watch: Watch, day: Window, rules: PromptPolicy) -> str | None:
    name = metric_words(watch.metric)
    if is_rate(watch.metric):
        level = rate_level(watch, day, rules.baseline.min_requests)
        if level is None or level.separable:
            return None
        seen = percent(level.count.bad(day) / max(1, day.call_count))
        return (
            f"{name} of {seen} are normal here, too close to the limit of {percent(watch.limit)}: "
            f"{percent(level.limit)} is judged instead"
        )
    if watch.metric in QUANTILES and latency_levels(watch, day) == ():
        return (
            f"{name} rises by {percent(watch.limit)} by chance here, its tail is too heavy: "
            "the limit is not judged"
        )
    return None
