"""Every way to move a route queues its change event with it."""

from typing import Any

from knowngood.core.asking import Purpose
from tests.server.world import PROMPT
from tests.server.world import world as new_world

POLICY = """
policy: 1
channels: {feed: {kind: webhook, url: "https://example.com/moves"}}
audiences: {changes: [feed], on-call: [], incidents: []}
"""


def test_each_way_to_move_a_route_is_told(tmp_path):
    """A promotion, its stage, an abort, a release and a rollback: once each."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    with new_world(policy=str(policy)) as made:
        seen = 0

        def moves() -> list[Any]:
            nonlocal seen
            waiting = made.runtime.store.outbox.due(made.clock.ms, 100)
            found = [m for m in waiting if m.purpose is Purpose.CHANGE and m.id > seen]
            seen = max([seen, *(m.id for m in found)])
            return [m.subject.partition(": ")[2] for m in found]

        order: dict[str, Any] = {"prompt": PROMPT, "because": "test"}
        for version in ("v1", "v2"):
            made.push(version)
        made.promote("v1")
        assert moves() == ["no route -> v1 100%"]
        made.post("/api/promote", version="v2", **order)
        assert moves() == ["v1 100% -> v1 99% + v2 1%"]
        made.post("/api/rollouts/skip", **order)
        assert moves() == ["v1 99% + v2 1% -> v1 95% + v2 5%"]
        made.post("/api/rollouts/abort", **order)
        assert moves() == ["v1 95% + v2 5% -> v1 100%"]
        made.push("v3")
        made.post("/api/prompts/other/versions", 201, version="v1", text="other")
        members = [f"{PROMPT}:v3", "other:v1"]
        made.post("/api/releases", 201, name="r", members=members, because="test")
        made.post("/api/releases/promote", name="r", because="test", now=True)
        assert sorted(moves()) == ["no route -> v1 100%", "v1 100% -> v3 100%"]
        made.post("/api/rollback", target_version="v1", **order)
        assert moves() == ["v3 100% -> v1 100%"]
