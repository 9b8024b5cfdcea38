"""Real arrivals and real scores played back: what the product does with what it will meet."""

import importlib.util
import os
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest

from knowngood.core.policy import parse
from knowngood.sim.backtest import answer, read_trace, replay

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SCORES = "gpt-3.5-turbo-1106"
QUALITY = ("quality_high", "quality_medium")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    """The benchmark's trace maker; the real data has to be there when CI says so."""
    if not DATA.is_dir() and os.environ.get("CI") != "true":
        pytest.skip(f"the real data is not there: no folder shared/data in {ROOT.parent}")
    assert DATA.is_dir(), "CI runs with the folder shared/data beside the repository"
    spec = importlib.util.spec_from_file_location("make_trace", ROOT / "bench" / "make_trace.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def played(maker, tmp_path):
    def play(*options: str):
        path = tmp_path / "support-bot.csv"
        maker.main([str(path), "--data", str(DATA), *options])
        trace = read_trace(path)
        return answer(replay(trace.calls, parse({}), "support-bot"), trace)

    return play


def findings(data, *triggers: str):
    return [f for f in data["findings"] if f["version"] == "v2.0.0" and f["trigger"] in triggers]


def test_a_fifth_failing_is_rolled_back(played):
    """An hour of real traffic, 20 % failing from half-way on: one rollback, soon after it."""
    data = played("--fail", "0.20")
    assert data["calls"] == 19_366
    (back,) = data["rollbacks"]
    assert (back["from_version"], back["to_version"]) == ("v2.0.0", "v1.9.0")
    switch = datetime.fromisoformat(data["versions"][1]["first_at"])
    after_s = (datetime.fromisoformat(back["at"]) - switch).total_seconds()
    assert 0 < after_s <= 60
    assert (data["questions"], data["ignored"]) == ([], {})


def test_healthy_traffic_is_left_alone(played):
    """The same hour with a change of version that changes nothing."""
    data = played()
    assert (data["rollbacks"], data["questions"]) == ([], [])


def test_a_change_that_no_hour_can_show_is_unsure(played):
    """805 labels a side cannot separate these variants: no question, and how many would be needed.

    The score is skewed: most labels are near 0 and a few near 1.
    """
    data = played("--scores", f"{SCORES}:standard,concise")
    assert data["rollbacks"] == []
    assert data["questions"] == []
    for found in findings(data, *QUALITY):
        assert found["verdict"] == "unsure"
        assert found["breach_s"] == 0
        assert "not separable" in found["waiting_on"][0]
        assert found["waiting_on"][0].startswith("about ")


def test_a_change_for_the_better_is_clear(played):
    """A variant that scores higher by more than its noise has not dropped: nothing is asked."""
    data = played("--scores", f"{SCORES}:standard,verbose")
    before, after = (version["score_mean"] for version in data["versions"])
    assert after > before
    assert (data["rollbacks"], data["questions"]) == ([], [])
    for found in findings(data, *QUALITY):
        assert found["verdict"] == "clear"
        assert found["breach_s"] == 0
