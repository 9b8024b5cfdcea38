"""LaunchDarkly's laboratory scenario: a prompt whose answers a judge finds bad, on a short ladder.

One session each two seconds; its answer is judged at once. The new version gets 5, 10, 25 and 50 %
for a minute each. Its scores are normal around 0.22 (sd 0.10), those of the version before around
0.72 (sd 0.08), clipped to 0 and 1. The policy is explicit: it wants to hear early.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bench.twin import LAG_S, SECOND_MS, Bools, Floats, Ints, Ticks, fold, ticks_of
from knowngood.core.detect import Frame, detect
from knowngood.core.model import Verdict
from knowngood.core.policy import parse
from knowngood.core.rules import PromptPolicy, Trigger
from knowngood.core.scoring import RECENT_LABELS
from knowngood.core.stats import BETS, WEIGHT_AT_START, WEIGHT_PER_LABEL, Z95
from knowngood.core.track import Plan, Split, Track
from knowngood.core.watch import Watch, watch_of
from knowngood.core.window import EMPTY, Window

LADDER = (0.05, 0.10, 0.25, 0.50)
STAGE_S, SESSION_S = 60, 2
GOOD, BAD = (0.72, 0.08), (0.22, 0.10)  # mean and spread of the judge's scores
BASELINE_LABELS = 10
PEER_S, TARGET_S = 171, 155
HORIZON_S, DAY_S = 600, 86_400
BINS = 100


@dataclass(frozen=True)
class Rules:
    """The policy in force, its trigger, and the detector that this asks for."""

    policy: PromptPolicy
    trigger: Trigger
    watch: Watch


def rules(drop: str = "10%") -> Rules:
    """Roll back for a fall of the judge's mean by `drop`, at level .05, from the first label on."""
    mine = {
        "when": f"quality drop > {drop}",
        "severity": "critical",
        "action": "rollback",
        "who": "system",
        "evidence": {"alpha": 0.05},
        "min_labels": 1,
    }
    baseline = {"min_labels": BASELINE_LABELS}
    defaults = {"triggers": {"quality_mine": mine}, "baseline": baseline}
    policy = parse({"defaults": defaults}).for_prompt("support")
    trigger = next(t for t in policy.triggers if t.name == "quality_mine")
    watch = watch_of(trigger)
    assert watch is not None
    return Rules(policy, trigger, watch)


@dataclass(frozen=True)
class Sessions:
    """Which sessions of each day got the new version, and the bins of their scores."""

    mine: Bools  # (sessions, days)
    bins: Ints


def sessions(
    rng: np.random.Generator, seconds: int, days: int, own: tuple[float, float]
) -> Sessions:
    """Days of sessions; the share stays at the ladder's last step."""
    count = seconds // SESSION_S
    stage = np.minimum(np.arange(count) * SESSION_S // STAGE_S, len(LADDER) - 1)
    mine = rng.random((count, days)) < np.array(LADDER)[stage][:, None]
    mean, spread = np.where(mine, own[0], GOOD[0]), np.where(mine, own[1], GOOD[1])
    bins = np.rint(np.clip(rng.normal(mean, spread), 0, 1) * BINS).astype(np.int64)
    return Sessions(mine, bins)


def played(some: Sessions, day: int, by: Rules) -> Iterator[tuple[int, Track]]:
    """The real detectors of the new version after each session that it got: (second, track)."""
    track = Track(0)
    track.plan(Plan((by.watch,), by.policy.baseline, by.policy.scores, control="v1"))
    for number, index in enumerate(some.bins[:, day].tolist()):
        second, mine = number * SESSION_S, bool(some.mine[number, day])
        stage = min(second // STAGE_S, len(LADDER) - 1)
        split = Split(round(10_000 * LADDER[stage]), stage * STAGE_S * SECOND_MS)
        window = Window(ok=1, scores={"quality": {index: 1}})
        own, theirs = (window, EMPTY) if mine else (EMPTY, window)
        track.add(second * SECOND_MS, SECOND_MS, own, theirs, split)
        if mine:
            yield second, track


def decided_s(seed: int, by: Rules) -> float:
    """When the real trigger has found the fall in two looks, and the second one's data are final.

    A day has one session at most in two seconds, so the second look has nothing new to see.
    """
    some = sessions(np.random.default_rng(seed), HORIZON_S, 1, BAD)
    for second, track in played(some, 0, by):
        looks = (second + 1, second + 2)
        if all(is_breach(track, until_s, by) for until_s in looks):
            return looks[-1] + LAG_S
    return math.inf


def is_breach(track: Track, until_s: int, by: Rules) -> bool:
    """Whether the real trigger finds a breach at the end of a second."""
    reading = track.read(by.policy.window_ms, until_s * SECOND_MS)
    frame = Frame("v2", 0, until_s * SECOND_MS, Window(ok=1), reading=reading)
    return detect(by.trigger, frame, by.policy).verdict is Verdict.BREACH


def evidence_of(some: Sessions, by: Rules) -> tuple[Ticks, Floats]:
    """The twin of the bets: sessions that were bet on, and E after each of them."""
    theirs = np.where(some.mine, 0.0, some.bins / BINS)
    n = np.cumsum(~some.mine, axis=0)
    total, squares = np.cumsum(theirs, axis=0), np.cumsum(theirs * theirs, axis=0)
    ticks = ticks_of(some.mine & (n >= max(2, BASELINE_LABELS)))
    at = np.minimum(ticks.at, len(n) - 1)
    n, total, squares = (np.take_along_axis(sums, at, axis=0) for sums in (n, total, squares))
    mean = total / n
    variance = np.maximum(squares - n * mean * mean, 0) / (n - 1)
    healthy = (mean - Z95 * np.sqrt(variance / n)) * (1 - by.watch.limit / 2)
    loss = 1 - np.take_along_axis(some.bins, at, axis=0) / BINS
    stakes = np.array(BETS)[:, None]
    rise = 1 + stakes * (loss / (1 - healthy) - 1)[:, None, :]
    weights = np.full((len(BETS), at.shape[1]), WEIGHT_AT_START / len(BETS))
    mass = np.full(weights.shape, WEIGHT_PER_LABEL / len(BETS))
    fold(weights, mass, rise, np.zeros(at.shape))
    return ticks, rise.sum(axis=1)


def false_alarms(rng: np.random.Generator, days: int, by: Rules) -> int:
    """In how many of these days a new version that is as good as the old one is rolled back.

    By one look, where the product takes two: more than the product would.
    """
    some = sessions(rng, DAY_S, days, GOOD)
    ticks, found = evidence_of(some, by)
    enough = (found >= 1 / by.watch.alpha) & (np.arange(len(found))[:, None] < ticks.count)
    alarms = 0
    for day in np.nonzero(enough.any(axis=0))[0].tolist():
        at = ticks.at[enough[:, day], day].tolist()
        mine, bins = some.mine[:, day], some.bins[:, day]
        alarms += any(_has_fallen(mine[: t + 1], bins[: t + 1], by.watch.limit) for t in at)
    return alarms


def _has_fallen(mine: Bools, bins: Ints, limit: float) -> bool:
    """The plain threshold: the newest labels' mean against the control's so far."""
    newest, control = bins[mine][-RECENT_LABELS:], bins[~mine]
    return bool(newest.mean() < control.mean() * (1 - limit))
