"""Planted bugs of retention: what goes that should stay, and what stays that should go."""

from collections.abc import Iterator
from typing import Any

from knowngood.core import purge, retention
from knowngood.core.model import State
from knowngood.core.retention import Reason, ReasonKind
from knowngood.engine import retain
from knowngood.sim import world

Patch = tuple[Any, str, Any]


def _unsaid(*kinds: ReasonKind) -> list[Patch]:
    """Some references count for nothing, wherever they are asked for."""
    real = retention.refers

    def refers(state: State, version: str) -> Iterator[Reason]:
        return (reason for reason in real(state, version) if reason.kind not in kinds)

    return [(retention, "refers", refers), (purge, "refers", refers)]


def known_good_purged() -> list[Patch]:
    """What a ledger calls good is purged like everything else."""
    return _unsaid(ReasonKind.GOOD)


def incidents_forgotten() -> list[Patch]:
    """What an incident was about is purged like everything else."""
    return _unsaid(ReasonKind.INCIDENT, ReasonKind.QUARANTINED)


def pins_ignored() -> list[Patch]:
    """A pin keeps nothing."""
    real_shelve, real_settle = retention.shelve, purge.settle

    def shelve(versions: Any, states: Any, pins: Any, *rest: Any) -> Any:
        return real_shelve(versions, states, (), *rest)

    def settle(order: Any, states: Any, pins: Any, *rest: Any) -> Any:
        return real_settle(order, states, (), *rest)

    return [(retain, "shelve", shelve), (world.memory, "settle", settle)]


def purged_by_an_old_look() -> list[Patch]:
    """A purge takes what was free when it was decided, whatever happened since."""
    real = purge.settle

    def settle(order: Any, states: Any, pins: Any, released: Any, there: Any, now_ms: int) -> Any:
        seen = [State(s.environment, s.prompt, order.revisions.get(s.environment)) for s in states]
        return real(order, seen, (), {}, there, now_ms)

    return [(world.memory, "settle", settle)]


def purged_is_routed() -> list[Patch]:
    """A promotion that was decided before a purge brings what is gone onto the route."""
    return [(world.memory, "refuse_purged", lambda gone: None)]


def name_with_two_contents() -> list[Patch]:
    """What was purged may be pushed again as something else."""
    return [(world.memory, "refuse_reuse", lambda *given: None)]


def ledger_keeps_its_lines() -> list[Patch]:
    """A purge leaves the lines of the ledger that speak of what is gone."""
    return [(purge, "_struck", lambda *given: [])]


def swept_once() -> list[Patch]:
    """After the first sweep nothing is ever purged again."""
    real = retain.Sweep.step

    def step(self: Any, *given: Any) -> list[str]:
        self.every_ms = 86_400_000
        return real(self, *given)

    return [(retain.Sweep, "step", step)]


RETENTION_MUTANTS = (
    known_good_purged,
    incidents_forgotten,
    pins_ignored,
    purged_by_an_old_look,
    purged_is_routed,
    name_with_two_contents,
    ledger_keeps_its_lines,
    swept_once,
)
