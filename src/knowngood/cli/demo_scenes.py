"""The demo's scenes: what callers do in each scenario, and by which policy the server judges.

Only the model is pretended, and only here is it said how the new version hurts.
"""

from dataclasses import dataclass

PROMPT = "support-bot"
GOOD = "v1.9.0"
BAD = "v2.0.0"
USERS = 5_000
HEALTHY_FAILURE_SHARE = 0.003

CONTENT = {
    GOOD: {
        "text": "You are a support agent. Answer in two sentences: {{question}}",
        "config": {"provider": "acme", "model": "acme-large", "temperature": 0.2},
    },
    BAD: {
        "text": "You are a support agent. Answer as JSON with `answer` and `mood`: {{question}}",
        "config": {"provider": "acme", "model": "acme-large", "temperature": 0.9},
    },
}

CANARY_POLICY = """\
policy: 1
defaults:
  canary: {stages: [1%, 5%, 25%, 100%], hold: 6s}
"""
GRADUAL_POLICY = """\
policy: 1
defaults:
  gradual: {stages: [75%, 50%, 25%, 0%], hold: 4s}
"""
APPROVAL_POLICY = """\
policy: 1
defaults:
  triggers:
    error_high: {limit: 1m}
"""
OBSERVE_POLICY = """\
policy: 1
defaults:
  gradual: {stages: [75%, 50%, 25%, 0%], hold: 4s}
  triggers:
    latency_medium: {for: 10s, limit: 1m}
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """How the callers of a scenario behave, and what is wrong with the new version.

    `connections`: the new version looks each answer up, and a process has so many connections for
    that; a call that finds none free fails. None: it looks nothing up.
    """

    calls_per_s: float  # of each process
    keeps_calls: bool = False  # whether each process writes its calls down
    policy: str | None = None  # None: the built-in one
    failure_share: float = HEALTHY_FAILURE_SHARE  # of the new version
    slowness: float = 1.0  # how many times as long the new version takes
    connections: int | None = None

    def failure_share_of(self, version: str) -> float:
        """How many of a version's calls fail that were not refused."""
        return self.failure_share if version == BAD else HEALTHY_FAILURE_SHARE

    def refuses(self, version: str, busy: int) -> bool:
        """Whether a call finds no free connection while `busy` of its version are under way."""
        return version == BAD and self.connections is not None and busy >= self.connections

    def latency_s(self, version: str, usual_s: float) -> float:
        """How long a call takes that takes `usual_s` on the known-good version."""
        return usual_s * (self.slowness if version == BAD else 1.0)


SCENES = {
    "rollback": Scene(calls_per_s=22.0, failure_share=0.12),
    # At 1 % a process has about one look-up under way, at 5 % six: with 7 connections hardly any
    # call is refused at 1 %, and every sixth at 5 % (Erlang's loss formula: 0.0002 and 0.17).
    "canary": Scene(calls_per_s=250.0, keeps_calls=True, policy=CANARY_POLICY, connections=7),
    # A p99 that is half as long again: past the 20 % that are observed, within the 100 % that
    # somebody is asked about.
    "gradual": Scene(calls_per_s=120.0, keeps_calls=True, policy=GRADUAL_POLICY, slowness=1.5),
    # Between the 2 % that somebody is asked about and the 5 % that the system acts on.
    "approval": Scene(calls_per_s=120.0, policy=APPROVAL_POLICY, failure_share=0.032),
    "observe": Scene(calls_per_s=120.0, keeps_calls=True, policy=OBSERVE_POLICY, slowness=1.5),
}
