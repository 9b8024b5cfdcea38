"""The pages for those who run it are true: the night page's story, the server's commands."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from knowngood.adapters.notify import log as log_notifier
from knowngood.cli.app import app
from knowngood.server import app as server_app
from knowngood.server.app import create_app
from knowngood.server.settings import Settings
from tests.cli.world import World
from tests.docs.pages import DOCS, blocks, matches

NIGHT = DOCS / "how-to" / "roll-back-at-three-in-the-morning.md"
SERVER = DOCS / "how-to" / "run-the-server.md"
COPY = ("knowngood.db", "kg.db")  # what the file is called on the page, and in the world


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A prompt whose second version fails a little: bad enough to ask, too little to act."""
    world = World(tmp_path, monkeypatch)
    world.server_starts()
    for version in ("v1.9.0", "v2.0.0"):
        world.file(f"{version}.txt", version)
        world.run("push", "support-bot", version, f"{version}.txt")
        world.run("promote", "support-bot", version, "--now", "--because", "a deploy")
        world.wait("2")
    world.calls("support-bot:v2.0.0", "ok=776", "provider=24", "for", "40", "s")
    yield world
    world.server_stops()


def type_all(world: World, part: str) -> None:
    """Type the commands of the night page's block of this name, and of those without one after."""
    found = blocks(NIGHT)
    start = next(i for i, block in enumerate(found) if block.word == part)
    for block in found[start:]:
        if block is not found[start] and block.word:
            return
        for command, output in block.commands():
            result = world.run(*shlex.split(command.replace(*COPY))[1:])
            printed = result.stdout + result.stderr
            assert matches(output, printed), f"$ {command}\n{printed}"


def test_the_night_goes_as_the_page_says(world):
    """Look, ask why, roll back, see it proven."""
    type_all(world, "breach")
    for _ in range(2):
        world.calls("support-bot:v1.9.0", "ok=100")
    type_all(world, "recovery")


def test_a_version_gives_way_as_the_page_says(world):
    """Stage by stage; a target that fails pauses it, and each way out is a command."""
    type_all(world, "gradual")
    world.calls("support-bot:v1.9.0", "ok=184", "provider=16", "for", "10", "s")
    type_all(world, "paused")
    rows = re.findall(r"`(knowngood [^`]*)`", NIGHT.read_text(encoding="utf-8"))
    ways = [row.replace("...", "the page") for row in rows if "'...'" in row and "-bot" in row]
    tried = {shlex.split(way)[1] for way in ways}
    assert {"rollback", "resume", "skip", "pause"} <= tried
    for way in ways:
        if "v1.8.0" not in way and "VERSION" not in way:
            result = world.run(*shlex.split(way)[1:], "--dry-run")
            assert result.exit_code == 0, (way, result.stderr)


def test_the_night_without_a_server_goes_as_the_page_says(world):
    """The file is enough."""
    world.server_stops()
    type_all(world, "down")


def test_automation_goes_off_and_on_as_the_page_says(world):
    """And says until when."""
    type_all(world, "off")


def test_the_night_page_quotes_what_is_said():
    """What the table of surprises quotes is what the program says."""
    text = NIGHT.read_text(encoding="utf-8")
    table = text[text.index("| it says |") :].partition("\n\n")[0]
    quoted = [
        q for row in table.splitlines()[2:] for q in re.findall("`([^`]+)`", row.split("|")[1])
    ]
    source = "".join(p.read_text() for p in (DOCS.parent / "src").rglob("*.py"))
    derived = {"rollback.not_recovered", "rollback.inconclusive"}  # `rollback.{outcome}`
    assert len(quoted) == 10
    assert not [words for words in quoted if words not in source and words not in derived]


def commands(page: Path) -> list[tuple[str, str]]:
    """Every command of a page's console blocks with its output."""
    return [pair for b in blocks(page) if b.language == "console" for pair in b.commands()]


SERVES = [pair for pair in commands(SERVER) if pair[0].startswith("knowngood serve")]
EXPORTED = re.findall(r"^(knowngood serve .*)$", SERVER.read_text(encoding="utf-8"), re.MULTILINE)


def test_servers_start_as_the_page_says(monkeypatch, tmp_path):
    """Each `serve` is understood and its settings are valid; the refused one says what is shown."""
    started: list[Settings] = []
    monkeypatch.setattr(server_app, "run", lambda settings, pages: started.append(settings))
    monkeypatch.delenv("KNOWNGOOD_TOKEN", raising=False)
    with_token = [f"{command} --token deploy:0123456789abcdef" for command in EXPORTED]
    assert len(SERVES) == 4 and len(EXPORTED) == 1
    for command, output in [*SERVES, *((each, "") for each in with_token)]:
        result = CliRunner().invoke(app, shlex.split(command)[1:], prog_name="knowngood")
        assert matches(output, result.output), result.output
        assert result.exit_code == (1 if output else 0)
    assert [each.db for each in started[:2]] == [
        "knowngood.db",
        "postgresql://knowngood@db.internal/knowngood",
    ]
    assert "knowngood.example.com" in started[-1].hosts and not started[-1].is_local


def test_a_backup_can_be_restored_and_clients_follow_it(world):
    """The copies are whole, and the data's new name lets clients go back to an older generation."""
    lines = [line for b in blocks(SERVER) if b.language == "sh" for line in b.text.splitlines()]
    copies = [line for line in lines if line.startswith("python3 -c") and "backup" in line]
    (rename,) = [line for line in lines if "lineage" in line]

    def type_line(line: str) -> None:
        line = line.replace("knowngood.db", "kg.db").replace("knowngood-obs", "kg-obs")
        subprocess.run([sys.executable, *shlex.split(line)[1:]], check=True)

    for line in copies:
        type_line(line)
    assert "v2.0.0 100%" in world.run("list").stdout
    boot = world.api.get("/api/snapshot").json()["boot"]
    world.run("rollback", "support-bot")
    world.server_stops()
    for path in Path().glob("kg*.db*"):
        path.unlink()
    Path("backup.db").rename("kg.db")
    Path("backup-observations.db").rename("kg-observations.db")
    world.server_starts()
    restored = world.api.get("/api/snapshot").json()
    assert (restored["generation"], restored["boot"]) == (2, boot)
    world.server_stops()
    type_line(rename)
    world.server_starts()
    assert world.api.get("/api/snapshot").json()["boot"] != boot
    assert world.run("doctor").exit_code == 0


def test_every_metric_is_on_the_page():
    """Prometheus finds what the page names, with the labels that it names."""
    text = create_app(Settings(db="memory:"), ticking=False).state.runtime.metrics.text().decode()
    families = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    real = {name for name in families if not name.endswith("_created")}
    page = SERVER.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(knowngood_\w+)` \| (.*) \|$", page, re.MULTILINE))
    assert set(rows) == real
    for name, words in rows.items():
        for label in set(re.findall(rf"^{name}\{{(\w+)=", text, re.MULTILINE)):
            assert f"`{label}`" in words


def test_probes_need_no_token_and_the_rest_does():
    """The table of questions is right about who may ask them."""
    page = SERVER.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `GET (\S+)` \|.*\| (yes|no) \|$", page, re.MULTILINE)
    assert len(rows) == 4
    settings = Settings(db="memory:", tokens=("deploy:0123456789abcdef",))
    with TestClient(create_app(settings, ticking=False), base_url="http://127.0.0.1") as client:
        client.app.state.runtime.heart.beat()  # type: ignore[attr-defined]
        for path, needed in rows:
            assert client.get(path).status_code == (401 if needed == "yes" else 200), path


def test_a_page_to_people_is_found_in_the_log():
    """The logger's name, by which a collector finds pages, is the one on the page."""
    name = re.search(r'"logger": "(knowngood\.\w+)"', SERVER.read_text(encoding="utf-8"))
    assert name
    assert f'get_logger("{name[1]}")' in Path(log_notifier.__file__).read_text(encoding="utf-8")
