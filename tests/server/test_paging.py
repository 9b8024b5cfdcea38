"""Killed around a page: at least one page, at most one rollback, which waits for nobody."""

import json
from typing import Any

import pytest

from tests.adapters.test_pagerduty import KEY, Service
from tests.adapters.vendors import Call, Reply, provider
from tests.server.process import eventually, server
from tests.server.test_crash import PROMPT, report

POLICY: dict[str, Any] = {
    "people": {"ana": {"roles": ["on-call"]}},
    "channels": {"pager": {"kind": "pagerduty", "routing_key": "env:PD_KEY"}},
}


class Switchboard:
    """PagerDuty behind a line that can be cut after what it has taken."""

    def __init__(self) -> None:
        self.service = Service()
        self.silent = False
        self.taken: list[str] = []

    def __call__(self, call: Call) -> Reply:
        reply = self.service(call)
        if call.path == "/v2/enqueue" and call.json["event_action"] == "trigger":
            self.taken.append(call.json["dedup_key"])
        return Reply(hang=True) if self.silent else reply


@pytest.mark.slow
@pytest.mark.parametrize("answers", [True, False], ids=["after its answer", "before its answer"])
def test_a_server_killed_around_a_page(tmp_path, monkeypatch, answers):
    """P2, T1, T16: the page arrives, under one key; the rollback is done once."""
    monkeypatch.setenv("PD_KEY", KEY)
    line = Switchboard()
    line.silent = not answers
    with provider(line) as pagerduty:
        policy = tmp_path / "policy.yaml"
        POLICY["channels"]["pager"]["url"] = pagerduty.url
        policy.write_text(json.dumps(POLICY))  # JSON is YAML
        db = str(tmp_path / "knowngood.db")
        settings = {"db": db, "policy": str(policy), "egress_loopback": True}
        with server(**settings) as made:
            for version in ("v1.9.0", "v2.0.0"):
                made.post(f"/api/prompts/{PROMPT}/versions", version=version, text=version)
                order = {"prompt": PROMPT, "version": version, "because": "test", "now": True}
                made.post("/api/promote", **order)
            seq = 0

            def switched() -> bool:
                nonlocal seq
                seq += 1
                report(made, seq, "first", "v2.0.0", ok=10, bad=10)
                return "rollback.switched" in made.kinds(PROMPT)

            eventually(switched)  # the pager may hang: nobody waits for it
            eventually(lambda: line.taken)
            made.kill()
        before = list(line.taken)
        line.silent = False
        with server(**settings) as back:
            eventually(lambda: _all_sent(back))
            assert back.kinds(PROMPT).count("rollback.switched") == 1
            log = back.get("/api/notify/log?limit=1000")["deliveries"]
        assert len(set(line.taken)) == len(line.service.told) == 1
        pages = [row for row in log if row["channel"] == "pager" and row["thread"] == before[0]]
        assert "delivered" in {row["outcome"] for row in pages}
        assert answers or len(line.taken) > len(before)


def _all_sent(back: Any) -> bool:
    (check,) = [c for c in back.get("/api/doctor")["checks"] if c["name"] == "outbox"]
    return str(check["words"]).startswith("0 ")
