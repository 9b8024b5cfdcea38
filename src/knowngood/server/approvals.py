"""The second person of a promotion: who may agree, who has, and the agreement itself."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from knowngood.core.approvals import (
    Voters,
    approvals_gate,
    approve,
    ask_for,
    people_needed,
    valid_approvals,
)
from knowngood.core.errors import StaleState
from knowngood.core.model import Action, Change, State
from knowngood.server.act import ATTEMPTS, Ask, carry_out, check_ask, result_of
from knowngood.server.desk import Desk
from knowngood.server.roles import Caller, Need, Role
from knowngood.server.words import when

ASKS, AGREES = Need(Role.OPERATOR), Need(Role.APPROVER)


def voters_of(desk: Desk, caller: Caller, now_ms: int) -> Voters:
    """Who can be told from whom, by the tokens in force; `caller` is who asks, if they may."""
    requesters = desk.roster.who(ASKS, now_ms)
    requester = caller.name if caller.name in requesters else ""
    return Voters(requester, requesters, desk.roster.who(AGREES, now_ms))


def approve_promotion(
    desk: Desk, environment: str, prompt: str, version: str, ask: Ask, now_ms: int
) -> dict[str, Any]:
    """The caller agrees to a promotion of this version; `approvals` says who has, and who can.

    Raises Unknown…, BadRequest without a reason or where nobody waits for it, Forbidden for who may
    not approve, Quarantined, or StaleState.
    """
    desk.check_environment(environment)
    name, wanted = desk.resolve(prompt, version)
    assert wanted is not None
    check_ask(ask, because=True)
    done = carry_out(
        desk,
        environment,
        name,
        ask,
        lambda state: _approve(desk, state, wanted, ask, now_ms),
        now_ms,
    )
    return {
        **result_of(desk, done, now_ms),
        "version": wanted,
        "approvals": approvals_data(desk, done.after, wanted, ask.caller, now_ms),
    }


def approve_release(
    desk: Desk, environment: str, name: str, ask: Ask, now_ms: int
) -> dict[str, Any]:
    """The caller agrees to a promotion of all of a release's versions, in one transaction.

    Members of which one person's word is enough need none. Raises as approve_promotion, and
    UnknownRelease.
    """
    desk.check_environment(environment)
    check_ask(ask, because=True)
    found = desk.store.releases.get(name)
    for attempt in range(ATTEMPTS):
        pairs = [
            (desk.store.states.get(environment, member.prompt), member.version)
            for member in found.members
        ]
        changes = _changes(desk, pairs, ask, now_ms)
        if not ask.dry_run:
            try:
                desk.store.states.apply(changes, now_ms)
            except StaleState:
                if attempt + 1 == ATTEMPTS:
                    raise
                continue
        return {
            "outcome": "changed",
            "dry_run": ask.dry_run,
            "environment": environment,
            "release": name,
            "members": [f"{m.prompt}:{m.version}" for m in found.members],
            **when("at", now_ms),
        }
    raise AssertionError("the last attempt returns or raises")


def tell_approvers(desk: Desk, pairs: Sequence[tuple[State, str]], ask: Ask, now_ms: int) -> None:
    """What was refused for want of a second person is told to those who could be one, once.

    A state that has changed meanwhile is left alone: whoever asks again is told again.
    """
    voters = voters_of(desk, ask.caller, now_ms)
    changes = []
    for state, version in pairs:
        rule = desk.policy.for_prompt(state.prompt).approvals
        gate = approvals_gate(state, version, rule, voters, now_ms)
        if gate.is_open:
            continue
        actions = ask_for(state, version, gate, ask.because, voters, rule, now_ms)
        if actions:
            here = state.environment, state.prompt, state.revision
            changes.append(Change(*here, actions, ask.actor, desk.policy.revision))
    if changes and not ask.dry_run:
        with suppress(StaleState):
            desk.store.states.apply(changes, now_ms)


def _changes(desk: Desk, pairs: Sequence[tuple[State, str]], ask: Ask, now_ms: int) -> list[Change]:
    voters = voters_of(desk, ask.caller, now_ms)
    wanting = [
        (state, version)
        for state, version in pairs
        if people_needed(desk.policy.for_prompt(state.prompt).approvals, state.environment, voters)
        > 1
    ]
    return [
        Change(
            state.environment,
            state.prompt,
            state.revision,
            _approve(desk, state, version, ask, now_ms),
            ask.actor,
            desk.policy.revision,
        )
        # Where none of it needs an approval, the first one says why.
        for state, version in wanting or pairs[:1]
    ]


def _approve(desk: Desk, state: State, version: str, ask: Ask, now_ms: int) -> tuple[Action, ...]:
    rule = desk.policy.for_prompt(state.prompt).approvals
    voters = voters_of(desk, ask.caller, now_ms)
    return approve(state, version, rule, ask.because, voters, now_ms)


def approvals_data(
    desk: Desk, state: State, version: str, caller: Caller, now_ms: int
) -> dict[str, Any]:
    """How many people it takes, who has agreed, and who still can."""
    rule = desk.policy.for_prompt(state.prompt).approvals
    voters = voters_of(desk, caller, now_ms)
    given = valid_approvals(state, version, now_ms)
    counted = [approval for approval in given if approval.actor in voters.approvers]
    names = {approval.actor for approval in counted}
    return {
        "people_count": people_needed(rule, state.environment, voters),
        "given": [
            {
                "actor": approval.actor,
                "because": approval.because,
                **when("at", approval.at_ms),
                **when("until", approval.until_ms),
            }
            for approval in counted
        ],
        "who_can": sorted(set(voters.approvers) - names - {voters.requester}),
    }
