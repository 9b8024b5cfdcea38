"""Runbooks: what is wrong with a text, by line; what is filled in; and which belongs to a page."""

from datetime import date

import pytest

from knowngood.core.drill import Fault, Part, drill_version, is_drill, timed
from knowngood.core.errors import BadRequest
from knowngood.core.expectation import judge_metric, parse_expectation
from knowngood.core.measure import Measure
from knowngood.core.model import ScoreRange, Verdict
from knowngood.core.runbook import Act, Check, StepKind
from knowngood.core.runbook_build import Known
from knowngood.core.runbook_fill import by_hand, fill, fill_markdown
from knowngood.core.runbook_pick import runbook_for, situation_of
from knowngood.core.runbook_run import Mark, Run, RunState, StepRun, Word, marked, refuse_word
from knowngood.server.runbook_file import lint

SCORES = {"quality": ScoreRange(0, 1)}
KNOWN = Known(SCORES, (), ("error_high",), ("rollback", "status"))
FRONT = """\
---
id: ours
title: Ours
severity: high
triggers: [error_high]
reviewed_at: 2026-01-01
---
"""
STEP = """
## Look

Read this, {{prompt}}.

```yaml {step=look kind=check}
expect: error_rate < 1%
over: 1m
```
"""


def problems(text, **more):
    return [(p.line, p.words) for p in lint(text, KNOWN, **more)[1]]


def only(text, **more):
    """The one problem of a text."""
    (found,) = problems(text, **more)
    return found


def test_a_runbook_is_read_with_its_prose_verbatim():
    """A heading is a step, its attributes say what it is, its arguments are typed."""
    runbook, found = lint(FRONT + STEP + "\n## Then\n\nCall somebody.\n", KNOWN)
    assert not found and runbook is not None
    look, then = runbook.steps
    assert look.name == "look" and look.kind is StepKind.CHECK and look.line == 9
    assert isinstance(look.work, Check)
    assert (look.work.over_ms, look.work.version) == (60_000, "{{bad_version}}")
    assert look.prose.startswith("Read this, {{prompt}}.\n\n```yaml {step=look kind=check}\n")
    assert (then.name, then.kind, then.prose) == ("then", StepKind.READ, "Call somebody.")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("id: ours", "id: Our Own", 2, "'Our Own' is no id"),
        ("severity: high", "severity: bad", 4, "unknown severity 'bad'"),
        ("[error_high]", "[eror_high]", 5, "unknown trigger 'eror_high'"),
        ("reviewed_at: 2026-01-01", "reviewed_at: soon", 6, "'soon' is no date"),
        ("title: Ours", "titel: Ours", 1, "`title` is missing"),
        ("kind=check", "kind=chek", 13, "unknown kind of step 'chek'"),
        ("kind=check", "kind=check jump=3", 13, "unknown attribute 'jump'"),
        ("step=look ", "", 13, "the step has no name"),
        ("error_rate < 1%", "eror_rate < 1%", 14, "unknown metric 'eror_rate'"),
        ("error_rate < 1%", "recoverd", 14, "'recoverd' is nothing that can be expected"),
        ("error_rate < 1%", "quality drop > 5%", 14, "'quality drop > 5%' is relative to a "
         "baseline"),
        ("over: 1m", "over: 1x", 15, "'1x' has the unknown unit 'x'"),
        ("over: 1m", "ober: 1m", 15, "unknown argument 'ober'"),
        ("over: 1m", "over: 1m\nover: 2m", 16, "no valid YAML: the key 'over' is there twice"),
        ("{{prompt}}", "{{promt}}", 11, "unknown variable 'promt'"),
        ("Read this", "[Read](nowhere.md)", 11, "the link to nowhere.md leads nowhere"),
        ("Read this", "[Read](#nowhere)", 11, "the link to #nowhere leads nowhere"),
    ],
)  # fmt: skip
def test_every_mistake_has_its_line(tmp_path, old, new, line, words):
    """Names that do not exist, arguments that mean nothing, links that lead nowhere."""
    text = (FRONT + STEP).replace(old, new)
    assert (line, words) in problems(text, folder=tmp_path)


def test_all_mistakes_are_told_at_once():
    """Nobody mends a file ten times at night."""
    text = (FRONT + STEP).replace("ours", "O").replace("1m", "x").replace("{{prompt}}", "{{p}}")
    assert len(problems(text)) == 3


def test_a_step_does_one_thing():
    """A second executable block needs a heading of its own."""
    twice = STEP + "\n```yaml {step=more kind=manual}\n```\n"
    assert only(FRONT + twice) == (18, "a step does one thing")


def test_a_verb_is_one_of_ours():
    """An action cannot be a command of the server's machine, nor lack what its verb needs."""
    act = "## Do\n\n```yaml {step=do kind=action}\nverb: rm\n```\n"
    assert only(FRONT + act) == (11, "unknown verb 'rm'")
    vouch = act.replace("rm", "vouch")
    assert only(FRONT + vouch) == (10, "`version` is missing")


def test_commands_are_checked_and_never_break_out_of_their_quotes():
    """Unknown verbs of the command line, and variables where their own quotes would end ours."""
    text = FRONT + "## Do\n\n```sh\nknowngood rolback {{prompt}}\nknowngood status\n```\n"
    assert only(text) == (11, "there is no `knowngood rolback`")
    inside = text.replace("rolback", "rollback").replace("status", "status 'of {{prompt}}'")
    assert only(inside) == (12, "the variable 'prompt' is inside quotes")


def test_a_review_is_overdue_after_its_age():
    """180 days unless it says otherwise; the line is that of reviewed_at."""
    text = FRONT + STEP
    assert not problems(text, today=date(2026, 6, 30))
    line, words = only(text, today=date(2026, 7, 1))
    assert line == 6 and "last reviewed 2026-01-01, 1 days" in words


def test_values_are_filled_once_and_quoted_in_commands():
    """What is filled in is never read again, and in a shell it stays one word."""
    values = {"prompt": "{{incident}}", "bad_version": "v2; rm -rf '$HOME'", "env": "--env staging"}
    assert fill("{{prompt}} {{severity}}", values) == "{{incident}} (unknown)"
    text = "{{bad_version}}\n```sh\nknowngood show x {{bad_version}} {{env}}\n```\n{{bad_version}}"
    first, _, command, _, last = fill_markdown(text, values).split("\n")
    assert first == last == "v2; rm -rf '$HOME'"
    assert command == "knowngood show x 'v2; rm -rf '\\''$HOME'\\''' --env staging"
    inline = fill_markdown("`knowngood show x {{bad_version}}`", values)
    assert inline == f"`{command.removesuffix(' --env staging')}`"
    act = Act("automation_off", options={"for": "2h"}, because="it's late")
    said = by_hand(act, {"prompt": "faq", "env": "--env staging"})
    assert said == "knowngood automation off faq --for 2h --env staging --because 'it'\\''s late'"


@pytest.mark.parametrize(
    ("n", "estimate", "blind", "verdict"),
    [
        (100, 0.005, False, Verdict.CLEAR),
        (100, 0.02, False, Verdict.BREACH),
        (5, 0.0, False, Verdict.UNSURE),
        (0, None, False, Verdict.UNSURE),
        (100, 0.0, True, Verdict.BLIND),
    ],
)
def test_too_little_and_blind_never_pass(n, estimate, blind, verdict):
    """A check passes on enough calls that are seen, and on nothing else."""
    condition = parse_expectation("error_rate < 1%", SCORES, ()).condition
    assert condition is not None
    found = judge_metric(condition, Measure("requests", n, 20, estimate, bad=0), blind)
    assert found.verdict is verdict
    assert found.holds == (verdict is Verdict.CLEAR)


@pytest.mark.parametrize(
    ("key", "situation"),
    [
        ("production/cs/g3.1:rollback-failed:3", "rollback_failed"),
        ("production/cs/g3:blind:v2:170", "blind"),
        ("production/cs/g3.1:held:flap:3", "flap"),
        ("production/cs/g3.1:held:upstream:3", "upstream"),
        ("production/cs/g3.1:held:no_target:3", "target_bad"),
        ("production/cs/g3.1:ask:on-call", ""),
        ("production/blind/g3.1:ask:on-call", ""),
    ],
)
def test_a_page_is_about_its_situation(key, situation):
    """By its key; a prompt that bears such a name changes nothing."""
    assert situation_of(key) == situation


def test_the_situation_says_more_than_the_trigger():
    """Then a trigger by its name, then its metric; the first that is known decides."""
    assert runbook_for("blind", ("error_high",)) == "metrics-blind"
    assert runbook_for("", ("error_high", "latency_high")) == "error-spike"
    assert runbook_for("", ("ours",), ("latency_p99",)) == "latency-doubled"
    assert runbook_for("", ("ours",), ("counter.ours",)) is None


def begun():
    runbook, _ = lint(FRONT + STEP + "\n## Then\n\nCall somebody.\n", KNOWN)
    assert runbook is not None
    return Run("p/cs/g1.1", "ours", 1, "p", "cs", "d", "t", {}, "ana", 0), runbook


def test_a_run_only_goes_forward():
    """Passed and skipped are behind us; what failed stops, and needs a word."""
    run, runbook = begun()
    failed = marked(run, runbook, runbook.steps[0], StepRun("look", Mark.FAILED, "", "ana", 0), 1)
    assert failed.state is RunState.STOPPED
    with pytest.raises(BadRequest, match="needs a reason"):
        refuse_word(failed, runbook.steps[0], Word.SKIP, "")
    refuse_word(failed, runbook.steps[0], Word.AGAIN, "")
    skipped = StepRun("look", Mark.SKIPPED, "", "ana", 0)
    on = marked(failed, runbook, runbook.steps[0], skipped, 2)
    assert on.state is RunState.RUNNING
    done = marked(on, runbook, runbook.steps[1], StepRun("then", Mark.PASSED, "", "ana", 2), 3)
    assert done.state is RunState.DONE and done.ended_ms == 3


def test_a_drill_shares_one_limit_from_the_fault_to_the_act():
    """What detecting took is no longer there for deciding; a part that never ended is missed."""
    at_ms = {"fault": 0, "detect": 100_000, "decide": 121_000, "act": 121_000, "propagate": 122_000}
    found = {t.part: t for t in timed(Fault.ERROR, at_ms, 120_000, 300_000)}
    assert found[Part.DETECT].kept and found[Part.DECIDE].limit_ms == 20_000
    assert not found[Part.DECIDE].kept
    assert found[Part.PROPAGATE].kept
    assert found[Part.RECOVER].took_ms is None and not found[Part.RECOVER].kept
    assert is_drill(drill_version(Fault.ERROR, "0123456789ab"))
