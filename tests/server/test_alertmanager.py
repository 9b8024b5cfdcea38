"""A real Alertmanager posts a real alert: it fires, it is shown, and it ends."""

import json
import re
import urllib.request
from datetime import UTC, datetime, timedelta

import pytest

from tests.alertmanager import alertmanager
from tests.docs.pages import DOCS
from tests.server.process import eventually, server
from tests.server.world import PROMPT

ADMIN, ROBOT = "admin/ada:a-secret-of-adas-own", "sdk/alerts:a-secret-of-alertmanagers"
PAGE = (DOCS / "how-to" / "receive-alerts.md").read_text(encoding="utf-8")
POLICY, PAGE_S_RECEIVERS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[:2]
LABELS = {"alertname": "EmptyAnswers", "prompt": PROMPT, "env": "production", "job": "api"}


@pytest.mark.slow
def test_alertmanager_s_own_message_is_evidence(tmp_path):
    """With the policy and the receiver that the page shows; nothing is rolled back by it."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    database = str(tmp_path / "knowngood.db")
    with server(db=database, policy=str(policy), tokens=[ADMIN, ROBOT]) as made:

        def ask(path, body=None):
            headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(made.url + path, data, headers)
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.loads(answer.read())

        def shown(status):
            alerts = ask(f"/api/prompts/{PROMPT}/explain")["outside"]
            return [alert for alert in alerts if alert["status"] == status]

        ask(f"/api/prompts/{PROMPT}/versions", {"version": "v1", "text": "One."})
        ask("/api/promote", {"prompt": PROMPT, "version": "v1", "because": "first", "now": True})
        receivers = PAGE_S_RECEIVERS.replace("https://knowngood.example.com", made.url)
        receivers = receivers.replace("kg_sdk_alerts_...", repr(ROBOT))
        assert made.url in receivers and ROBOT in receivers
        with alertmanager(tmp_path, receivers) as sender:
            sender.post(labels=LABELS, annotations={"summary": "The answers are empty"})
            (alert,) = eventually(lambda: shown("firing"))
            assert alert["words"] == "alertmanager: The answers are empty"
            assert alert["labels"] == LABELS
            ended = datetime.now(UTC) - timedelta(seconds=1)
            sender.post(labels=LABELS, endsAt=ended.isoformat())
            assert len(eventually(lambda: shown("resolved"))) == 1
        lines = ask(f"/api/audit?prompt={PROMPT}")["entries"]
        said = [line["detail"]["status"] for line in lines if line["kind"] == "evidence.received"]
        assert said == ["firing", "resolved"]
        assert not [line for line in lines if line["kind"].startswith("rollback")]
