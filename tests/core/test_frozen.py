"""What is put away with a decision is enough to make it again, and no more than a line can hold."""

import json

import pytest

from knowngood.core.decide import decide
from knowngood.core.explain import NAMES_KEPT
from knowngood.core.frozen import freeze, thaw
from knowngood.core.model import Census, Verifying
from tests.core.build import DEFAULT, MINUTE, NOW, SECOND, calls, kinds, observed, read, state

FLEET_OF = tuple(f"web-{number:05}.example.internal:1" for number in range(10_000))
YOUNG = 10 * SECOND


def verifying(since: int) -> Verifying:
    """v2 was rolled back to v1 `since` ms ago."""
    began_ms = NOW - since
    return Verifying("v2", "v1", ("error_critical",), began_ms, NOW + MINUTE, "system", True)


@pytest.mark.parametrize(
    ("since", "census", "line"),
    [
        pytest.param(
            2 * MINUTE, Census(20_000, 10_000, FLEET_OF), "rollback.straggler", id="all lag"
        ),
        pytest.param(YOUNG, Census(1, 1, (), FLEET_OF), "rollback.propagated", id="most are gone"),
        pytest.param(YOUNG, Census(silent=FLEET_OF), "blind", id="all are gone"),
        pytest.param(YOUNG, Census(20_000, 10_000, FLEET_OF, FLEET_OF), None, id="lag or gone"),
    ],
)
def test_a_look_at_a_large_fleet_is_short_and_decides_the_same(since, census, line):
    """Some names and how many more there were: every word that names processes comes out alike."""
    where = state("v1", since=-since, phase=verifying(since))
    seen = read(where, observed(census=census, v1=calls(ok=10)))
    decision = decide(where, seen, DEFAULT, NOW)
    assert kinds(decision.actions) == ([line] if line else [])
    look = json.loads(json.dumps(freeze(where, seen, NOW)))
    assert len(json.dumps(look["census"])) < 2 * NAMES_KEPT * 50
    thawed = thaw(look)
    again = decide(thawed.state, thawed.observed, DEFAULT, thawed.now_ms)
    assert again == decision
    assert "9,995 more" in str(decision) or "10000 processes" in str(decision)
    assert freeze(thawed.state, thawed.observed, NOW)["census"] == look["census"]
