"""Planted bugs, each of which some checker must catch: a line that none can miss has no reason.

A mutant changes the core or the engine in place, for the time of a `with` block.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from knowngood.core import commit as core_commit
from knowngood.core import decide as core_decide
from knowngood.core import detect, look, measure
from knowngood.core.errors import InProgress
from knowngood.core.model import (
    Change,
    Confirming,
    Enter,
    Evidence,
    Observed,
    Record,
    State,
    Verifying,
)
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps import confirm, notice, operator, respond, verify
from knowngood.core.steps.brakes import in_force
from knowngood.core.steps.case import Case, Step
from knowngood.engine import ingest
from knowngood.sim import world
from knowngood.sim.world import seeded_world

Patch = tuple[Any, str, Any]


def no_fencing() -> list[Patch]:
    """The store applies a change whatever revision it was decided on."""
    real = core_commit.commit

    def commit(
        changes: Sequence[Change], before: Mapping[tuple[str, str], State], *rest: Any
    ) -> core_commit.Commit:
        forced = [
            replace(c, revision_seen=before[c.environment, c.prompt].revision) for c in changes
        ]
        return real(forced, before, *rest)

    return [(world.memory, "commit", commit)]


def verify_ignores_propagation() -> list[Patch]:
    """A recovery is verified without asking who runs the new route."""
    line = Record("rollback.propagated", "nobody was asked")
    return [(verify, "_propagation", lambda case, phase: line)]


def no_minimum_sample() -> list[Patch]:
    """One failed call of one is an error rate of 100 %."""
    real = measure._rate

    def rate(bad: int, n: int) -> measure.Measure:
        return replace(real(bad, n), min_n=1, min_bad=0)

    return [(measure, "_rate", rate)]


def window_not_cut() -> list[Patch]:
    """A version is judged by what it did when it was on the route before."""
    real = look.frame

    def frame(state: State, observed: Observed, policy: PromptPolicy, *rest: Any) -> detect.Frame:
        ledger = tuple(replace(entry, routed_ms=None) for entry in state.ledger)
        return real(replace(state, ledger=ledger), observed, policy, *rest)

    return [(look, "frame", frame)]


def confirm_skipped() -> list[Patch]:
    """The first look at a breach rolls back."""
    real = respond.respond

    def at_once(case: Case) -> Step:
        step = real(case)
        for action in step.actions:
            if isinstance(action, Enter) and isinstance(action.phase, Confirming):
                return confirm.confirm(case, replace(action.phase, seen_ms=0))
        return step

    return [(core_decide, "respond", at_once)]


def blind_is_healthy() -> list[Patch]:
    """No news of the target is good news."""
    real = verify._errors

    def errors(case: Case, phase: Verifying) -> verify.Seen:
        seen = real(case, phase)
        return seen if seen.n else replace(seen, safe=True)

    def never(*given: Any) -> bool:
        return False

    return [
        (verify, "_errors", errors),
        (look, "is_blind", never),
        (verify, "is_blind", never),
        (notice, "is_blind", never),
    ]


def quarantine_ignored() -> list[Patch]:
    """A rollback goes to whatever served last, however it ended."""

    def newest(state: State, suspect: str) -> str | None:
        served = [e for e in state.ledger if e.version != suspect and e.routed_ms is not None]
        return max(served, key=lambda e: e.routed_ms or 0).version if served else None

    return [(confirm, "choose_target", newest), (operator, "choose_target", newest)]


def pages_not_deduped() -> list[Patch]:
    """The outbox takes every message, though its key was queued before."""

    class Forgetful(set[str]):
        def __contains__(self, key: object) -> bool:
            return False

    real = world.memory._Data

    def data() -> Any:
        made = real()
        made.queued = Forgetful()
        return made

    return [(world.memory, "_Data", data)]


def repeats_counted() -> list[Patch]:
    """A flush that comes twice counts twice."""
    return [(ingest.Ingest, "_is_repeat", lambda *given: False)]


def late_calls_prove() -> list[Patch]:
    """What was reported late proves a recovery like what came in time."""
    return [(ingest, "_marked_late", lambda window: window)]


def notices_forgotten() -> list[Patch]:
    """What people were told is not remembered: the judgement is no fixpoint."""
    return [(Case, "told", lambda self, notice: False)]


def brakes_hold_people() -> list[Patch]:
    """A person's rollback is refused while automation is off or a breach is being confirmed."""
    real = operator.roll_back

    def roll_back(case: Case, request: operator.RollbackRequest) -> Any:
        fleet = case.observed.fleet.automation if case.observed.fleet else None
        held = any(in_force(hold, case.now_ms) for hold in (case.state.automation, fleet))
        if held or isinstance(case.state.phase, Confirming):
            raise InProgress("a brake holds")
        return real(case, request)

    return [(operator, "roll_back", roll_back)]


def old_buckets_count() -> list[Patch]:
    """A recovery is proven by everything that was ever seen of the target."""
    real = Evidence.since

    def since(self: Evidence, since_ms: int) -> Any:
        return real(self, 0)

    return [(Evidence, "since", since)]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug, by name."""

    name: str
    patches: Callable[[], list[Patch]]


MUTANTS = tuple(
    Mutant(patches.__name__, patches)
    for patches in (
        no_fencing,
        verify_ignores_propagation,
        no_minimum_sample,
        window_not_cut,
        confirm_skipped,
        blind_is_healthy,
        quarantine_ignored,
        pages_not_deduped,
        repeats_counted,
        notices_forgotten,
        brakes_hold_people,
        old_buckets_count,
        late_calls_prove,
    )
)


@contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The product with this bug in it."""
    patches = mutant.patches()
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    try:
        for owner, name, changed in patches:
            setattr(owner, name, changed)
        yield
    finally:
        for owner, name, real in before:
            setattr(owner, name, real)


@dataclass(frozen=True, slots=True)
class Caught:
    """Which law caught a mutant, in which seed, after how many."""

    mutant: str
    law: str
    seed: int
    seeds: int


def hunt(mutant: Mutant, seeds: int, start: int = 0, seconds: int = 1_000) -> Caught | None:
    """Play seeds with the bug planted until a law catches it; None when it got away.

    A seed that fails without the bug as well proves nothing and is passed over.
    """
    for count, seed in enumerate(range(start, start + seeds), 1):
        with planted(mutant):
            failures = seeded_world(seed, seconds).run()
        if failures and not seeded_world(seed, seconds).run():
            return Caught(mutant.name, failures[0].checker, seed, count)
    return None
