"""Questions and pages: who is asked, what silence leads to, who is next, what an answer does."""

from dataclasses import replace
from typing import Any

import pytest

from knowngood.core.asking import Alarm, Purpose, Stage
from knowngood.core.decide import decide
from knowngood.core.errors import NothingAsked, StaleAnswer
from knowngood.core.evolve import ended, evolve
from knowngood.core.model import (
    Change,
    Hold,
    MoveRoute,
    Notify,
    SetIncident,
    Severity,
    Steady,
    Verifying,
    whole,
)
from knowngood.core.people import EscalationRule, Level
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.answers import acknowledge, decline, question_of
from knowngood.core.steps.case import Case
from tests.core.build import BAD, FAIR, FINE, MINUTE, SECOND, Story, calls, kinds, pages, policy

SLOW = calls(ok=500, p99=1100)  # p99 up by more than 20 %: observed
HOUR = 60 * MINUTE


def triggers(**over: Any) -> PromptPolicy:
    """The default policy with these keys of its triggers changed."""
    return policy(triggers=over)


def asked(rules: PromptPolicy | None = None) -> Story:
    """On-call was asked about 3 % of errors a moment ago."""
    story = Story(rules=rules) if rules else Story()
    story.until("incident.opened", v2=FAIR)
    assert story.state.question.stage is Stage.ASKED
    return story


def goes_on(story: Story, minutes: float, window: Any = FAIR) -> list[Any]:
    """So many minutes of the same, looked at every five seconds."""
    done: list[Any] = []
    for _ in range(int(minutes * 12)):
        done += story.sees(5 * SECOND, v2=window)
    return done


def case_of(story: Story) -> Case:
    decision = story.decision()
    return Case(story.state, story.observed(), story.policy, decision.findings, story.now_ms)


def test_a_high_breach_asks_on_call():
    """The page asks, says what an approval does and by when; the state remembers the deadline."""
    story = asked()
    question = story.state.question
    assert (question.number, question.who, question.target, question.gradual) == (
        1,
        "on-call",
        "v1",
        False,
    )
    assert question.due_ms - question.asked_ms == 5 * MINUTE
    (page,) = pages(story.done)
    assert (page.purpose, page.question) == (Purpose.PAGE, 1)
    assert page.thread == story.state.incident.id
    assert "knowngood approve cs --question 1" in page.body
    assert "roll v2 back to v1" in page.body and "due within 5 min" in page.body
    assert [alarm.thread for alarm in story.state.alarms] == [story.state.incident.id]


def test_nobody_answers():
    """At its limit the question goes to on-call under a second key, and goes on asking."""
    story = asked()
    done = goes_on(story, 11)
    assert kinds(done).count("question.overdue") == 2
    overdue = [p for p in pages(done) if p.thread.endswith(":unanswered")]
    assert {p.question for p in overdue} == {1} and len({p.key for p in overdue}) == len(overdue)
    assert story.serving == "v2"
    assert story.state.question.overdue_count == 2


def test_silence_rolls_back_where_the_policy_says_so():
    """`on_timeout: rollback`: verified and counted like any automatic rollback."""
    story = asked(triggers(error_high={"on_timeout": "rollback"}))
    goes_on(story, 4.5)
    assert story.serving == "v2"
    goes_on(story, 1)
    assert story.serving == "v1"
    assert isinstance(story.state.phase, Verifying) and story.state.phase.automatic
    assert story.state.question is None and len(story.state.rollbacks_ms) == 1


def test_a_brake_holds_what_silence_would_do():
    """Automation that is off holds this automatic rollback as well, and people are told once."""
    story = asked(triggers(error_high={"on_timeout": "rollback"}))
    story.state = replace(story.state, automation=Hold(story.now_ms + HOUR, "exam", "ann"))
    done = goes_on(story, 16)
    assert story.serving == "v2"
    assert kinds(done).count("rollback.held") == 1
    assert kinds(done).count("question.overdue") == 3


def test_a_breach_that_has_gone_is_nothing_to_ask_about():
    """The limit passes while all is well: no page, and the incident settles."""
    story = asked()
    done = goes_on(story, 12, FINE)
    assert "question.overdue" not in kinds(done)
    assert "incident.resolved" in kinds(done)
    assert story.state.question is None and story.state.alarms == ()
    assert [p.purpose for p in pages(done)][-1] is Purpose.RESOLVED


def test_what_is_observed_and_persists_is_asked():
    """An hour of observation, then the question to confirm a gradual rollback."""
    story = Story()
    story.until("incident.opened", v2=SLOW)
    question = story.state.question
    assert (question.stage, question.gradual) == (Stage.OBSERVING, True)
    assert [p.purpose for p in pages(story.done)] == [Purpose.NOTE]
    assert story.state.alarms == ()
    done: list[Any] = []
    for _ in range(61):
        done += story.sees(MINUTE, v2=SLOW)
    assert "observation.persists" in kinds(done)
    question = story.state.question
    assert (question.number, question.stage, question.gradual) == (2, Stage.ASKED, True)
    (page,) = [p for p in pages(done) if p.purpose is Purpose.PAGE]
    assert "roll v2 back to v1, stage by stage" in page.body


def test_what_is_observed_and_resolves_is_not_asked():
    """It is clear for a whole window: monitor."""
    story = Story()
    story.until("incident.opened", v2=SLOW)
    done: list[Any] = []
    for _ in range(61):
        done += story.sees(MINUTE, v2=calls(ok=500, p99=800))
    assert "incident.resolved" in kinds(done) and "observation.persists" not in kinds(done)
    assert story.state.question is None


def test_the_stronger_question_takes_the_place_of_the_weaker():
    """Observed first, then asked: another number, so that an answer to the first is refused."""
    story = Story()
    story.until("incident.opened", v2=SLOW)
    story.until("incident.grown", v2=calls(ok=97, errors=3, p99=1100))
    question = story.state.question
    assert (question.number, question.stage, question.trigger) == (2, Stage.ASKED, "error_high")
    with pytest.raises(StaleAnswer, match=r"question 1 about cs .* now it is question 2"):
        question_of(story.state, 1)


def test_nothing_masks_the_rollback():
    """A critical breach rolls back while a question is open or investigated."""
    story = asked()
    story.does(decline(case_of(story), 1, "looking", "Ana"))
    story.until("rollback.switched", v2=BAD)
    assert story.serving == "v1" and story.state.question is None


def test_somebody_investigates():
    """Nothing is changed, nobody else is called, and a reminder comes at each limit."""
    story = asked()
    story.does(decline(case_of(story), 1, "the provider looks ill", "Ana"))
    assert story.state.question.stage is Stage.INVESTIGATING
    assert [a.acked_by for a in story.state.alarms] == ["Ana"]
    done = goes_on(story, 11)
    assert kinds(done) == ["question.reminded"] * 2
    assert all(p.purpose is Purpose.NOTE and "Ana investigates" in p.body for p in pages(done))
    assert decline(case_of(story), 1, "still", "Ana") == ()


# --- Escalation


QUIET = triggers(error_high={"limit": "12h"})  # so that only the page's own clock runs


def test_levels_in_turn_until_somebody_looks():
    """Nobody acknowledges: the levels in turn, twice, then everybody; then no more."""
    story = asked(QUIET)
    done = goes_on(story, 60)
    assert kinds(done) == ["page.escalated"] * 3 + ["page.exhausted"]
    told = [p.targets for p in pages(done)]
    assert told == [("on-call", "author"), ("on-call",), ("on-call", "author"), ("*",)]
    assert all(p.thread == story.state.incident.id for p in pages(done))
    assert len({p.key for p in pages(done)}) == 4


def test_the_authors_of_a_level_are_who_pushed_the_version():
    """The log knows who did it; the policy need not."""
    story = asked(QUIET)
    alarms = tuple(replace(a, told_ms=a.told_ms - 6 * MINUTE) for a in story.state.alarms)
    state = replace(story.state, alarms=alarms)
    seen = replace(story.observed(), authors={"v1": "cem", "v2": "dee"})
    (page,) = pages(decide(state, seen, story.policy, story.now_ms).actions)
    assert page.targets == ("on-call", "author", "cem", "dee")


def test_an_acknowledgement_stops_it():
    """Whoever takes the page is named to the channels that called; nobody else is called."""
    story = asked(QUIET)
    actions = acknowledge(case_of(story), None, "on it", "Ana")
    story.does(actions)
    (word,) = pages(actions)
    assert word.purpose is Purpose.ACKNOWLEDGED and word.thread == story.state.incident.id
    assert kinds(goes_on(story, 60)) == []
    assert acknowledge(case_of(story), None, "on it", "Ben") == ()


def test_a_page_that_nobody_could_be_given():
    """The next level is told at once, not after the time-out of somebody who knows nothing."""
    story = asked(QUIET)
    (alarm,) = story.state.alarms
    story.state = replace(story.state, alarms=(replace(alarm, undelivered=True),))
    done = story.sees(v2=FAIR)
    assert kinds(done) == ["page.escalated"]
    assert "could not be delivered" in pages(done)[0].body
    assert story.state.alarms[0].undelivered is False


def test_a_pager_that_escalates_itself_is_left_to_it():
    """Nobody is called by two escalators; a page that it never got is another matter."""
    story = asked(replace(QUIET, delegated=("*",)))
    assert kinds(goes_on(story, 60)) == []
    (alarm,) = story.state.alarms
    story.state = replace(story.state, alarms=(replace(alarm, undelivered=True),))
    assert kinds(story.sees(v2=FAIR)) == ["page.escalated"]


def test_a_pager_that_refused_leaves_escalating_to_us():
    """At the level's own time: others were reached. What the pager takes is left to it again."""
    story = asked(replace(QUIET, delegated=("*",)))
    (alarm,) = story.state.alarms
    story.state = replace(story.state, alarms=(replace(alarm, is_ours=True),))
    assert kinds(goes_on(story, 4)) == []
    assert kinds(goes_on(story, 2)) == ["page.escalated"]
    assert not story.state.alarms[0].is_ours
    assert kinds(goes_on(story, 60)) == []


def test_refusals_do_not_spend_the_levels_in_seconds():
    """Each level once, at once; then the last one's time before the next round, and before the end.

    The policy's last resort must not follow from a mistyped key within a second.
    """
    rule = EscalationRule(
        tuple(Level((who,), (), 10 * MINUTE) for who in ("ana", "ben", "cem")), 1, "rollback"
    )
    story = asked(replace(QUIET, escalation=rule))
    took: list[int] = []
    began_ms = story.now_ms
    while story.serving == "v2":
        alarms = tuple(replace(a, undelivered=not a.exhausted) for a in story.state.alarms)
        story.state = replace(story.state, alarms=alarms)
        done = kinds(story.sees(5 * SECOND, v2=FAIR))
        took += [story.now_ms - began_ms] * done.count("page.escalated")
    assert [round(ms / MINUTE) for ms in took] == [0, 0, 10, 10, 10]
    assert round((story.now_ms - began_ms) / MINUTE) == 20


FIRST = Level(("ana",), ("mail",), 5 * MINUTE)
OWN = EscalationRule((FIRST, Level(("ben",), (), 5 * MINUTE)), 0)


def test_the_first_page_is_the_first_levels():
    """Its targets, on its channels; the level after it is the second."""
    story = asked(replace(QUIET, escalation=OWN))
    (page,) = pages(story.done)
    assert (page.audience, page.targets, page.channels) == ("on-call", ("ana",), ("mail",))
    (escalated,) = pages(goes_on(story, 6))
    assert escalated.targets == ("ben",)


def test_whoever_decides_is_asked_first_and_then_the_first_level():
    """No level is left out because the question was somebody else's."""
    story = asked(replace(triggers(error_high={"who": "sre", "limit": "12h"}), escalation=OWN))
    (page,) = pages(story.done)
    assert (page.audience, page.targets, page.channels) == ("sre", (), ())
    told = [page.targets for page in pages(goes_on(story, 18))]
    assert told == [("ana",), ("ben",), ("*",)]


def test_a_further_level_hears_all_of_it():
    """What was found, and how to answer; in words of its own question, not of the first one's."""
    story = asked(QUIET)
    (first,) = pages(story.done)
    (page,) = pages(goes_on(story, 6))
    found = first.body.partition(". Roll back, or")[0]
    assert "errors 3.0% > 2.0%" in found and found in page.body
    assert page.body.count("knowngood approve cs --question 1") == 1
    assert page.body.startswith("nobody has acknowledged for 5 min. ")


def test_an_end_that_only_writes_it_down():
    """`on_exhausted: hold` calls nobody else."""
    rule = EscalationRule((Level(("on-call",), (), 5 * MINUTE),), 0, "hold")
    story = asked(replace(QUIET, escalation=rule))
    done = goes_on(story, 30)
    assert kinds(done) == ["page.exhausted"] and pages(done) == []


def test_an_end_that_rolls_back():
    """`on_exhausted: rollback`: everybody was called in vain, so the question is answered."""
    rule = EscalationRule((Level(("on-call",), (), 5 * MINUTE),), 0, "rollback")
    story = asked(replace(QUIET, escalation=rule))
    done = goes_on(story, 6)
    assert {"page.exhausted", "rollback.switched"} <= set(kinds(done))
    assert story.serving == "v1" and isinstance(story.state.phase, Verifying)


def test_an_end_that_is_held_is_written_once():
    """A brake holds it as it holds any automatic rollback."""
    rule = EscalationRule((Level(("on-call",), (), 5 * MINUTE),), 0, "rollback")
    story = asked(replace(QUIET, escalation=rule))
    story.state = replace(story.state, automation=Hold(story.now_ms + HOUR, "exam", "ann"))
    done = goes_on(story, 20)
    assert story.serving == "v2" and kinds(done).count("rollback.held") == 1
    assert kinds(done).count("question.overdue") == 2  # the page of the hold is called out, too


def test_only_pages_of_the_incident_answer_for_it():
    """A blindness that nobody takes neither asks the question nor rolls back for it."""
    rule = EscalationRule((Level(("on-call",), (), 5 * MINUTE),), 0, "rollback")
    story = asked(replace(QUIET, escalation=rule))
    story.does(acknowledge(case_of(story), None, "on it", "Ana"))
    blind = Alarm("production/cs/g5:blind:v2", "on-call", "high", "blind", story.now_ms)
    story.state = replace(story.state, alarms=(*story.state.alarms, blind))
    done = goes_on(story, 20)
    assert story.serving == "v2" and "page.exhausted" in kinds(done)
    assert all(p.question is None for p in pages(done) if p.thread == blind.thread)


def test_what_cannot_be_judged_any_more_is_asked_all_the_same():
    """No calls: the limit passes, people hear of it, and silence rolls nothing back."""
    story = asked(triggers(error_high={"on_timeout": "rollback"}))
    done: list[Any] = []
    for _ in range(80):
        done += story.sees(5 * SECOND)
    assert "question.overdue" in kinds(done) and story.serving == "v2"


def test_each_page_that_ends_is_resolved():
    """Whatever closes an incident, the channels that called hear of it, once a thread."""
    story = asked()
    before = story.state
    change = Change("production", "cs", before.revision, (SetIncident(None),), "ann")
    after = evolve(before, change, 9, story.now_ms)
    (word,) = ended(before, after, change, story.now_ms)
    assert (word.purpose, word.thread) == (Purpose.RESOLVED, before.incident.id)
    said = Notify("k", "x", Severity.LOW, "s", "b", Purpose.RESOLVED, before.incident.id)
    spoken = replace(change, actions=(SetIncident(None), said))
    assert ended(before, evolve(before, spoken, 9, story.now_ms), spoken, story.now_ms) == []


def test_the_blindness_of_an_old_route_is_over():
    """A moved route ends the pages of the generation before it, and of no incident."""
    story = asked()
    blind = Alarm("production/cs/g5:blind:v2", "on-call", "high", "blind", story.now_ms)
    story.state = replace(story.state, alarms=(*story.state.alarms, blind))
    change = Change("production", "cs", 1, (MoveRoute(whole("v1")),), "ann")
    after = evolve(story.state, change, 9, story.now_ms)
    assert [alarm.thread for alarm in after.alarms] == [story.state.incident.id]
    assert [word.thread for word in ended(story.state, after, change, 1)] == [blind.thread]


def test_a_graver_page_is_not_swallowed():
    """Who took the question has not seen that the rollback is held: that pages anew."""
    story = asked()
    story.does(acknowledge(case_of(story), None, "on it", "Ana"))
    story.state = replace(story.state, automation=Hold(story.now_ms + HOUR, "exam", "ann"))
    done = story.until("rollback.held", v2=BAD)
    assert [p.thread for p in pages(done) if p.purpose is Purpose.PAGE] == [
        f"{story.state.incident.id}:held"
    ]
    assert [a.acked_by for a in story.state.alarms] == ["Ana", ""]


def test_a_rollback_that_fails_calls_again():
    """Its page has a key of its own: whoever took the first one is called all the same."""
    story = Story()
    story.until("rollback.switched", v2=BAD)
    story.does(acknowledge(case_of(story), None, "on it", "Ana"))
    done = []
    while not isinstance(story.state.phase, Steady):
        done += story.sees(v1=BAD)
    (failed,) = [p for p in pages(done) if p.purpose is Purpose.PAGE]
    assert ":rollback-failed-g" in failed.thread
    assert [a.acked_by for a in story.state.alarms] == ["Ana", ""]


def test_what_cannot_be_answered():
    """No question, no page."""
    story = Story()
    story.sees(v2=FINE)
    with pytest.raises(NothingAsked):
        decline(case_of(story), None, "?", "Ana")
    with pytest.raises(NothingAsked):
        acknowledge(case_of(story), None, "?", "Ana")
