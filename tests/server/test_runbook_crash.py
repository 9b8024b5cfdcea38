"""A run outlives its server: killed in the middle, it goes on where it stood."""

import pytest

from tests.server.process import server

PROMPT = "customer-support"


@pytest.mark.slow
def test_a_run_goes_on_after_a_kill(tmp_path):
    """What was done stays done, what was not is done once (T1)."""
    db = str(tmp_path / "knowngood.db")
    with server(db=db) as made:
        for version in ("v1.9.0", "v2.0.0"):
            made.post(f"/api/prompts/{PROMPT}/versions", version=version, text=version)
            order = {"prompt": PROMPT, "version": version, "because": "test", "now": True}
            made.post("/api/promote", **order)
        run = made.post("/api/runbook-runs", runbook="target-bad", prompt=PROMPT)["id"]
        made.post("/api/runbook-runs/answer", run=run)
        made.post("/api/runbook-runs/answer", run=run, answer="go", because="v1.9.0 it is")
        made.kill()
    with server(db=db) as back:
        found = back.post("/api/runbook-runs", runbook="target-bad", prompt=PROMPT)
        assert found["id"] == run
        marks = {step["step"]: step["mark"] for step in found["steps"] if step["mark"]}
        assert marks == {"target": "passed", "choose": "passed"}
        back.post("/api/runbook-runs/answer", run=run)
        after = back.post("/api/runbook-runs/answer", run=run, answer="go")
        assert after["next"]["step"] == "verify"
        kinds = back.kinds(PROMPT)
        assert kinds.count("rollback.requested") == 1
        steps = [kind for kind in kinds if kind == "runbook.step"]
        assert len(steps) == 4
