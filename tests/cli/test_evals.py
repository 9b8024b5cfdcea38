"""Running suites: their own commands, ended in time, and nothing half-recorded."""

import json
import os
import select
import signal
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from knowngood.cli import eval_run, suite_process, suites
from knowngood.cli.suites import load_suite
from knowngood.core.errors import BadSuite

BOT = "support-bot"
SCRIPT = "import json, os, sys; "
WRITE = SCRIPT + "open(os.environ['KNOWNGOOD_RESULT'], 'w').write(json.dumps({'a': 1, 'b': 0.2}))"


def declare(name: str = "accuracy", file: str = "knowngood-suites.yaml", **keys) -> None:
    """Write a file of suites with one suite in it."""
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text(yaml.safe_dump({"suites": {name: keys}}), encoding="utf-8")


def python(code: str) -> list[str]:
    """A command that runs this code."""
    return [sys.executable, "-c", code]


@pytest.fixture
def pushed(world):
    """Two versions."""
    for version in ("v1", "v2"):
        world.file(f"{version}.txt", f"You are {version}.")
        assert world.run("push", BOT, version, f"{version}.txt").exit_code == 0
    return world


def recorded(world) -> list[dict]:
    return world.api.get(f"/api/evaluations?prompt={BOT}").json()["evaluations"]


def failed(world, *words: str) -> str:
    """What a run says that records nothing."""
    result = world.run("eval", "run", "accuracy", BOT, "v1", *words)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert recorded(world) == []
    return result.stderr


# --- What the command gets


def test_the_command_learns_what_to_evaluate(pushed, monkeypatch):
    """By words in its command and by variables: the prompt, the version, the server, two files."""
    monkeypatch.setenv("KEPT", "yes")
    code = SCRIPT + (
        "said = {k: v for k, v in os.environ.items() if k.startswith('KNOWNGOOD') or k == 'KEPT'};"
        "content = json.load(open(os.environ['KNOWNGOOD_CONTENT']));"
        "json.dump([sys.argv[1:], said, content, os.getcwd()], open('seen.json', 'w'));"
    )
    words = ["{prompt}", "x={version}", "{url}", "{content}", "{result}", "{other}", '{"a": 1}']
    declare(file="evals/suites.yaml", command=[*python(code + WRITE), *words], result="scores")
    done = pushed.run("eval", "run", "accuracy", BOT, "v1", "--suites", "evals/suites.yaml")
    assert done.exit_code == 0, done.stderr
    seen, variables, content, folder = json.loads(Path("evals/seen.json").read_text())
    assert content == {"text": "You are v1.", "config": {}}
    assert Path(folder) == Path("evals").resolve()
    assert seen[:3] == [BOT, "x=v1", "http://127.0.0.1:8000"]
    assert seen[3:5] == [variables["KNOWNGOOD_CONTENT"], variables["KNOWNGOOD_RESULT"]]
    assert seen[5:] == ["{other}", '{"a": 1}']
    assert (variables["KNOWNGOOD_PROMPT"], variables["KNOWNGOOD_VERSION"]) == (BOT, "v1")
    assert variables["KEPT"] == "yes"
    assert not Path(variables["KNOWNGOOD_RESULT"]).parent.exists()
    (found,) = recorded(pushed)
    assert (found["passed"], found["failed"], found["source"]) == (1, 1, "scores")


def test_pytest_is_a_suite(pushed, monkeypatch):
    """Its failures are results; its exit code 1 says no more than that there are some."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take seconds to load
    Path("test_bot.py").write_text(
        "import json, os\n"
        "content = json.load(open(os.environ['KNOWNGOOD_CONTENT']))\n"
        "def test_is_itself(): assert os.environ['KNOWNGOOD_VERSION'] in content['text']\n"
        "def test_is_second(): assert 'v2' in content['text']\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    declare(command=[*command, "--junitxml={result}", "test_bot.py"], result="junit")
    for version, words in (("v1", "1 of 2 passed"), ("v2", "2 of 2 passed")):
        done = pushed.run("eval", "run", "accuracy", BOT, version)
        assert words in done.stdout, done.output
    compared = pushed.run("eval", "compare", "accuracy", BOT, "v1", "v2")
    assert "with v2 alone: test_bot::test_is_second" in compared.stdout


def test_promptfoo_is_a_suite(pushed):
    """It chooses its form by the name of the file, and ends with 100 when a test failed."""
    row = {"success": False, "score": 0, "failureReason": 1, "vars": {"q": "refund"}}
    rows = [row, {**row, "success": True, "score": 1, "vars": {"q": "hello"}}]
    data = {"evalId": "e", "results": {"version": 3, "results": rows, "stats": {}}}
    code = SCRIPT + (
        "assert sys.argv[2].endswith('.json');"
        f"json.dump({data!r}, open(sys.argv[2], 'w')); sys.exit(100)"
    )
    declare(command=[*python(code), "--output", "{result}"], result="promptfoo")
    done = pushed.run("eval", "run", "accuracy", f"{BOT}:v1")
    assert "1 of 2 passed (50.0%), mean score 0.500" in done.stdout, done.output


def test_json_is_the_api_s_own_object_and_nothing_else(pushed):
    """Whatever the suite's command prints."""
    declare(command=python("print('noise');" + WRITE), result="scores")
    done = pushed.run("eval", "run", "accuracy", BOT, "v1", "--json", "--at-least", "99%")
    assert done.exit_code == 1
    answer = json.loads(done.stdout)
    assert {k: answer[k] for k in recorded(pushed)[0]} == recorded(pushed)[0]


def test_a_dry_run_runs_and_records_nothing(pushed):
    """To try a suite."""
    declare(command=python(WRITE), result="scores")
    done = pushed.run("eval", "run", "accuracy", BOT, "v1", "--dry-run")
    assert "nothing was recorded" in done.stdout
    assert recorded(pushed) == []


# --- What goes wrong


def test_a_suite_that_hangs_is_ended(pushed):
    """When its time is over; it says what the command said last."""
    hangs = "import time; print('on it', flush=True); time.sleep(600)"
    declare(command=python(hangs), result="scores", timeout="1s")
    said = failed(pushed)
    assert "was ended after 1 s; nothing was recorded" in said


@pytest.fixture
def pipe(tmp_path, monkeypatch):
    """A pipe that is read from here; the suite's time is over when something was written to it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    monkeypatch.setattr(suite_process, "GRACE_S", 0.3)
    monkeypatch.setattr(suite_process, "_wait", lambda *_: written(reader) != b"x")
    yield path, reader
    os.close(reader)


def written(reader: int) -> bytes:
    """One byte, as soon as it is there; nothing when nobody is left to write."""
    return os.read(reader, 1) if select.select([reader], [], [], 30)[0] else b"late"


def holding(path: Path) -> str:
    """Code that writes to the pipe and keeps it open for long."""
    return f"import time; f = open({str(path)!r}, 'w'); f.write('x'); f.flush(); time.sleep(600)"


def test_all_that_a_suite_has_started_is_ended(pushed, pipe):
    """Also a process below it that does not listen: its end of the pipe is closed."""
    path, reader = pipe
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {holding(path)}"
    code = f"import subprocess; print('on it', flush=True); subprocess.run({python(deaf)!r})"
    declare(command=python(code), result="scores")
    assert "| on it" in failed(pushed)
    assert written(reader) == b""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_suite_does_not_outlive_us(pushed, pipe, monkeypatch, name):
    """Its group is not the terminal's: Ctrl-C, a job that is ended, a terminal that is closed."""
    path, reader = pipe

    def interrupted(*_):
        assert written(reader) == b"x"
        signal.raise_signal(getattr(signal, name))

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(suite_process, "_wait", interrupted)
    declare(command=python(holding(path)), result="scores")
    assert pushed.run("eval", "run", "accuracy", BOT, "v1").exit_code != 0
    assert written(reader) == b""
    assert signal.getsignal(signal.SIGTERM) == before
    assert recorded(pushed) == []


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"command": ["no-such-program"]}, ["cannot be started", "no-such-program", "No such"]),
        ({"command": python("raise SystemExit(3)")}, ["ended with 3", "only 0 goes with"]),
        (
            {"command": python(WRITE + "; os.kill(os.getpid(), 9)")},
            ["was ended by signal 9", "nothing was recorded"],
        ),
        ({"command": python("print('a'); raise SystemExit('b')")}, ["| a", "| b"]),
        ({"command": python("pass")}, ["wrote no result", "KNOWNGOOD_RESULT"]),
        ({"command": python("open(__import__('os').environ['KNOWNGOOD_RESULT'], 'w')")}, ["wrote"]),
        ({"command": ["x\x00y"]}, ["cannot be started"]),
        ({"command": python("pass"), "timeout": "2d"}, ["the longest is 1d"]),
    ],
)
def test_a_suite_that_fails_records_nothing(pushed, keys, words):
    """It says what happened, and the command's last words."""
    declare(result="scores", **keys)
    said = failed(pushed)
    for word in words:
        assert word in said
    assert not list(Path().glob("knowngood-accuracy-*"))


def test_a_result_that_cannot_be_read_is_kept(pushed):
    """Nothing of it is recorded; a run takes minutes and money, so its file is not thrown away."""
    declare(command=python(WRITE.replace("0.2", "7")), result="scores")
    said = failed(pushed)
    assert "the score of 'b' is 7, outside of the declared 0 to 1" in said
    (kept,) = Path().glob("knowngood-accuracy-*.json")
    again = f"knowngood eval import accuracy {BOT} v1 {kept} --format scores"
    assert f"the result is kept: {again}" in said
    assert pushed.run(*again.split()[1:], "--range", "0..7").exit_code == 0
    assert len(recorded(pushed)) == 1


def test_a_result_that_cannot_be_sent_is_kept(pushed, monkeypatch):
    """The server went away while the suite ran."""
    declare(command=python(WRITE), result="scores")
    real = suite_process.run_command

    def and_then_the_server_stops(*arguments):
        real(*arguments)
        pushed.server_stops()

    monkeypatch.setattr(eval_run, "run_command", and_then_the_server_stops)
    result = pushed.run("eval", "run", "accuracy", BOT, "v1")
    assert result.exit_code == 3
    assert "no server answers" in result.stderr and "the result is kept" in result.stderr
    (kept,) = Path().glob("knowngood-accuracy-*.json")
    pushed.server_starts()
    words = ["eval", "import", "accuracy", f"{BOT}:v1", str(kept), "--format", "scores"]
    assert pushed.run(*words).exit_code == 0


def test_nothing_runs_before_the_version_is_known(pushed):
    """A typing error in a name or a share is told at once."""
    declare(command=python(WRITE.replace("{'a': 1", "1/0, {'a': 1")), result="scores")
    for words in (["v3"], ["v1", "--at-least", "much"], ["v1", "--at-least", "175%"]):
        result = pushed.run("eval", "run", "accuracy", BOT, *words)
        assert result.exit_code == 1 and "suite" not in result.stderr.partition("\n")[0]


def test_a_bar_shows_how_much_time_has_gone(pushed, monkeypatch):
    """Under the name of what runs, up to the time that it may take."""
    shown: list[tuple[int, int]] = []
    titles: list[str] = []

    @contextmanager
    def bars():
        def begin(title):
            titles.append(title)
            return lambda done, total: shown.append((done, total))

        yield begin

    monkeypatch.setattr(suite_process, "bars", bars)
    monkeypatch.setattr(suite_process, "TICK_S", 0.01)
    declare(command=python(WRITE), result="scores", timeout="1m")
    assert pushed.run("eval", "run", "accuracy", BOT, "v1").exit_code == 0
    assert titles == [f"accuracy of {BOT}:v1 (at most 1 min)"]
    assert shown == sorted(shown) and {total for _, total in shown} == {60_000}


# --- The file of suites


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("suites: {accuracy: {comand: [a], result: junit}}", ["unknown key 'comand'", "command"]),
        ("suite: {}", ["unknown key 'suite'", "suites"]),
        ("- a", ["is not a mapping"]),
        ("suites:", ["suites is not a mapping"]),
        ("suites: {accuracy: }", ["suites.accuracy is not a mapping"]),
        ("suites: {accuracy: {command: [a]}}", ["does not say what form", "scores"]),
        ("suites: {accuracy: {command: [a], result: xunit}}", ["'xunit' is no form", "junit"]),
        ("suites: {accuracy: {command: pytest -q, result: junit}}", ["not a list of words"]),
        ("suites: {accuracy: {command: [], result: junit}}", ["not a list of words"]),
        ("suites: {accuracy: {command: [a, 7], result: junit}}", ["not a list of words"]),
        ("suites: {accuracy: {command: [a], result: junit, timeout: 10x}}", ["unknown unit 'x'"]),
        ("suites: {accuracy: {command: [a], result: junit, timeout: 10}}", ["not a duration"]),
        ("suites: {accuracy: {command: [a], result: junit, exit_codes: 1}}", ["exit_codes"]),
        (
            "suites: {accuracy: {command: [a], result: junit, scale: {low: 1}}}",
            ["'low'", "pass_at"],
        ),
        ("suites: {accuracy: {command: [a], result: junit, scale: {max: x}}}", ["scale.max"]),
        ("suites: {accuracy: {command: [a], result: junit, scale: {min: 2}}}", ["are no range"]),
        ("suites: {accuracy: {}, accuracy: {}}", ["line 1", "'accuracy' is there twice"]),
        ("suites: {tone: {command: [a], result: junit}}", ["no suite 'accuracy'", "tone"]),
        ("suites: [", ["line"]),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_place(tmp_path, text, words):
    """With the known keys where there are some."""
    file = tmp_path / "suites.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadSuite) as wrong:
        load_suite(file, "accuracy")
    said = f"{wrong.value.message} {wrong.value.known}"
    assert said.startswith(str(file))
    for word in words:
        assert word in said


def test_a_file_that_is_not_there_is_named(tmp_path):
    """Together with the option that names another; also one that is no text."""
    with pytest.raises(BadSuite, match=r"there is no file .*none\.yaml") as wrong:
        load_suite(tmp_path / "none.yaml", "accuracy")
    assert "--suites" in wrong.value.next_step
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadSuite, match="not UTF-8"):
        load_suite(tmp_path / "bytes.yaml", "accuracy")


def test_what_is_left_out_is_as_usual(tmp_path):
    """Half an hour, the exit codes of the tool, scores from 0 to 1."""
    file = tmp_path / "suites.yaml"
    for form, codes in suites.EXIT_CODES.items():
        file.write_text(f"suites: {{a: {{command: [x], result: {form}}}}}", encoding="utf-8")
        found = load_suite(file, "a")
        assert (found.timeout_ms, found.exit_codes, found.folder) == (1_800_000, codes, tmp_path)
        assert (found.scale.min, found.scale.max, found.scale.pass_at) == (0, 1, None)


# --- Reading with the server down


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (["eval", "list", BOT], f"/api/evaluations?prompt={BOT}"),
        (["eval", "list", f"{BOT}:v1", "--suite", "accuracy"],
         f"/api/evaluations?prompt={BOT}&version=v1&suite=accuracy"),
        (["eval", "compare", "accuracy", BOT, "v1", "v2"],
         f"/api/evaluations/compare?prompt={BOT}&a=v1&b=v2&suite=accuracy"),
    ],
)  # fmt: skip
def test_evaluations_are_read_with_the_server_down(pushed, words, path):
    """The same object from the server and from its file."""
    Path("scores.json").write_text('{"a": 1, "b": 0.3}', encoding="utf-8")
    for version in ("v1", "v2"):
        done = pushed.run("eval", "record", "accuracy", BOT, version, "--scores", "scores.json")
        assert done.exit_code == 0, done.stderr
    answer = pushed.api.get(path).json()
    assert json.loads(pushed.run(*words, "--json").stdout) == answer
    pushed.server_stops()
    assert json.loads(pushed.run(*words, "--json", "--db", "kg.db").stdout) == answer
    assert pushed.run(*words, "--db", "kg.db").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["record", "Bad Name", BOT, "v1", "--passed", "1", "--failed", "0"], 1, "suite name"),
        (["record", "accuracy", BOT, "--passed", "1", "--failed", "0"], 2, "which version"),
        (["record", "accuracy", BOT, "v1", "--scores", "none.json"], 1, "cannot read none.json"),
        (["record", "accuracy", BOT, "v1", "--scores", "v1.txt"], 1, "v1.txt: not valid JSON"),
        (["record", "accuracy", BOT, "v1", "--scores", "v1.txt", "--range", "5"], 2, "no range"),
        (["record", "accuracy", BOT, "v1", "--scores", "v1.txt", "--range", "1..1"], 1, "no range"),
        (["import", "accuracy", BOT, "v1", "v1.txt", "--format", "xunit"], 1, "no form of results"),
        (["compare", "accuracy", BOT, "v1"], 2, "expected SUITE NAME A B"),
        (["compare", "accuracy", BOT, "v1", "v2"], 1, "no evaluation of the suite"),
    ],
)
def test_wrong_words_are_answered_with_what_is_right(pushed, words, code, said):
    """Exit 2 for a command that is used wrongly, 1 for what is refused."""
    result = pushed.run("eval", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert recorded(pushed) == []
