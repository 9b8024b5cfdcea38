"""The second person: how many it takes, who may be one, and when a word no longer holds."""

from dataclasses import replace

import pytest

from knowngood.core.approvals import (
    NO_VOTERS,
    Voters,
    approvals_gate,
    approve,
    people_needed,
    valid_approvals,
)
from knowngood.core.asking import Approval
from knowngood.core.errors import BadRequest, Forbidden, Quarantined
from knowngood.core.evolve import evolve
from knowngood.core.explain import wait_words
from knowngood.core.model import Approve, Change, Entry, Stand, Standing, State
from knowngood.core.people import ApprovalRule

NOW = 1_000_000_000
HOUR = 3_600_000
RULE = ApprovalRule()
STATE = State("production", "cs")
ALL = ("ada", "ana", "ben", "otto")
BY_ANA = Voters("ana", ALL, ("ada", "ben"))
BY_BEN = replace(BY_ANA, requester="ben")


def approved(*actors, version="v2", at_ms=NOW, until_ms=NOW + HOUR):
    given = tuple(Approval(version, actor, "fine", at_ms, until_ms) for actor in actors)
    return replace(STATE, approvals=given)


def gate(state, voters, rule=RULE, now_ms=NOW):
    found = approvals_gate(state, "v2", rule, voters, now_ms)
    return found.answer.value


@pytest.mark.parametrize(
    ("rule", "environment", "voters", "needed"),
    [
        (RULE, "production", NO_VOTERS, 1),
        (RULE, "production", BY_ANA, 2),
        (RULE, "staging", BY_ANA, 1),
        (RULE, "production", Voters("ada", ("ada",), ("ada",)), 1),
        (RULE, "production", Voters("ana", ("ana", "otto"), ()), 1),
        (ApprovalRule(1), "production", BY_ANA, 1),
        (ApprovalRule(2), "production", NO_VOTERS, 2),
        (ApprovalRule(3, environments=("eu",)), "eu", BY_ANA, 3),
    ],
)
def test_how_many_it_takes(rule, environment, voters, needed):
    """By itself two wherever two can be told apart, one of whom may approve; else as it is said."""
    assert people_needed(rule, environment, voters) == needed


@pytest.mark.parametrize(
    ("state", "voters", "answer"),
    [
        (STATE, NO_VOTERS, "allow"),  # one is enough
        (STATE, BY_ANA, "not_yet"),
        (approved("ben"), BY_ANA, "allow"),
        (approved("ben"), BY_BEN, "not_yet"),  # he cannot be both
        (approved("ben", "ada"), BY_BEN, "allow"),
        (approved("ben"), replace(BY_ANA, requester=""), "allow"),  # nobody asks yet
        (approved("otto"), BY_ANA, "not_yet"),  # no approver, or no longer
        (approved("ben", version="v1"), BY_ANA, "not_yet"),
        (approved("ben", until_ms=NOW), BY_ANA, "not_yet"),
        (approved("ben", until_ms=NOW + 1), BY_ANA, "allow"),
    ],
)
def test_who_asks_and_who_agrees_are_two(state, voters, answer):
    """An approval counts from somebody else, who may, of this version, until it ends."""
    assert gate(state, voters) == answer


def test_one_person_counts_once():
    """However often they say it."""
    three = ApprovalRule(3)
    assert gate(approved("ben", "ben"), BY_ANA, three) == "not_yet"
    assert gate(approved("ben", "ada"), BY_ANA, three) == "allow"
    assert len(valid_approvals(approved("ben", "ben"), "v2", NOW)) == 1


def test_a_closed_gate_says_what_is_missing_and_who_can():
    """So that the next step is a message to somebody by name."""
    found = approvals_gate(STATE, "v2", RULE, BY_BEN, NOW)
    assert found.because == (
        "it needs 2 people, who promotes it included; nobody has approved it; ada can"
    )
    assert [wait_words(wait) for wait in found.waiting_on] == [
        "the word of 1 more person (ada can)"
    ]
    alone = approvals_gate(approved("ben"), "v2", RULE, BY_BEN, NOW)
    assert "approved by ben, who cannot be the one to promote it as well" in alone.because
    forced = approvals_gate(STATE, "v2", ApprovalRule(2), NO_VOTERS, NOW)
    assert "nobody else here may" in forced.because


def after(state, actions, actor="ben", now_ms=NOW):
    return evolve(state, Change("production", "cs", state.revision, actions, actor), 1, now_ms)


def test_an_approval_holds_as_long_as_the_policy_says():
    """And it opens the gate for everybody else."""
    state = after(STATE, approve(STATE, "v2", RULE, "read it", BY_BEN, NOW))
    assert gate(state, BY_ANA) == "allow"
    assert gate(state, BY_ANA, now_ms=NOW + RULE.valid_ms - 1) == "allow"
    assert gate(state, BY_ANA, now_ms=NOW + RULE.valid_ms) == "not_yet"


@pytest.mark.parametrize(
    ("state", "voters", "rule", "error", "words"),
    [
        (STATE, NO_VOTERS, RULE, BadRequest, "nothing here proves who"),
        (STATE, replace(BY_ANA, requester=""), RULE, BadRequest, "nothing here proves who"),
        (STATE, BY_ANA, RULE, Forbidden, "ana may not approve"),
        (STATE, BY_BEN, ApprovalRule(1), BadRequest, "one person is enough, says the policy"),
        (
            replace(STATE, ledger=(Entry("v2", Standing.QUARANTINED, 0, because="it lied"),)),
            BY_BEN,
            RULE,
            Quarantined,
            "it lied",
        ),
    ],
)
def test_a_word_that_would_mean_nothing_is_refused(state, voters, rule, error, words):
    """With what it would take."""
    with pytest.raises(error, match=words):
        approve(state, "v2", rule, "because", voters, NOW)


def test_a_quarantine_ends_every_approval_of_its_version():
    """Also once it is lifted: what was agreed to was a version that nobody had found at fault."""
    state = replace(approved("ben"), approvals=(*approved("ben").approvals, *approved(
        "ada", version="v3").approvals))  # fmt: skip
    state = after(state, (Stand("v2", Standing.QUARANTINED, "rolled back"),))
    state = after(state, (Stand("v2", Standing.CANDIDATE, "it was the provider"),))
    assert gate(state, BY_ANA) == "not_yet"
    assert [approval.version for approval in state.approvals] == ["v3"]


def test_what_has_ended_is_forgotten():
    """With the next approval."""
    old = approved("ada", until_ms=NOW)
    state = after(old, (Approve(Approval("v2", "ben", "fine", NOW, NOW + 1)),))
    assert [approval.actor for approval in state.approvals] == ["ben"]
