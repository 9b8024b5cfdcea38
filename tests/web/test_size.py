"""How much a page weighs: somebody opens it at night, on a phone, over a bad line."""

import gzip
import re

import pytest

from tests.web.world import page, site

PROMPTS = 1_000
BYTES_MAX = 500_000  # everything that a first view brings along, packed


@pytest.mark.slow
def test_a_fleet_of_a_thousand_is_light():
    """The page with all its files, packed as it travels; and unpacked it is still no burden."""
    with site() as world:
        fill(world, PROMPTS)
        text = page(world, "/")
        assert f"Page 1 of {PROMPTS // 100}, {PROMPTS} prompts" in text
        whole = len(gzip.compress(text.encode(), 5))
        for path in set(re.findall(r'(?:href|src)="(/assets/[^"]+)"', text)):
            answer = world.client.get(path, headers={"Accept-Encoding": "gzip"})
            whole += int(answer.headers["content-length"])
        assert len(text) <= BYTES_MAX and whole <= BYTES_MAX


def fill(world, count):
    """That many prompts, each with a version that serves, and calls of the last second."""
    rows = []
    for number in range(count):
        name = f"prompt-{number:04}"
        world.post(f"/api/prompts/{name}/versions", 201, version="v1.0.0", text=f"You are {name}.")
        world.post("/api/promote", prompt=name, version="v1.0.0", now=True, because="first")
        rows.append({"prompt": name, "version": "v1.0.0", "ago_ms": 0, "ok": 50, "errors": {}})
    for at in range(0, count, 100):
        world.post("/api/observations", **world.batch(f"web-{at}", rows=rows[at : at + 100]))
    world.tick()
