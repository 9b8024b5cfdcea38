"""What the demo counts of its processes' calls, and when a story has gone wrong."""

from collections import deque
from typing import Any

import pytest

from knowngood.cli.demo_calls import (
    Call,
    failed_count,
    flickered,
    moved_back,
    read_calls,
    share_of,
    users_of,
    write_calls,
)
from knowngood.cli.demo_canary import Canary
from knowngood.cli.demo_processes import Children
from knowngood.cli.demo_scenes import BAD, GOOD, SCENES
from knowngood.cli.demo_story import WentWrong


def call(at_ms: int, user: str, generation: int, version: str, failed: bool = False) -> Call:
    return Call(at_ms, user, generation, version, failed)


def test_calls_come_back_in_the_order_of_time(tmp_path):
    """Of every process, up to the last whole line; a process without a call has no file yet."""
    one, two, none = (tmp_path / name for name in ("one", "two", "none"))
    late, early = call(20, "ann", 3, BAD, failed=True), call(10, "bob", 2, GOOD)
    write_calls(one, [late])
    write_calls(two, [early])
    with two.open("a") as file:
        file.write("30 cle")
    assert read_calls([one, two, none]) == [early, late]


def test_what_is_counted():
    """Users once however often they call; failures by version; shares of one generation's calls."""
    calls = [
        call(1, "ann", 2, GOOD, failed=True),
        call(2, "ann", 3, BAD),
        call(3, "ann", 3, BAD, failed=True),
        call(4, "bob", 3, GOOD),
    ]
    assert users_of(calls) == {"ann", "bob"} and users_of(calls, BAD) == {"ann"}
    assert failed_count(calls, BAD) == 1
    assert share_of(calls, BAD, 3) == pytest.approx(2 / 3) and share_of(calls, BAD, 9) is None


def test_a_user_who_is_taken_back_to_the_bad_version_is_found():
    """By the order of the routes, whoever served them; what was before is no matter."""
    before = [call(1, "ann", 1, GOOD), call(2, "ann", 2, BAD)]
    down = [call(3, "ann", 3, BAD), call(4, "ann", 4, GOOD), call(5, "ann", 5, GOOD)]
    assert moved_back([*before, *down], GOOD, BAD, since=3) == set()
    assert moved_back([*before, *down, call(6, "ann", 6, BAD)], GOOD, BAD, since=3) == {"ann"}


def test_a_process_that_is_a_second_behind_moves_nobody_but_is_counted():
    """It serves the route before: in time that is a step back, by the routes it is none."""
    calls = [call(3, "ann", 4, GOOD), call(4, "ann", 3, BAD), call(5, "ann", 4, GOOD)]
    assert moved_back(calls, GOOD, BAD, since=3) == set()
    assert flickered(calls, GOOD, BAD, since=3) == {"ann"}


def test_only_the_new_version_is_ever_refused():
    """With as many calls under way as there are connections, the next one finds none free."""
    scene = SCENES["canary"]
    assert scene.connections is not None
    assert not scene.refuses(BAD, scene.connections - 1) and scene.refuses(BAD, scene.connections)
    assert not scene.refuses(GOOD, 1_000)
    assert not SCENES["gradual"].refuses(BAD, 1_000)
    assert SCENES["gradual"].latency_s(BAD, 1.0) > SCENES["gradual"].latency_s(GOOD, 1.0) == 1.0


class Log:
    """An API that answers with lines of history, one at a time."""

    url = "http://127.0.0.1:1"

    def __init__(self, *lines: tuple[str, dict[str, object]]) -> None:
        self.lines = deque(enumerate(lines, 1))

    def get(self, path: str, **query: object) -> dict[str, object]:
        assert path == "/api/audit"
        number, (kind, detail) = self.lines.popleft()
        line = {"id": number, "kind": kind, "at_ms": 0, "because": "so", "detail": detail}
        return {"entries": [line]}


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        (("rollback.switched", {}), "stopped_early"),
        (("rollout.stage", {"share_bp": 2_500, "gates": []}), "skipped"),
        (("rollback.not_recovered", {}), "not_recovered"),
    ],
)
def test_a_story_that_goes_otherwise_has_gone_wrong(tmp_path, line, outcome):
    """The outcome says how, and the demo then exits 1."""
    log: Any = Log(line)
    story = Canary(log, Children(tmp_path, 1), lambda *_: None, 4, 7)
    with pytest.raises(WentWrong) as wrong:
        story._climbs({"at_ms": 0})
    assert wrong.value.outcome == outcome
