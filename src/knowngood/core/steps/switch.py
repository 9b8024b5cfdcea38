"""The switch itself: one set of actions for an automatic rollback and for a person's."""

from knowngood.core.model import (
    Action,
    CountRollback,
    Enter,
    Finding,
    Incident,
    MoveRoute,
    Notify,
    Record,
    Response,
    SetIncident,
    Severity,
    Stand,
    Standing,
    Verifying,
    whole,
)
from knowngood.core.steps.case import Case, Step, evidence, incident_for, page, sentence, title


def automatic_switch(case: Case, found: tuple[Finding, ...], target: str) -> Step:
    """Roll the suspect back to `target` by the system's own decision, and tell people."""
    incident = incident_for(case, found, Severity.CRITICAL, Response.ROLLBACK)
    because = sentence(found)
    frozen = {"incident": incident.id, **evidence(case, found)}
    actions: tuple[Action, ...] = (
        Record("rollback.confirmed", because, frozen),
        Record("rollback.target", f"{target} is the newest known-good version", {"to": target}),
        SetIncident(incident),
        *switch_actions(case, target, because, incident, quarantine=True, automatic=True),
        CountRollback(),
        *_tell(case, incident, target, because),
    )
    return Step(actions, fleet_actions=(CountRollback(),))


def switch_actions(
    case: Case,
    target: str,
    because: str,
    incident: Incident | None,
    *,
    quarantine: bool,
    automatic: bool,
) -> tuple[Action, ...]:
    """Move all traffic to `target`, quarantine what it leaves, and begin to verify.

    The phase comes after the move, because a moved route starts steady.
    """
    suspect = case.suspect
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


def _tell(case: Case, incident: Incident, target: str, because: str) -> tuple[Notify, ...]:
    subject = f"{title(case)}: ROLLBACK {case.suspect} -> {target}"
    body = (
        f"{because}. {case.suspect} is quarantined, {target} serves everybody from now on; "
        f"verification runs. Incident {incident.id}."
    )
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
        )
    )
