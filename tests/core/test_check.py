"""A state that makes no sense is found out."""

import re
from dataclasses import replace

import pytest

from knowngood.core.check import BadState, problems, refuse
from knowngood.core.model import (
    FLEET,
    Arm,
    Confirming,
    Entry,
    Incident,
    Response,
    Route,
    Severity,
    Standing,
    State,
    Verifying,
    whole,
)

ENTRIES = (Entry("v1", Standing.GOOD, 1), Entry("v2", Standing.CANDIDATE, 2, routed_ms=2))
ROUTE = Route((Arm("v1", 9_000), Arm("v2", 1_000)), "salt", 3, 2)
INCIDENT = Incident("production/cs/g3.1", "v2", 3, Severity.HIGH, Response.ASK, ("error_high",), 5)
VERIFYING = Verifying("v2", "v1", ("error_critical",), 5, 9, "system", True)
SOUND = State("production", "cs", 4, ROUTE, ENTRIES, VERIFYING, INCIDENT, 1, ("asked",))


def found(state: State, severity: str) -> str:
    return "; ".join(p.message for p in problems(state) if p.severity == severity)


@pytest.mark.parametrize(
    "state",
    [
        SOUND,
        State("production", "cs"),
        State("production", FLEET, 7, rollbacks_ms=(1, 2)),
        # Opened before the rollback moved the route on.
        replace(SOUND, incident=replace(INCIDENT, id="production/cs/g2.4", generation=2)),
        replace(SOUND, phase=Confirming("error_critical", "v2", 1, 2)),
    ],
)
def test_sound_states_have_no_problems(state: State):
    """What the engine really writes passes without a word."""
    assert problems(state) == []
    refuse(state)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (replace(SOUND, revision=-1), "the revision is -1"),
        (State("", "cs"), "needs an environment and a prompt"),
        (replace(SOUND, incident_count=-1), "the incident count is -1"),
        (replace(SOUND, told=("a", "a")), "a notice is remembered twice"),
        (replace(SOUND, ledger=ENTRIES[:1]), "v2 is on the route and not in the ledger"),
        (replace(SOUND, ledger=(*ENTRIES, ENTRIES[0])), "the ledger has v1 twice"),
        (
            replace(SOUND, ledger=(*ENTRIES, Entry("", Standing.GOOD, 1))),
            "a version without a name",
        ),
        (
            replace(SOUND, ledger=(ENTRIES[0], replace(ENTRIES[1], routed_ms=-1))),
            "times of v2 are negative",
        ),
        (replace(SOUND, route=replace(ROUTE, generation=0)), "the route's generation is 0"),
        (replace(SOUND, route=replace(ROUTE, since_ms=-5)), "there since -5 ms"),
        (replace(SOUND, phase=replace(VERIFYING, to_version="v0")), "v0, which is not on the"),
        (State("production", "cs", phase=VERIFYING), "v1, which is not on the route"),
        (replace(SOUND, phase=replace(VERIFYING, to_version="v2")), "from v2 to itself"),
        (replace(SOUND, phase=replace(VERIFYING, deadline_ms=4)), "deadline is before"),
        (replace(SOUND, phase=replace(VERIFYING, attempt_count=0)), "attempt count is 0"),
        (replace(SOUND, phase=Confirming("x", "v9", 1, 2)), "confirming a breach of v9"),
        (replace(SOUND, incident=replace(INCIDENT, id="staging/cs/g3.1")), "'staging/cs/g3.1'"),
        (replace(SOUND, incident=replace(INCIDENT, id="production/cs/g3")), "'production/cs/g3'"),
        (replace(SOUND, incident=replace(INCIDENT, generation=2)), "it is of generation 2"),
        (
            replace(SOUND, incident=replace(INCIDENT, id="production/cs/g4.1", generation=4)),
            "a generation after the route's",
        ),
        (State("production", FLEET, route=ROUTE), "the fleet's own state has a route"),
        (State("production", FLEET, ledger=ENTRIES), "the fleet's own state has a ledger"),
        (State("production", FLEET, phase=VERIFYING), "the fleet's own state is verifying"),
    ],
)
def test_nonsense_is_an_error(state: State, message: str):
    """Each invariant is named in words, with the state's name, and refuses the change."""
    assert message in found(state, "error")
    with pytest.raises(BadState, match=re.escape(f"{state.environment}/{state.prompt}: ")):
        refuse(state)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            replace(SOUND, ledger=(ENTRIES[0], replace(ENTRIES[1], standing=Standing.QUARANTINED))),
            "v2 is quarantined and has 10 % of the traffic",
        ),
        (replace(SOUND, rollbacks_ms=(9, 3)), "the rollbacks are not in the order"),
        (
            State("production", "cs", 1, Route(whole("v1"), "", 3), ENTRIES[:1], incident=INCIDENT),
            "the incident is about v2, which the ledger does not know",
        ),
    ],
)
def test_oddities_are_warnings(state: State, message: str):
    """What happens for good reasons is said and not refused."""
    assert message in found(state, "warning")
    assert found(state, "error") == ""
    refuse(state)


def test_old_errors_do_not_block():
    """A state that was broken before can still be rolled back: only new errors refuse a change."""
    broken = replace(SOUND, told=("a", "a"))
    refuse(replace(broken, phase=replace(VERIFYING, attempt_count=2)), before=broken)
    with pytest.raises(BadState, match="attempt count is 0") as worse:
        refuse(replace(broken, phase=replace(VERIFYING, attempt_count=0)), before=broken)
    assert "twice" not in worse.value.message
