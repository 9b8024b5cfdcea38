"""What holds for every verb: clean JSON, exit codes, options, a quick start."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from knowngood.cli import output
from tests.cli.world import URL
from tests.server.history import change, without_evidence

BOT = "support-bot"
READS = [
    (["status"], "/api/status?environment=production"),
    (["status", BOT], f"/api/status?environment=production&prompt={BOT}"),
    ([], "/api/status?environment=production"),
    (["explain", BOT], f"/api/prompts/{BOT}/explain?environment=production"),
    (["gates", BOT, "v2"], f"/api/prompts/{BOT}/gates?version=v2&environment=production"),
    (["list"], "/api/prompts"),
    (["show", BOT], f"/api/prompts/{BOT}"),
    (["show", f"{BOT}:v1"], f"/api/prompts/{BOT}/versions/v1"),
    (["diff", BOT, "v1", "v2"], f"/api/prompts/{BOT}/diff?a=v1&b=v2"),
    (["audit"], "/api/audit?limit=30"),
    (["audit", BOT, "--after", "1"], f"/api/audit?prompt={BOT}&after=1&limit=30"),
    (["audit", "show", "2"], "/api/audit/2"),
    (["policy", "show"], "/api/policy"),
    (["policy", "show", BOT], f"/api/policy?prompt={BOT}"),
    (["doctor"], "/api/doctor"),
    (["environments"], "/api/environments"),
    (["notify", "log"], "/api/notify/log?limit=50"),
    (["notify", "log", "--thread", "t", "--limit", "2"], "/api/notify/log?thread=t&limit=2"),
]
WRITES = [
    ["push", BOT, "v3", "v3.txt"],
    ["promote", BOT, "v2", "--stages", "5%,50%,100%", "--because", "new"],
    ["pause", BOT, "--because", "lunch"],
    ["resume", BOT, "--because", "back"],
    ["replan", BOT, "--hold", "1m", "--because", "a busy day"],
    ["skip", BOT, "--because", "looked at"],
    ["abort", BOT, "--because", "not today"],
    ["promote", BOT, "v2", "--now", "--because", "today"],
    ["rollback", BOT, "v1", "--gradual", "--hold", "1m", "--because", "slow"],
    ["rollback", BOT, "v1", "--because", "bad"],
    ["unquarantine", BOT, "v2", "--because", "it was fine"],
    ["vouch", BOT, "v2", "--because", "fine", "--dry-run"],
    ["rollback", BOT, "v1", "--because", "bad", "--dry-run"],
    ["rollback", BOT, "v1", "--because", "bad"],
    ["automation", "off", "--for", "1h", "--because", "calm"],
    ["environments", "add", "eu"],
]


@pytest.fixture
def routed(world):
    """Two versions of which the first is served, and a file with a third."""
    for version in ("v1", "v2", "v3"):
        world.file(f"{version}.txt", version)
    for version in ("v1", "v2"):
        assert world.run("push", BOT, version, f"{version}.txt").exit_code == 0
    assert world.run("promote", BOT, "v1", "--because", "first").exit_code == 0
    return world


@pytest.mark.parametrize(("words", "path"), READS, ids=lambda value: str(value))
def test_a_read_prints_the_api_s_json_and_nothing_else(routed, words, path):
    """With --json, stdout is the API's own object; the same with the server down."""
    answer = routed.api.get(path).json()
    result = routed.run(*words, "--json")
    assert (result.exit_code, json.loads(result.stdout), result.stderr) == (0, answer, "")
    assert result.stdout.count("\n") == 1
    routed.server_stops()
    local = routed.run(*words, "--json", "--db", "kg.db")
    assert local.stderr == ""
    # The engine is part of what a doctor looks at, and it does not run.
    if words != ["doctor"]:
        assert json.loads(local.stdout) == answer


def test_a_write_prints_json_and_nothing_else(routed):
    """With --json, every write prints the API's own object."""
    for words in WRITES:
        result = routed.run(*words, "--json")
        assert (result.exit_code, result.stderr) == (0, ""), words
        assert isinstance(json.loads(result.stdout), dict)


def test_break_glass_really_switches(routed):
    """A rollback with --db moves the route in the file; the server serves it when it is back."""
    assert routed.run("promote", BOT, "v2", "--now", "--because", "new").exit_code == 0
    routed.server_stops()
    result = routed.run("rollback", BOT, "--db", "kg.db", "--json")
    assert json.loads(result.stdout)["outcome"] == "switched"
    routed.server_starts()
    served = routed.api.get("/api/snapshot?environment=production").json()
    assert served["generation"] == 3
    arms = routed.api.get(f"/api/status?prompt={BOT}").json()["prompts"][0]["arms"]
    assert [(arm["version"], arm["weight_bp"]) for arm in arms] == [("v1", 10_000)]


def test_break_glass_needs_no_observations(routed):
    """A damaged file of figures keeps nobody from rolling back."""
    assert routed.run("promote", BOT, "v2", "--now", "--because", "new").exit_code == 0
    routed.server_stops()
    for file in Path().glob("kg-observations.db*"):
        file.write_bytes(b"this is no database" * 1_000)
    result = routed.run("rollback", BOT, "--db", "kg.db", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["outcome"] == "switched"
    said = routed.run("audit", BOT, "--db", "kg.db").stdout
    assert "evidence unavailable" in said


def test_without_a_server_only_reads_and_rollback_have_db(world):
    """Break glass is for getting out of trouble: the other writes do not take --db."""
    for words in (["push", BOT, "v1", "f.txt"], ["promote", BOT, "v1"], ["vouch", BOT, "v1"]):
        result = world.run(*words, "--db", "kg.db")
        assert result.exit_code == 2
        assert "No such option: --db" in result.stderr


def test_options_come_from_the_environment(routed, monkeypatch):
    """KNOWNGOOD_URL names the server, also for the default verb."""
    monkeypatch.setenv("KNOWNGOOD_URL", "nonsense")
    for words in ([], ["status"], ["explain", BOT]):
        result = routed.run(*words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "'nonsense' is no URL" in result.stderr
    assert routed.run("--url", URL).exit_code == 0


def test_the_actor_is_written_down(routed):
    """--as names who acted, in any alphabet; default: the user of the operating system."""
    for actor in ("dana", "Zoë", "50% dana"):
        words = ["environments", "add", f"for-{len(actor)}", "--as", actor]
        assert routed.run(*words).exit_code == 0
    last = routed.api.get("/api/audit").json()["entries"]
    assert [line["actor"] for line in last[-4:]] == [
        "eve (unverified)", "dana (unverified)", "Zoë (unverified)", "50% dana (unverified)"
    ]  # fmt: skip


def test_unreachable_is_exit_3(tmp_path):
    """Where nobody answers, the exit code is 3 and stderr says how to start a server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    result = knowngood("status", "--url", url)
    assert result.returncode == 3
    assert result.stdout == ""
    assert "no server answers" in result.stderr
    assert "knowngood serve" in result.stderr
    assert "--db FILE" in result.stderr


def test_help_is_quick_and_light():
    """`--help` loads neither the server nor the database nor an HTTP library."""
    heavy = ["fastapi", "starlette", "sqlalchemy", "httpx", "pydantic", "yaml", "knowngood.server"]
    code = (
        "import sys; import knowngood.cli.app; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


def test_every_verb_has_help():
    """The script is installed, lists every verb, and each says what it does."""
    result = knowngood("--help")
    assert result.returncode == 0
    verbs = re.findall(r"^  ([a-z]+)  ", result.stdout.partition("Commands:")[2], re.MULTILINE)
    wanted = (
        "serve demo push list show diff promote rollback vouch unquarantine status explain "
        "automation policy audit doctor environments eval gates pause resume skip abort replan"
    )
    assert set(wanted.split()) <= set(verbs)


def test_version(world):
    """--version names the package's version."""
    assert re.fullmatch(r"knowngood \d+\.\d+\.\d+\S*\n", world.run("--version").stdout)


def test_serve_refuses_what_is_unsafe(world):
    """`serve` says what is wrong before it starts anything."""
    result = world.run("serve", "--host", "0.0.0.0")  # noqa: S104 # refused
    assert result.exit_code == 1
    assert "no token is set" in result.stderr


def test_serve_says_that_its_port_is_taken(world):
    """Before it makes a database, or lets a second engine act on somebody's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = world.run("serve", "--port", str(taken.getsockname()[1]), "--db", "taken.db")
    assert result.exit_code == 1
    assert "Address already in use" in result.stderr
    assert "name another with --port" in result.stderr
    assert not Path("taken.db").exists()


def test_a_file_that_json_cannot_hold_is_refused(world):
    """YAML knows dates; the field is named, and nothing is sent."""
    world.file("dated.yaml", "text: hi\nconfig: {since: 2026-01-01}")
    result = world.run("push", BOT, "v1", "dated.yaml")
    assert result.exit_code == 1
    assert result.stderr == "knowngood: `config.since` is a date, which JSON cannot hold\n"


def test_every_write_takes_a_reason(routed):
    """Of a push and a new environment as well; the history has it."""
    assert routed.run("push", BOT, "v3", "v3.txt", "--because", "shorter").exit_code == 0
    assert routed.run("environments", "add", "eu", "--because", "new region").exit_code == 0
    history = json.loads(routed.run("audit", "--json").stdout)["entries"]
    assert [line["because"] for line in history[-2:]] == ["shorter", "new region"]


def test_what_holds_a_rollback_is_never_denied(world):
    """Nothing to go back to is no brake, and it holds all the same; a hold says of which prompt."""
    world.file("v1.txt", "hi")
    assert world.run("push", BOT, "v1", "v1.txt").exit_code == 0
    assert world.run("promote", BOT, "v1", "--because", "first").exit_code == 0
    world.calls(f"{BOT}:v1", "ok=300", "provider=300", "for", "6", "s")
    shown = world.run("explain", BOT).stdout
    assert "no known-good version to go back to" in shown
    assert "Brakes\n  none; what holds the rollback stands above\n" in shown
    assert world.run("automation", "off", BOT, "--for", "2h", "--because", "x").exit_code == 0
    assert f"! {BOT}: automation is off by " in world.run("status").stdout


def test_a_decision_is_made_again(routed, monkeypatch):
    """Online and from the file: the API's own answer, exit 0; exit 1 when history was changed."""
    assert routed.run("promote", BOT, "v2", "--now", "--because", "new").exit_code == 0
    routed.calls(f"{BOT}:v2", "ok=50", "provider=50", "for", "5", "s")
    history = routed.api.get(f"/api/audit?prompt={BOT}").json()["entries"]
    entry_id = next(e["id"] for e in history if e["kind"] == "rollback.confirmed")
    answer = routed.api.get(f"/api/audit/{entry_id}/replay").json()
    assert answer["same"]
    again = routed.run("audit", "replay", str(entry_id), "--json")
    assert (again.exit_code, json.loads(again.stdout)) == (0, answer)
    log = routed.api.app.state.runtime.store.log
    routed.server_stops()
    local = routed.run("audit", "replay", str(entry_id), "--db", "kg.db", "--json")
    assert (local.exit_code, json.loads(local.stdout)) == (0, answer)
    change(monkeypatch, log, entry_id, without_evidence)
    for words in ([], ["--json"]):
        changed = routed.run("audit", "replay", str(entry_id), "--db", "kg.db", *words)
        assert changed.exit_code == 1
    assert json.loads(changed.stdout)["same"] is False
    shown = routed.run("audit", "replay", str(entry_id), "--db", "kg.db").stdout
    assert "DIFFERENT from what was recorded" in shown
    assert "recorded: rollback.confirmed" in shown


def test_a_policy_is_checked_beside_what_is_seen(routed):
    """Which limits healthy traffic passes by chance: by a server, and by its file."""
    routed.calls(f"{BOT}:v1", "ok=1980", "provider=20", "for", "70", "s")
    routed.file(
        "strict.yaml", "policy: 1|defaults: {triggers: {error_critical: {when: error_rate > 1%}}}"
    )
    words = ["policy", "check", "strict.yaml"]
    assert "THRESHOLD_NOT_SEPARABLE" not in routed.run(*words).stdout
    line = f"THRESHOLD_NOT_SEPARABLE: production/{BOT} error_critical: errors of 1.0% are normal"
    online = routed.run(*words, "--url", URL)
    assert line in online.stdout, online.stdout + online.stderr
    routed.server_stops()
    assert routed.run(*words, "--db", "kg.db").stdout == online.stdout


def test_only_an_entry_can_be_shown_or_replayed(routed):
    """A word that is no verb, an id that is none, a line that nobody judged."""
    for words, code, said in (
        (["replays", "2"], 2, "expected `audit show 2`"),
        (["replay", "x"], 2, "'x' is no id of an entry"),
        (["replay", "1"], 1, "entry 1 (version.pushed) was not judged"),
        (["replay", "999"], 1, "there is no entry 999"),
    ):
        result = routed.run("audit", *words)
        assert (result.exit_code, result.stdout) == (code, "")
        assert said in result.stderr


def test_a_prompt_cannot_steer_the_terminal(world):
    """Control characters of a text or a reason are shown, not obeyed."""
    world.file("red.txt", "a\x1b[31mb\tc\x07\x9b")
    assert world.run("push", BOT, "v1", "red.txt").exit_code == 0
    assert world.run("promote", BOT, "v1", "--because", "x\x1b]0;y\x07").exit_code == 0
    shown = world.run("show", BOT, "v1").stdout
    assert "a\\x1b[31mb" in shown
    told = shown + world.run("audit").stdout
    assert "x\\x1b]0;y\\x07" in told
    assert not set(told) & {"\x1b", "\x07", "\x9b"}


def test_a_pipe_gets_whole_lines(routed, monkeypatch):
    """Without a terminal no line is broken, however long it is; with one the last column is."""
    long = "because " * 60
    assert routed.run("promote", BOT, "v2", "--now", "--because", long.strip()).exit_code == 0
    assert long.strip() in routed.run("audit").stdout
    for width in (60, 160):
        monkeypatch.setattr(output, "console", lambda width=width: terminal(width))
        lines = routed.run("audit").stdout.splitlines()
        assert len(lines) > 6
        assert "".join("".join(lines).split()).count("because") > 60  # nothing is cut off
    assert max(map(len, lines)) <= 160


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_locale_gets_its_answer(routed, encoding):
    """Where a terminal has no ✓ or –, words come out all the same, and JSON stays exact."""
    assert routed.run("environments", "add", "eu", "--as", "Zoë").exit_code == 0
    routed.server_stops()
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for words in (["status"], ["explain", BOT], ["policy", "show", "--tree"], ["doctor"]):
        result = knowngood(*words, "--db", "kg.db", **environment)
        assert (result.returncode, result.stderr) == (0, "")
    result = knowngood("audit", "--db", "kg.db", "--json", **environment)
    said = json.loads(result.stdout)
    assert said["entries"][-1]["actor"] == "Zoë (unverified)"


def terminal(width: int) -> Console:
    """What is printed on a terminal of this width."""
    return Console(width=width, highlight=False, soft_wrap=True)


def knowngood(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the installed script, as a person does, in this folder and environment."""
    script = Path(sys.executable).parent / "knowngood"
    return subprocess.run(
        [script, *words],
        capture_output=True,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
        env=os.environ | environment,
        timeout=30,
    )
