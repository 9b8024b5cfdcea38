"""Evaluations over the API: recorded whole with their history, or refused with what was wrong."""

from typing import Any

import pytest

from knowngood.server.guard import BODY_BYTES_MAX
from tests.server.world import PROMPT, error_of

PATH = "/api/evaluations"


def record(world, version: str = "v1.9.0", status: int = 201, **body: Any):
    return world.post(PATH, status, prompt=PROMPT, version=version, **{"suite": "accuracy", **body})


def refused(world, status: int = 422, **body: Any):
    asked = {"prompt": PROMPT, "version": "v1.9.0", "suite": "accuracy", **body}
    return world.refused(PATH, status, **{k: v for k, v in asked.items() if v is not None})


def examples(passed: str) -> list[dict[str, Any]]:
    """Examples by their outcomes: `1` passed, `0` failed, `e` not judged."""
    return [
        {"id": f"case-{i}", "error": True} if c == "e" else {"id": f"case-{i}", "passed": c == "1"}
        for i, c in enumerate(passed)
    ]


@pytest.fixture
def pushed(world):
    """Two versions that serve nobody yet: an evaluation comes before a deploy."""
    world.push("v1.9.0")
    world.push("v2.0.0")
    return world


def test_counts_are_recorded_with_their_history(pushed):
    """Who, when, of which content, and the line that tells of it."""
    done = record(pushed, passed=75, failed=25, skipped=2, because="the baseline test")
    content = pushed.get(f"/api/prompts/{PROMPT}/versions/v1.9.0")["digest"]
    assert (done["outcome"], done["accuracy"], done["digest"]) == ("recorded", 0.75, content)
    assert done["words"] == "75 of 100 passed (75.0%), 2 skipped"
    assert (done["actor"], done["recorded"]) == ("api (unverified)", "2026-01-01T00:00:00.000Z")
    line = pushed.get("/api/audit", prompt=PROMPT)["entries"][-1]
    assert (line["kind"], line["because"]) == ("evaluation.recorded", "the baseline test")
    assert line["detail"]["evaluation"] == done["id"] and line["detail"]["passed"] == 75
    shown = pushed.get(f"{PATH}/{done['id']}")
    assert shown == {
        **{k: v for k, v in done.items() if k not in ("outcome", "dry_run")}, "examples": []
    }  # fmt: skip


def test_examples_are_kept_one_by_one(pushed):
    """Scores in their declared range, and what could not be judged."""
    done = record(
        pushed,
        examples=[
            {"id": "a", "score": 8},
            {"id": "b", "score": 9, "passed": False},
            {"id": "c", "error": True},
            {"id": "d", "passed": True},
        ],
        scale={"min": 0, "max": 10, "pass_at": 7},
        source="scores",
    )
    assert (done["passed"], done["failed"], done["errors"]) == (2, 2, 1)
    assert (done["score_mean"], done["examples_count"]) == (pytest.approx(0.85), 4)
    assert pushed.get(f"{PATH}/{done['id']}")["examples"] == [
        {"id": "a", "passed": True, "score": 0.8, "error": False},
        {"id": "b", "passed": False, "score": 0.9, "error": False},
        {"id": "c", "passed": False, "score": None, "error": True},
        {"id": "d", "passed": True, "score": None, "error": False},
    ]


def test_a_dry_run_records_nothing(pushed):
    """It says what would be recorded."""
    done = record(pushed, passed=3, cases=4, dry_run=True)
    assert (done["dry_run"], done["id"], done["failed"]) == (True, 0, 1)
    assert pushed.get(PATH, prompt=PROMPT)["evaluations"] == []


def test_the_newest_comes_first(pushed):
    """Of the prompt, of a version, of a suite, and not more than asked for."""
    for version, suite, passed in (("v1.9.0", "accuracy", 1), ("v2.0.0", "tone", 2)):
        record(pushed, version, suite=suite, passed=passed, failed=1)
    record(pushed, passed=3, failed=1)

    def listed(**query: Any) -> list[int]:
        found = pushed.get(PATH, prompt=PROMPT, **query)
        return [each["passed"] for each in found["evaluations"]]

    assert listed() == [3, 2, 1]
    assert listed(limit=1) == [3]
    assert listed(version="v1.9.0") == [3, 1]
    assert listed(version=f"{PROMPT}:v2.0.0") == [2]
    assert listed(suite="tone") == [2]


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({"passed": 5, "cases": 4}, "bad_evaluation", "5 passed of 4 cases"),
        ({"passed": -1, "failed": 4}, "bad_evaluation", "-1"),
        ({"passed": 4, "failed": -4}, "bad_evaluation", "-4"),
        ({"passed": 0, "failed": 0}, "bad_evaluation", "nothing was evaluated"),
        ({"passed": 10**30, "failed": 0}, "bad_evaluation", "1,000,000,000"),
        ({"passed": 3}, "bad_evaluation", "how many failed"),
        ({}, "bad_evaluation", "how many passed"),
        ({"passed": 1.5, "failed": 1}, "bad_request", "passed"),
        ({"passed": True, "failed": 1}, "bad_request", "passed"),
        ({"passed": 1, "failed": 1, "examples": []}, "bad_evaluation", "leave out"),
        ({"examples": []}, "bad_evaluation", "nothing was evaluated"),
        ({"examples": [{"id": "a"}]}, "bad_evaluation", "'a' has neither"),
        ({"examples": [{"id": "", "passed": True}]}, "bad_evaluation", "1 to 100"),
        ({"examples": [{"id": "a", "score": 1.1}]}, "bad_evaluation", "declared 0 to 1"),
        ({"examples": [{"id": "a", "score": "1"}]}, "bad_request", "examples.0.score"),
        ({"examples": [{"id": "a", "passd": True}]}, "bad_request", "passd"),
        ({"examples": [{"id": "a", "score": 1}] * 2}, "bad_evaluation", "'a' is there twice"),
        ({"examples": [{"id": "a", "passed": True, "error": True}]}, "bad_evaluation", "judged"),
        ({"examples": examples("1"), "scale": {"min": 1, "max": 1}}, "bad_evaluation", "no range"),
        ({"suite": "Not A Suite", "passed": 1, "failed": 0}, "bad_request", "suite name"),
        ({"suite": None, "passed": 1, "failed": 0}, "bad_request", "suite"),
        ({"pased": 1}, "bad_request", "pased"),
    ],
)
def test_what_is_no_evaluation_is_refused_and_nothing_is_recorded(pushed, body, code, word):
    """422 with what was wrong; neither an evaluation nor a line of history."""
    before = pushed.kinds()
    error = refused(pushed, **body)
    assert error["code"] == code
    assert word in error["message"]
    assert pushed.get(PATH, prompt=PROMPT)["evaluations"] == []
    assert pushed.kinds() == before


def test_a_score_that_is_no_number_is_refused(pushed):
    """NaN and infinity can be written in Python's JSON, and are no scores."""
    for word in ("NaN", "Infinity", "-Infinity", "1e400"):
        body = (
            f'{{"prompt": "{PROMPT}", "version": "v1.9.0", "suite": "accuracy", '
            f'"examples": [{{"id": "a", "score": {word}}}]}}'
        )
        answer = pushed.client.post(
            PATH, content=body, headers={"Content-Type": "application/json"}
        )
        assert error_of(answer, 422)["code"] in ("bad_evaluation", "bad_request")
    assert pushed.get(PATH, prompt=PROMPT)["evaluations"] == []


@pytest.mark.parametrize(
    ("names", "code", "known"),
    [
        ({"version": "v3"}, "unknown_version", ["v1.9.0", "v2.0.0"]),
        ({"prompt": "costumer-support"}, "unknown_prompt", [PROMPT]),
        ({"prompt": "No such\x00name"}, "unknown_prompt", [PROMPT]),
    ],
)
def test_an_unknown_version_is_answered_with_the_known_ones(pushed, names, code, known):
    """404 to record and to read, with what there is."""
    error = refused(pushed, 404, passed=1, failed=0, **names)
    assert (error["code"], error["known"]) == (code, known)
    query = {"prompt": PROMPT, **names}
    assert error_of(pushed.client.get(PATH, params=query), 404)["code"] == code


def test_what_was_evaluated_has_to_be_the_version(pushed):
    """409 when the suite ran against other content than the one that is stored here."""
    content = pushed.get(f"/api/prompts/{PROMPT}/versions/v1.9.0")["digest"]
    assert record(pushed, passed=1, failed=0, digest=content)["digest"] == content
    error = refused(pushed, 409, passed=1, failed=0, digest="0" * 64)
    assert error["code"] == "content_conflict"
    assert len(pushed.get(PATH, prompt=PROMPT)["evaluations"]) == 1


def test_five_thousand_examples_fit_into_one_request(pushed):
    """With the longest names that there are; one more is refused."""
    many = [{"id": f"{i:0100}", "passed": True} for i in range(5_001)]
    assert record(pushed, examples=many[1:])["passed"] == 5_000
    assert "5,001 examples" in refused(pushed, examples=many)["message"]
    scored = [{"id": f"{i:0100}", "passed": True, "score": 1 / 3} for i in range(5_000)]
    assert len(str(scored)) < BODY_BYTES_MAX


# --- Comparing


def test_two_versions_are_compared_example_by_example(pushed):
    """Of each the newest evaluation of the suite; who changed sides is named."""
    record(pushed, examples=examples("0" * 40))
    first = record(pushed, examples=examples("1" * 20 + "0" * 20))
    second = record(pushed, "v2.0.0", examples=examples("0" + "1" * 38 + "e"))
    found = pushed.get(
        f"{PATH}/compare", prompt=PROMPT, a="v1.9.0", b=f"{PROMPT}:v2.0.0", suite="accuracy"
    )
    assert (found["a"]["id"], found["b"]["id"]) == (first["id"], second["id"])
    assert (found["pairs"], found["discordant"], found["left_out"]) == (39, 20, 1)
    assert found["only_a"] == ["case-0"]
    assert (found["only_b_count"], found["only_b"][0]) == (19, "case-20")
    assert (found["better"], found["needed"]) == ("v2.0.0", 0)
    assert found["p"] < 0.001 and found["log_e"] > 3
    assert found["better_words"] == "v2.0.0 is better than v1.9.0: proven"


@pytest.mark.parametrize(
    ("query", "status", "code", "word"),
    [
        ({"a": "v3"}, 404, "unknown_version", "v3"),
        ({"suite": "tone"}, 404, "unknown_evaluation", "no evaluation of the suite 'tone'"),
        ({"b": "v1.9.0"}, 422, "bad_request", "cannot be compared with itself"),
        ({"b": "v2.1.0"}, 409, "not_comparable", "has counts alone"),
        ({"b": "v2.2.0"}, 409, "not_comparable", "no example was judged with both"),
        ({"suite": "\x00"}, 422, "bad_request", "suite"),
        ({"a": "other:v1.9.0"}, 422, "bad_request", "not of"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_says_why(pushed, query, status, code, word):
    """An unknown name, a version without an evaluation, counts alone, nothing in common."""
    record(pushed, examples=examples("10"))
    record(pushed, "v2.0.0", examples=examples("11"))
    pushed.push("v2.1.0")
    pushed.push("v2.2.0")
    record(pushed, "v2.1.0", passed=1, failed=1)
    record(pushed, "v2.2.0", examples=[{"id": "another", "passed": True}])
    asked = {"prompt": PROMPT, "a": "v1.9.0", "b": "v2.0.0", "suite": "accuracy", **query}
    error = error_of(pushed.client.get(f"{PATH}/compare", params=asked), status)
    assert error["code"] == code
    assert word in error["message"]
    if code == "unknown_evaluation":
        assert error["known"] == ["accuracy"] and "knowngood eval" in error["next"]


@pytest.mark.parametrize("number", [0, 7, -1, 10**30])
def test_an_unknown_evaluation_is_404(world, number):
    """Whatever the number."""
    error = error_of(world.client.get(f"{PATH}/{number}"), 404)
    assert error["code"] == "unknown_evaluation"
