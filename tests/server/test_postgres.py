"""The server on PostgreSQL: the same story, and no odd name reaches the database."""

import pytest

from tests.postgres import postgres_server
from tests.server.world import PROMPT, error_of, world

ODD = ("a%00b", "%F0%9F%98%80", "a%27%3B--", "%ED%A0%80")


@pytest.mark.postgres
def test_the_whole_story_on_postgresql():
    """Push, promote, breach, rollback, verification, and what is seen of it."""
    with postgres_server() as server:
        url = server.create()
        with world(db=url) as made:
            made.route_two()
            made.live(8, "v2.0.0", ok=10, bad=10)
            made.live(8, "v1.9.0", ok=30)
            kinds = made.kinds()
            assert kinds.count("rollback.switched") == kinds.count("rollback.verified") == 1
            assert made.get("/api/doctor")["ok"]
            for name in ODD:
                for path in (
                    f"/api/prompts/{name}",
                    f"/api/prompts/{PROMPT}/versions/{name}",
                    f"/api/status?environment={name}",
                    f"/api/audit?prompt={name}",
                    f"/api/snapshot?environment={name}",
                ):
                    error_of(made.client.get(path), 404)
            assert made.get("/api/snapshot")["generation"] == 3
        server.drop(url)
