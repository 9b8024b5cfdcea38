"""An engine that cannot do its work says so: blind is not healthy."""

import pytest

from knowngood.core.fleet import PATIENCE_MS, breaching_since_ms, trouble
from knowngood.core.model import FLEET, Confirming, Notify, Observed, Record, State
from knowngood.core.steps.answers import acknowledge
from knowngood.core.steps.case import Case
from tests.core.build import BAD, DEFAULT, FAIR, MINUTE, NOW, SECOND, Story, changed, state


def fleet(environment: str = "production") -> State:
    return State(environment, FLEET)


@pytest.mark.parametrize(
    ("failing_for_ms", "pages"),
    [
        pytest.param(PATIENCE_MS - SECOND, 0, id="a short lock is nobody's night"),
        pytest.param(PATIENCE_MS, 1, id="a minute is"),
    ],
)
def test_people_hear_of_an_engine_that_keeps_failing(failing_for_ms, pages):
    """Reports that cannot be written for a minute page on-call, once."""
    failing = {"ingest": NOW - failing_for_ms}
    actions = trouble(fleet(), failing, DEFAULT, NOW)
    assert sum(isinstance(action, Notify) for action in actions) == pages
    after = changed(fleet(), actions, NOW)
    assert trouble(after, failing, DEFAULT, NOW + SECOND) == () or not pages


def test_the_end_is_told_and_the_next_time_is_news():
    """What works again is recorded; a second failure has a key of its own."""
    first = trouble(fleet(), {"reconcile": NOW - PATIENCE_MS}, DEFAULT, NOW)
    told = changed(fleet(), first, NOW)
    over = trouble(told, {}, DEFAULT, NOW + SECOND)
    assert [a.kind for a in over if isinstance(a, Record)] == ["engine.working"]
    later = NOW + 10 * PATIENCE_MS
    again = trouble(changed(told, over, NOW), {"reconcile": later - PATIENCE_MS}, DEFAULT, later)
    keys = {a.key for a in (*first, *again) if isinstance(a, Notify)}
    assert len(keys) == 2


def test_nobody_takes_the_engines_page():
    """It goes from level to level like any page, and an acknowledgement or its end stops that."""
    failing = {"reconcile": NOW - PATIENCE_MS}
    first = trouble(fleet(), failing, DEFAULT, NOW)
    before = changed(fleet(), first, NOW)
    assert trouble(before, failing, DEFAULT, NOW + 4 * MINUTE) == ()
    onward = trouble(before, failing, DEFAULT, NOW + 5 * MINUTE)
    (page,) = [action for action in onward if isinstance(action, Notify)]
    assert page.targets == ("on-call", "author")
    assert "`knowngood ack 'production/*:engine:reconcile'` takes it" in page.body
    assert "no prompt is judged" in page.body
    seen = Case(before, Observed(NOW), DEFAULT, (), NOW)
    taken = changed(before, acknowledge(seen, None, "on it", "ann"), NOW)
    assert trouble(taken, failing, DEFAULT, NOW + 60 * MINUTE) == ()


def test_staging_pages_nobody():
    """It is recorded there, like every breach."""
    actions = trouble(fleet("staging"), {"ingest": NOW - PATIENCE_MS}, DEFAULT, NOW)
    assert [type(action).__name__ for action in actions] == ["Told", "Record"]


def test_siblings_hear_since_when_a_prompt_is_in_critical_breach():
    """Since it was first seen so, or since its confirmation began, whoever looked then."""
    story = Story()
    story.until("rollback.suspected", v2=BAD)
    found = story.decision().findings
    began_ms = story.state.phase.began_ms
    assert isinstance(story.state.phase, Confirming)
    assert breaching_since_ms(story.state, found, None, NOW + 60 * SECOND) == began_ms
    steady = state()
    assert breaching_since_ms(steady, found, None, NOW) == NOW
    assert breaching_since_ms(steady, found, NOW - SECOND, NOW) == NOW - SECOND


def test_a_question_is_no_critical_breach_for_siblings():
    """Only what rolls back by itself speaks for a trouble upstream."""
    story = Story()
    story.until("incident.opened", v2=FAIR)
    assert breaching_since_ms(story.state, story.decision().findings, NOW, NOW) is None
