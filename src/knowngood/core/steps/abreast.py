"""What was released as one takes its stages as one, up or down, in one transaction.

Each prompt's own look judges its own gates. One whose gates are open says so in its state; the
last one to say so takes all along. The word of one that is due for a look is old news: it is the
last one, then.
"""

from dataclasses import replace

from knowngood.core import ladder
from knowngood.core.gate import Gate
from knowngood.core.model import Action, Change, Partner, Record, SetRollout, State, Steady, Told
from knowngood.core.rollout import Pause, Rollout, RolloutKind
from knowngood.core.steps.advance import completed, stage_actions
from knowngood.core.steps.case import Case
from knowngood.core.steps.parts import led, moving_part, on_stages, with_words
from knowngood.core.steps.switch import SYSTEM

READY = "stage:ready:"


def climbing(case: Case) -> tuple[State, ...]:
    """The partners that are on their way up as well."""
    return tuple(each.state for each in on_stages(case, RolloutKind.CANARY))


def giving_way(case: Case) -> tuple[State, ...]:
    """The partners that are rolled back by stages as well."""
    return tuple(each.state for each in on_stages(case, RolloutKind.GRADUAL))


def not_ready(case: Case, rollout: Rollout) -> tuple[str, ...]:
    """The partners on their way up whose own gates of this stage are not open.

    One that is confirming a breach has not taken its word back: nobody moves it meanwhile.
    """
    return tuple(
        each.state.prompt
        for each in on_stages(case, RolloutKind.CANARY)
        if not isinstance(each.state.phase, Steady)
        or each.state.incident is not None
        or each.state.rollout is None
        or each.state.rollout.share_bp != rollout.share_bp
        or not _says_so(each)
    )


def not_down(case: Case, rollout: Rollout) -> tuple[str, ...]:
    """The partners on their way down that this one waits for.

    Whoever has more of the traffic left catches up first; whoever has less of it is ahead, and
    held by nobody.
    """
    return tuple(
        each.state.prompt
        for each in on_stages(case, RolloutKind.GRADUAL)
        if each.state.rollout is not None
        and (
            each.state.rollout.share_bp > rollout.share_bp
            or (each.state.rollout.share_bp == rollout.share_bp and not _says_so(each))
        )
    )


def _says_so(partner: Partner) -> bool:
    rollout = partner.state.rollout
    if partner.is_due or rollout is None or rollout.pause is not None:
        return False
    return f"{READY}{rollout.stage}" in partner.state.told


def readiness(
    case: Case, rollout: Rollout, is_open: bool, gates: tuple[Gate, ...] = ()
) -> tuple[Action, ...]:
    """Tell the partners that this prompt's own gates are open, or are no more.

    The line keeps what its own look has seen: the stage may be left by a partner's decision.
    """
    notice = f"{READY}{rollout.stage}"
    if not on_stages(case, rollout.kind) or is_open is case.told(notice):
        return ()
    if not is_open:
        return (Told(notice, forget=True),)
    words = f"{rollout.moving} is ready to leave {ladder.share(rollout.share_bp)}"
    detail = {
        "version": rollout.moving,
        "stage": rollout.stage,
        "share_bp": rollout.share_bp,
        "gates": [{"name": g.name, "answer": g.answer.value, "because": g.because} for g in gates],
    }
    return (Told(notice), Record("rollout.ready", words, detail))


def unready(state: State) -> tuple[Action, ...]:
    """Take back what the prompt has said of its stage: it is looked at anew."""
    said = [notice for notice in state.told if notice.startswith(READY)]
    return tuple(Told(notice, forget=True) for notice in said)


def onward_together(case: Case, because: str) -> tuple[Change, ...]:
    """The partners' next stage up, for the same transaction."""
    return tuple(
        _led(
            case,
            partner,
            stage_actions(partner, ladder.onward(partner.rollout, case.now_ms), words),
        )
        for partner in climbing(case)
        if partner.rollout is not None
        and (words := with_words(case.state, moving_part(partner), because))
    )


def downward_together(case: Case, rollout: Rollout, because: str) -> tuple[Change, ...]:
    """The next stage down of the partners that stand where this one stands."""
    made: list[Change] = []
    for each in on_stages(case, RolloutKind.GRADUAL):
        partner, theirs = each.state, each.state.rollout
        if theirs is None or theirs.share_bp != rollout.share_bp:
            continue
        words = with_words(case.state, moving_part(partner), because)
        onward = ladder.onward(theirs, case.now_ms)
        if onward.share_bp:
            actions = stage_actions(partner, onward, words)
        else:
            actions = completed(theirs, words, each.deadline_ms, case.now_ms)
        made.append(_led(case, partner, actions))
    return tuple(made)


def pause_together(case: Case, because: str) -> tuple[Change, ...]:
    """The partners' gradual rollbacks stay where they are with this one's."""
    made: list[Change] = []
    for partner in giving_way(case):
        rollout = partner.rollout
        if rollout is None or rollout.pause is not None:
            continue
        words = with_words(case.state, moving_part(partner), because)
        paused = replace(rollout, pause=Pause(case.now_ms, words, SYSTEM))
        detail = {"version": rollout.moving, "stage": rollout.stage, "share_bp": rollout.share_bp}
        line = Record("rollout.paused", words, detail)
        made.append(_led(case, partner, (SetRollout(paused), *unready(partner), line)))
    return tuple(made)


def _led(case: Case, partner: State, actions: tuple[Action, ...]) -> Change:
    return led(case.state, partner, actions, SYSTEM, case.policy.revision)
