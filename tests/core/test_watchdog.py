"""The watchdog where proof may never come: a limit that is not separable from health."""

from dataclasses import replace

import pytest

from knowngood.core.model import Notify, Record, Told
from tests.core.build import (
    DAY,
    HEALTHY_DAY,
    HOUR,
    MINUTE,
    NOW,
    calls,
    changed,
    decided,
    entry,
    observed,
    state,
)

SICK_DAY = calls(ok=19_100, errors=900)  # 4.5 %: what passes 5 % may be the same again
FAILING = calls(ok=558, errors=42)


def after(baseline):
    """v2 came ten minutes ago, after a v1 with this day."""
    return state("v2", entry("v1", "good", -2 * DAY, baseline), entry("v2", "candidate", -HOUR))


def kinds(decision):
    """What it writes into the history."""
    return [action.kind for action in decision.actions if isinstance(action, Record)]


def test_a_person_hears_of_a_limit_that_proof_cannot_pass():
    """7 % for five minutes beside a day of 4.5 %: nothing is proven, and on-call is paged."""
    decision = decided(after(SICK_DAY), observed(v2=FAILING, over=5 * MINUTE))
    assert kinds(decision) == ["watchdog"]
    (page,) = [action for action in decision.actions if isinstance(action, Notify)]
    assert page.audience == "on-call" and "errors 7.0% > 5.0%" in page.subject


@pytest.mark.parametrize(("later", "again"), [(HOUR, []), (DAY, ["watchdog"])])
def test_once_a_day_is_enough(later, again):
    """It may be chance all day long: where proof cannot come people are not told every hour."""
    before = after(SICK_DAY)
    told = changed(
        before, decided(before, observed(v2=FAILING, over=5 * MINUTE)).actions, NOW, "system"
    )
    assert any(notice.startswith("watchdog:v2:") for notice in told.told)
    seen = observed(NOW + later, v2=FAILING, over=5 * MINUTE)
    found = decided(told, seen, now_ms=NOW + later)
    assert kinds(found) == again
    assert len([a for a in found.actions if isinstance(a, Told) and not a.forget]) == len(again)


def test_it_is_silent_where_the_question_speaks():
    """Beside a healthy day the same failures are proven: people are asked, or it is rolled back."""
    decision = decided(after(HEALTHY_DAY), observed(v2=FAILING, over=5 * MINUTE))
    assert "watchdog" not in kinds(decision)
    assert kinds(decision)


def test_two_minutes_are_its_patience():
    """A minute past the limit is no page yet."""
    seen = observed(v2=replace(FAILING, ok=558), over=MINUTE)
    assert kinds(decided(after(SICK_DAY), seen)) == []
