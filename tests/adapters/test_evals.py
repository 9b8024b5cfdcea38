"""Results of suites as other tools write them: read exactly, or refused with what is wrong."""

import json
import math
import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.adapters.catalog import RESULT_READERS, result_reader
from knowngood.adapters.evals import junit, promptfoo, scores
from knowngood.core.errors import BadEvaluation, BadRequest
from knowngood.core.evaluation import EXAMPLES_MAX, UNIT, Example, Results, Scale, tally_of

# --- promptfoo


def row(place: int, success: Any = True, **changes: Any) -> dict[str, Any]:
    """One result as promptfoo 0.118 writes it."""
    return {
        "cost": 0.0005,
        "error": None if success else 'Expected output to contain "echo"',
        "gradingResult": {"pass": success, "score": float(bool(success)), "reason": "…"},
        "id": f"b7df157c-{place}",
        "latencyMs": 5794,
        "namedScores": {},
        "prompt": {"raw": f"Solve this riddle: {place}", "label": "Solve this riddle: {{riddle}}"},
        "promptId": "cd59d97e",
        "promptIdx": 0,
        "provider": {"id": "openai:gpt-5-mini", "label": ""},
        "response": {"output": "An echo."},
        "score": float(bool(success)),
        "success": success,
        "testCase": {"vars": {"riddle": f"riddle {place}"}, "assert": [{"type": "contains"}]},
        "testIdx": place,
        "vars": {"riddle": f"riddle {place}"},
        "failureReason": 0 if success else 1,
        **changes,
    }


def file_of(rows: list[Any], version: Any = 3, **changes: Any) -> bytes:
    """A results file: the summary, in its envelope."""
    passed = sum(bool(r.get("success")) for r in rows if isinstance(r, dict))
    summary = {
        "version": version,
        "timestamp": "2025-10-01T20:08:11.168Z",
        "prompts": [{"raw": "Solve this riddle: {{riddle}}", "provider": "openai:gpt-5-mini"}],
        "results": rows,
        "stats": {"successes": passed, "failures": len(rows) - passed, "errors": 0},
        **changes,
    }
    return json.dumps(
        {"evalId": "eval-WJi", "results": summary, "config": {}, "shareableUrl": None}
    ).encode()


def test_promptfoo_decides_who_passed():
    """Also where its score says otherwise: a test has its own threshold."""
    low = row(1, True, score=0.4)
    high = row(2, False, score=0.75)
    found = promptfoo.read(file_of([row(0), low, high]), UNIT)
    outcomes = [(e.passed, e.score, e.error) for e in found.examples]
    assert outcomes == [(True, 1.0, False), (True, 0.4, False), (False, 0.75, False)]
    assert [e.id.partition(" #")[0] for e in found.examples] == ["riddle 0", "riddle 1", "riddle 2"]
    assert (tally_of(found).passed_count, tally_of(found).failed_count) == (2, 1)


def test_what_the_provider_failed_at_could_not_be_judged():
    """failureReason 2 is neither the prompt's success nor its failure; it counts as failed."""
    down = row(1, False, score=0, failureReason=2, error="API error: 500", gradingResult=None)
    tally = tally_of(promptfoo.read(file_of([row(0), down]), UNIT))
    assert (tally.passed_count, tally.failed_count, tally.error_count) == (1, 1, 1)


def test_version_2_is_read_too():
    """There results have neither an index nor a failureReason; the table beside them is ignored."""
    old = {
        "prompt": {"raw": "Say hi", "label": "Say {{word}}"}, "provider": {"id": "openai:gpt-4"},
        "vars": {"word": "hi"}, "score": 1, "success": True, "namedScores": {}, "latencyMs": 1,
    }  # fmt: skip
    failed = {**old, "vars": {"word": "a"}, "success": False, "score": 0, "error": "no",
              "gradingResult": {"pass": False, "score": 0, "reason": "no"}}  # fmt: skip
    broken = {**old, "vars": {"word": "b"}, "success": False, "score": 0, "error": "timeout"}
    found = promptfoo.read(file_of([old, failed, broken], 2, table={"head": {}, "body": []}), UNIT)
    assert [(e.passed, e.error) for e in found.examples] == [
        (True, False), (False, False), (False, True)
    ]  # fmt: skip


def test_a_summary_without_its_envelope_is_read():
    """As promptfoo's own `evaluate()` returns it."""
    summary = json.loads(file_of([row(0)]))["results"]
    assert len(promptfoo.read(json.dumps(summary).encode(), UNIT).examples) == 1


def test_an_example_is_known_again_by_what_was_asked():
    """A test more, another order, another run: the same examples have the same names."""
    first = promptfoo.read(file_of([row(0), row(1)]), UNIT)
    moved = {"vars": {"riddle": "riddle 1", "_conversation": [1], "sessionId": "x"}, "testIdx": 2}
    second = promptfoo.read(file_of([row(9), row(0), row(1, **moved)]), UNIT)
    assert {e.id for e in first.examples} < {e.id for e in second.examples}


def test_another_question_is_another_example():
    """Other variables or other assertions are not the same example."""
    harder = row(0, testCase={"assert": [{"type": "equals"}]})
    ids = [e.id for e in promptfoo.read(file_of([row(0), harder]), UNIT).examples]
    assert len(set(ids)) == 2 and all(id_.startswith("riddle 0 #") for id_ in ids)


def test_repeats_and_providers_are_told_apart():
    """The same test twice is numbered; several providers are named."""
    twice = [e.id for e in promptfoo.read(file_of([row(0), row(0)]), UNIT).examples]
    assert twice[1] == f"{twice[0]} (2)"
    other = row(0, provider={"id": "openai:gpt-5"})
    ids = [e.id for e in promptfoo.read(file_of([row(0), other]), UNIT).examples]
    assert "(openai:gpt-5-mini) #" in ids[0] and "(openai:gpt-5) #" in ids[1]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe\x00x", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"[]", "no list `results.results`"),
        (b"{}", "no list `results.results`"),
        (b'{"results": {"version": 3}}', "no list `results.results`"),
        (b'{"results": {"version": 3, "results": {}}}', "no list `results.results`"),
        (file_of([row(0)], 4), "version 4 of promptfoo's results is not known"),
        (file_of([row(0)], None), "version None"),
        (file_of([7]), r"results\[0\] does not say"),
        (file_of([row(0), {"score": 1}]), r"results\[1\] does not say"),
        (file_of([row(0, success="yes")]), r"results\[0\] does not say"),
        (file_of([row(0, score="high")]), r"results\[0\] has a score that is no number: high"),
        (file_of([row(0, score=True)]), "no number: True"),
        (file_of([row(0, score=1.5)]), "outside of the declared 0 to 1"),
        (file_of([row(0, score=math.nan)]), "NaN is no number"),
        (file_of([row(0)], stats={"successes": 9, "failures": 1}), "1 results of 10"),
        (file_of([row(0), row(1, promptId="other")]), "results of 2 prompts"),
    ],
)
def test_what_is_no_result_of_promptfoo_is_refused(data, word):
    """Each with what was wrong, and what to do instead."""
    with pytest.raises(BadEvaluation, match=word):
        promptfoo.read(data, UNIT)


def test_an_empty_file_of_results_evaluates_nothing():
    """No test ran: that is no evaluation."""
    with pytest.raises(BadEvaluation, match="nothing was evaluated"):
        tally_of(promptfoo.read(file_of([]), UNIT))


# --- JUnit

PYTEST = b"""<?xml version="1.0" encoding="utf-8"?>
<testsuites name="pytest tests">
<testsuite name="pytest" errors="1" failures="1" skipped="1" tests="5">
<testcase classname="tests.test_bot" name="test_greets" time="0.001" />
<testcase classname="tests.test_bot" name="test_refunds[a]" time="0.001"><properties>
<property name="score" value="0.9" /><property name="cost" value="3" /></properties></testcase>
<testcase classname="tests.test_bot" name="test_refunds[b]" time="0.001">
<failure message="assert 0.2 &gt; 0.5">trace</failure></testcase>
<testcase classname="tests.test_bot" name="test_later" time="0.001">
<skipped message="no key" /></testcase>
<testcase classname="tests.test_bot" name="test_broken" time="0.001">
<error message="setup">x</error></testcase>
</testsuite></testsuites>"""

BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol">
<!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">
<!ENTITY lol3 "&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;">]>
<testsuites><testsuite><testcase name="&lol3;"/></testsuite></testsuites>"""
REACHES_OUT = b"""<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>
<testsuite><testcase name="a">&f;</testcase></testsuite>"""


def suite(inner: str) -> bytes:
    return f"<testsuite>{inner}</testsuite>".encode()


def test_junit_of_pytest_is_read():
    """Failures, errors, skipped tests, and a score that was recorded as a property."""
    found = junit.read(PYTEST, UNIT)
    assert found.skipped_count == 1
    assert found.examples == (
        Example("tests.test_bot::test_greets", True),
        Example("tests.test_bot::test_refunds[a]", True, 0.9),
        Example("tests.test_bot::test_refunds[b]", False),
        Example("tests.test_bot::test_broken", False, error=True),
    )


def test_what_pytest_writes_today_is_read(tmp_path):
    """The installed pytest's own file, with a score by `record_property`."""
    (tmp_path / "test_bot.py").write_text(
        "import pytest\n"
        "def test_good(record_property): record_property('score', 0.8)\n"
        "def test_bad(): assert 0, '\\x00 <&>'\n"
        "def test_skipped(): pytest.skip('later')\n"
        "@pytest.fixture\ndef broken(): raise ValueError\n"
        "def test_broken(broken): pass\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "--junitxml=out.xml", "-p", "no:cacheprovider"]
    plain = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # they take seconds to load
    done = subprocess.run(
        [*command, "test_bot.py"], cwd=tmp_path, env=plain, capture_output=True, timeout=60
    )
    assert done.returncode == 1, done.stdout
    found = junit.read((tmp_path / "out.xml").read_bytes(), UNIT)
    outcomes = {e.id.partition("::")[2]: (e.passed, e.score, e.error) for e in found.examples}
    assert outcomes == {
        "test_good": (True, 0.8, False),
        "test_bad": (False, None, False),
        "test_broken": (False, None, True),
    }
    assert found.skipped_count == 1


@pytest.mark.parametrize("data", [BOMB, REACHES_OUT, b"<!DOCTYPE testsuite><testsuite/>"])
def test_a_document_type_is_refused(data):
    """Before any entity is expanded or any other file is reached for."""
    with pytest.raises(BadEvaluation, match="has a document type"):
        junit.read(data, UNIT)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not well-formed XML, line 1"),
        (PYTEST[:-20], "not well-formed XML, line 13: unclosed token"),
        (b"<html></html>", "begins with <html>"),
        (b"\x00\x01", "not well-formed"),
        (b'<?xml version="1.0" encoding="nonsense"?><testsuite/>', "XML"),
        (suite("<a>" * 60 + "</a>" * 60), "nested more than 50 deep"),
        (suite('<testcase name="a"/>' * (EXAMPLES_MAX + 1)), "more than the 5,000 tests"),
        (
            suite('<testcase name="a"><properties><property name="score" value="x"/>'
                  "</properties></testcase>"),
            "the score of 'a' is no number: 'x'",
        ),
        (
            suite('<testcase name="a"><properties><property name="score" value="nan"/>'
                  "</properties></testcase>"),
            "outside of the declared",
        ),
    ],
)  # fmt: skip
def test_what_is_no_junit_is_refused(data, word):
    """Cut off, of another kind, too deep, too long, or with a score that is none."""
    with pytest.raises(BadEvaluation, match=word):
        junit.read(data, UNIT)


def test_tests_of_one_name_are_numbered_and_long_names_are_cut():
    """Every test counts, and every id fits."""
    long = "x" * 300
    data = suite(f'<testcase name="a"/><testcase name="a"/><testcase name="{long}1"/>'
                 f'<testcase name="{long}2"/><testcase/>')  # fmt: skip
    ids = [e.id for e in junit.read(data, UNIT).examples]
    assert ids[:2] == ["a", "a (2)"] and ids[4] == "test"
    assert len(set(ids)) == 5 and max(map(len, ids)) == 100


# --- Scores


def test_scores_are_read():
    """A score, true, false, or null for what could not be judged, in the declared range."""
    data = b'{"a": 7, "b": true, "c": false, "d": null, "e": 2.5}'
    assert scores.read(data, Scale(0, 10, 7)).examples == (
        Example("a", True, 0.7),
        Example("b", True),
        Example("c", False),
        Example("d", False, error=True),
        Example("e", False, 0.25),
    )


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "not one JSON object"),
        (b"[]", "not one JSON object"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": 1.5}', "'a' is 1.5, outside of the declared 0 to 1"),
        (b'{"a": -0.1}', "outside of the declared"),
        (b'{"a": "good"}', "'a' has neither a score"),
        (b'{"a": {"score": 1}}', "'a' has neither a score"),
        (b'{"": 1}', "1 to 100 characters"),
    ],
)
def test_what_are_no_scores_is_refused(data, word):
    """With the example that is wrong."""
    with pytest.raises(BadEvaluation, match=word):
        scores.read(data, UNIT)


def test_an_example_that_is_there_twice_is_refused():
    """JSON itself would keep the last of the two and say nothing."""
    with pytest.raises(BadEvaluation, match="'a' is there twice"):
        tally_of(scores.read(b'{"a": 1, "b": 0, "a": 0}', UNIT))


# --- All of them


def test_an_unknown_form_is_answered_with_the_known_ones():
    """`xunit` is not guessed at."""
    with pytest.raises(BadRequest, match="'xunit' is no form of results") as wrong:
        result_reader("xunit")
    assert wrong.value.known == ["promptfoo", "junit", "scores"]


@pytest.mark.parametrize("form", RESULT_READERS)
@given(data=st.one_of(st.binary(max_size=200), st.text('<>/"={}[]:,0a testcase&;!', max_size=200)))
def test_whatever_the_bytes_are_they_are_read_or_refused(form, data):
    """No reader fails in any other way."""
    given_bytes = data if isinstance(data, bytes) else data.encode()
    with suppress(BadEvaluation):
        assert isinstance(result_reader(form)(given_bytes, UNIT), Results)
