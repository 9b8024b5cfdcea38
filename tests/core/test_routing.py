"""Laws of sticky routing, and the cases that every SDK shares."""

import json
import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowngood.core.model import Arm, Route, whole
from knowngood.core.routing import RANDOM, SPLIT, STATIC, bucket, choose, choose_bucket, new_salt

SPEC = Path(__file__).resolve().parents[2] / "spec"
CASES = json.loads((SPEC / "routing.json").read_text(encoding="utf-8"))

units = st.text(max_size=40)
salts = st.text(alphabet="0123456789abcdef", min_size=16, max_size=16)
weights = st.integers(1, 9_999)


def split(candidate_bp: int, salt: str = "salt") -> Route:
    return Route((Arm("v1", 10_000 - candidate_bp), Arm("v2", candidate_bp)), salt)


def route_of(case) -> Route:
    return Route(tuple(Arm(v, bp) for v, bp in case["arms"]), case.get("salt", ""))


def test_buckets_are_those_of_the_specification():
    """A unit has the same bucket in every language."""
    for case in CASES["bucket"]:
        assert bucket(case["salt"], case["unit"]) == case["bucket"], case


def test_choices_are_those_of_the_specification():
    """A unit is served the same version in every language."""
    for case in CASES["choose"]:
        choice = choose(route_of(case), case["unit"])
        assert (choice.version, choice.reason) == (case["version"], case["reason"]), case
    for case in CASES["choose_bucket"]:
        choice = choose_bucket(route_of(case), case["bucket"])
        assert (choice.version, choice.reason) == (case["version"], case["reason"]), case


def test_salts_are_those_of_the_specification():
    """Two engines that start the same rollout give it the same salt."""
    for case in CASES["new_salt"]:
        names = case["environment"], case["prompt"], case["version"], case["generation"]
        assert new_salt(*names) == case["salt"], case


@pytest.mark.parametrize("name", ["routing", "rendering"])
def test_specification_is_what_its_script_writes(name):
    """Nobody edits the shared cases by hand."""
    script = runpy.run_path(str(SPEC / "make.py"))
    written = script["written"](script[name]())
    assert (SPEC / f"{name}.json").read_text(encoding="utf-8") == written


@given(salts, units)
def test_bucket_is_total_and_sticky(salt, unit):
    """Every unit, lone surrogates included, has one bucket of 10,000, always the same."""
    assert 0 <= bucket(salt, unit) < 10_000
    assert bucket(salt, unit) == bucket(salt, unit)


def test_a_lone_surrogate_has_a_bucket():
    """Not even a broken string is without an answer."""
    assert 0 <= bucket("salt", "\ud800") < 10_000


@given(units, weights, weights, salts)
def test_raising_the_weight_only_adds_units(unit, a, b, salt):
    """Who has the candidate keeps it when its weight rises."""
    low, high = sorted((a, b))
    if choose(split(low, salt), unit).version == "v2":
        assert choose(split(high, salt), unit).version == "v2"


@given(weights, st.integers(0, 9_999))
def test_the_candidate_owns_the_buckets_from_zero(weight, number):
    """The candidate owns exactly the buckets below its weight."""
    expected = "v2" if number < weight else "v1"
    assert choose_bucket(split(weight), number).version == expected


@settings(max_examples=20, deadline=None)  # 8,000 choices an example
@given(salts)
def test_moving_one_percent_of_weight_moves_about_one_percent_of_units(salt):
    """No more units change versions than the weight says; 4,000 units, 6 sigma."""
    names = [f"user-{i}" for i in range(4_000)]
    moved = sum(
        choose(split(500, salt), name).version != choose(split(600, salt), name).version
        for name in names
    )
    assert 4 <= moved <= 78


def test_all_buckets_are_used_evenly():
    """Each tenth of the buckets gets a tenth of the units; 20,000 units, 6 sigma."""
    tenths = [0] * 10
    for i in range(20_000):
        tenths[bucket("salt", f"user-{i}") // 1_000] += 1
    assert all(abs(count - 2_000) < 6 * 43 for count in tenths)


@given(salts, units)
def test_one_arm_serves_everybody(salt, unit):
    """Without a split the salt and the unit do not matter."""
    route = Route(whole("v1"), salt)
    assert choose(route, unit).version == "v1"
    assert choose(route, unit).reason == STATIC == choose_bucket(route, 0).reason


def test_the_reason_tells_how_it_was_chosen():
    """A unit's choice is a split, a drawn bucket's choice is random."""
    assert choose(split(5_000), "user").reason == SPLIT
    assert choose_bucket(split(5_000), 4_999).reason == RANDOM


@given(units, units, units, st.integers(0, 10**6))
def test_salts_differ_from_rollout_to_rollout(environment, prompt, version, generation):
    """Not always the same units go first; a salt is 16 hex digits."""
    salt = new_salt(environment, prompt, version, generation)
    assert salt != new_salt(environment, prompt, version, generation + 1)
    assert len(salt) == 16
    assert set(salt) <= set("0123456789abcdef")
