"""A canary that has just begun, and a version that gives way: for the tests of rollouts."""

from knowngood.core.rollout import Ladder
from knowngood.core.steps import operator, rollouts
from knowngood.core.steps.case import Case
from tests.core.build import DAY, DEFAULT, FINE, HOUR, SECOND, Story, calls, entry, policy, state

OLD = state("v1", entry("v0", "good", -9 * DAY), entry("v1", "good", -2 * DAY), since=-2 * DAY)
STEPS = Ladder((100, 500, 2_500, 10_000), 10 * SECOND, 60 * SECOND)
RULES = policy(bake={"for": "30s", "holdback": "5%"})
SLOW = calls(ok=5)


def began(steps: Ladder = STEPS, rules=RULES, start=OLD, holdback_bp: int = 500) -> Story:
    """v2 has just begun to climb."""
    story = Story(start, rules)
    asked = rollouts.Promotion("v2", steps, holdback_bp, "a better prompt", "ann")
    story.does(rollouts.begin(story.state, asked, None, story.now_ms))
    return story


def shares(story: Story) -> list[int]:
    """The shares that v2 was given, in order."""
    moved = [action for action in story.done if type(action).__name__ == "MoveRoute"]
    return [sum(arm.weight_bp for arm in action.arms if arm.version == "v2") for action in moved]


def case(story: Story) -> Case:
    """What an order sees."""
    decision = story.decision()
    return Case(story.state, story.observed(), story.policy, decision.findings, story.now_ms)


DOWN = Ladder((7_500, 5_000, 2_500, 0), 10 * SECOND, 10 * SECOND)
NEW = state("v2", entry("v1", "good", -2 * DAY), entry("v2", "candidate", -HOUR), since=-HOUR)


def giving_way(start=NEW, steps: Ladder = DOWN) -> Story:
    """A person rolls v2 back, gently."""
    story = Story(start, DEFAULT)
    story.sees(v2=FINE)
    asked = operator.RollbackRequest("a little worse", gradual=steps, actor="ann")
    story.does(operator.roll_back(case(story), asked))
    return story
