"""The watchdog of a running server: a person hears of what is past its limit and not proven yet."""

from typing import Any

import pytest

from knowngood.ports import Delivered, Page
from tests.server.world import PROMPT
from tests.server.world import world as new_world

MINUTE_MS = 60_000
# Nothing else asks or alerts, so that the watchdog is the only one to speak.
ALONE = """
policy: 1
defaults:
  triggers: {error_high: null}
  alerts: {first_hour: null, settled: null}
"""
# What fails a little more often than it may, against a healthy level just below: hours of doubt.
DOUBTFUL = """
policy: 1
defaults:
  triggers:
    error_high: null
    error_critical: {evidence: {alpha: 0.000001, q0: 4%}}
  alerts: {first_hour: null, settled: null}
"""


class Pager:
    """Remembers who was paged, and when."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.pages: list[tuple[int, Page]] = []

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered:
        self.pages.append((self.world.clock.ms, page))
        return Delivered("told")


@pytest.fixture
def start(tmp_path):
    """A server under a policy, v2.0.0 deployed over v1.9.0, and its pager."""
    worlds: list[Any] = []

    def begin(policy):
        path = tmp_path / "policy.yaml"
        path.write_text(policy, encoding="utf-8")
        worlds.append(new_world(policy=str(path)))
        world = worlds[-1].__enter__()
        pager = Pager(world)
        world.runtime.engine.notifiers = {"pager": pager}
        world.route_two()
        return world, pager

    yield begin
    for context in worlds:
        context.__exit__(None, None, None)


def leak(world, minutes, every=15):
    """One call a second, of which every so many-th fails; the engine looks every five seconds."""
    for number in range(minutes * 12):
        calls = range(number * 5, number * 5 + 5)
        bad = sum(call % every == every - 1 for call in calls)
        world.report("v2.0.0", 5 - bad, bad)
        world.clock.ms += 5_000
        world.runtime.heart.beat()


def test_a_person_is_told_in_time_of_what_is_not_proven(start):
    """Once, at high severity, with the evidence and both ways to go on; nothing is rolled back."""
    world, pager = start(ALONE)
    leak(world, 3)
    ((_, page),) = pager.pages
    assert (page.audience, page.severity, page.prompt) == ("on-call", "high", PROMPT)
    assert "errors 6.7% > 5.0%" in page.subject
    assert "not proven yet: needs more evidence on errors: E = " in page.subject
    assert "at this traffic" in page.subject
    assert f"`knowngood explain {PROMPT} --env production`" in page.body
    assert f"`knowngood rollback {PROMPT} --env production --because ...`" in page.body
    assert [kind for kind in world.kinds() if kind.startswith("rollback")] == []
    (line,) = [e for e in world.get("/api/audit")["entries"] if e["kind"] == "watchdog"]
    proof = line["detail"]["findings"][0]["proof"]
    assert 20 <= 2.718281828 ** proof["log_e"] < 1000
    assert line["at_ms"] - proof["over_since_ms"] >= 2 * MINUTE_MS
    assert world.get(f"/api/audit/{line['id']}/replay")["same"]


def test_the_proof_comes_and_the_rollback_with_it(start):
    """Who was told early is told again when it is done."""
    world, pager = start(ALONE)
    leak(world, 6)
    kinds = world.kinds()
    assert kinds.index("watchdog") < kinds.index("rollback.suspected")
    assert "rollback.switched" in kinds
    subjects = [page.subject for _, page in pager.pages if page.audience == "on-call"]
    assert ["not proven yet" in subjects[0], "ROLLBACK" in subjects[1]] == [True, True]


def test_whoever_was_asked_already_is_not_told_again(start):
    """Under the default policy the question at 2 % comes first, and its incident says it all."""
    world, pager = start("policy: 1\n")
    leak(world, 3)
    assert "incident.opened" in world.kinds()
    assert "watchdog" not in world.kinds()
    assert pager.pages


def test_doubt_that_lasts_is_told_once_an_hour(start):
    """A hundred minutes of it are two pages, an hour apart."""
    world, pager = start(DOUBTFUL)
    leak(world, 100, every=18)
    told = [ms for ms, page in pager.pages if ":level:" not in page.key]
    first_ms, second_ms = told
    assert second_ms - first_ms == 60 * MINUTE_MS
    assert world.kinds().count("watchdog") == 2
