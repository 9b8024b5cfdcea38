"""The switch itself: one set of actions for an automatic rollback and for a person's."""

from knowngood.core import ladder
from knowngood.core.asking import Purpose
from knowngood.core.errors import BadLadder
from knowngood.core.model import (
    Action,
    CountRollback,
    Enter,
    Finding,
    Incident,
    Method,
    MoveRoute,
    Notify,
    Record,
    Renew,
    Response,
    SetIncident,
    SetRollout,
    Severity,
    Stand,
    Standing,
    State,
    Verifying,
    whole,
)
from knowngood.core.rollout import Ladder, Rollout, RolloutKind
from knowngood.core.routing import new_salt
from knowngood.core.steps.case import Case, Step, evidence, incident_for, page, sentence, title

SYSTEM = "system"  # who acts when nobody was asked


def automatic_switch(case: Case, found: tuple[Finding, ...], target: str) -> Step:
    """Roll the suspect back to `target` by the system's own decision, and tell people.

    Stage by stage only where every trigger that was breached says `method: gradual`.
    """
    incident = incident_for(case, found, Severity.CRITICAL, Response.ROLLBACK)
    because = sentence(found)
    frozen = {"incident": incident.id, **evidence(case, found)}
    gradual = _is_gradual(case, found)
    moves = switch_actions(case, target, because, incident, quarantine=True, automatic=True)
    if gradual:
        moves = gradual_actions(
            case, target, case.policy.gradual, because, incident, quarantine=True, actor=SYSTEM
        )
    counted = () if _is_counted(case) else (CountRollback(),)
    actions: tuple[Action, ...] = (
        Record("rollback.confirmed", because, frozen),
        Record("rollback.target", f"{target} is the newest known-good version", {"to": target}),
        SetIncident(incident),
        *moves,
        *counted,
        *_tell(case, incident, target, because, gradual=gradual),
    )
    return Step(actions, fleet_actions=counted)


def _is_counted(case: Case) -> bool:
    """Whether the flap guard has counted this rollback: the system began it, and it goes faster.

    One that a person began was no automatic rollback until now.
    """
    rollout = case.state.rollout
    is_gradual = rollout is not None and rollout.kind is RolloutKind.GRADUAL
    return is_gradual and rollout is not None and rollout.actor == SYSTEM


def _is_gradual(case: Case, found: tuple[Finding, ...]) -> bool:
    methods = {t.name: t.method for t in case.policy.triggers}
    assert case.state.route is not None
    has_stages = any(
        0 < bp < case.state.route.weight_bp(case.suspect) for bp in case.policy.gradual.stages_bp
    )
    rollout = case.state.rollout
    giving_way = rollout is not None and rollout.kind is RolloutKind.GRADUAL
    return (
        has_stages
        and not giving_way
        and all(methods.get(f.trigger) is Method.GRADUAL for f in found)
    )


def switch_actions(
    case: Case,
    target: str,
    because: str,
    incident: Incident | None,
    *,
    quarantine: bool,
    automatic: bool,
    leaving: str = "",
) -> tuple[Action, ...]:
    """Move all traffic to `target`, quarantine what it leaves, and begin to verify.

    That is the suspect, unless `leaving` says otherwise. The phase comes after the move, because a
    moved route starts steady.
    """
    suspect = leaving or case.suspect
    verify = Verifying(
        from_version=suspect,
        to_version=target,
        triggers=incident.triggers if incident else (),
        began_ms=case.now_ms,
        deadline_ms=case.now_ms + case.policy.verify.deadline_ms,
        by="system" if automatic else "operator",
        automatic=automatic,
        unseen=True,
    )
    move: tuple[Action, ...] = (MoveRoute(whole(target)), Enter(verify))
    if quarantine:
        move = (Stand(suspect, Standing.QUARANTINED, f"rolled back: {because}"), *move)
    detail = {
        "from": suspect,
        "to": target,
        "incident": incident.id if incident else None,
        "automatic": automatic,
        "quarantined": quarantine,
    }
    return (*move, Record("rollback.switched", because, detail))


def gradual_actions(
    case: Case,
    target: str,
    steps: Ladder,
    because: str,
    incident: Incident | None,
    *,
    quarantine: bool,
    actor: str,
) -> tuple[Action, ...]:
    """Begin to take the traffic off the suspect, from the share that it has now.

    No unit that has the target already is moved. The suspect is quarantined at once, and the
    target's evidence begins anew. Raises BadLadder, also when no stage is below that share.
    """
    state, suspect = case.state, case.suspect
    assert state.route is not None
    share_bp = state.route.weight_bp(suspect)
    left = ladder.below(ladder.check(steps, RolloutKind.GRADUAL), share_bp)
    if left.stages_bp == (0,):
        raise BadLadder(
            f"{suspect} has {ladder.share(share_bp)}, and no stage is between that and 0%",
            next_step="roll back without stages: it is all the same",
        )
    rollout = Rollout(
        kind=RolloutKind.GRADUAL,
        from_version=suspect,
        to_version=target,
        ladder=left,
        began_ms=case.now_ms,
        stage_ms=case.now_ms,
        because=because,
        actor=actor,
        triggers=incident.triggers if incident else (),
    )
    detail = {
        "from": suspect,
        "to": target,
        "stages_bp": list(left.stages_bp),
        "incident": incident.id if incident else None,
        "automatic": actor == SYSTEM,
        "quarantined": quarantine,
    }
    words = f"{suspect} {ladder.stages_words(rollout)}, {target} has the rest: {because}"
    stand = Stand(suspect, Standing.QUARANTINED, f"rolled back: {because}")
    return (
        *((stand,) if quarantine else ()),
        MoveRoute(ladder.arms(rollout), salt_for(state, suspect)),
        SetRollout(rollout),
        Renew(target),
        Record("rollback.gradual", words, detail),
    )


def salt_for(state: State, candidate: str) -> str:
    """The salt of a route with this candidate: it stays while the same one is on trial."""
    route = state.route
    if route and route.candidate and route.candidate.version == candidate:
        return route.salt
    generation = route.generation if route else 0
    return new_salt(state.environment, state.prompt, candidate, generation)


def _tell(
    case: Case, incident: Incident, target: str, because: str, *, gradual: bool
) -> tuple[Notify, ...]:
    word = "GRADUAL ROLLBACK" if gradual else "ROLLBACK"
    subject = f"{title(case)}: {word} {case.suspect} -> {target}"
    then = f"{target} serves everybody from now on; verification runs"
    if gradual:
        then = f"it gives way to {target} stage by stage, and is verified then"
    body = f"{because}. {case.suspect} is quarantined, {then}. Incident {incident.id}."
    return tuple(
        note
        for audience in ("incidents", "on-call")
        for note in page(
            case,
            f"{incident.id}:rollback:{case.generation}:{audience}",
            audience,
            Severity.CRITICAL,
            subject,
            body,
            purpose=Purpose.PAGE if audience == "on-call" else Purpose.NOTE,
            thread=incident.id,
        )
    )
