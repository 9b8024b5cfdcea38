"""Seeded worlds: nothing may break whatever the faults, and a seed always tells the same story."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from knowngood.sim.__main__ import main, play
from knowngood.sim.checkers import at_most
from knowngood.sim.faults import RATES, SWARM, WITHHELD
from knowngood.sim.world import seeded_world

SHORT_SECONDS = 200  # long enough for a deploy, a breach, a rollback and its verification
KEPT = Path(__file__).parent / "seeds.txt"


def kept_seeds() -> list[tuple[int, int, str, str]]:
    """The lines of seeds.txt: seed, seconds, fixed or open, why."""
    lines = [line for line in KEPT.read_text(encoding="utf-8").splitlines() if line]
    split = [line.split(maxsplit=3) for line in lines if not line.startswith("#")]
    return [(int(seed), int(seconds), how, why) for seed, seconds, how, why in split]


@pytest.mark.slow
@pytest.mark.parametrize("start", range(0, 200, 50))
def test_two_hundred_worlds(start):
    """Every law holds in every world."""
    failed = {
        seed: outcome.failures
        for seed in range(start, start + 50)
        if (outcome := play(seed, SHORT_SECONDS)).failures
    }
    assert not failed, "\n".join(
        f"python -m knowngood.sim --seed {seed} --seconds {SHORT_SECONDS} --trace: {why[0]}"
        for seed, why in failed.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("kept", kept_seeds(), ids=lambda kept: str(kept[0]))
def test_kept_seeds(kept):
    """What failed once does not fail again; what is open is known."""
    seed, seconds, how, why = kept
    failures = play(seed, seconds).failures
    if how == "open" and failures:
        pytest.xfail(why)
    assert not failures, why


def test_a_seed_tells_one_story():
    """The same seed gives the same trace, line by line."""
    first, second = seeded_world(11, 300), seeded_world(11, 300)
    assert first.run() == second.run()
    assert first.trace == second.trace
    assert first.trace_hash == second.trace_hash
    assert first.trace_hash != seeded_world(12, 300).trace_hash


def test_a_story_does_not_depend_on_the_process():
    """Nor does it depend on the order in which this interpreter hashes strings."""
    command = [sys.executable, "-m", "knowngood.sim", "--seed", "11", "--seconds", "300"]
    told = [
        subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        ).stdout
        for hash_seed in (1, 2)
    ]
    assert "hash " in told[0]
    assert told[0] == told[1]


def test_worlds_differ():
    """A swarm shows every fault somewhere, and worlds without one."""
    plans = [seeded_world(seed).plan for seed in range(60)]
    assert set().union(*(plan.faults for plan in plans)) == set(SWARM)
    assert any(not plan.faults for plan in plans)
    assert {plan.engine_count for plan in plans} == {1, 2}
    assert {len(plan.prompts) for plan in plans} == {1, 2, 3}
    assert set(RATES) == set(SWARM) | WITHHELD


def test_worlds_live():
    """A world that is all peace proves nothing: in a hundred seeds all that matters happens."""
    missing = {"rollback.switched", "rollback.verified", "rollback.held", "blind"}
    for seed in range(100):  # the rarest is in the 47th today
        world = seeded_world(seed, 400)
        world.run()
        missing -= {line.kind for line in world.store.log.read(limit=100_000)}
        if not missing:
            return
    pytest.fail(f"never seen: {missing}")


def test_command_line(capsys):
    """One command plays many seeds, and one tells a seed again."""
    assert main(["--seeds", "3", "--seconds", "60", "--jobs", "1"]) == 0
    assert "3 seeds of 60 s: none failed" in capsys.readouterr().out
    assert main(["--seed", "3", "--seconds", "60", "--trace"]) == 0
    assert "route.moved: first deploy" in capsys.readouterr().out


def test_checkers_count_for_themselves():
    """The proof of safety, worked out a second time: 59 calls without a failure, or 93 with one."""
    assert at_most(0, 59, 0.05) <= 0.05 < at_most(0, 58, 0.05)
    assert at_most(1, 93, 0.05) <= 0.05 < at_most(1, 92, 0.05)
