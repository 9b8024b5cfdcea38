"""The demo's approval: on-call is paged with a question, takes the page, and rolls back.

3.5 % of the calls fail: too few for the system to act by itself, too many to leave alone. An
answer to another question than the open one is refused on the way.
"""

from typing import ClassVar

from knowngood.cli.demo_asked import approve, asked
from knowngood.cli.demo_scenes import BAD, GOOD, PROMPT
from knowngood.cli.demo_story import ON_CALL, Story, WentWrong, seconds


class Approval(Story):
    """A high breach asks on-call; a person decides."""

    __slots__ = ()
    scenario: ClassVar[str] = "approval"

    def act(self) -> str:
        """Promote it, be asked, take the page, and approve."""
        promoted = self.promote(BAD, "the answers shall be machine-readable")
        self.tell(f"{PROMPT}  {BAD} 100%   {self.watching()}", "")
        opened = self.wait_for("incident.opened", "rollback.switched")
        if opened["kind"] != "incident.opened":
            raise WentWrong("switched", f"it was rolled back by itself: {opened['because']}")
        opened_ms, incident = int(opened["at_ms"]), str(opened["detail"]["incident"])
        self.told["detected_after_s"] = seconds(opened_ms - int(promoted["at_ms"]))
        self.until("on-call is paged", lambda: ON_CALL in self.children.paged(incident))
        self.tell(f"PAGED {ON_CALL}: {opened['because']}   roll back, or investigate?", "yellow")
        self._take(incident)
        switched = approve(self, "rollback.switched", opened_ms)
        self.tell(f"APPROVED by the operator: {BAD} -> {GOOD}", "bold red")
        switched_ms = int(switched["at_ms"])
        self.propagated(switched_ms, int(switched["generation"]))
        self.verified(switched_ms, opened_ms)
        return "recovered"

    def _take(self, incident: str) -> None:
        """Acknowledge: nobody else is called, and the question stays open."""
        body = {"about": incident, "answer": "ack", "because": "looking at it"}
        self.api.post("/api/answers", body)
        self.wait_for("page.acknowledged")
        left = asked(self)["left"]
        self.tell(f"page taken by the operator: nobody else is called, {left} left to decide", "")
