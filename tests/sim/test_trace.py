"""Traces as people have them: two formats, many ways to write a time, and rows that are wrong."""

import json
from itertools import pairwise

import pytest

from knowngood.core.errors import BadRequest
from knowngood.core.model import ScoreRange
from knowngood.sim.trace import COLUMNS, Call, Trace, read_trace, window_of

NOON_MS = 1_700_049_600_000  # 2023-11-15T12:00:00Z


@pytest.fixture
def read(tmp_path):
    def read_text(text: str, scale: ScoreRange = ScoreRange(0, 1)) -> Trace:  # noqa: B008
        path = tmp_path / "trace.txt"
        path.write_text(text, encoding="utf-8")
        return read_trace(path, scale)

    return read_text


def csv_of(*rows: str, header: str = "ts,version,ok,latency_ms,score,output_tokens") -> str:
    return "\n".join([header, *rows])


def test_csv_and_json_lines_say_the_same(read):
    """A trace may be written either way."""
    as_csv = read("ts,version,unit,ok,latency_ms,score,input_tokens,output_tokens\n"
                  "2023-11-15T12:00:00Z,v1,ann,true,120.5,0.7,10,20\n")  # fmt: skip
    row = {
        "ts": "2023-11-15T12:00:00Z", "version": "v1", "unit": "ann", "ok": True,
        "latency_ms": 120.5, "score": 0.7, "input_tokens": 10, "output_tokens": 20,
    }  # fmt: skip
    as_json = read(json.dumps(row) + "\n\n")
    assert as_csv.calls == as_json.calls == [Call(NOON_MS, "v1", "ann", "ok", 120.5, 0.7, 10, 20)]
    assert not as_csv.ignored
    assert not as_json.ignored


@pytest.mark.parametrize("text", ["ts\n1700049600\n", '{"ts": 1700049600}\n'])
def test_only_the_time_is_required(read, text):
    """A missing version is one version, and a call that says nothing else went well."""
    assert read(text).calls == [Call(NOON_MS, "v1", "", "ok", None, None, 0, 0)]


@pytest.mark.parametrize(
    ("written", "later"),
    [
        ("2023-11-15T12:00:00Z", "2023-11-15T12:00:05Z"),
        ("2023-11-15T12:00:00+00:00", "2023-11-15T12:00:05+00:00"),
        ("2023-11-15T14:00:00+02:00", "2023-11-15T14:00:05+02:00"),
        ("2023-11-15T06:30:00.000000-05:30", "2023-11-15T06:30:05-05:30"),
        ("2023-11-15 12:00:00.0000000", "2023-11-15 12:00:05"),
        ("1700049600", 1_700_049_605),
        ("1700049600.0", 1_700_049_605),
        ("1700049600000", 1_700_049_605_000),
        ("1700049600000000", 1_700_049_605_000_000),
        ("1700049600000000000", 1_700_049_605_000_000_000),
    ],
)
def test_times_come_out_as_they_went_in(read, written, later):
    """An answer can be looked up in the trace: ISO for ISO, numbers for numbers."""
    trace = read(f"ts\n{written}\n")
    assert trace.calls[0].at_ms == NOON_MS
    assert trace.style.write(NOON_MS + 5_000) == later


@pytest.mark.parametrize(
    ("written", "ms"),
    [("2023-11-15T12:00:00.6805900Z", 680), ("1700049600.25", 250), ("1700049600007", 7)],
)
def test_parts_of_a_second_are_kept(read, written, ms):
    """Milliseconds are enough to put calls in order, and none is lost."""
    trace = read(f"ts\n{written}\n")
    assert trace.calls[0].at_ms == NOON_MS + ms
    back = read(f"ts\n{trace.style.write(NOON_MS + ms)}\n")
    assert back.calls[0].at_ms == NOON_MS + ms


def test_rows_out_of_order_are_sorted(read):
    """Calls are written when they end, and end in another order than they began."""
    calls = read("ts,version\n30,v1\n10,v1\n20,v1\n20.5,v1\n").calls
    assert all(a.at_ms <= b.at_ms for a, b in pairwise(calls))
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("yesterday,v1,true,,,", "unreadable timestamp"),
        ("nan,v1,true,,,", "unreadable timestamp"),
        ("-5,v1,true,,,", "unreadable timestamp"),
        (",v1,true,,,", "no timestamp"),
        ("1,,true,,,", "no version"),
        ("1,a:b,true,,,", "not a version name"),
        ("1,v1,maybe,,,", "ok is neither true nor false"),
        ("1,v1,true,nan,,", "latency is not a number"),
        ("1,v1,true,inf,,", "latency is not a number"),
        ("1,v1,true,fast,,", "latency is not a number"),
        ("1,v1,true,-1,,", "negative latency"),
        ("1,v1,true,,1.01,", "score outside its range"),
        ("1,v1,true,,NaN,", "score is not a number"),
        ("1,v1,true,,,-3", "tokens are not a whole number"),
        ("1,v1,true,,,2.5", "tokens are not a whole number"),
        ("1,v1,true,,,,surplus", "more fields than the header"),
    ],
)
def test_a_bad_row_is_left_out_and_counted(read, row, reason):
    """One bad row costs itself, and the run says so."""
    trace = read(csv_of("10,v1,true,5,0.5,7", row, "20,v1,false,5,0.5,7"))
    assert [call.at_ms for call in trace.calls] == [10_000, 20_000]
    assert trace.ignored == {reason: 1}


def test_bad_json_lines_are_counted(read):
    """JSON has ways of its own to be wrong."""
    trace = read('{"ts": 1}\n{"ts": \nnull\n{"ts": true}\n{"ts": 2, "latency_ms": NaN}\n')
    assert len(trace.calls) == 1
    assert trace.ignored == {
        "not JSON": 1,
        "not a JSON object": 1,
        "unreadable timestamp": 1,
        "latency is not a number": 1,
    }


def test_the_score_range_is_the_policys(read):
    """A score of 4 is fine where scores go from 1 to 5."""
    assert read("ts,score\n1,4\n", ScoreRange(1, 5)).calls[0].score == 4.0


@pytest.mark.parametrize("word", ["true", "TRUE", "1", "yes", "1.0", ""])
def test_words_for_good(read, word):
    """Whoever wrote the trace had a word for success; none at all is one too."""
    assert read(f"ts,ok\n1,{word}\n").calls[0].outcome == "ok"


@pytest.mark.parametrize(
    ("ok", "kind", "outcome"),
    [
        ("false", "", "provider"),
        ("no", "timeout", "timeout"),
        ("0", "prompt", "prompt"),
        ("", "timeout", "timeout"),
        ("false", "cancelled", "cancelled"),
        ("true", "synthetic", "synthetic"),
        ("true", "provider", "ok"),
    ],
)
def test_kinds_of_failure(read, ok, kind, outcome):
    """A failure has a kind, and some kinds are no evidence."""
    trace = read(f"ts,ok,error_kind\n1,{ok},{kind}\n")
    assert trace.calls[0].outcome == outcome
    assert not trace.ignored


def test_a_failure_of_an_unknown_kind_still_counts(read):
    """Leaving it out would hide an outage behind a spelling."""
    trace = read("ts,ok,error_kind\n1,false,HTTP 529\n")
    assert trace.calls[0].outcome == "provider"
    assert trace.ignored == {"unknown error kind, counted as provider": 1}


def test_a_spreadsheets_file_is_read(read):
    """A byte order mark, capitals, blanks and columns we do not know do no harm."""
    trace = read("\ufeffTS, Version ,cost\r\n1,v1,3\r\n")
    assert [call.version for call in trace.calls] == ["v1"]
    assert trace.unknown_columns == ("cost",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("1700049600,v1,true\n", "no header"),
        ("time,version\n1,v1\n", "no header"),
        ("ts,version\n", "there are no rows"),
        ("ts\nnever\n", "unreadable timestamp: 1"),
        ('[{"ts": 1}]', "one object a line"),
        ("\0\1\2\xff", "no header"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(read, text, said):
    """The error says what is wrong and which columns there are."""
    with pytest.raises(BadRequest, match=said) as caught:
        read(text)
    assert caught.value.known == list(COLUMNS)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """So is a folder."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(BadRequest, match="cannot be read"):
            read_trace(path)


def test_a_second_is_summed_as_the_sdk_sums_it(read):
    """A unit fails once a second, excluded calls count not at all, a quick failure is not timed."""
    window = window_of(
        [
            Call(0, "v", "ann", "ok", 100.0, 0.5, 1, 2),
            Call(1, "v", "bob", "provider", 5.0, None, 1, 0),
            Call(2, "v", "bob", "provider", 5.0, None, 1, 0),
            Call(3, "v", "", "timeout", 9000.0, None, 1, 0),
            Call(4, "v", "", "timeout", 9000.0, None, 1, 0),
            Call(5, "v", "cy", "caller", 1.0, 1.0, 9, 9),
        ],
        ScoreRange(0, 1),
    )
    assert (window.ok, window.errors) == (1, {"provider": 1, "timeout": 2})
    assert (window.repeat, window.excluded, window.units) == (1, 1, 2)
    assert sum(window.latency.values()) == 3
    assert (window.input_tokens, window.output_tokens) == (5, 2)
    assert window.scores == {"quality": {50: 1}}


def test_a_column_that_is_nearly_known_is_not_silently_left_out(tmp_path):
    """A mistyped `version` would make one version of the whole trace: it is asked about."""
    path = tmp_path / "trace.csv"
    path.write_text("ts,versoin,ok\n2026-01-01T00:00:00Z,v1,1\n")
    with pytest.raises(BadRequest, match="versoin; did you mean version"):
        read_trace(path)
