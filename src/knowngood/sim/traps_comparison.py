"""Stories in which a planted bug of the A/B gate must show: random worlds meet it too rarely."""

from collections.abc import Mapping
from typing import Any

from knowngood.sim.scenarios import Scenario

OLD, NEW = "v1.9.0", "v2.0.0"
RULES: Mapping[str, Any] = {
    "canary": {"stages": ["50%", "100%"], "hold": "20s", "wait_at_most": "5m"},
    "bake": {"for": "30s", "holdback": "5%"},
    "ab": {
        "primary": "error_rate",
        "guardrails": {"error_rate": "5%", "quality": None, "latency_p99": None},
        "min_units": 50,
        "max_units": 2_000,
        "min_time": "20s",
    },
}


def compared(*stages: str, **rule: Any) -> Scenario:
    """A good version for a minute, then a new one at one half beside it; `rule` is laid over ab.

    Its ladder may have other `stages`.
    """
    canary = {**RULES["canary"], "stages": list(stages or ("50%", "100%"))}
    rules = {**RULES, "canary": canary, "ab": {**RULES["ab"], **rule}}
    story = Scenario(versions=(OLD, NEW), calls_per_s=60, policy=rules)
    story.at("0:00").promote(OLD)
    story.at("1:00").climb(NEW)
    return story


def too_early() -> Scenario:
    """All is shown after a minute, and the policy wants to see more of a day."""
    story = compared(min_time="90s")
    story.expect("2:20").climbing(NEW, 50).recorded("rollout.compared", 0)
    return story


def two_stages() -> Scenario:
    """Only the stage before everybody is asked; what it is asked was laid down at the first."""
    story = compared("25%", "50%", "100%")
    story.expect("1:45").climbing(NEW, 50).recorded("rollout.compared", 0)
    story.expect("3:00").recorded("rollout.compared", 1)
    return story


def skipped() -> Scenario:
    """Somebody goes on before the comparison has an answer."""
    story = compared()
    story.at("1:10").skip()
    story.expect("1:11").climbing(NEW, 95).recorded("rollout.compared", 0)
    return story


def losses() -> Scenario:
    """Flushes are repeated, receipts and answers of the store are lost, writes are refused."""
    story = compared()
    story.at("1:10").fault("lost_receipt", 10).fault("duplicate", 10)
    story.at("1:20").lost_ack("append.after")
    story.at("1:30").fault("refuse", 2)
    story.at("1:35").crash("append.after")
    story.expect("1:50").climbing(NEW, 50)
    return story


def astray() -> Scenario:
    """Half of the candidate's users never report: the split is not the one that was intended."""
    story = compared(min_units=200)
    for client in story.world.clients:
        client.work.units.astray_bp = 5_000
    story.expect("2:30").climbing(NEW, 50).recorded("rollout.compared", 1)
    story.expect("2:30").paged("Not comparable")
    return story
