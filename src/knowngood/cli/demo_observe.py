"""The demo's observation: a slower version is observed, it persists, and somebody is asked.

An hour of observation is made ten seconds. What is confirmed then is a gradual rollback.
"""

from typing import ClassVar

from knowngood.cli.demo_asked import approve
from knowngood.cli.demo_gradual import Gradual
from knowngood.cli.demo_scenes import BAD, GOOD
from knowngood.cli.demo_story import ON_CALL, Entry, seconds
from knowngood.core.ladder import share


class Observe(Gradual):
    """A medium breach is observed; what persists is asked, and confirmed."""

    __slots__ = ()
    scenario: ClassVar[str] = "observe"

    def begin(self, opened: Entry) -> Entry:
        """Wait until the observation is over, and confirm what is asked then."""
        persists = self.wait_for("observation.persists")
        opened_ms = int(opened["at_ms"])
        self.told["observed_for_s"] = seconds(int(persists["at_ms"]) - opened_ms)
        incident = str(opened["detail"]["incident"])
        self.until("on-call is asked", lambda: ON_CALL in self.children.paged(incident))
        words = persists["because"].partition(":")[0]
        self.tell(f"PAGED {ON_CALL}: {words}   confirm the gradual rollback?", "yellow")
        entry = approve(self, "rollback.gradual", opened_ms)
        stages = " -> ".join(share(bp) for bp in entry["detail"]["stages_bp"])
        self.tell(f"APPROVED by the operator: {BAD} -> {GOOD}  {stages}", "bold red")
        return entry
