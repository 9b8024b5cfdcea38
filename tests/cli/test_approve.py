"""Two people at their command lines: one agrees, the other one promotes."""

import pytest
from typer.testing import CliRunner

from knowngood.cli.app import app
from tests.server.process import server

ANA, BEN = "operator/ana:a-secret-of-anas-own", "approver/ben:a-secret-of-bens-own"


@pytest.mark.slow
def test_a_promotion_by_two(tmp_path):
    """Refused with the command that agrees; agreed to, it goes through; each says what is next."""
    prompt = tmp_path / "faq.txt"
    prompt.write_text("Answer briefly.")
    with server(db="memory:", tokens=[ANA, BEN]) as made:

        def run(token, *arguments):
            told = [*arguments, "--url", made.url, "--token", token]
            return CliRunner().invoke(app, told, env={"KNOWNGOOD_TOKEN": ""})

        promote = ("promote", "faq", "v1", "--now", "--because", "first")
        assert run(ANA, "push", "faq", "v1", str(prompt)).exit_code == 0
        refused = run(ANA, *promote)
        assert refused.exit_code == 1
        assert "nobody has approved it; ben can" in refused.stderr
        assert "knowngood approve faq v1 --because ..." in refused.stderr
        assert "role approver" in run(ANA, "approve", "faq", "v1", "--because", "x").stderr
        asked = run(BEN, "approve", "faq:v1", "--question", "1", "--because", "x")
        assert asked.exit_code == 2 and "no question" in asked.stderr
        rehearsed = run(BEN, "approve", "faq:v1", "--because", "read it", "--dry-run")
        assert rehearsed.exit_code == 0, rehearsed.stderr
        assert run(ANA, *promote).exit_code == 1
        agreed = run(BEN, "approve", "faq:v1", "--because", "read it")
        assert agreed.exit_code == 0, agreed.stderr
        assert "approved by ben until" in agreed.stdout and "somebody else" in agreed.stdout
        gates = run(ANA, "gates", "faq", "v1")
        assert "approved by ben" in gates.stdout
        assert run(BEN, *promote).exit_code == 1  # not by himself
        assert run(ANA, *promote).exit_code == 0
