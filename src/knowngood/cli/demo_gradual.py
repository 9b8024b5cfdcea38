"""The demo's gradual rollback: a slower version gives way stage by stage, its target watched.

Nothing fails, so nothing rolls back by itself: the latency is observed, and the operator decides.
Who was moved where is counted by the processes.
"""

from typing import Any, ClassVar

from knowngood.cli.demo_calls import flickered, moved_back, share_of
from knowngood.cli.demo_scenes import BAD, GOOD, PROMPT
from knowngood.cli.demo_story import ENVIRONMENT, Entry, Story, WentWrong, seconds
from knowngood.core.explain import percent
from knowngood.core.ladder import share

TARGET = "gradual_target"  # the trigger that watches where the units go


class Gradual(Story):
    """A minor regression is taken back by hand, in four stages."""

    __slots__ = ()
    scenario: ClassVar[str] = "gradual"

    def act(self) -> str:
        """Promote it, notice that it is slower, and roll it back gradually."""
        promoted = self.promote(BAD, "the answers shall be machine-readable")
        self.tell(f"{PROMPT}  {BAD} 100%   {self.watching()}", "")
        opened = self.wait_for("incident.opened", "rollback.switched")
        if opened["kind"] != "incident.opened":
            raise WentWrong("switched", f"it was rolled back at once: {opened['because']}")
        self.told["detected_after_s"] = seconds(opened["at_ms"] - promoted["at_ms"])
        self.tell(f"observing {BAD}: {opened['because']}", "yellow")
        began = self.begin(opened)
        completed = self._descend(began)
        completed_ms, generation = int(completed["at_ms"]), int(completed["generation"])
        self.propagated(completed_ms, generation)
        self.verified(completed_ms, int(opened["at_ms"]))
        self._count(began, completed)
        return "recovered"

    def begin(self, opened: Entry) -> Entry:
        """Roll it back by hand, stage by stage."""
        body = {"prompt": PROMPT, "environment": ENVIRONMENT, "gradual": True}
        answer = self.api.post("/api/rollback", {**body, "because": "too slow, no failures"})
        if answer["outcome"] != "gradual":
            raise WentWrong("not_gradual", f"the rollback's outcome is {answer['outcome']}")
        entry = self.wait_for("rollback.gradual")
        stages = " -> ".join(share(bp) for bp in entry["detail"]["stages_bp"])
        self.tell(f"GRADUAL ROLLBACK {BAD} -> {GOOD}  {stages}   by the operator", "bold red")
        return entry

    def _descend(self, began: Entry) -> Entry:
        """Tell each stage at its end, with how the target was; the entry of the last move."""
        self.told["stages"] = []
        at, left_bp = began, int(began["detail"]["stages_bp"][0])
        while True:
            after, target = self._next()
            after_s = seconds(after["at_ms"] - began["at_ms"])
            self.told["stages"].append(
                {
                    "left": share(left_bp),
                    "generation": at["generation"],
                    "from_s": seconds(at["at_ms"] - began["at_ms"]),
                    "until_s": after_s,
                    "target": target["verdict"],
                }
            )
            self.tell(f"{PROMPT}  {BAD} {share(left_bp)}   {_watched(target)}", "")
            if after["kind"] == "rollback.completed":
                self.tell(f"{PROMPT}  {BAD} 0%   after {after_s:.0f} s", "green")
                self.told["took_s"] = after_s
                return after
            at, left_bp = after, int(after["detail"]["share_bp"])

    def _next(self) -> tuple[Entry, dict[str, Any]]:
        """The next move down, and how the target was just before it. Raises WentWrong."""
        moves = ("rollout.stage", "rollback.completed", "rollout.paused", "rollback.switched")
        target: dict[str, Any] = {}

        def moved() -> bool:
            found = (f for f in self.explain()["sees"] if f["trigger"] == TARGET)
            target.update(next(found, {}))
            return self.has(moves)

        self.until("the next stage", moved)
        entry = self.wait_for(*moves)
        if entry["kind"] not in moves[:2]:
            raise WentWrong(entry["kind"].partition(".")[2], entry["because"])
        if not target:
            raise WentWrong("unwatched", "nobody watched the target")
        return entry, target

    def _count(self, began: Entry, completed: Entry) -> None:
        """Who was moved where, by the processes' own account."""
        calls, since = self.calls(), int(began["generation"])
        for stage in self.told["stages"]:
            measured = share_of(calls, BAD, stage.pop("generation"))
            stage["measured"] = None if measured is None else round(measured, 4)
        after = [call for call in calls if call.generation >= since]
        back = moved_back(after, GOOD, BAD, since)
        self.told |= {
            "calls": len(calls),
            "failed": sum(call.failed for call in calls),
            "users": len({call.user for call in after}),
            "users_moved_back": len(back),
            "users_flickered": len(flickered(after, GOOD, BAD, since)),
        }
        if back:
            raise WentWrong("moved_back", f"{len(back)} users went from {GOOD} back to {BAD}")
        shares = ", ".join(percent(stage["measured"] or 0) for stage in self.told["stages"])
        self.tell(
            f"share of the calls on {BAD} at each stage: {shares}; 0 of "
            f"{self.told['users']:,} users were moved from {GOOD} to {BAD}",
            "bold",
        )


def _watched(target: dict[str, Any]) -> str:
    share_words = percent(target["estimate"] or 0)
    counted = f"errors {share_words} ({target['bad']} of {target['n']})"
    return f"target {target['version']} watched: {counted}, {target['verdict']}"
