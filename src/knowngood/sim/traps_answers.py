"""Stories in which a planted bug of questions must show: silence is an answer, or it is none."""

from collections.abc import Mapping
from typing import Any

from knowngood.sim.plan import OFF
from knowngood.sim.scenarios import Scenario

OLD, NEW = "v1.9.0", "v2.0.0"
LEVELS = [{"targets": ["on-call"], "ack_timeout": "30s"}]


def _asked(limit: str, on_timeout: str, on_exhausted: str) -> Scenario:
    """On-call is asked about most calls failing, which no trigger rolls back; nobody answers."""
    trigger = {"limit": limit, "on_timeout": on_timeout}
    rules: Mapping[str, Any] = {
        "triggers": {**OFF, "error_critical": False, "error_high": trigger},
        "escalation": {"levels": LEVELS, "repeat": 0, "on_exhausted": on_exhausted},
    }
    story = Scenario(versions=(OLD, NEW), calls_per_s=20.0, policy=rules)
    story.at("0:00").promote(OLD)
    story.at("1:30").promote(NEW)
    story.at("1:40").error_rate(0.7, NEW)
    return story


def silence_that_rolls_back() -> Scenario:
    """`on_timeout: rollback`: the limit passes, and the good version is back."""
    story = _asked("60s", "rollback", "hold")
    story.expect("4:30").serving(OLD).recorded("question.overdue", 1).rolled_back(1)
    return story


def silence_that_asks_on() -> Scenario:
    """`on_timeout: escalate`: the limit passes, people are told, and nothing is rolled back."""
    story = _asked("60s", "escalate", "hold")
    story.expect("4:30").serving(NEW).rolled_back(0)
    return story


def calls_in_vain_that_roll_back() -> Scenario:
    """`on_exhausted: rollback`: everybody was called long before the limit, and it rolls back."""
    story = _asked("10m", "escalate", "rollback")
    story.expect("4:30").serving(OLD).recorded("page.exhausted", 1).rolled_back(1)
    return story


def calls_in_vain_that_are_held() -> Scenario:
    """`on_exhausted: hold`: everybody was called, and it is only written down."""
    story = _asked("10m", "escalate", "hold")
    story.expect("4:30").serving(NEW).recorded("page.exhausted", 1).rolled_back(0)
    return story
