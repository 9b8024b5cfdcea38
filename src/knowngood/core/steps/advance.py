"""Putting a rollout's stage in force: the same actions for everybody who may do it."""

from knowngood.core import ladder
from knowngood.core.gate import Gate
from knowngood.core.model import Action, MoveRoute, Record, SetRollout, State
from knowngood.core.rollout import Rollout


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
