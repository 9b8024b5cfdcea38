"""Two versions on the same examples: which is better, and is that proven?

Each example is its own control, so what is hard for both drops out. That takes far fewer examples
than two separate samples of them.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from knowngood.core.evaluation import Example
from knowngood.core.stats import BETS, bet, log_add, log_evidence, start

# A difference is proven at E = 20: two versions that are alike get there one time in twenty at
# most, however often somebody looks while examples are added.
PROOF = 20.0
# More pairs than anybody evaluates: beyond it the difference is as good as none.
NEEDED_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Paired:
    """How version B did beside version A on `pair_count` examples that both were judged on.

    The examples `only_a` passed with A alone and `only_b` with B alone (the discordant pairs). `p`
    is McNemar's exact two-sided p-value of how many they are, in [0, 1]: for one look. `gain` is
    the mean of B's score minus A's, in [-1, 1]; `log_e` the evidence that it is not zero, ln E: for
    any number of looks. `left_out_count` examples have no partner or could not be judged.
    `needed_count` is about how many more pairs would prove the difference, if it stays as it looks;
    0 when it is proven, None when nothing would.
    """

    pair_count: int
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    p: float
    gain: float
    log_e: float
    left_out_count: int
    needed_count: int | None

    @property
    def discordant_count(self) -> int:
        """How many pairs passed with one version and failed with the other."""
        return len(self.only_a) + len(self.only_b)

    @property
    def is_proven(self) -> bool:
        """Whether one of the two is better beyond doubt."""
        return self.log_e >= math.log(PROOF)


def paired(a: Iterable[Example], b: Iterable[Example]) -> Paired:
    """Version B beside version A on the examples with the same id that both were judged on."""
    of_a, of_b = _by_id(a), _by_id(b)
    pairs = [
        (of_a[id_], of_b[id_])
        for id_ in of_a
        if id_ in of_b and not of_a[id_].error and not of_b[id_].error
    ]
    only_a = tuple(before.id for before, after in pairs if before.passed and not after.passed)
    only_b = tuple(after.id for before, after in pairs if after.passed and not before.passed)
    differences = [_difference(before, after) for before, after in pairs]
    log_e = log_differs(differences)
    return Paired(
        pair_count=len(pairs),
        only_a=only_a,
        only_b=only_b,
        p=mcnemar_p(len(only_a), len(only_b)),
        gain=math.fsum(differences) / len(pairs) if pairs else 0.0,
        log_e=log_e,
        left_out_count=len(of_a.keys() | of_b.keys()) - len(pairs),
        needed_count=0 if log_e >= math.log(PROOF) else pairs_to_proof(differences),
    )


def _difference(before: Example, after: Example) -> float:
    """By how much `after` is better, in [-1, 1]: by the scores, if both have one.

    Else by who passed: a 1 for "passed" is no score to be held against a score of 0.7.
    """
    if before.score is None or after.score is None:
        return float(after.passed) - float(before.passed)
    return after.score - before.score


def _by_id(examples: Iterable[Example]) -> dict[str, Example]:
    return {example.id: example for example in examples}


def mcnemar_p(only_a_count: int, only_b_count: int) -> float:
    """McNemar's exact two-sided p-value of so many discordant pairs each way, in [0, 1].

    Where the versions are alike each discordant pair is a fair coin, so it is twice the smaller
    tail of Binomial(n, 1/2) [McNemar 1947; Fay, exact2x2]: exact, in whole numbers. 1 without a
    discordant pair. For one look: looked at again and again it cries wolf.
    """
    n, few = only_a_count + only_b_count, min(only_a_count, only_b_count)
    tail, term = 0, 1
    for k in range(few + 1):
        tail += term
        term = term * (n - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << n))


def log_differs(differences: Iterable[float]) -> float:
    """ln E against "the mean of these paired differences is zero"; each is in [-1, 1].

    Half of the stake is put on a gain and half on a loss, each spread over the bets of
    core/stats.py with the factor 1 + lambda d for each pair [Waudby-Smith and Ramdas, arXiv
    2010.09686, section 4]. The bets are fixed beforehand, so the order of the pairs does not
    matter, and by Ville's inequality P(ever E >= 1 / alpha) <= alpha while pairs are added. 0
    without a pair.
    """
    seen = Counter(differences)
    up, down = _weights(seen, 1), _weights(seen, -1)
    return log_add(log_evidence(up), log_evidence(down)) - math.log(2)


def _weights(differences: Counter[float], side: int) -> tuple[float, ...]:
    """The log weights of the bets on a gain (side 1) or a loss (-1)."""
    # A loss of (1 + d) / 2 against an expected 1/2 has the factor 1 + f d.
    losses: Counter[float] = Counter()
    for difference, count in differences.items():
        losses[(1 + side * difference) / 2] += count
    return bet(start(len(BETS), 1.0), losses, 0.5)


def pairs_to_proof(differences: list[float]) -> int | None:
    """About how many more pairs prove the difference, if they go on like these; at least 1.

    None if they never would: there is no difference, or one too small for any bet. Each bet grows
    by so much a pair as it has so far; the number of pairs at which their sum is proof.
    """
    n, gain = len(differences), math.fsum(differences)
    if gain == 0:
        return None
    weights = _weights(Counter(differences), 1 if gain > 0 else -1)
    stake = math.log(1 / len(BETS))
    growths = [(weight - stake) / n for weight in weights]
    target = math.log(2 * PROOF)  # half of the stake is on the other side
    if stake + max(growths) * NEEDED_MAX < target:
        return None

    def log_e_after(pair_count: int) -> float:
        return log_evidence([stake + growth * pair_count for growth in growths])

    # It is below the target at n, and convex: it crosses it once.
    return bisect_left(range(n + 1, NEEDED_MAX + 1), target, key=log_e_after) + 1
