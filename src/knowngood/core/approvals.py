"""The second person: who has to agree before a version is promoted, and who has.

An approval is one person's word for one version in one environment. Versions never change, so it
cannot come to mean something else; it ends with its time, and when the version is quarantined.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from knowngood.core.asking import Approval, Purpose, unapproved, unapproved_version
from knowngood.core.errors import BadRequest, Forbidden, Quarantined
from knowngood.core.explain import duration
from knowngood.core.gate import Gate, allow, not_yet
from knowngood.core.model import (
    Action,
    Approve,
    Notify,
    Record,
    Severity,
    Standing,
    State,
    Told,
    Wait,
)
from knowngood.core.people import ApprovalRule, EscalationRule
from knowngood.core.steps.case import QUIET_ENVIRONMENTS, env_option, to_first_level

GATE = "approvals"
APPROVERS = "approvers"  # the audience of whoever may agree, besides them by name
ASKED = "asked:"  # the notice that they were told


@dataclass(frozen=True, slots=True)
class Voters:
    """Who can be told from whom. `requester` is whoever asks now, empty when that is not proven.

    `requesters` may promote and `approvers` may approve; both are empty where there are no tokens
    that bear a name.
    """

    requester: str = ""
    requesters: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()

    @property
    def can_be_two(self) -> bool:
        """Whether one person could ask and another one approve."""
        return bool(self.approvers) and len(set(self.requesters) | set(self.approvers)) > 1


NO_VOTERS = Voters()


def people_needed(rule: ApprovalRule, environment: str, voters: Voters) -> int:
    """How many people a promotion there needs, whoever asks for it included."""
    if environment not in rule.environments:
        return 1
    if rule.people_count is None:
        return 2 if voters.can_be_two else 1
    return rule.people_count


def valid_approvals(state: State, version: str, now_ms: int) -> tuple[Approval, ...]:
    """The approvals of the version that have not ended, the newest of each person."""
    newest = {
        approval.actor: approval
        for approval in state.approvals
        if approval.version == version and now_ms < approval.until_ms
    }
    return tuple(newest.values())


def approvals_gate(
    state: State, version: str, rule: ApprovalRule, voters: Voters, now_ms: int
) -> Gate:
    """Open once enough people agree, of whom whoever asks for the promotion is one."""
    needed = people_needed(rule, state.environment, voters)
    if needed == 1:
        return allow(GATE, _why_one(rule, state.environment))
    given = [a for a in valid_approvals(state, version, now_ms) if a.actor in voters.approvers]
    names = sorted(approval.actor for approval in given)
    # Who promotes is not known while nobody asks; then it is taken to be somebody else.
    asks = voters.requester
    people_count = len({*names, asks}) if asks else len(names) + 1
    others = sorted(set(voters.approvers) - {*names, asks})
    if people_count >= needed:
        left_ms = min(approval.until_ms for approval in given) - now_ms
        words = f"approved by {_listed(names)}, for {duration(left_ms)} more"
        return allow(GATE, words if asks not in names else f"{words}; you are one of {needed}")
    return not_yet(GATE, *_missing(needed, people_count, names, others, asks))


def approve(
    state: State,
    version: str,
    rule: ApprovalRule,
    because: str,
    voters: Voters,
    now_ms: int,
) -> tuple[Action, ...]:
    """The requester of `voters` approves the version; nothing if they have, for as long already.

    Raises BadRequest where nobody is waiting for an approval or a person can not be told from
    another, Forbidden for who may not approve, and Quarantined.
    """
    who = voters.requester
    if not who:
        raise BadRequest(
            "an approval is a person's word, and nothing here proves who gives it",
            next_step="start the server with named tokens: knowngood token make",
        )
    if people_needed(rule, state.environment, voters) == 1:
        raise BadRequest(
            f"a promotion in {state.environment} needs no approval: "
            f"{_why_one(rule, state.environment)}",
            next_step="promote it",
        )
    if who not in voters.approvers:
        raise Forbidden(f"{who} may not approve a promotion", known=list(voters.approvers))
    entry = state.entry(version)
    if entry is not None and entry.standing is Standing.QUARANTINED:
        raise Quarantined(
            f"{version} is quarantined: {entry.because}",
            next_step="lift the quarantine first, if it was a mistake: knowngood unquarantine",
        )
    until_ms = now_ms + rule.valid_ms
    approval = Approval(version, who, because, now_ms, until_ms)
    return (
        Approve(approval),
        Record(
            "promotion.approved",
            because,
            {"version": version, "approver": who, "until_ms": until_ms},
        ),
        *_seen(state, version, who, because, now_ms),
    )


def _seen(state: State, version: str, who: str, because: str, now_ms: int) -> tuple[Notify, ...]:
    """The end of the page that the version was promoted without a second person."""
    return tuple(
        Notify(
            key=f"{alarm.thread}:over:{now_ms}",
            audience=alarm.audience,
            severity=Severity.LOW,
            subject=f"{state.prompt}:{version} ({state.environment}): approved by {who}",
            body=because or "approved",
            purpose=Purpose.RESOLVED,
            thread=alarm.thread,
        )
        for alarm in state.alarms
        if unapproved_version(alarm.thread) == version
    )


def ask_for(
    state: State,
    version: str,
    gate: Gate,
    because: str,
    voters: Voters,
    rule: ApprovalRule,
    now_ms: int,
) -> tuple[Action, ...]:
    """Tell whoever may agree that somebody wants to promote the version; once a request.

    It is one request while the same person asks for the same version, until the route moves or an
    approval would have ended. Nothing is put into force: a note, and no page.
    """
    who = voters.requester
    mine = f"{ASKED}{version}:{who}:"
    before = [notice for notice in state.told if notice.startswith(mine)]
    if any(now_ms - int(n.rsplit(":", 1)[1]) < rule.valid_ms for n in before):
        return ()
    named, env = f"{state.prompt} {version}", env_option(state)
    given = {approval.actor for approval in valid_approvals(state, version, now_ms)}
    others = tuple(name for name in voters.approvers if name not in {who, *given})
    told = Notify(
        key=f"{state.environment}/{state.prompt}:{mine}{now_ms}",
        audience=APPROVERS,
        severity=Severity.LOW,
        subject=f"{who or 'somebody'} asks for an approval: {state.prompt}:{version} in "
        f"{state.environment}",
        body=f"{because}. {gate.because}. `knowngood approve {named}{env} --because ...` agrees; "
        f"`knowngood gates {named}{env}` shows all that it has to pass.",
        targets=(APPROVERS, *others),
    )
    detail = {"version": version, "requester": who, "who_can": list(others)}
    quiet = state.environment in QUIET_ENVIRONMENTS
    return (
        *(Told(old, forget=True) for old in before),
        Told(f"{mine}{now_ms}"),
        Record("promotion.asked", because, detail),
        *(() if quiet else (told,)),
    )


def overridden(
    state: State, version: str, gate: Gate, because: str, actor: str, rule: EscalationRule
) -> tuple[Action, ...]:
    """What follows when somebody promotes alone what needs others: it is written down, and told.

    The page comes after the move, and is over once somebody has seen it (`asking.unapproved`).
    """
    named = f"{state.prompt}:{version}"
    body = f"{actor} broke the glass: {because}. What was missing: {gate.because}."
    told = Notify(
        key=f"{state.environment}/{named}/approvals-overridden/r{state.revision}",
        audience="on-call",
        severity=Severity.HIGH,
        subject=f"{named} is promoted in {state.environment} without a second person",
        body=body,
        purpose=Purpose.PAGE,
        thread=unapproved(state.environment, state.prompt, version, state.revision),
        evidence=body,
    )
    detail = {"version": version, "missing": gate.because}
    return Record("approvals.overridden", because, detail), to_first_level(told, rule)


def _why_one(rule: ApprovalRule, environment: str) -> str:
    if environment not in rule.environments:
        return f"one person is enough in {environment}"
    if rule.people_count is None:
        return "one person is enough: no tokens tell two people apart here"
    return "one person is enough, says the policy"


def _missing(
    needed: int, people_count: int, names: list[str], others: list[str], asks: str
) -> tuple[str, Wait]:
    have = f"approved by {_listed(names)}" if names else "nobody has approved it"
    words = f"it needs {needed} people, who promotes it included; {have}"
    if asks in names:
        words += ", who cannot be the one to promote it as well"
    can = f"{_listed(others)} can" if others else "nobody else here may: see the tokens"
    return f"{words}; {can}", Wait(GATE, needed, people_count, detail=", ".join(others))


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
