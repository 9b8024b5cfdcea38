"""How long a ladder takes at today's traffic, for whoever is about to promote a version."""

from typing import Any

from knowngood.core.errors import BadRequest
from knowngood.core.explain import duration, percent
from knowngood.core.explain_experiment import plan_lines, plan_reason_words, stage_words
from knowngood.core.ladder import share
from knowngood.core.model import State
from knowngood.core.plan import StageNeed, Today, plan
from knowngood.core.rollout import Ladder, RolloutKind
from knowngood.core.rules import PromptPolicy
from knowngood.core.stats import DAY_MS
from knowngood.core.steps.case import env_option
from knowngood.core.today import CALLS_MIN, today
from knowngood.core.window import total
from knowngood.server.desk import Desk
from knowngood.server.read import stamp
from knowngood.server.words import when

# A day has a night. What is not a day old is taken for a day, since nothing better is known.
REACH_MS = DAY_MS


def planned(
    desk: Desk, environment: str, prompt: str, version: str | None, now_ms: int
) -> dict[str, Any]:
    """Each stage of the ladder with what it needs, and the ladder that is proposed.

    Of the rollout under way, else of the policy. The traffic and the health are those of the
    version that is served, in its last day. Raises Unknown…, or BadRequest when nothing is served.
    """
    desk.check_environment(environment)
    name, wanted = desk.resolve(prompt, version)
    state, policy = desk.store.states.get(environment, name), desk.policy.for_prompt(name)
    if state.route is None:
        raise BadRequest(
            f"nothing of {name} is served in {environment}, so there is no traffic to plan with",
            next_step=f"knowngood promote {name} VERSION{env_option(state)} --because ...",
        )
    ladder = policy.canary
    if state.rollout is not None and state.rollout.kind is RolloutKind.CANARY:
        ladder = state.rollout.ladder
    since_ms, calls, seen = _today(desk, state, policy, now_ms)
    return {
        "environment": environment,
        "prompt": name,
        "version": wanted,
        "serving": state.route.control.version,
        **stamp(now_ms),
        **when("since", since_ms),
        "today": _today_data(seen) if seen else None,
        "today_words": _today_words(seen, calls, now_ms - since_ms),
        **_plan_data(ladder, seen, policy),
    }


def _today(
    desk: Desk, state: State, policy: PromptPolicy, now_ms: int
) -> tuple[int, int, Today | None]:
    """Since when, how many calls of the whole prompt, and what they show.

    Traffic is everybody's, health is that of the version which is not on trial.
    """
    assert state.route is not None
    control = state.route.control.version
    entry = state.entry(control)
    routed_ms = entry.routed_ms if entry and entry.routed_ms is not None else 0
    since_ms = max(routed_ms, now_ms - REACH_MS)
    windows = {
        arm.version: total(
            bucket.window
            for bucket in desk.store.series.read(
                (state.environment, state.prompt, arm.version), since_ms, now_ms
            )
        )
        for arm in state.route.arms
    }
    whole = total(windows.values())
    seen = today(windows[control], whole, now_ms - since_ms, policy.scores, policy.ab)
    return since_ms, whole.call_count, seen


def _plan_data(ladder: Ladder, seen: Today | None, policy: PromptPolicy) -> dict[str, Any]:
    if seen is None:
        return {"stages": [], "proposed": [], "reasons": [], "total_ms": None, "lines": []}
    found = plan(ladder, seen, policy.ab)
    return {
        "stages": [_stage_data(need) for need in found.stages],
        "proposed": [_stage_data(need) for need in found.proposed],
        "reasons": [plan_reason_words(reason) for reason in found.reasons],
        "total_ms": found.total_ms,
        "lines": list(plan_lines(found)),
    }


def _stage_data(need: StageNeed) -> dict[str, Any]:
    return {
        "share": share(need.share_bp),
        "share_bp": need.share_bp,
        "likely_ms": need.likely_ms,
        "sure_ms": need.sure_ms,
        "gate_units_count": need.gate_units_count,
        "gate_ms": need.gate_ms,
        "gate": [
            {"metric": each.metric, "units_count": each.units_count, "known": each.known}
            for each in need.gate
        ],
        "words": stage_words(need),
    }


def _today_data(seen: Today) -> dict[str, Any]:
    return {
        "calls_per_s": seen.calls_per_s,
        "units_per_day": seen.units_per_day,
        "error_rate": seen.error_rate,
        "slow_share": seen.slow_share,
        "spreads": {
            metric: {"mean": spread.mean, "sd": spread.sd}
            for metric, spread in seen.spreads.items()
        },
    }


def _today_words(seen: Today | None, call_count: int, width_ms: int) -> str:
    if seen is None:
        return (
            f"{call_count} calls in the last {duration(width_ms)} are too few to plan with "
            f"({CALLS_MIN} needed)"
        )
    digits = 0 if seen.calls_per_s >= 10 else 2
    words = f"{seen.calls_per_s:,.{digits}f} calls a second, "
    words += f"at most {round(seen.units_per_day):,} units a day, errors {percent(seen.error_rate)}"
    for metric, spread in seen.spreads.items():
        words += f", {metric} {spread.mean:.2f} ± {spread.sd:.2f}"
    return f"{words} (the last {duration(width_ms)})"
