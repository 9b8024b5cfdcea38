"""`knowngood policy test`: exit codes, what is printed, and files that are not understood."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from knowngood.cli.app import app
from knowngood.cli.policy_test import read_texts
from knowngood.core.errors import BadPolicy

POLICY = "policy: 1\n"
TESTS = """
policy: policy.yaml
tests:
  - name: a healthy version is left alone
    calls: 20x120
    versions:
      v1: {errors: 0x120}
    expect:
      - {at: 2m, route: v1, action: none}
"""
FAILING = TESTS.replace("action: none", "action: rollback, phase: verifying")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("policy.yaml", POLICY)


def write(name, text):
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name


def run(*words):
    return CliRunner().invoke(app, ["policy", "test", *words], prog_name="knowngood")


def test_what_holds_is_ok_and_exits_with_0():
    """One line a test, under the name of its file."""
    result = run(write("a.test.yaml", TESTS))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "a.test.yaml", "ok      a healthy version is left alone", "", "1 test passed",
    ]  # fmt: skip


def test_what_fails_is_told_and_exits_with_1():
    """What was expected and what was seen, once with what was decided then and why."""
    result = run(write("a.test.yaml", TESTS), write("b.test.yaml", FAILING))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "FAILED  a healthy version is left alone" in lines
    assert "  at 2 min, tests[0].expect[0].action" in lines
    assert "    action: expected rollback, seen none" in lines
    assert "    phase: expected verifying, seen steady" in lines
    assert sum(line.startswith("    Nothing: no trigger is breached") for line in lines) == 1
    assert lines[-1] == "2 tests, 1 failed"


def test_json_is_one_object():
    """With the same exit code."""
    result = run(write("b.test.yaml", FAILING), "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    (test,) = data["tests"]
    assert (data["ok"], data["failed"]) == (False, 1)
    assert (test["file"], test["ok"]) == ("b.test.yaml", False)
    assert [failure["what"] for failure in test["failures"]] == ["action", "phase"]


def test_the_policy_is_beside_its_tests_unless_another_is_named():
    """A path in the file is seen from the file; --policy tests another one."""
    write("limits/policy.yaml", POLICY)
    assert run(write("limits/a.test.yaml", TESTS)).exit_code == 0
    write("limits/policy.yaml", "policy: 2\n")
    assert run("limits/a.test.yaml").exit_code == 1
    assert run("limits/a.test.yaml", "--policy", "policy.yaml").exit_code == 0
    assert run(write("none.test.yaml", TESTS.replace("policy: policy.yaml\n", ""))).exit_code == 0


def test_a_typing_error_stops_before_anything_runs():
    """Every file is understood first; the message names the file and the path."""
    wrong = write("wrong.test.yaml", TESTS.replace("errors", "erors"))
    result = run(write("a.test.yaml", TESTS), wrong)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "wrong.test.yaml: tests[0].versions.v1.erors: unknown key 'erors'" in result.stderr
    assert "next: did you mean errors?" in result.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tests: [", "line 1: while parsing a flow node, expected the node"),
        ("a: 1\na: 2\n", "line 2: the key 'a' is there twice"),
        ("a: &a [*a]\n", "x.yaml: "),
        ("a: 1\n---\nb: 2\n", "expected a single document"),
    ],
)
def test_yaml_that_is_wrong_is_refused(text, reason):
    """With the file and, where there is one, the line."""
    with pytest.raises(BadPolicy, match=reason):
        read_texts(Path(write("x.yaml", text)))


def test_a_file_that_is_not_there_is_refused():
    """As every other verb does."""
    result = run("missing.yaml")
    assert result.exit_code == 1
    assert "cannot read the tests missing.yaml" in result.stderr


def test_values_are_read_as_they_are_written():
    """YAML would make 288 of 0x120, true of on, and a time of 1:30."""
    file = write("x.yaml", "a: 0x120\nb: on\nc: [1:30, 0.3%, ~, _]\nd:\ne: '1'\n")
    assert read_texts(Path(file)) == {
        "a": "0x120", "b": "on", "c": ["1:30", "0.3%", "~", "_"], "d": "", "e": "1",
    }  # fmt: skip
