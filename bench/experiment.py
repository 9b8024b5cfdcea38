"""The A/B gate by simulation: how often it is wrong when one looks all the time, and its power.

Rates, sequences and margins are those of the product: what a look needs is asked of its core, and
only the sums are numpy's. The whole gate is the product's own function, asked at every look.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from knowngood.core.compare import Difference, interval, upper_z
from knowngood.core.experiment import Begun, Experiment, ExperimentState, judge
from knowngood.core.model import WHOLE_BP, ScoreRange
from knowngood.core.rare import STAKES
from knowngood.core.rules import Aim, ExperimentRule
from knowngood.core.unit_sums import ArmSummary, UnitSums, counted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP = 100  # units per arm between two looks
LEVEL = 0.05
RATE = 0.75  # of what the primary metric counts, as in the published comparison
SIZES = (2_000, 10_000)  # units per arm at the last look
LIFTS = (0.02, 0.03)
RUNS = 4_000
GATE_RUNS, GATE_STEP = 200, 500  # of the whole gate, which is asked in plain Python
DAY_MS = 86_400_000
SCORES = {"quality": ScoreRange(0, 1)}
# Users with rates of their own, who come back: 20 calls each on average.
USERS, CALLS_A_LOOK, SPREAD = 1_000, 2_000, 2.0


@dataclass(frozen=True)
class Looked:
    """What each way of looking found, and after how many units per arm (infinity: never)."""

    single: Floats  # one look at the end
    often: Floats  # the same z-test at every look
    sequence: Floats  # the product's sequence at every look


def z_values(control: Ints, candidate: Ints, n: Ints) -> Floats:
    """How many standard errors two rates are apart, candidate - control."""
    a, b = control / n, candidate / n
    variance = (a * (1 - a) + b * (1 - b)) / n
    return np.divide(b - a, np.sqrt(variance), out=np.zeros_like(a), where=variance > 0)


@cache
def needed_z(per_arm: int, size: int) -> float:
    """How many standard errors the product's sequence asks for, tuned to the last look."""
    return interval(Difference(0.0, 1.0, 2 * per_arm), 2.0 * size, LEVEL)[1]


def looked(lift: float, size: int, runs: int, seed: int, rate: float = RATE) -> Looked:
    """Experiments on a rate, looked at every STEP units per arm; positive lifts count upwards."""
    rng = np.random.default_rng([seed, size, round(1_000 * lift)])
    shape = runs, size // STEP
    control = rng.binomial(STEP, rate, shape).cumsum(axis=1)
    candidate = rng.binomial(STEP, rate + lift, shape).cumsum(axis=1)
    n = STEP * np.arange(1, shape[1] + 1)
    z = z_values(control, candidate, n)
    z = abs(z) if lift == 0 else z
    plain = upper_z(LEVEL / 2)
    bars = np.array([needed_z(each, size) for each in n.tolist()])
    return Looked(first(z[:, -1:] > plain, n[-1:]), first(z > plain, n), first(z > bars, n))


def first(found: NDArray[np.bool_], n: Ints) -> Floats:
    """After how many units it was first found; infinity if never."""
    return np.where(found.any(axis=1), n[found.argmax(axis=1)], np.inf)


def share(found: Floats) -> float:
    """In what share of the experiments it was found."""
    return float(np.isfinite(found).mean())


# --- Users who come back


def clustered(runs: int, seed: int) -> tuple[float, float]:
    """P(ever p < .05) for equal arms of users with rates of their own: by calls, by users.

    All users are there from the first look on, and make more calls before each: the mean of a user
    who has been counted goes on moving, as it does in production.
    """
    rng = np.random.default_rng(seed)
    looks, by_calls, by_users = 20, 0, 0
    for _ in range(runs):
        own = rng.beta(SPREAD * RATE, SPREAD * (1 - RATE), (2, USERS))
        calls, good = np.zeros((2, USERS), np.int64), np.zeros((2, USERS), np.int64)
        found = [False, False]
        for _ in range(looks):
            more = rng.multinomial(CALLS_A_LOOK // 2, np.full(USERS, 1 / USERS), 2)
            calls, good = calls + more, good + rng.binomial(more, own)
            n = calls.sum(axis=1)
            p = good.sum(axis=1) / n
            z_calls = (p[1] - p[0]) / np.sqrt((p * (1 - p) / n).sum())
            found[0] |= abs(z_calls) > _bar(int(n.sum()), looks * CALLS_A_LOOK)
            means = [good[arm][calls[arm] > 0] / calls[arm][calls[arm] > 0] for arm in (0, 1)]
            se = np.sqrt(sum(each.var() / len(each) for each in means))
            z_users = (means[1].mean() - means[0].mean()) / se
            found[1] |= abs(z_users) > _bar(sum(map(len, means)), 2 * USERS)
        by_calls, by_users = by_calls + found[0], by_users + found[1]
    return by_calls / runs, by_users / runs


def _bar(n: int, tuning_n: int) -> float:
    return interval(Difference(0.0, 1.0, n), tuning_n, LEVEL)[1]


# --- Rare failures: by their difference, as the gate does, or by their ratio

RARE = ((0.005, 0.005), (0.0, 0.0), (0.02, 0.02), (0.01, 0.005), (0.025, 0.02))
RARE_RUNS, RARE_SIZE = 1_000, 20_000
MARGIN, RATIO = 0.005, 2.0
RATIOS = (1.5, 1.0, 0.5, 0.2)  # alternatives to "twice as many, or more"


def rare(candidate: float, control: float, runs: int, seed: int) -> tuple[Floats, Floats]:
    """After how many units per arm it is shown that the candidate is not worse, at one half each.

    By less than MARGIN more (the product's bets), and by less than RATIO times as many (Lindon and
    Malek's e-process, which has to wait for failures).
    """
    rng = np.random.default_rng(seed)
    shape = runs, RARE_SIZE // STEP
    mine = rng.binomial(2 * STEP, 0.5, shape)
    bad = rng.binomial(mine, candidate).cumsum(axis=1)
    other = rng.binomial(2 * STEP - mine, control).cumsum(axis=1)
    n = STEP * np.arange(1, shape[1] + 1)
    expected = 0.5 * (1 - MARGIN * 0.5)
    mine_log, sound_log, other_log = (
        np.log1p(np.array(STAKES) * (loss / expected - 1)) for loss in (0.0, 0.5, 1.0)
    )
    sound = 2 * n - bad - other
    bets = _log_mean(
        bad[..., None] * mine_log + sound[..., None] * sound_log + other[..., None] * other_log
    )
    theta = np.array(RATIOS) / (np.array(RATIOS) + 1)
    null = RATIO / (RATIO + 1)
    ratios = _log_mean(
        bad[..., None] * np.log(theta / null) + other[..., None] * np.log((1 - theta) / (1 - null))
    )
    enough = np.log(1 / LEVEL)
    return first(bets > enough, n), first(ratios > enough, n)


def _log_mean(logs: Floats) -> Floats:
    found: Floats = np.logaddexp.reduce(logs, axis=-1) - np.log(logs.shape[-1])
    return found


def rare_rows(runs: int) -> Iterable[list[str]]:
    """Each truth: how often each way shows it, and the median number of units per arm."""
    for candidate, control in RARE:
        row = [f"{100 * candidate:g} % beside {100 * control:g} %"]
        for found in rare(candidate, control, runs, seed=4):
            median = float(np.quantile(found, 0.5, method="inverted_cdf"))
            row += [percent(share(found)), f"{median:,.0f}" if np.isfinite(median) else "never"]
        yield row


# --- The whole gate


MODEST, SUPERIOR = ExperimentRule(), ExperimentRule(aim=Aim.SUPERIORITY)


@dataclass(frozen=True)
class Truth:
    """What the arms are in truth; the candidate's, and what it is called."""

    name: str
    rule: ExperimentRule = MODEST
    quality: float = 0.8
    errors: float = 0.005
    slow: float = 0.006
    kept: float = 1.0  # of its units: the others go astray
    share_bp: int = 5_000


ALIKE_ERRORS, ALIKE_QUALITY, ALIKE_SLOW = 0.005, 0.8, 0.006
SD = 0.2  # of a judge's graded scores, which are beta
TRUTHS = (
    Truth("alike, must not be worse"),
    Truth("alike, must be better", SUPERIOR),
    Truth("quality +1 %, must be better", SUPERIOR, quality=0.808),
    Truth("quality -2 %, the margin", quality=0.784),
    Truth("quality -4 %", quality=0.768),
    Truth("errors 1.0 %, the margin", errors=0.01),
    Truth("errors 2 % for 0.5 %", errors=0.02),
    Truth("slow 1 %, the limit", slow=0.01),
    Truth("slow 3 %", slow=0.03),
    Truth("10 % of its units astray", kept=0.9),
)


def gate_run(truth: Truth, seed: int, step: int = GATE_STEP) -> tuple[Experiment, int]:
    """One experiment, looked at every `step` units of the smaller arm until it is decided.

    The answer, and the units per arm by then; at the last look it may still go on.
    """
    rng = np.random.default_rng([seed, TRUTHS.index(truth) if truth in TRUTHS else 99])
    begun = Begun(truth.rule, truth.share_bp, 0, SCORES)
    arms = [_Drawn(ALIKE_QUALITY, ALIKE_ERRORS, ALIKE_SLOW)]
    arms.append(_Drawn(truth.quality, truth.errors, truth.slow))
    portion = truth.share_bp / WHOLE_BP
    found = None
    for _ in range(2 * truth.rule.max_units_count // step):
        mine = int(rng.binomial(round(step / min(portion, 1 - portion)), portion))
        everyone = round(step / min(portion, 1 - portion))
        arms[0].add(rng, everyone - mine)
        arms[1].add(rng, int(rng.binomial(mine, truth.kept)))
        found = judge(begun, arms[0].summary(), arms[1].summary(), found, 2 * DAY_MS)
        if found.is_final:
            break
    assert found is not None
    return found, found.units_count


class _Drawn:
    """An arm that grows: sums only."""

    def __init__(self, quality: float, errors: float, slow: float) -> None:
        self.truth = quality, errors, slow
        self.n = self.failed = self.slow = 0
        self.total = self.squares = 0.0

    def add(self, rng: np.random.Generator, n: int) -> None:
        quality, errors, slow = self.truth
        weight = quality * (1 - quality) / SD**2 - 1
        scores = rng.beta(quality * weight, (1 - quality) * weight, n)
        self.n += n
        self.failed += int(rng.binomial(n, errors))
        self.slow += int(rng.binomial(n, slow))
        self.total += float(scores.sum())
        self.squares += float((scores**2).sum())

    def summary(self) -> ArmSummary:
        metrics = {
            "quality": UnitSums(self.n, self.total, self.squares),
            "error_rate": counted(self.failed, self.n),
            "latency_p99": counted(self.slow, self.n),
        }
        return ArmSummary(self.n, metrics)


# --- Tables


def percent(part: float) -> str:
    """A share in a few letters."""
    return f"{100 * part:.1f} %"


def type_one_rows(runs: int) -> Iterable[list[str]]:
    """Equal arms, each size: how often each way of looking calls them different."""
    for size in SIZES:
        found = looked(0.0, size, runs, seed=1)
        ways = found.single, found.often, found.sequence
        yield [f"{size:,}", *(percent(share(each)) for each in ways)]


def power_rows(runs: int) -> Iterable[list[str]]:
    """Real lifts: how often they are seen, and when the sequence could stop."""
    for lift in LIFTS:
        found = looked(lift, SIZES[-1], runs, seed=2)
        stop = float(np.median(found.sequence))
        seen = percent(share(found.single)), percent(share(found.sequence))
        yield [f"+{100 * lift:g} pp", *seen, f"{stop:,.0f}"]


def gate_row(truth: Truth) -> list[str]:
    """What the whole gate says of a truth."""
    runs = [gate_run(truth, seed) for seed in range(GATE_RUNS)]
    states = [found.state for found, _ in runs]
    shares = [percent(states.count(state) / GATE_RUNS) for state in ExperimentState]
    return [truth.name, *shares, f"{float(np.median([n for _, n in runs])):,.0f}"]


def tables(pool: ProcessPoolExecutor) -> Iterable[tuple[str, Sequence[str], list[list[str]]]]:
    """Each table's title, head and rows."""
    whole = pool.map(gate_row, TRUTHS)
    yield (
        f"Type-I error of the A/B gate under a look every {STEP} requests per arm, {RUNS:,} runs",
        ["n per arm", "one look", "z at every look", "the gate's sequence"],
        list(type_one_rows(RUNS)),
    )
    yield (
        f"Its power beside a single-look z-test, {SIZES[-1]:,} per arm at {RATE:.0%}",
        ["lift", "one look", "the gate's sequence", "its median stop, per arm"],
        list(power_rows(RUNS)),
    )
    by_calls, by_users = clustered(GATE_RUNS, seed=3)
    yield (
        f"Equal arms of {USERS:,} users who come back: P(ever p < .05), 20 looks",
        ["calls taken for independent", "unit by unit, as the gate does"],
        [[percent(by_calls), percent(by_users)]],
    )
    yield (
        f"Not worse on rare failures, shown within {RARE_SIZE:,} per arm, {RARE_RUNS:,} runs",
        [
            "candidate's failures",
            f"less than {100 * MARGIN:g} pp more",
            "median",
            f"less than {RATIO:g} times",
            "median",
        ],
        list(rare_rows(RARE_RUNS)),
    )
    yield (
        f"The whole gate, a look every {GATE_STEP} units per arm, {GATE_RUNS} runs a line",
        ["truth", *(state.value for state in ExperimentState), "median stop, per arm"],
        list(whole),
    )
