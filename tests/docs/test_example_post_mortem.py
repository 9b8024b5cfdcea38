"""The example of a post-mortem is one: drafted from an incident on a server in this process.

`KNOWNGOOD_GOLDEN=write` writes it anew, to be read before it is committed.
"""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.server.world import PROMPT, World, world

FOLDER = Path(__file__).parents[2] / "docs" / "explanation"
STEM = "example-post-mortem"
PATH = f"/api/incidents/production/{PROMPT}/g2.1"
PROCESSES = 4
ANA = {"X-Knowngood-Actor": "Ana"}
GOOD_TEXT = """You answer customers of a shop.
Be friendly, and answer in at most three sentences.
If you do not know, say so and offer a colleague.
"""
BAD_TEXT = """You answer customers of a shop.
Answer as JSON with the keys `answer` and `sure`.
If you do not know, say so and offer a colleague.
"""


def second(shop: World, version: str, bad: int, quality: int, late: int = 0) -> None:
    """Four processes report a second of 25 calls each; `late` of them serve an older route."""
    newest = shop.runtime.store.states.generation("production")
    for number in range(PROCESSES):
        row = {
            "prompt": PROMPT,
            "version": version,
            "ago_ms": 0,
            "ok": 25 - bad,
            "errors": {"prompt": bad} if bad else {},
            "latency": {"523": 22, "560": 3},
            "scores": {"quality": {str(quality): 2, str(quality + 5): 1}},
        }
        generation = newest - 1 if number < late else newest
        batch = shop.batch(f"web-{number + 1}", rows=[row], generation=generation)
        shop.post("/api/observations", **batch)
    shop.tick()


@pytest.fixture(scope="module")
def drafted() -> Any:
    with world() as shop:
        shop.push("v1.9.0", GOOD_TEXT)
        shop.push("v2.0.0", BAD_TEXT)
        shop.promote("v1.9.0", because="the version that has always worked")
        for n in range(60):
            second(shop, "v1.9.0", 0, 85 - n % 3)
        shop.promote("v2.0.0", headers=ANA, because="the answers shall be machine-readable")
        for n in range(60):
            second(shop, "v2.0.0", 2 + n % 2, 60)
            if "rollback.switched" in shop.kinds():
                break
        for n in range(60):
            second(shop, "v1.9.0", 0, 84, max(0, PROCESSES - 1 - n))
            if shop.state().incident is None:
                break
        for n in range(20):
            second(shop, "v1.9.0", 0, 85 - n % 3)
        shop.post(f"{PATH}/roles", 201, headers=ANA, role="commander", person="Ana")
        note = "The shop's page shows the raw JSON: it never parsed an answer."
        shop.post(f"{PATH}/notes", 201, headers=ANA, text=note)
        yield shop.get(f"{PATH}/postmortem", stem=STEM)


def check(path: Path, text: str) -> None:
    if os.environ.get("KNOWNGOOD_GOLDEN") == "write":
        assert os.environ.get("CI") != "true", "examples are written by people who read them"
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text


def test_the_example_is_what_the_command_writes(drafted):
    """The document, letter by letter."""
    check(FOLDER / f"{STEM}.md", drafted["markdown"])


def test_its_charts_are_those_beside_it(drafted):
    """Every chart of the document stands in the folder, and nothing else that is named like it."""
    for chart in drafted["charts"]:
        check(FOLDER / chart["file"], chart["svg"])
    files = {path.name for path in FOLDER.glob(f"{STEM}-*.svg")}
    assert files == {chart["file"] for chart in drafted["charts"]}
    assert {name.removeprefix(f"{STEM}-") for name in files} == {
        "error-rate.svg", "traffic-share.svg", "p99.svg", "quality.svg", "propagation.svg",
    }  # fmt: skip
    for name in files:
        assert f"]({name})" in drafted["markdown"]
