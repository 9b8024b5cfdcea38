"""The brakes that may hold an automatic rollback. None of them ever holds a person's rollback.

The fourth brake, dry-run, belongs to a trigger and is kept in respond: its breaches never get here.
"""

from dataclasses import dataclass

from knowngood.core.explain import duration
from knowngood.core.model import Finding, Hold, Standing
from knowngood.core.rollout import RolloutKind
from knowngood.core.steps.attribution import Blame, attribute
from knowngood.core.steps.case import Case

HOUR_MS = 3_600_000
STALE_MS = 24 * HOUR_MS  # a version that was good for this long did not break by itself


@dataclass(frozen=True, slots=True)
class Brake:
    """Why a rollback is held: `kind` is the brake's name, `words` say it to people."""

    kind: str
    words: str


def brake(case: Case, found: tuple[Finding, ...], began_ms: int) -> Brake | None:
    """The first brake that holds, or None; the breach was first seen at `began_ms`."""
    if held := _automation(case) or _upstream(case, began_ms):
        return held
    if found and attribute(case, found, began_ms).blame is Blame.UPSTREAM:
        return Brake("upstream", f"upstream: the control {_control(case)} fails in the same way")
    return _stale(case) or _flap(case)


def told_brake(case: Case) -> Brake | None:
    """The brake that holds whoever is at fault, if people were told of it in this generation."""
    held = _automation(case) or _stale(case) or _flap(case)
    return held if held and case.told(held_notice(held.kind)) else None


def held_notice(kind: str) -> str:
    """The name of the notice that such a brake holds a rollback."""
    return f"held:{kind}"


def _control(case: Case) -> str:
    assert case.state.route is not None
    return case.state.route.control.version


def in_force(hold: Hold | None, now_ms: int) -> bool:
    """Whether a hold of automation has not ended yet."""
    return hold is not None and now_ms < hold.until_ms


def _automation(case: Case) -> Brake | None:
    fleet = case.observed.fleet.automation if case.observed.fleet else None
    for hold, scope in ((case.state.automation, case.state.prompt), (fleet, "all prompts")):
        if hold is not None and in_force(hold, case.now_ms):
            left = duration(hold.until_ms - case.now_ms)
            words = f"automation is off for {scope} by {hold.actor}: {hold.because} ({left} left)"
            return Brake("automation_off", words)
    return None


def _upstream(case: Case, began_ms: int) -> Brake | None:
    """Another prompt of the provider, with no common deploy, fails as well.

    A prompt that began to fail long before or after this one has a trouble of its own; so have
    related prompts that fail together while the provider serves others well.
    """
    route = case.state.route
    assert route is not None
    related = {other.prompt for other in case.observed.related}
    for sibling in case.observed.siblings:
        common_deploy = abs(sibling.routed_ms - route.since_ms) <= case.policy.window_ms
        together = abs(sibling.breaching_since_ms - began_ms) <= case.policy.window_ms
        cascade = sibling.prompt in related and bool(case.observed.unrelated_clear)
        if together and not common_deploy and not cascade:
            words = f"upstream: {sibling.prompt} on {case.observed.provider} fails as well"
            return Brake("upstream", words)
    return None


def _stale(case: Case) -> Brake | None:
    """A long-good version that breaks with no deploy is not a bad deploy: ask, don't act."""
    route = case.state.route
    assert route is not None
    if case.state.rollout is not None:
        return None  # something is being deployed, however long it was paused
    old = case.now_ms - route.since_ms >= STALE_MS
    good = case.state.standing(case.suspect) is Standing.GOOD
    if not (old and good) or case.policy.auto_rollback_stale:
        return None
    age = duration(case.now_ms - route.since_ms)
    return Brake("stale", f"{case.suspect} was good for {age} and nothing was deployed")


def _flap(case: Case) -> Brake | None:
    rule, now_ms = case.policy.flap, case.now_ms
    rollout = case.state.rollout
    if rollout is not None and rollout.kind is RolloutKind.GRADUAL:
        return None  # it is the same rollback, made faster
    mine = [ms for ms in case.state.rollbacks_ms if ms > now_ms - HOUR_MS]
    fleet_ms = case.observed.fleet.rollbacks_ms if case.observed.fleet else ()
    fleet = [ms for ms in fleet_ms if ms > now_ms - HOUR_MS]
    if mine and now_ms - mine[-1] < rule.cooldown_ms:
        left = duration(rule.cooldown_ms - (now_ms - mine[-1]))
        return Brake("flap", f"flap guard: rolled back a moment ago, {left} of cooldown left")
    if len(mine) >= rule.per_prompt_hour_count:
        return Brake("flap", f"flap guard: {len(mine)} automatic rollbacks in the last hour")
    if len(fleet) >= rule.fleet_hour_count:
        words = f"flap guard: {len(fleet)} automatic rollbacks of the fleet in the last hour"
        return Brake("flap", words)
    return None
