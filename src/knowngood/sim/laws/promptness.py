"""Laws of time (P5): a breach that nobody could doubt is decided on, whatever else is under way."""

from knowngood.core.model import Confirming, State, Steady
from knowngood.engine.ingest import closed_until_ms
from knowngood.sim.engines import SimEngine
from knowngood.sim.laws.following import Following
from knowngood.sim.laws.processes import Timely


class Promptness(Following, Timely):
    """P5: a breach that nobody could doubt is decided on within ten seconds and two ticks.

    No stage, hold, pause or freeze of a rollout masks it: holds are advisory, rollbacks protective.
    """

    WITHIN_MS = 10_000

    def wrong(self, state: State, engine: SimEngine) -> str | None:
        """A breach beyond doubt of what is on trial, and nothing is under way."""
        if state.route is None or state.incident or not isinstance(state.phase, Steady):
            return None
        until_ms = closed_until_ms(engine.clock_ms)
        fails = self.fails_beyond_doubt(state, state.route.suspect.version, until_ms)
        return "failing, and no decision" if fails else None


class Answered(Following, Timely):
    """P5: a confirmation ends: with a rollback, or by telling people what holds it.

    It may wait for the trigger's limit, of two minutes here, to see who is at fault.
    """

    WITHIN_MS = 130_000

    def wrong(self, state: State, engine: SimEngine) -> str | None:
        """A breach beyond doubt that is being confirmed, and nobody knows."""
        if state.route is None or state.incident or not isinstance(state.phase, Confirming):
            return None
        until_ms = closed_until_ms(engine.clock_ms)
        fails = self.fails_beyond_doubt(state, state.route.suspect.version, until_ms)
        return "failing, and for ever confirmed," if fails else None
