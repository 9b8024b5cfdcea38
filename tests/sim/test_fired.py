"""What policies would have fired on recorded calls, and what of it was false."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowngood.core.errors import BadRequest
from knowngood.core.policy import parse
from knowngood.core.rate_bound import WEEK_MS
from knowngood.sim.backtest import replay
from knowngood.sim.fired import (
    SILENCE_COUNTED_MS,
    Recording,
    Stretch,
    backtest,
    firings,
    first_version,
    judged,
    stretch_of,
    watched_ms,
)
from knowngood.sim.trace import LAST_MS, Call, read_trace

DEFAULT = parse({})
# Rolls back whatever fails at all: on any calls but perfect ones it raises false alarms.
NERVOUS = parse(
    {
        "defaults": {
            "triggers": {
                "error_critical": {
                    "when": "error_rate > 0.1%",
                    "evidence": "none",
                    "min_requests": 50,
                },
                "error_high": None,
            }
        }
    }
)
START_MS = 1_700_049_600_000
COLUMNS = ("ts", "version", "ok")


def calls(version, begin_s, count, per_s=10, fail_every=0):
    return [
        (
            START_MS + round((begin_s + n / per_s) * 1000),
            version,
            "false" if fail_every and n % fail_every == fail_every - 1 else "true",
        )
        for n in range(count)
    ]


def at(*instants_ms):
    return [Call(ms, "v1", "", "ok", None, None, 0, 0) for ms in instants_ms]


@pytest.fixture
def tested(tmp_path):
    """The answer of a backtest of rows, as the command prints it."""

    def run(*rows, policies=(("default", DEFAULT),), healthy=()):
        file = tmp_path / "support-bot.csv"
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows([COLUMNS, *(row for part in rows for row in part)])
        data = backtest([Recording(file, "support-bot")], policies, healthy)
        return json.loads(json.dumps(data, allow_nan=False))

    return run


GOOD = calls("v1", 0, 6_000, fail_every=500)  # ten minutes; one call of 500 fails
BAD = calls("v2", 600, 3_000, fail_every=1)
SAME = calls("v2", 600, 6_000, fail_every=500)


# --- What fired


def test_a_bad_deploy_fires_and_is_no_false_alarm(tested):
    """What fires on the version that broke is right; the first version's calls are healthy."""
    data = tested(GOOD, BAD)
    (policy,) = data["policies"]
    (line,) = [f for f in policy["fired"] if f["action"] == "rollback"]
    assert (line["version"], line["prompt"], line["false"]) == ("v2", "support-bot", False)
    assert "error_critical" in line["triggers"]
    assert line["deployed_at"] == START_MS + 600_000
    assert 0 < line["after_s"] <= 60
    assert line["saw"].startswith("errors ")
    assert policy["rollbacks"]["count"] == 1
    assert policy["rollbacks"]["false_count"] == 0
    assert policy["healthy_hours"] == pytest.approx(1 / 6, abs=0.01)
    assert data["healthy_by"] == "first version"


def test_two_policies_side_by_side(tested):
    """The same calls under both: the nervous one raises false alarms, the default does not."""
    data = tested(GOOD, SAME, policies=[("nervous", NERVOUS), ("default", DEFAULT)])
    nervous, default = data["policies"]
    assert [each["policy"] for each in data["policies"]] == ["nervous", "default"]
    assert nervous["rollbacks"]["false_count"] > 0
    assert default["rollbacks"]["count"] == 0
    assert nervous["revision"] != default["revision"]


def test_a_rollback_without_a_target_is_a_rollback(tested):
    """Before the first version of a trace nothing was known to be good; in life there was."""
    data = tested(GOOD, policies=[("nervous", NERVOUS)])
    (policy,) = data["policies"]
    actions = {line["action"] for line in policy["fired"]}
    assert "no_target" in actions
    assert policy["rollbacks"]["false_count"] >= 1
    assert all(line["false"] for line in policy["fired"])


def test_what_fires_on_a_declared_stretch_is_false(tested):
    """Whoever says that all was well says that the rollback was wrong."""
    data = tested(GOOD, BAD, healthy=[stretch_of("all")])
    (policy,) = data["policies"]
    assert data["healthy_by"] == "declared"
    assert policy["rollbacks"]["false_count"] == policy["rollbacks"]["count"] == 1


def test_rates_are_for_a_week_of_healthy_calls_and_have_a_limit(tested):
    """One false rollback in ten minutes would be a thousand a week; none may still be 3,000."""
    (nervous, default) = tested(GOOD, policies=[("a", NERVOUS), ("b", DEFAULT)])["policies"]
    hours = default["healthy_hours"]
    assert default["rollbacks"]["false_per_week"] == 0
    assert default["rollbacks"]["false_per_week_at_most"] == pytest.approx(
        3 * 168 / hours, rel=0.01
    )
    count = nervous["rollbacks"]["false_count"]
    assert nervous["rollbacks"]["false_per_week"] == pytest.approx(count * 168 / hours, rel=0.01)
    assert nervous["rollbacks"]["false_per_week"] < nervous["rollbacks"]["false_per_week_at_most"]


def test_calls_after_a_rollback_are_not_watched(tested):
    """They are judged no more: to count them would flatter the policy that rolled back."""
    (policy,) = tested(GOOD, BAD, healthy=[stretch_of("all")])["policies"]
    (back,) = [line for line in policy["fired"] if line["action"] == "rollback"]
    assert policy["healthy_hours"] == pytest.approx((600 + back["after_s"]) / 3600, abs=0.002)


def test_a_trace_is_read_once_for_both_policies(tested, monkeypatch):
    """Unless they declare the score's range differently."""
    read = []

    def counted(*args):
        read.append(args)
        return read_trace(*args)

    monkeypatch.setattr("knowngood.sim.fired.read_trace", counted)
    tested(GOOD, policies=[("a", NERVOUS), ("b", DEFAULT)])
    assert len(read) == 1
    five = parse({"scores": {"quality": {"min": 1, "max": 5}}})
    tested(GOOD, policies=[("a", five), ("b", DEFAULT)])
    assert len(read) == 3


def test_dry_runs_are_counted_apart(tested):
    """What a trigger would have done is no rollback."""
    watching = parse({"defaults": {"triggers": {"error_critical": {"dry_run": True}}}})
    (policy,) = tested(GOOD, BAD, policies=[("watching", watching)])["policies"]
    assert policy["rollbacks"]["count"] == 0
    assert policy["dry_runs"]["count"] == 1


def test_a_stretch_without_calls_is_a_mistake(tested):
    """A stretch of another year would find no false alarm for ever."""
    with pytest.raises(BadRequest, match="no call lies in a healthy stretch"):
        tested(GOOD, healthy=[stretch_of("1999-01-01..1999-02-01")])


def test_the_same_is_decided_whether_every_look_is_written_down_or_not():
    """A backtest leaves out what it does not print, and decides nothing differently."""
    both = [Call(ms, v, "", "ok" if ok == "true" else "prompt", 400.0, None, 0, 0)
            for ms, v, ok in GOOD + BAD]  # fmt: skip
    full = replay(both, DEFAULT, "x")
    quick = replay(both, DEFAULT, "x", every_look=False)
    assert quick.decisions == full.decisions
    assert firings(quick.decisions)


# --- Stretches


@pytest.mark.parametrize(
    ("text", "from_ms", "to_ms"),
    [
        ("1700000000..1700003600", 1_700_000_000_000, 1_700_003_600_000),
        ("2023-11-14T22:13:20Z..2023-11-15", 1_700_000_000_000, 1_700_006_400_000),
        ("2023-11-14T22:13:20.5+00:00..", 1_700_000_000_500, LAST_MS),
        ("..2023-11-15", 0, 1_700_006_400_000),
        ("..", 0, LAST_MS),
        ("all", 0, LAST_MS),
    ],
)
def test_how_a_stretch_is_written(text, from_ms, to_ms):
    """Two instants as traces write them; a missing end is the trace's own."""
    assert stretch_of(text) == Stretch(from_ms, to_ms)


@pytest.mark.parametrize("text", ["", "2023-11-15", "x..", "..y", "5..4", "2023-11-15..2023-11-14"])
def test_what_is_no_stretch_is_refused(text):
    """A stretch that is not understood would make everything false, or nothing."""
    with pytest.raises(BadRequest):
        stretch_of(text)


def test_the_first_version_is_healthy_until_the_second_comes():
    """Good as declared; without a second one, to the end."""
    both = [Call(ms, v, "", "ok", None, None, 0, 0) for ms, v, _ in GOOD + BAD]
    assert first_version(both) == Stretch(START_MS, START_MS + 600_000)
    assert first_version(both[:10]) == Stretch(START_MS, LAST_MS)


TIMES = st.lists(st.integers(0, 4 * SILENCE_COUNTED_MS), min_size=1, max_size=30).map(sorted)
CUTS = st.lists(st.integers(0, 4 * SILENCE_COUNTED_MS), min_size=2, max_size=6)


@given(TIMES, CUTS)
def test_watched_time_is_at_most_the_time_there_was(times, cuts):
    """However stretches overlap, no hour is counted twice, and none outside of them."""
    parts = [Stretch(min(a, b), max(a, b) + 1) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    watched = watched_ms(at(*times), judged(parts, []))
    within = [ms for ms in times if any(part.holds(ms) for part in parts)]
    assert 0 <= watched <= (max(within) - min(within) if within else 0)
    assert watched <= watched_ms(at(*times), [Stretch(0, LAST_MS)])


def test_a_silence_counts_as_an_hour_of_watching():
    """A night without calls is no night without alarms."""
    week = [Stretch(0, LAST_MS)]
    assert watched_ms(at(0, 600_000, 1_200_000), week) == 1_200_000
    assert watched_ms(at(0, WEEK_MS), week) == SILENCE_COUNTED_MS
