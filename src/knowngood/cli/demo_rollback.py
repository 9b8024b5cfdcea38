"""The demo's first story: a bad version is promoted, found out, rolled back, and that is proven.

The story only acts twice, as an operator would: it promotes.
"""

from typing import ClassVar

from knowngood.cli.demo_scenes import BAD, GOOD, PROMPT
from knowngood.cli.demo_story import ON_CALL, Entry, Story, seconds


class Rollback(Story):
    """Everybody gets the bad version at once; the system finds it out and takes it back."""

    __slots__ = ()
    scenario: ClassVar[str] = "rollback"

    def act(self) -> str:
        """Promote it, and wait for the system to do the rest."""
        promoted = self.promote(BAD, "the answers shall be machine-readable")
        self.tell(f"{PROMPT}  {BAD} 100%   {self.watching()}", "")
        switched = rolled_back(self, int(promoted["at_ms"]))
        switched_ms = int(switched["at_ms"])
        self.propagated(switched_ms, int(switched["generation"]))
        self.verified(switched_ms)
        return "recovered"


def rolled_back(story: Story, since_ms: int, where: str = "") -> Entry:
    """The entry of the system's own rollback, told when on-call has been paged."""
    entry = story.wait_for("rollback.switched")
    confirmed = story.wait_for("rollback.confirmed")["detail"]["findings"][0]
    story.told["detected_after_s"] = seconds(entry["at_ms"] - since_ms)
    story.told["error_rate"] = round(confirmed["estimate"], 4)
    words = entry["because"].partition(";")[0]
    incident = entry["detail"]["incident"]
    story.until("on-call is paged", lambda: ON_CALL in story.children.paged(incident))
    story.tell(f"ROLLBACK {BAD} -> {GOOD}  {words}{where}   paged: {ON_CALL}", "bold red")
    return entry
