"""`knowngood policy test`: its owners' own tests of a policy, on the production engine."""

from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from knowngood.cli.errors import EXIT_REFUSED
from knowngood.cli.options import Json
from knowngood.cli.output import heading, print_json, say, styled, verdict
from knowngood.core.errors import BadPolicy
from knowngood.core.explain import duration

if TYPE_CHECKING:
    from knowngood.core.policy import PolicyFile
    from knowngood.sim.policy_test import Story

TEST_BYTES_MAX = 1024 * 1024  # thousands of tests; beyond it, it is some other file
WAITS_SHOWN = 3  # under a failure: what is missing most, not all that is not known yet


def run_tests(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Test files (YAML), which name the policy.")
    ],
    policy: Annotated[
        Path | None,
        typer.Option(
            "--policy", metavar="FILE", help="Test this policy instead.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run your tests of a policy: series of calls, and what is expected when.

    Exits with 1 when an expectation does not hold. Needs no server, and changes nothing.
    """
    from knowngood.sim.policy_test import run

    suites = [_read(file, policy) for file in files]  # a typing error is told before anything runs
    results: list[dict[str, Any]] = []
    for file, stories, rules in suites:
        for story in stories:
            failures = [failure.data() for failure in run(story, rules)]
            found = {"file": str(file), "name": story.name, "prompt": story.prompt}
            results.append({**found, "ok": not failures, "failures": failures})
            if not as_json:
                _print(results[-1], results[-2:-1])
    failed = sum(not result["ok"] for result in results)
    if as_json:
        print_json({"ok": not failed, "failed": failed, "tests": results})
    else:
        say()
        tests = "1 test" if len(results) == 1 else f"{len(results)} tests"
        say(f"{tests}, {failed} failed" if failed else f"{tests} passed")
    if failed:
        raise typer.Exit(EXIT_REFUSED)


def _read(file: Path, policy: Path | None) -> tuple[Path, "tuple[Story, ...]", "PolicyFile"]:
    """The file's tests and the policy that they are of. Raises BadPolicy."""
    from knowngood.server.policy_file import load_policy
    from knowngood.sim.policy_test import policy_named, stories

    data = read_texts(file)
    try:
        named = policy_named(data)
        rules = load_policy(policy or (file.parent / named if named else None))
        return file, stories(data, rules), rules
    except BadPolicy as error:
        raise BadPolicy(
            f"{file}: {error.message}", known=error.known, next_step=error.next_step
        ) from error


def read_texts(file: Path) -> Any:
    """The YAML of a file with every value as it is written: `0x120` is a series, no number.

    Raises BadPolicy, which names the file and, where the YAML itself is wrong, the line.
    """
    import yaml

    try:
        text = file.read_text(encoding="utf-8")
        if len(text) > TEST_BYTES_MAX:
            raise BadPolicy(f"{file} has {len(text)} characters; the limit is {TEST_BYTES_MAX}")
        return _plain(yaml.compose(text, Loader=yaml.SafeLoader), str(file))
    except OSError as error:
        raise BadPolicy(f"cannot read the tests {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadPolicy(f"{file} is not UTF-8 text: byte {error.start}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark else ""
        words = ", ".join(filter(None, (error.context, error.problem))) or "not valid YAML"
        raise BadPolicy(f"{file}{where}: {words}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise BadPolicy(f"{file}: {error}") from error


def _plain(node: Any, file: str) -> Any:
    """The node as texts, lists and mappings, in which a key stands once."""
    import yaml

    match node:
        case yaml.MappingNode():
            found: dict[str, Any] = {}
            for key_node, value in node.value:
                key = str(key_node.value)
                if key in found:
                    line = key_node.start_mark.line + 1
                    raise BadPolicy(f"{file}, line {line}: the key {key!r} is there twice")
                found[key] = _plain(value, file)
            return found
        case yaml.SequenceNode():
            return [_plain(item, file) for item in node.value]
    return "" if node is None else node.value


# --- For a person


def _print(result: dict[str, Any], before: list[dict[str, Any]]) -> None:
    if not before or before[0]["file"] != result["file"]:
        say(heading(result["file"]))
    if result["ok"]:
        say(styled("ok") + f"      {result['name']}")
        return
    say(styled("FAILED") + f"  {result['name']}")
    for at_s, failures in groupby(result["failures"], key=itemgetter("at_s")):
        _print_failures(at_s, list(failures))


def _print_failures(at_s: int, failures: list[dict[str, Any]]) -> None:
    """What did not hold at one time, and below it once what was seen and decided then."""
    for failure in failures:
        say(f"  at {duration(1000 * at_s)}, {failure['path']}")
        say(f"    {failure['what']}: expected {failure['expected']}, seen {failure['seen']}")
    seen = {(f["version"], f["trigger"]): f for each in failures for f in each["findings"]}
    for found in seen.values():
        needs = f", needs {found['waiting_on'][0]}" if found["waiting_on"] else ""
        words = f"{found['trigger']} on {found['version']}: {found['words']}{needs}"
        say(Text("    ").append(verdict(found["verdict"])).append(f"  {words}"))
    say(f"    {failures[0]['decided']}")
    waits = failures[0]["waiting_on"]
    for words in waits[:WAITS_SHOWN]:
        say(f"    waiting on {words}")
    if len(waits) > WAITS_SHOWN:
        say(f"    and on {len(waits) - WAITS_SHOWN} more")
