"""The demo's canary: a version that is fine at 1 % fails under the load of 5 %, and is stopped.

The operator promotes and does nothing else. Who met the bad version is counted by the processes.
"""

from typing import Any, ClassVar

from knowngood.cli.demo_calls import failed_count, share_of, users_of
from knowngood.cli.demo_rollback import rolled_back
from knowngood.cli.demo_scenes import BAD, GOOD, PROMPT
from knowngood.cli.demo_story import Entry, Story, WentWrong, seconds
from knowngood.core.explain import percent
from knowngood.core.ladder import share

STOPPED_AT_BP = 500


class Canary(Story):
    """A bad version climbs one stage and is stopped at the second."""

    __slots__ = ()
    scenario: ClassVar[str] = "canary"
    healthy_s: ClassVar[float] = 5.0

    def act(self) -> str:
        """Promote it up the ladder, and wait for the system to do the rest."""
        moved = self.promote(BAD, "the answers shall be machine-readable", now=False)
        started = self.wait_for("rollout.started")
        stages = " -> ".join(share(bp) for bp in started["detail"]["stages_bp"])
        self.tell(f"{PROMPT}  {BAD} 1%   canary {stages}", "")
        climbed = self._climbs(moved)
        switched = rolled_back(self, int(climbed["at_ms"]), f"   at {share(STOPPED_AT_BP)}")
        if stage := self.unread["rollout.stage"]:
            at = share(stage[-1]["detail"]["share_bp"])
            raise WentWrong("stopped_late", f"{BAD} came as far as {at}")
        self.told["stopped_at"] = share(STOPPED_AT_BP)
        switched_ms = int(switched["at_ms"])
        self.propagated(switched_ms, int(switched["generation"]))
        self.verified(switched_ms)
        self._count((moved, climbed))
        return "stopped"

    def _climbs(self, moved: Entry) -> Entry:
        """The first stage is left on proof. Raises WentWrong when it was not the first."""
        entry = self.wait_for("rollout.stage", "rollback.switched")
        if entry["kind"] != "rollout.stage":
            raise WentWrong("stopped_early", f"{BAD} was rolled back at 1%: {entry['because']}")
        if entry["detail"]["share_bp"] != STOPPED_AT_BP:
            raise WentWrong("skipped", f"after 1% came {share(entry['detail']['share_bp'])}")
        self.told["first_stage_s"] = seconds(entry["at_ms"] - moved["at_ms"])
        proof = _gate(entry, "errors")
        self.tell(f"{PROMPT}  {BAD} 5%   1% {proof}", "green")
        return entry

    def _count(self, stages: tuple[Entry, Entry]) -> None:
        """Whom it met and what it cost, by the processes' own account."""
        calls = self.calls()
        shares = [share_of(calls, BAD, int(stage["generation"])) for stage in stages]
        everybody, met = users_of(calls), users_of(calls, BAD)
        served = sum(call.version == BAD for call in calls)
        failed = failed_count(calls, BAD)
        self.told |= {
            "share_of_calls": [None if each is None else round(each, 4) for each in shares],
            "calls": len(calls),
            "failed": failed + failed_count(calls, GOOD),
            "calls_of_bad": served,
            "failed_of_bad": failed,
            "users": len(everybody),
            "users_of_bad": len(met),
            "share_of_users_of_bad": round(len(met) / len(everybody), 4),
        }
        users = f"{percent(len(met) / len(everybody))} of the users ({len(met)} of "
        self.tell(
            f"{BAD} was ever seen by {users}{len(everybody):,}); "
            f"{failed} of its {served:,} calls failed, of {len(calls):,} in all",
            "bold",
        )


def _gate(entry: dict[str, Any], name: str) -> str:
    return next((str(g["because"]) for g in entry["detail"]["gates"] if g["name"] == name), "")
