"""The law of counting: evidence may be lost, never invented (P6)."""

from typing import TYPE_CHECKING

from knowngood import wire
from knowngood.engine.reconcile import Look
from knowngood.sim.engines import SimEngine
from knowngood.sim.laws.base import Checker

if TYPE_CHECKING:
    from knowngood.sim.world import World


class Counting(Checker):
    """P6: a flush counts once, a label once, and only calls that were really made.

    Of a unit's failures within a second only the first is evidence.
    """

    def __init__(self, world: "World") -> None:
        """A checker that has seen no flush."""
        super().__init__(world)
        self.pending: dict[tuple[str, str, int], list[tuple[str, int]]] = {}
        self.durable: set[tuple[str, str, int]] = set()

    def taken(
        self, engine: SimEngine, batch: wire.Batch, receipt: wire.Receipt, sent_ms: int
    ) -> None:
        """Note what an intake took in."""
        if "duplicate or out of order" in receipt.ignored:
            return
        if not batch.rows and not batch.late_scores:
            return
        flush = (batch.client_id, batch.boot, batch.seq)
        if flush in self.durable:
            self.fail(f"flush {batch.seq} of {batch.boot} was taken in twice")
        self.pending.setdefault(flush, []).append((engine.name, engine.life))
        for row in batch.rows:
            n, bad = row.window.call_count, row.window.error_count
            key = (batch.environment, row.prompt, row.version)
            self.world.accepted.taken(key, sent_ms - row.ago_ms, n, bad)

    def heard(self, client_id: str, boot: str, seq: int) -> None:
        """What was taken in by a process that still lives is written now."""
        lives = {(e.name, e.life) for e in self.world.engines if e.engine is not None}
        for flush in [f for f in self.pending if f[:2] == (client_id, boot) and f[2] <= seq]:
            takers = [taker for taker in self.pending.pop(flush) if taker in lives]
            if takers:
                self.durable.add(flush)
            if len(takers) > 1:
                self.fail(f"flush {flush[2]} of {boot} counts {len(takers)} times")

    def ticked(self, engine: SimEngine, acted: list[Look]) -> None:
        """The store never holds more of a version than there was."""
        for key, held in self.world.accepted.totals.items():
            made = self.world.truth.made.get(key)
            if made is None:
                self.fail(f"{'/'.join(key)}: calls that nobody made")
            elif held.n > made.n or held.bad > made.bad:
                words = f"{held.bad} of {held.n} stored, {made.bad} of {made.n} made"
                self.fail(f"{'/'.join(key)}: {words}")
            elif held.timed > made.timed:
                self.fail(f"{'/'.join(key)}: {held.timed} latencies of {made.timed} stored")
            elif held.labelled > made.labelled:
                self.fail(f"{'/'.join(key)}: {held.labelled} labels of {made.labelled} stored")

    def ended(self) -> None:
        """A corrected label has left the bin that it was in before."""
        for key, bins in self.world.accepted.labels.items():
            for index, count in bins.items():
                if count < 0:
                    self.fail(f"{'/'.join(key)}: {count} labels in bin {index}")
