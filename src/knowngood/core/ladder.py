"""The stages of a canary and of a gradual rollback: what makes a ladder, and what comes next."""

from dataclasses import replace
from itertools import pairwise

from knowngood.core.errors import BadLadder
from knowngood.core.model import WHOLE_BP, Arm, whole
from knowngood.core.rollout import Ladder, Rollout, RolloutKind

STAGES_MAX = 20  # each stage is a transaction and a line of history; a finer ladder proves no more


def problem(stages_bp: tuple[int, ...], kind: RolloutKind) -> str | None:
    """What is wrong with the stages of a ladder, in a person's words; None for a good one."""
    if not stages_bp:
        return "a ladder has at least one stage"
    if len(stages_bp) > STAGES_MAX:
        return f"{len(stages_bp)} stages are more than {STAGES_MAX}"
    for bp in stages_bp:
        if not 0 <= bp <= WHOLE_BP:
            return f"a stage of {share(bp)} is not between 0% and 100%"
    rising = kind is RolloutKind.CANARY
    for before, after in pairwise(stages_bp):
        if before == after:
            return f"the stage {share(before)} is there twice"
        if (before < after) is not rising:
            verb = "rise" if rising else "fall"
            return f"the stages do not {verb}: {share(after)} comes after {share(before)}"
    last = WHOLE_BP if rising else 0
    if stages_bp[-1] != last:
        return f"the last stage is {share(stages_bp[-1])}, not {share(last)}"
    if stages_bp[0] == WHOLE_BP - last:
        return f"the first stage, {share(stages_bp[0])}, changes nothing"
    return None


def check(ladder: Ladder, kind: RolloutKind) -> Ladder:
    """The ladder. Raises BadLadder for stages or times that make none."""
    example = "1%,5%,25%,100%" if kind is RolloutKind.CANARY else "75%,50%,25%,0%"
    if wrong := problem(ladder.stages_bp, kind):
        raise BadLadder(wrong, next_step=f"give stages such as {example}")
    if ladder.hold_ms > ladder.wait_ms:
        hold, wait = (_span(ms) for ms in (ladder.hold_ms, ladder.wait_ms))
        raise BadLadder(
            f"a stage of at least {hold} is held longer than it may wait, {wait}",
            next_step="give a shorter --hold, or a longer --wait-at-most",
        )
    return ladder


def _span(ms: int) -> str:
    units = (("h", 3_600_000), ("min", 60_000), ("s", 1_000))
    name, unit_ms = next((each for each in units if ms >= each[1]), units[-1])
    return f"{ms / unit_ms:g} {name}"


def below(ladder: Ladder, share_bp: int) -> Ladder:
    """A gradual rollback's ladder from `share_bp` down: nobody is moved onto the bad version."""
    stages_bp = tuple(bp for bp in ladder.stages_bp if bp < share_bp)
    return replace(ladder, stages_bp=stages_bp)


def above(ladder: Ladder, share_bp: int) -> Ladder:
    """A canary's ladder from `share_bp` up: who has the new version keeps it."""
    stages_bp = tuple(bp for bp in ladder.stages_bp if bp > share_bp)
    return replace(ladder, stages_bp=stages_bp)


def arms(rollout: Rollout) -> tuple[Arm, ...]:
    """The route of the stage in force: the version on trial is the candidate beside its control.

    The candidate owns the hash buckets from 0 upward: a canary that climbs only ever adds units to
    the new version, and a gradual rollback only ever takes units off the old one.
    """
    moving_bp = rollout.share_bp
    if rollout.is_baking:
        moving_bp = WHOLE_BP - rollout.holdback_bp
    canary = rollout.kind is RolloutKind.CANARY
    control = rollout.from_version if canary else rollout.to_version
    if moving_bp == WHOLE_BP:
        return whole(rollout.moving)
    if moving_bp == 0:
        return whole(control)
    return Arm(control, WHOLE_BP - moving_bp), Arm(rollout.moving, moving_bp)


def onward(rollout: Rollout, now_ms: int) -> Rollout:
    """The rollout at its next stage. Raises IndexError at the last one.

    What is compared is compared anew, by the same rule: a comparison has one share.
    """
    stages_bp = rollout.ladder.stages_bp
    if rollout.stage + 1 >= len(stages_bp):
        raise IndexError("there is no next stage")
    moved = replace(
        rollout,
        stage=rollout.stage + 1,
        stage_ms=now_ms,
        pause=None,
        begun=None,
        answer=None,
        unseen=True,
    )
    if rollout.begun is None or moved.is_baking:
        return moved
    begun = replace(rollout.begun, share_bp=moved.share_bp, began_ms=now_ms)
    return replace(moved, begun=begun)


def share(bp: int) -> str:
    """A share as people write it: `2.5%`."""
    return f"{bp / 100:g}%"


def stages_words(rollout: Rollout) -> str:
    """The ladder with the stage in force marked: `1% -> [5%] -> 25% -> 100%`."""
    return " -> ".join(
        f"[{share(bp)}]" if at == rollout.stage else share(bp)
        for at, bp in enumerate(rollout.ladder.stages_bp)
    )


def busy_words(rollout: Rollout) -> str:
    """What is under way, for whoever wants to begin something else."""
    if rollout.kind is RolloutKind.GRADUAL:
        return f"{rollout.from_version} is being rolled back, {share(rollout.share_bp)} left"
    if rollout.is_baking:
        return f"{rollout.to_version} bakes"
    return f"{rollout.to_version} is on its way up, at {share(rollout.share_bp)}"
