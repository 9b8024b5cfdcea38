"""A real server on a real port, spoken to by a real curl."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys

import pytest

from tests.server.process import PROGRAM, eventually, server

PROMPT = "customer-support"
ARTICLE = (
    "curl -X POST http://localhost:8000/api/rollback "
    """-d '{"prompt": "customer-support", "target_version": "v1.9.0"}' """
    '-H "Content-Type: application/json"'
)


def spoken(command):
    """The answer to a command of a shell."""
    arguments = [*shlex.split(command), "--silent", "--show-error"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_articles_own_command_works(tmp_path):
    """Verbatim but for the port (R33); and the server ends properly when it is told to."""
    if shutil.which("curl") is None and os.environ.get("CI") != "true":
        pytest.skip("no curl on this machine; on Debian: apt-get install curl")
    with server(db=str(tmp_path / "knowngood.db")) as made:
        for version in ("v1.9.0", "v2.0.0"):
            made.post(f"/api/prompts/{PROMPT}/versions", version=version, text=version)
            order = {"prompt": PROMPT, "version": version, "because": "test", "now": True}
            made.post("/api/promote", **order)
        command = ARTICLE.replace(":8000", f":{made.port}")
        answer = spoken(command)
        assert (answer["success"], answer["outcome"]) == (True, "switched")
        assert (answer["from_version"], answer["to_version"]) == ("v2.0.0", "v1.9.0")
        eventually(lambda: "rollback.propagated" in made.kinds(PROMPT))
        refused = spoken(command.replace('-H "Content-Type: application/json"', ""))
        assert refused["error"]["code"] == "unsupported_media_type"
        # Uvicorn ends in order and then lets the signal have its way.
        assert made.stop() in (0, -signal.SIGTERM)
    for line in made.log:
        assert json.loads(line)["event"], line
    assert (tmp_path / "knowngood.db").stat().st_mode & 0o077 == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"host": "0.0.0.0"}, "no token is set"),  # noqa: S104
        ({"notify": ["pigeon"]}, "pigeon"),
    ],
)
def test_a_server_that_cannot_run_as_told_does_not_start(tmp_path, settings, words):
    """Nothing listens, and the reason is named."""
    told = json.dumps({"db": str(tmp_path / "k.db"), "port": 0, **settings})
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, told], capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert words in done.stderr
