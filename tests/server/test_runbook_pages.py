"""Pages name the runbook that they are for, and those of a drill are marked as such."""

import re
from typing import Any

from knowngood.core.drill import DRILL_AUDIENCE
from knowngood.ports import Delivered, Page
from tests.server.world import PROMPT, World
from tests.server.world import world as new_world

RUNBOOK = re.compile(r"Runbook: `knowngood runbook show (\S+ --incident \S+)`")


class Gathered(list[Page]):
    """A channel that keeps what it is handed."""

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered:
        self.append(page)
        return Delivered("kept")


def listen(world: World) -> Gathered:
    """The one channel of the server from now on."""
    gathered = Gathered()
    world.runtime.engine.notifiers = {"gathered": gathered}
    return gathered


def test_a_page_names_a_runbook_that_can_be_shown():
    """The command in its body answers as it stands there, for an incident and without one."""
    with new_world() as world:
        world.route_two()
        told = listen(world)
        world.live(20, "v2.0.0", 97, 3)
        world.tick(30)
        commands = [found[1] for page in told if (found := RUNBOOK.search(page.body))]
        assert commands == [
            "error-spike --incident production/customer-support/g2.1",
            "metrics-blind --incident production/customer-support/g2",
        ]
        for command in commands:
            name, _, incident = command.split()
            assert world.get(f"/api/runbooks/{name}", incident=incident)["values"]["prompt"]


def test_staging_tells_nobody_unless_it_is_a_drill():
    """A drill's version bears its mark: its own audience, a marked subject, no page for on-call."""
    for bad, told in (("v2.0.0", False), ("drill-error-0123", True)):
        with new_world() as world:
            world.push("v1.9.0")
            world.push(bad)
            found = listen(world)
            for version in ("v1.9.0", bad):
                world.promote(version, environment="staging")
            for _ in range(12):
                world.report(bad, 10, 10, environment="staging")
                world.tick()
            assert world.state("staging").route.control.version == "v1.9.0"
            assert bool(found) == told
            assert {page.audience for page in found} <= {DRILL_AUDIENCE}
            assert all(page.subject.startswith(f"[DRILL] {PROMPT}") for page in found)


def test_a_report_of_a_drill_is_history():
    """Never of production; who held it and what was missed stands there."""
    with new_world() as world:
        world.push("v1.9.0")
        world.promote("v1.9.0", environment="staging")
        body: dict[str, Any] = {
            "prompt": PROMPT,
            "fault": "error",
            "outcome": "missed",
            "report": {"parts": []},
        }
        kept = world.post("/api/drills", headers={"X-Knowngood-Actor": "ana"}, **body)
        entry = world.get(f"/api/audit/{kept['id']}")
        assert (entry["kind"], entry["because"]) == ("drill", "[DRILL] error: limits missed")
        assert entry["actor"].startswith("ana")
        assert world.refused("/api/drills", 422, environment="production", **body)
