"""The healthy day that is frozen when a version leaves: what was trouble is not in it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.day import healthy_day, leaving
from knowngood.core.evolve import SPELLS_MAX, evolve
from knowngood.core.model import (
    Change,
    Incident,
    Response,
    SetIncident,
    Severity,
    Spell,
    State,
    Verifying,
)
from knowngood.core.window import Bucket
from tests.core.build import DAY, DEFAULT, HOUR, MINUTE, NOW, PROMPT, SECOND, calls, entry, state


def incident(number: int = 1, opened_ms: int = NOW) -> Incident:
    """An open incident of that number."""
    name = f"production/cs/g1.{number}"
    return Incident(name, "v1", 1, Severity.HIGH, Response.ASK, ("error_high",), opened_ms)


def told(before: State, found: Incident | None, now_ms: int) -> State:
    """The state after the incident was set."""
    change = Change("production", PROMPT, before.revision, (SetIncident(found),), "system", "p")
    return evolve(before, change, 1, now_ms)


GOOD = state("v1", entry("v1", "good", -2 * DAY), since=-2 * DAY)


@pytest.mark.parametrize(
    ("before", "found"),
    [
        pytest.param(GOOD, ("v1", NOW - DAY), id="good for long: its last day"),
        pytest.param(
            state("v1", entry("v1", "good", -HOUR), since=-HOUR),
            ("v1", NOW - HOUR),
            id="good for an hour: since its deploy",
        ),
        pytest.param(
            state("v1", entry("v1", "candidate", -HOUR), since=-HOUR), None, id="not known good"
        ),
        pytest.param(
            state("v1", entry("v1", "good", -DAY), entry("v2", "candidate", -1), trial=("v2", 100)),
            None,
            id="it left the whole before",
        ),
        pytest.param(replace(GOOD, incident=incident()), None, id="an open incident"),
        pytest.param(
            replace(GOOD, phase=Verifying("v0", "v1", (), NOW, NOW, "system", True)),
            None,
            id="a rollback that is not verified",
        ),
        pytest.param(State("production", PROMPT), None, id="no route"),
    ],
)
def test_whose_day_is_kept(before, found):
    """Only a good version that leaves the whole of the traffic in peace has a healthy day."""
    gone = leaving(before, DEFAULT, NOW)
    assert (gone and (gone.version, gone.since_ms)) == found


def test_an_incident_leaves_its_spell():
    """From its opening to its end, once, whatever was added to it meanwhile."""
    seen = told(GOOD, incident(opened_ms=NOW), NOW)
    seen = told(seen, replace(incident(opened_ms=NOW), severity=Severity.CRITICAL), NOW + MINUTE)
    assert seen.spells == ()
    seen = told(seen, incident(2, NOW + HOUR), NOW + HOUR)
    assert seen.spells == (Spell(NOW, NOW + HOUR, "v1"),)
    seen = told(seen, None, NOW + 2 * HOUR)
    assert seen.spells == (Spell(NOW, NOW + HOUR, "v1"), Spell(NOW + HOUR, NOW + 2 * HOUR, "v1"))
    assert told(seen, None, NOW + DAY).spells == seen.spells


def test_spells_are_bounded():
    """A prompt that is in trouble all the time keeps the newest of them."""
    seen = GOOD
    for number in range(SPELLS_MAX + 5):
        seen = told(seen, incident(number, NOW + number), NOW + number)
        seen = told(seen, None, NOW + number + 1)
    assert len(seen.spells) == SPELLS_MAX
    assert seen.spells[-1] == Spell(NOW + SPELLS_MAX + 4, NOW + SPELLS_MAX + 5, "v1")


def test_an_outage_is_not_what_health_looks_like():
    """What failed in an incident, and in the window before it was found, is left out."""
    buckets = [Bucket(NOW + at * MINUTE, calls(ok=10), MINUTE) for at in range(60)]
    for at in range(20, 30):
        buckets[at] = Bucket(NOW + at * MINUTE, calls(errors=10), MINUTE)
    sick = replace(GOOD, spells=(Spell(NOW + 22 * MINUTE + 1, NOW + 30 * MINUTE),))
    day = healthy_day(sick, DEFAULT, buckets)
    assert (day.error_count, day.call_count) == (0, 10 * (60 - 13))
    whole = healthy_day(GOOD, DEFAULT, buckets)
    assert (whole.error_count, whole.call_count) == (100, 600)


SPANS = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 300)), max_size=5)


@given(SPANS)
def test_a_day_holds_just_what_lies_outside(spans):
    """Second by second: a bucket counts unless some spell, or the window before it, touches it."""
    lead_s = DEFAULT.window_ms // SECOND
    spells = tuple(Spell(NOW + a * SECOND, NOW + (a + n) * SECOND) for a, n in spans)
    buckets = [Bucket(NOW + at * SECOND, calls(ok=1)) for at in range(1_000)]
    well = sum(not any(a - lead_s <= at < a + n for a, n in spans) for at in range(1_000))
    assert healthy_day(replace(GOOD, spells=spells), DEFAULT, buckets).ok == well
