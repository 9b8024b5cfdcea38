"""Stories in which a planted bug of rollouts must show: random worlds meet it too rarely."""

from collections.abc import Mapping
from typing import Any

from knowngood.sim.scenarios import Scenario

OLD, NEW, THIRD = "v1.9.0", "v2.0.0", "v2.1.0"
RULES: Mapping[str, Any] = {
    "canary": {"stages": ["10%", "50%", "100%"], "hold": "20s", "wait_at_most": "60s"},
    "gradual": {
        "stages": ["75%", "50%", "25%", "0%"],
        "hold": "20s",
        "pause_above": "error_rate > 2%",
    },
    "bake": {"for": "30s", "holdback": "5%"},
}
SALE = {"from": "2025-10-09", "until": "2025-10-10", "because": "the sale"}


def climbing(rules: Mapping[str, Any] = RULES, calls_per_s: float = 60.0) -> Scenario:
    """A good version for a minute, then a new one that climbs 10, 50, 100 %."""
    story = Scenario(versions=(OLD, NEW, THIRD), calls_per_s=calls_per_s, policy=rules)
    story.at("0:00").promote(OLD)
    story.at("1:00").climb(NEW)
    return story


def paused_canary() -> Scenario:
    """A canary that does well is paused."""
    story = climbing()
    story.at("1:05").pause()
    story.expect("2:00").climbing(NEW, 10).paused(by="ann")
    return story


def canary_in_a_freeze() -> Scenario:
    """A canary that does well during a change freeze."""
    story = climbing({**RULES, "freeze": [SALE]})
    story.expect("1:50").climbing(NEW, 10).waiting_on("freeze")
    return story


def canary_beside_an_incident() -> Scenario:
    """A canary that does well, and people are asked about its control."""
    story = climbing()
    story.at("0:20").error_rate(0.1, OLD)
    story.expect("1:50").climbing(NEW, 10).incident()
    return story


def canary_under_a_hold() -> Scenario:
    """A canary that does well, and somebody has turned automation off."""
    story = climbing()
    story.at("0:50").automation_off("5m")
    story.expect("1:50").climbing(NEW, 10)
    return story


def bake_without_traffic() -> Scenario:
    """A version comes to its last stage, and hardly anybody calls."""
    story = climbing(calls_per_s=0.4)
    story.at("1:02").skip()
    story.at("1:04").skip()
    story.expect("1:30").climbing(NEW, 95)
    story.expect("2:30").serving(NEW).candidate(NEW).recorded("rollout.released", 1)
    return story


def target_that_fails() -> Scenario:
    """A version gives way to one that has begun to fail."""
    story = Scenario(versions=(OLD, NEW), calls_per_s=40, policy=RULES)
    story.at("0:00").promote(OLD)
    story.at("0:30").promote(NEW)
    story.at("1:00").give_way()
    story.at("1:05").error_rate(0.7, OLD)
    story.expect("2:30").giving_way(NEW, 75).paused(by="system").paged("gradual rollback paused")
    return story


def late_stage() -> Scenario:
    """An engine is held between the decision on a stage and its apply."""
    story = climbing()
    story.at("1:19").stall("40s", writing="rollout.stage")
    story.expect("2:15").climbing(NEW, 50).recorded("rollout.stage_anew", 1)
    return story


def paused_canary_that_fails() -> Scenario:
    """A canary is paused, and then fails outright."""
    story = climbing()
    story.at("1:25").pause()
    story.at("1:30").error_rate(0.7, NEW)
    story.expect("2:10").serving(OLD).quarantined(NEW).rolled_back(1).no_rollout()
    return story


def second_promotion() -> Scenario:
    """Somebody promotes another version while a canary is under way."""
    story = climbing()
    story.at("1:05").climb(THIRD)
    story.expect("1:06").climbing(NEW, 10)
    return story
