"""Putting a rollout's stage in force: the same actions for everybody who may do it."""

from dataclasses import replace

from knowngood.core import ladder
from knowngood.core.gate import Gate
from knowngood.core.model import (
    Action,
    Enter,
    MoveRoute,
    Record,
    SetRollout,
    State,
    Verifying,
    Wait,
    whole,
)
from knowngood.core.rollout import Rollout
from knowngood.core.steps.case import Case, Step

# An engine looks again some seconds after it moved a route; a first look later than this means that
# it was held or gone in between.
LATE_LOOK_MS = 10_000


def stage_actions(
    state: State, onward: Rollout, because: str, gates: tuple[Gate, ...] = ()
) -> tuple[Action, ...]:
    """Put a rollout's stage in force. The salt stays, so every unit that had a version keeps it."""
    assert state.route is not None
    words = f"{onward.moving} {ladder.stages_words(onward)}: {because}"
    detail = {
        "version": onward.moving,
        "stage": onward.stage,
        "share_bp": onward.share_bp,
        "gates": [{"name": g.name, "answer": g.answer.value, "because": g.because} for g in gates],
    }
    return (
        MoveRoute(ladder.arms(onward), state.route.salt),
        SetRollout(onward),
        Record("rollout.stage", words, detail),
    )


def completed(rollout: Rollout, because: str, deadline_ms: int, now_ms: int) -> tuple[Action, ...]:
    """The last stage of a gradual rollback: everybody is on the target, which is verified now."""
    automatic = rollout.actor == "system"
    verify = Verifying(
        from_version=rollout.from_version,
        to_version=rollout.to_version,
        triggers=rollout.triggers,
        began_ms=now_ms,
        deadline_ms=now_ms + deadline_ms,
        by="system" if automatic else "operator",
        automatic=automatic,
        unseen=True,
    )
    detail = {
        "from": rollout.from_version,
        "to": rollout.to_version,
        "took_ms": now_ms - rollout.began_ms,
    }
    return (
        MoveRoute(whole(rollout.to_version)),
        Enter(verify),
        Record("rollback.completed", because, detail),
    )


def first_look(case: Case, rollout: Rollout) -> Step | None:
    """Note that a stage is in force; it begins now if this comes late, or before its beginning.

    An engine that was held between decision and move put it in force later than the state says,
    and one that was not there saw none of its calls. A clock may have been set back.
    """
    since_ms = case.now_ms - rollout.stage_ms
    if since_ms == 0 and rollout.unseen:  # nothing was served at this stage yet
        return Step(waiting_on=(Wait("first_look"),))
    if since_ms >= 0 and not rollout.unseen:
        return None
    if 0 < since_ms <= LATE_LOOK_MS:
        return Step((SetRollout(_from_here(case, replace(rollout, unseen=False))),))
    why = "nobody has looked since it was put in force"
    if since_ms < 0:
        why = "the clock was set back"
    words = f"{why}: the stage of {ladder.share(rollout.share_bp)} begins now"
    # Whoever finds it in the future may be late itself: the next look says whether it was.
    anew = _from_here(case, replace(rollout, stage_ms=case.now_ms, unseen=since_ms < 0))
    detail = {"version": rollout.moving, "stage": rollout.stage, "began_ms": rollout.stage_ms}
    return Step((SetRollout(anew), Record("rollout.stage_anew", words, detail)))


def _from_here(case: Case, rollout: Rollout) -> Rollout:
    calls = case.observed.evidence(rollout.moving).lifetime
    return replace(rollout, before_count=calls.call_count, before_bad_count=calls.error_count)


def of_stage(case: Case, rollout: Rollout) -> tuple[int, int]:
    """The calls of the version on trial since its stage is in force, and how many failed.

    What it has shown at a smaller share is no proof for a larger one: some harm comes with the
    load. An alarm that ended within the stage forgives none of its failures. Where fewer are known
    than had been then, whoever noted them saw more: only what is seen of the stage itself counts.
    """
    evidence = case.observed.evidence(rollout.moving)
    calls = evidence.lifetime
    n, bad = calls.call_count - rollout.before_count, calls.error_count - rollout.before_bad_count
    if n >= 0 and bad >= 0:
        return n, bad
    seen = evidence.since(rollout.stage_ms)
    return seen.call_count, seen.error_count
