"""The watchdog where proof may never come: a limit that is not separable from health."""

from dataclasses import replace

import pytest

from knowngood.core.asking import Purpose
from knowngood.core.model import Census, Incident, Notify, Record, Response, Severity, Told
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
    assert [kind for kind in kinds(found) if kind == "watchdog"] == again
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


def paged():
    """The state after the watchdog has paged."""
    before = after(SICK_DAY)
    seen = observed(v2=FAILING, over=5 * MINUTE)
    return changed(before, decided(before, seen).actions, NOW, "system")


def test_its_page_goes_from_level_to_level():
    """It has a thread, so that somebody can take it and nobody's silence is the end of it."""
    told = paged()
    (alarm,) = told.alarms
    assert alarm.thread == "production/cs/g5:watchdog:v2"
    later = NOW + 6 * MINUTE
    seen = observed(later, v2=FAILING, over=5 * MINUTE)
    assert kinds(decided(told, seen, now_ms=later)) == ["page.escalated"]


def test_whoever_looks_is_not_paged_again():
    """Also a day later; the next episode is another matter."""
    told = paged()
    taken = tuple(replace(alarm, acked_by="ann", acked_ms=NOW) for alarm in told.alarms)
    later = NOW + DAY
    seen = observed(later, v2=FAILING, over=5 * MINUTE)
    assert kinds(decided(replace(told, alarms=taken), seen, now_ms=later)) == []


def test_its_page_ends_with_the_trouble():
    """Within its limits again: the pager is told, and the alarm is gone."""
    told = paged()
    later = NOW + MINUTE
    decision = decided(told, observed(later, v2=calls(ok=600, errors=2)), now_ms=later)
    assert kinds(decision) == ["watchdog.ended"]
    (word,) = [action for action in decision.actions if isinstance(action, Notify)]
    assert word.purpose is Purpose.RESOLVED and "within its limits again" in word.body
    assert changed(told, decision.actions, later, "system").alarms == ()


def test_silence_is_no_end():
    """What nobody reports on any more is not well."""
    told = paged()
    later = NOW + MINUTE
    silent = Census(silent=("web-1",))
    seen = observed(later, v2=FAILING, at=later - 10 * MINUTE, census=silent)
    blind = decided(told, seen, now_ms=later)
    assert "blind" in kinds(blind) and "watchdog.ended" not in kinds(blind)


def test_an_incident_takes_its_place():
    """What was proven or asked meanwhile has a page of its own."""
    told = paged()
    opened = Incident(
        "production/cs/g5.1", "v2", 5, Severity.HIGH, Response.ASK, ("error_high",), NOW
    )
    seen = observed(NOW + MINUTE, v2=FAILING, over=5 * MINUTE)
    decision = decided(replace(told, incident=opened), seen, now_ms=NOW + MINUTE)
    assert kinds(decision) == ["watchdog.ended"]
