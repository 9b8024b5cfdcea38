"""The seeded nemesis: which faults a world has, when they strike, and where a process can die."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from knowngood.core.history import Delivery
from knowngood.core.model import Change, ClientSeen, State
from knowngood.core.purge import Purge
from knowngood.core.window import Bucket
from knowngood.ports import (
    NO_UNITS,
    Checkpoints,
    Delivered,
    Deliveries,
    Notifier,
    Outbox,
    Page,
    Rejected,
    Retention,
    Retry,
    Series,
    States,
    Store,
    UnitKey,
    VersionKey,
)
from knowngood.sim.passing import (
    PassingCheckpoints,
    PassingDeliveries,
    PassingOutbox,
    PassingRetention,
    PassingSeries,
    PassingStates,
)

# How likely each fault is whenever it could strike (a flush, an apply, a beat of a second). A swarm
# enables a random subset for each seed: some bugs only show where other faults are absent.
RATES: Mapping[str, float] = {
    "lag": 0.05,  # a flush takes seconds
    "lost_receipt": 0.05,  # the server has the flush and the client does not know it
    "lost_flush": 0.05,
    "duplicate": 0.05,  # the network delivers a flush again, up to half a minute later
    "partition": 0.004,  # a client is cut off, in one direction or both
    "deaf": 0.003,  # a client is heard, and gets no newer snapshot
    "restart": 0.001,  # a client begins again under a new name, as the SDK does
    "same_name": 0.001,  # a client begins again under the same name
    "kill": 0.0003,  # a client ends without a word
    "close": 0.0004,  # a client ends properly
    "join": 0.0008,  # another client comes
    "dark": 0.001,  # all clients are cut off at once
    "stall": 0.20,  # an engine stops between a decision and its apply
    "crash": 0.10,  # an engine dies at one of POINTS
    "refuse": 0.01,  # the store refuses a write, and nothing of it is written
    "lost_ack": 0.01,  # the store writes and says that it did not
    "pager": 0.30,  # a notifier is down for a moment
    "pager_rejects": 0.15,  # a notifier will never take this message
    "pager_mute": 0.10,  # a notifier takes a message, and its answer is lost
    "pager_raises": 0.10,  # a notifier has a bug of its own
    "old_snapshot": 0.02,  # a cache on the way answers with an older generation
    "clock": 0.002,  # the wall clock of an engine's machine is set wrong for a while
    "failover": 1.0,  # a process whose server does not answer reports to another one
    "old_life": 1.0,  # a flush comes again after its process and its server have begun anew
    "apart": 1.0,  # the clocks of two engines may be as wrong as that of one alone
    "raw_retries": 1.0,  # processes that are not the SDK count each retry as a failure
    "slow_hands": 0.50,  # a person thinks before they act on what they read
}
# Left out of a swarm until the product holds against them (tests/sim/test_known.py says why).
WITHHELD: frozenset[str] = frozenset({"failover", "old_life", "apart", "raw_retries"})
SWARM = tuple(name for name in RATES if name not in WITHHELD)

RARELY = 0.02  # how often a point counts that nearly every tick passes
# Where an engine's process can die or be held: around each write and each message.
POINTS = (
    "apply.before",
    "apply.after",
    "append.before",
    "append.after",
    "save.before",
    "save.after",
    "notify.before",
    "notify.after",
    "sent.after",
    "purge.before",
    "purge.after",
    "noted.after",
)


class Crash(BaseException):
    """The process dies here. Not an Exception: no handler of the product may survive it."""


class Stall(BaseException):
    """The process is held here, with these changes in its hands."""

    def __init__(self, changes: tuple[Change, ...], now_ms: int) -> None:
        super().__init__("stalled")
        self.changes, self.now_ms = changes, now_ms


class Injected(Exception):
    """A failure of the outside that the product has to live with."""


@dataclass(slots=True)
class Nemesis:
    """Draws every fault of a world. Calm means that none strikes any more."""

    rng: random.Random
    enabled: frozenset[str] = frozenset()
    calm: bool = False
    struck: dict[str, int] = field(default_factory=dict)
    forced: dict[str, int] = field(default_factory=dict)  # by a scenario
    unanswered: dict[str, int] = field(default_factory=dict)  # messages that were taken, by key

    def strikes(self, fault: str) -> bool:
        """Whether the fault strikes now."""
        if self.forced.get(fault):
            self.forced[fault] -= 1
            return True
        if self.calm or fault not in self.enabled or self.rng.random() >= RATES[fault]:
            return False
        self.struck[fault] = self.struck.get(fault, 0) + 1
        return True

    def force(self, fault: str, times: int) -> None:
        """Let a fault strike the next so many times that it could."""
        if fault not in RATES:
            raise ValueError(f"there is no fault {fault!r}; there are {', '.join(RATES)}")
        self.forced[fault] = times

    def one_of(self, faults: Sequence[str]) -> str | None:
        """Which of some rare faults strikes now, if one does: one throw for all of them."""
        thrown = 1.0 if self.calm else self.rng.random()
        for fault in faults:
            if fault in self.enabled:
                thrown -= RATES[fault]
                if thrown < 0:
                    self.struck[fault] = self.struck.get(fault, 0) + 1
                    return fault
        return None

    def between_ms(self, low_ms: int, high_ms: int) -> int:
        """A time span of the nemesis' choosing."""
        return self.rng.randint(low_ms, high_ms)


def swarm(rng: random.Random) -> frozenset[str]:
    """The faults of one seed: each with even odds, and in one of ten worlds none."""
    if rng.random() < 0.1:
        return frozenset()
    return frozenset(name for name in SWARM if rng.random() < 0.5)


@dataclass(slots=True)
class Gate:
    """What one engine's process passes at each labelled point; there it may die or be held."""

    nemesis: Nemesis
    # point -> (crash, stall or lost_ack; the kind of the audit line that it waits for, or any)
    scripted: dict[str, tuple[str, str]] = field(default_factory=dict)

    def script(self, point: str, what: str, writing: str = "") -> None:
        """Strike once, the next time that the process passes this point.

        With `writing` only where it passes with an apply that writes an audit line of that kind.
        """
        if point not in POINTS:
            raise ValueError(f"there is no point {point!r}; there are {', '.join(POINTS)}")
        self.scripted[point] = (what, writing)

    def passes(self, point: str, changes: tuple[Change, ...] = ()) -> None:
        """Raises Crash when the process dies at this point, Injected when an answer is lost."""
        if self._scripted(point, "crash", changes):
            raise Crash(point)
        if self._scripted(point, "lost_ack", changes):
            raise Injected(f"the answer was lost at {point}")
        # A crash is drawn where something is changed: most of an engine's ticks only append.
        rare = point.startswith(("append", "noted")) and self.nemesis.rng.random() >= RARELY
        if not rare and self.nemesis.strikes("crash"):
            raise Crash(point)

    def holds(self, changes: tuple[Change, ...], now_ms: int) -> None:
        """Raises Stall when the process is held before an apply."""
        scripted = self._scripted("apply.before", "stall", changes)
        if scripted or self.nemesis.strikes("stall"):
            raise Stall(changes, now_ms)

    def _scripted(self, point: str, what: str, changes: tuple[Change, ...]) -> bool:
        script = self.scripted.get(point)
        if script is None or script[0] != what:
            return False
        kinds = {getattr(action, "kind", "") for change in changes for action in change.actions}
        if script[1] and script[1] not in kinds:
            return False
        del self.scripted[point]
        return True


def sim_store(store: Store, gate: Gate) -> Store:
    """One engine's way to the shared store, through its gate."""
    return Store(
        registry=store.registry,
        states=GatedStates(store.states, gate),
        log=store.log,
        outbox=GatedOutbox(store.outbox, gate),
        series=GatedSeries(store.series, gate),
        clients=store.clients,
        policies=store.policies,
        checkpoints=GatedCheckpoints(store.checkpoints, gate),
        evaluations=store.evaluations,
        releases=store.releases,
        retention=GatedRetention(store.retention, gate),
        units=store.units,
        runs=store.runs,
        outside=store.outside,
        deliveries=GatedDeliveries(store.deliveries, gate),
    )


class GatedStates(PassingStates):
    """The control states as one engine reaches them."""

    def __init__(self, inner: States, gate: Gate) -> None:
        """Behind `gate`."""
        super().__init__(inner)
        self.gate = gate

    def apply(self, changes: Sequence[Change], now_ms: int) -> list[State]:
        """See ports.States; may die, be held, or fail before or after the write."""
        self.gate.holds(tuple(changes), now_ms)
        self.gate.passes("apply.before", tuple(changes))
        if self.gate.nemesis.strikes("refuse"):
            raise Injected("the store refuses an apply")
        after = self.inner.apply(changes, now_ms)
        self.gate.passes("apply.after", tuple(changes))
        if self.gate.nemesis.strikes("lost_ack"):
            raise Injected("the answer to an apply was lost")
        return after


class GatedSeries(PassingSeries):
    """The observations as one engine reaches them."""

    def __init__(self, inner: Series, gate: Gate) -> None:
        """Behind `gate`."""
        super().__init__(inner)
        self.gate = gate

    def append(
        self,
        rows: Sequence[tuple[VersionKey, Bucket]],
        heard: Sequence[ClientSeen],
        scored: Mapping[tuple[str, str], tuple[int, int]],
        units: Mapping[UnitKey, tuple[int, int]] = NO_UNITS,
    ) -> None:
        """See ports.Series; may die or fail before or after the write."""
        self.gate.passes("append.before")
        if self.gate.nemesis.strikes("refuse"):
            raise Injected("the store refuses observations")
        self.inner.append(rows, heard, scored, units)
        self.gate.passes("append.after")
        if self.gate.nemesis.strikes("lost_ack"):
            raise Injected("the answer to an append was lost")


class GatedCheckpoints(PassingCheckpoints):
    """The folds' checkpoints as one engine reaches them."""

    def __init__(self, inner: Checkpoints, gate: Gate) -> None:
        """Behind `gate`."""
        super().__init__(inner)
        self.gate = gate

    def save(self, rows: Mapping[VersionKey, tuple[int, Mapping[str, Any]]]) -> None:
        """See ports.Checkpoints; may die or fail before or after the write."""
        self.gate.passes("save.before")
        if self.gate.nemesis.strikes("refuse"):
            raise Injected("the store refuses checkpoints")
        self.inner.save(rows)
        self.gate.passes("save.after")


class GatedOutbox(PassingOutbox):
    """The outbox as one engine reaches it."""

    def __init__(self, inner: Outbox, gate: Gate) -> None:
        """Behind `gate`."""
        super().__init__(inner)
        self.gate = gate

    def sent(self, message_id: int, receipt: str, now_ms: int) -> None:
        """See ports.Outbox; may die after the write."""
        self.inner.sent(message_id, receipt, now_ms)
        self.gate.passes("sent.after")


class GatedRetention(PassingRetention):
    """The purges as one engine reaches them."""

    def __init__(self, inner: Retention, gate: Gate) -> None:
        """Behind `gate`."""
        super().__init__(inner)
        self.gate = gate

    def purge(self, order: Purge, now_ms: int) -> list[str]:
        """See ports.Retention; may die or fail before or after the write."""
        self.gate.passes("purge.before")
        if self.gate.nemesis.strikes("refuse"):
            raise Injected("the store refuses a purge")
        gone = self.inner.purge(order, now_ms)
        self.gate.passes("purge.after")
        if self.gate.nemesis.strikes("lost_ack"):
            raise Injected("the answer to a purge was lost")
        return gone


class GatedDeliveries(PassingDeliveries):
    """The delivery log as one engine reaches it."""

    def __init__(self, inner: Deliveries, gate: Gate) -> None:
        """Behind `gate`."""
        super().__init__(inner)
        self.gate = gate

    def add(self, delivery: Delivery) -> None:
        """See ports.Deliveries; may die after the write."""
        self.inner.add(delivery)
        self.gate.passes("noted.after")


@dataclass(slots=True)
class FlakyNotifier:
    """A notifier that fails in every way it can, and on whose doorstep a process may die."""

    inner: Notifier
    gate: Gate

    def notify(self, page: Page, receipt: str, now_ms: int) -> Delivered | Retry | Rejected:
        """See ports.Notifier."""
        self.gate.passes("notify.before")
        strikes = self.gate.nemesis.strikes
        if strikes("pager"):
            return Retry("it is down")
        if strikes("pager_rejects"):
            return Rejected("it does not take this message")
        if strikes("pager_raises"):
            raise Injected("a notifier with a bug")
        answer = self.inner.notify(page, receipt, now_ms)
        self.gate.passes("notify.after")
        if strikes("pager_mute"):
            unanswered = self.gate.nemesis.unanswered
            unanswered[page.key] = unanswered.get(page.key, 0) + 1
            return Retry("timed out")
        return answer
