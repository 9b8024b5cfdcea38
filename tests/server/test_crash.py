"""Killed between the decision and its verification: nothing is lost, nothing is done twice."""

import pytest

from tests.server.process import Server, eventually, server

PROMPT = "customer-support"


def report(made: Server, seq: int, boot: str, version: str, ok: int, bad: int) -> int:
    """One process reports a second of calls; the generation that it now knows of."""
    receipt = made.post(
        "/api/observations",
        v=1,
        client={"id": "web-1", "boot": boot},
        seq=seq,
        environment="production",
        generation=3 if version == "v1.9.0" else 2,
        rows=[
            {
                "prompt": PROMPT,
                "version": version,
                "ago_ms": 0,
                "ok": ok,
                "errors": {"prompt": bad} if bad else {},
            }
        ],
    )
    return int(receipt["generation"])


@pytest.mark.slow
def test_a_server_killed_after_its_decision_verifies_it_when_it_is_back(tmp_path):
    """Exactly one switch, then its verification (P1, P2, T1)."""
    db = str(tmp_path / "knowngood.db")
    with server(db=db) as made:
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

        eventually(switched)
        made.kill()
        assert made.process.returncode == -9
    with server(db=db) as back:
        status = back.get("/api/status")["prompts"][0]
        assert status["phase"] == "verifying the rollback v2.0.0 -> v1.9.0"
        assert status["route"] == "v1.9.0 100%"
        seq = 0

        def verified() -> bool:
            nonlocal seq
            seq += 1
            assert report(back, seq, "second", "v1.9.0", ok=20, bad=0) == 3
            return "rollback.verified" in back.kinds(PROMPT)

        eventually(verified)
        kinds = back.kinds(PROMPT)
        assert kinds.count("rollback.switched") == 1
        assert kinds.count("rollback.verified") == 1
        assert kinds.index("rollback.switched") < kinds.index("rollback.verified")
        assert back.get("/api/status")["prompts"][0]["incident"] is None
        assert back.get("/api/doctor")["ok"]
