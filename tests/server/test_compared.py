"""The A/B gate from end to end: real clients, a real server, a canary that is or is not alike."""

import json
import random
from itertools import pairwise
from typing import Any

import pytest

from knowngood.sdk.client import Client
from knowngood.sdk.transport import Answer
from knowngood.wire import encode_batch
from tests.server.world import PROMPT, world

POLICY = """
policy: 1
defaults:
  canary: {stages: [10%, 50%, 100%], hold: 10s, wait_at_most: 10m}
  bake: {for: 20s, holdback: 5%}
  ab:
    min_time: 1m
    min_units: 100
    guardrails: {error_rate: 5%, quality: 3%, latency_p99: null}
"""
USERS, CALLS_PER_S = 4_000, 60


class InProcess:
    """The SDK's transport, through the server's own door instead of a socket."""

    def __init__(self, client):
        self.client = client

    def get_snapshot(self, environment, etag):
        headers = {"If-None-Match": etag} if etag else {}
        query = {"environment": environment}
        answer = self.client.get("/api/snapshot", params=query, headers=headers)
        return Answer(answer.status_code, answer.content, answer.headers.get("etag"))

    def post_batch(self, batch):
        answer = self.client.post("/api/observations", json=encode_batch(batch))
        return Answer(answer.status_code, answer.content)

    def close(self):
        pass

    abandon = close


class Shop:
    """Two processes that serve users on the server's clock; v2 may do worse."""

    def __init__(self, server, quality=0.0, failing=0.0):
        self.server = server
        self.worse = {"quality": quality, "failing": failing}
        self.random = random.Random(7)
        self.processes = [self._process() for _ in range(2)]
        self.labels = []

    def _process(self):
        made = Client(
            "http://127.0.0.1:1",
            start=False,
            snapshot_file=False,
            clock=lambda: self.server.clock.ms / 1000,
            wall_s=lambda: self.server.clock.ms / 1000,
        )
        made._recorder.wake = None
        worker: Any = made._worker
        worker._transport = InProcess(self.server.client)
        worker.step()
        return made

    def second(self, late=False):
        """One second: calls of some users, reports, and a look of the engine."""
        for _ in range(CALLS_PER_S):
            process = self.random.choice(self.processes)
            unit = f"user-{self.random.randrange(USERS)}"
            self._call(process.get(PROMPT, unit=unit), late)
        for process in self.processes:
            process.flush()
            process._worker.step()
        for call_id, value in self.labels:  # whoever judges is another process
            self.processes[0].score(call_id, "quality", value)
        self.labels.clear()
        self.server.tick()

    def _call(self, prompt, late):
        bad = prompt.version == "v2.0.0"
        with prompt.call() as call:
            if self.random.random() < 0.002 + bad * self.worse["failing"]:
                call.fail()
            value = self.random.uniform(0.75, 0.95) - bad * self.worse["quality"]
            if late:
                self.labels.append((call.id, value))
            else:
                call.score("quality", value)

    def until(self, kind, late=False, seconds=400):
        for _ in range(seconds):
            self.second(late)
            if kind in self.server.kinds():
                return
        raise AssertionError(self.server.kinds())

    def close(self):
        for process in self.processes:
            process.close()


@pytest.fixture
def open_shop(tmp_path):
    """A canary of v2.0.0 on its way up, under a policy with a gate."""
    opened = []

    def begin(db="memory:", **worse):
        path = tmp_path / "policy.yaml"
        path.write_text(POLICY, encoding="utf-8")
        context = world(policy=str(path), db=db)
        server = context.__enter__()
        for version in ("v1.9.0", "v2.0.0"):
            server.push(version)
        server.promote("v1.9.0")
        server.post("/api/promote", prompt=PROMPT, version="v2.0.0", because="better")
        shop = Shop(server, **worse)
        opened.append((shop, context))
        return shop

    yield begin
    for shop, context in opened:
        shop.close()
        context.__exit__(None, None, None)


def line(shop, kind):
    """The last line of history of this kind."""
    entries = shop.server.get("/api/audit", prompt=PROMPT, limit=500)["entries"]
    return [entry for entry in entries if entry["kind"] == kind][-1]


def replayed(shop, entry):
    return shop.server.get(f"/api/audit/{entry['id']}/replay")


@pytest.mark.parametrize("late", [False, True], ids=["scored at once", "scored by another process"])
def test_a_candidate_that_is_alike_is_promoted(open_shop, tmp_path, late):
    """It climbs, is shown to be no worse, and gets everybody; the sums go when it is over."""
    shop = open_shop(db=str(tmp_path / "kg.db"))
    shop.until("rollout.compared", late)
    found = line(shop, "rollout.compared")
    assert found["detail"]["state"] == "pass" and found["detail"]["share_bp"] == 5_000
    assert replayed(shop, found)["same"]
    shop.second()
    assert "v2.0.0 95%" in shop.server.get("/api/status", prompt=PROMPT)["prompts"][0]["route"]
    shop.server.clock.ms += 60_000
    shop.server.tick(2)
    assert shop.server.runtime.store.units.arms() == []


def test_a_candidate_that_is_worse_is_kept_from_the_rest(open_shop):
    """Its scores are lower: it stays at its stage, the gate says why, and a person is asked."""
    shop = open_shop(quality=0.06)
    shop.until("rollout.compared")
    found = line(shop, "rollout.compared")
    assert found["detail"]["state"] == "fail" and "quality" in found["because"]
    assert replayed(shop, found)["same"]
    for _ in range(15):
        shop.second()
    explained = shop.server.get(f"/api/prompts/{PROMPT}/explain")["state"]["rollout"]
    assert explained["share"] == "50%"
    (gate,) = [gate for gate in explained["gates"] if gate["name"] == "ab"]
    assert gate["answer"] == "deny" and "worse by more than 3.0%" in gate["because"]
    assert explained["comparison"]["state"] == "fail"
    shares = [e["detail"]["share_bp"] for e in _stages(shop)]
    assert all(a < b for a, b in pairwise(shares)) and shares[-1] == 5_000


def _stages(shop):
    entries = shop.server.get("/api/audit", prompt=PROMPT, limit=500)["entries"]
    return [entry for entry in entries if entry["kind"] == "rollout.stage"]


def test_the_gates_show_the_numbers_while_it_goes_on(open_shop):
    """What is compared since when, each metric, and what is waited on."""
    shop = open_shop()
    shop.until("rollout.stage")
    for _ in range(5):
        shop.second()
    answer = shop.server.get(f"/api/prompts/{PROMPT}/gates", version="v2.0.0")
    (gate,) = [gate for gate in answer["stage"] if gate["name"] == "ab"]
    assert gate["answer"] == "not_yet" and gate["waiting_on"][0]["words"].startswith("the A/B gate")
    assert answer["comparison"]["share"] == "50%" and answer["comparison"]["state"] == "continue"
    assert any("waiting on" in each for each in answer["comparison"]["lines"])


def test_the_snapshot_asks_for_units_only_while_arms_are_compared(open_shop):
    """With the route, so that its ETag says it all."""
    shop = open_shop()

    def compared():
        body = shop.server.get("/api/snapshot", environment="production")
        return body["prompts"][PROMPT].get("compared")

    state = shop.server.state()
    assert compared() == {"generation": state.route.generation, "scores": ["quality"]}
    order = {"prompt": PROMPT, "because": "enough"}
    shop.server.post("/api/rollouts/abort", **order)
    assert compared() is None
    assert json.dumps(shop.server.state().rollout) == "null"
