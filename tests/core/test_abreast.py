"""Who waits for whom on a stage of a release: judged from what each says of itself."""

from dataclasses import replace

import pytest

from knowngood.core.model import Observed, Partner
from knowngood.core.release import Member, Release
from knowngood.core.rollout import Ladder, Rollout, RolloutKind
from knowngood.core.steps.abreast import READY, not_down, not_ready
from knowngood.core.steps.case import Case
from tests.core.build import DAY, DEFAULT, HOUR, NOW, PROMPT, entry, state

SPRING = Release("spring", (Member(PROMPT, "v2"), Member("faq", "v2")))
WAITS = {
    RolloutKind.CANARY: (("v1", "v2"), Ladder((100, 10_000), 0, HOUR), not_ready),
    RolloutKind.GRADUAL: (("v2", "v1"), Ladder((5_000, 0), 0, HOUR), not_down),
}


def ready(prompt, kind):
    """A member of the release on its first stage, whose own gates are open."""
    (left, to), steps, _ = WAITS[kind]
    rollout = Rollout(kind, left, to, steps, NOW, NOW, "go", "ann")
    v2 = replace(entry("v2", "candidate", -HOUR), release=SPRING)
    start = state("v2", entry("v1", "good", -2 * DAY), v2)
    return replace(start, prompt=prompt, rollout=rollout, told=(f"{READY}0",))


@pytest.mark.parametrize("kind", list(RolloutKind))
def test_the_word_of_one_that_is_due_for_a_look_is_old_news(kind):
    """Its calls of this very moment are not judged yet: whoever is looked at last takes all."""
    *_, waits = WAITS[kind]
    lead, faq = ready(PROMPT, kind), Partner(ready("faq", kind))
    for partner, behind in ((faq, ()), (replace(faq, is_due=True), ("faq",))):
        look = Case(lead, Observed(NOW, partners=(partner,)), DEFAULT, (), NOW)
        assert lead.rollout is not None and waits(look, lead.rollout) == behind


@pytest.mark.parametrize("kind", list(RolloutKind))
def test_one_that_says_nothing_is_waited_for(kind):
    """Nobody's gates are taken to be open."""
    *_, waits = WAITS[kind]
    lead, faq = ready(PROMPT, kind), replace(ready("faq", kind), told=())
    look = Case(lead, Observed(NOW, partners=(Partner(faq),)), DEFAULT, (), NOW)
    assert lead.rollout is not None and waits(look, lead.rollout) == ("faq",)
