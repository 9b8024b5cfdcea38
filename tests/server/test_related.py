"""Related prompts stand beside an explanation, with what rolls them back."""

from tests.server.world import PROMPT
from tests.server.world import world as new_world

POLICY = """
policy: 1
related: [[customer-support, faq, never-pushed]]
"""


def test_the_health_of_related_prompts_is_shown(tmp_path):
    """Those that are served, in core's words; what nobody pushed is left out."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    with new_world(policy=str(path)) as world:
        world.push("v1.9.0")
        world.promote("v1.9.0")
        assert world.get(f"/api/prompts/{PROMPT}/explain")["related"] == []
        world.post("/api/prompts/faq/versions", 201, version="v1", text="You know.")
        assert world.get(f"/api/prompts/{PROMPT}/explain")["related"] == []
        world.post("/api/promote", prompt="faq", version="v1", because="first")
        (row,) = world.get(f"/api/prompts/{PROMPT}/explain")["related"]
        assert (row["prompt"], row["route"], row["verdict"]) == ("faq", "v1 100%", "unsure")
        assert row["rolls_back"] == "knowngood rollback faq --because ..."
