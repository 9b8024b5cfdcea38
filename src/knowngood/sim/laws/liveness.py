"""The law of liveness: after the faults everything that is broken comes to its end."""

from typing import TYPE_CHECKING

from knowngood.core.model import Confirming, Notify, Severity, Standing, State, Verifying
from knowngood.core.rollout import RolloutKind
from knowngood.core.window import Window, total
from knowngood.sim.laws.base import Checker, StateKey, generation_of, key_of, name_of
from knowngood.sim.truth import Tally
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World

# What the end of a calm is judged by: so clear that no evidence could be missing.
ARRIVED_MS = 20_000
# For so long it has been so much slower or worse, with so many latencies or labels on both sides.
MEASURED_MS = 200_000
SLOW, WORSE = 3.0, 0.3
LATENCIES, LABELS = 1_000, 150
ENOUGH, ILL_COUNT, ILL, WELL = 60, 9, 0.07, 0.004


class Settled(Checker):
    """Liveness: every critical breach ends at a good version or with a page, and every phase ends.

    Everybody who can be reached runs the newest generation. (That every message ends with somebody
    or with a reason is the law of Pages.)
    """

    def __init__(self, world: "World") -> None:
        """A checker that has seen no page queued."""
        super().__init__(world)
        self.queued: list[tuple[StateKey, int, Notify]] = []
        self.recorded: set[tuple[StateKey, int]] = set()
        self.newest: dict[str, tuple[int, int]] = {}  # environment -> generation, since when

    def applied(self, event: Applied) -> None:
        """Note every message, and every incident, with the generation it is about."""
        for change, before in zip(event.changes, event.before, strict=True):
            key, generation = key_of(before), generation_of(before)
            self.queued += [(key, generation, a) for a in change.actions if isinstance(a, Notify)]
        if event.generation_after != event.generation_before:
            environment = event.changes[0].environment
            self.newest[environment] = (event.generation_after, self.world.now_ms)
        for state in event.after:
            if state.incident is not None:
                self.recorded.add((key_of(state), generation_of(state)))

    def ended(self) -> None:
        """Every client is up to date, every phase has come to its end, every breach is known."""
        if not self.world.settles:
            return
        for client in self.world.clients:
            newest, since_ms = self.newest.get(client.environment, (0, 0))
            arrived = self.world.now_ms - since_ms > ARRIVED_MS
            if arrived and client.alive and not client.ending and client.generation != newest:
                self.fail(f"{client.name} serves generation {client.generation}, not {newest}")
        for state in self.world.store.states.all():
            if state.route is not None:
                self._prompt(state)

    def _prompt(self, state: State) -> None:
        assert state.route is not None
        now_ms = self.world.clock_ms
        policy = self.world.policy.for_prompt(state.prompt)
        since_ms = max(state.route.since_ms, now_ms - policy.window_ms) + 2_000
        suspect = state.route.suspect.version
        key = (*key_of(state), suspect)
        seen = self.world.accepted.between(key, since_ms, now_ms - 10_000)
        settled = now_ms - state.route.since_ms > policy.window_ms + 30_000
        ill = seen.n >= ENOUGH and seen.bad >= ILL_COUNT and seen.rate > ILL
        well = seen.n >= ENOUGH and seen.rate < WELL
        match state.phase:
            case Verifying() as phase:
                self._verifying(state, phase, well)
            case Confirming() if well and settled:
                self.fail(f"{name_of(state)}: still confirming a breach that is over")
            case _:
                pass
        if isinstance(state.phase, Verifying):
            return
        self._measured(state)
        if not (settled and ill):
            return
        if not self._known(state) and not self._said_inseparable(state):
            words = f"{suspect} fails ({seen.bad} of {seen.n}), nobody knows"
            self.fail(f"{name_of(state)}: {words}")

    def _verifying(self, state: State, phase: Verifying, well: bool) -> None:
        now_ms = self.world.clock_ms
        if now_ms > phase.deadline_ms + 15_000:
            self.fail(f"{name_of(state)}: verifying long past its deadline")
        key = (*key_of(state), phase.to_version)
        read = self.world.store.series.read(key, phase.began_ms, now_ms - 10_000)
        window = total(bucket.window for bucket in read)
        # Good calls that were reported late prove nothing.
        seen = Tally(window.call_count - window.late_ok, window.error_count)
        long = now_ms - phase.began_ms > 100_000 and seen.n >= 200
        # Another metric may have no baseline to be back at: then people are asked.
        errors = all("error" in name for name in phase.triggers)
        if long and errors and well and seen.rate < 0.008 and not self._behind(state.environment):
            self.fail(f"{name_of(state)}: {seen.bad} of {seen.n} and not verified")

    def _measured(self, state: State) -> None:
        """A version that really is much slower or worse than the last good one is known as such."""
        assert state.route is not None
        key = (*key_of(state), state.route.suspect.version)
        if state.route.candidate or (key_of(state), generation_of(state)) in self.recorded:
            return
        now_ms, truth = self.world.now_ms, self.world.truth
        bad_since_ms = now_ms - MEASURED_MS
        latencies, labels = self.world.accepted.measured(
            key, self.world.clock_ms - MEASURED_MS // 2, self.world.clock_ms
        )
        base = self._baseline(state)
        if base is None or state.route.since_ms > self.world.clock_ms - MEASURED_MS:
            return
        plan = self.world.traffic.plans[state.prompt]
        slower = truth.median_ms(key, bad_since_ms) / truth.medians_ms[key[1:]]
        enough = latencies >= LATENCIES and sum(base.latency.values()) >= LATENCIES
        if plan.timed and slower >= SLOW and enough:
            self.fail(f"{name_of(state)}: {key[2]} takes {slower:g} times as long, nobody knows")
        worse = 1 - truth.quality(key, bad_since_ms) / truth.qualities[key[1:]]
        judged = sum(sum(bins.values()) for bins in base.scores.values())
        if plan.labels and worse >= WORSE and labels >= LABELS and judged >= LABELS:
            self.fail(f"{name_of(state)}: {key[2]} is {worse:.0%} worse, nobody knows")

    def _baseline(self, state: State) -> Window | None:
        """The frozen day of the version that was good last."""
        suspect = state.route.suspect.version if state.route else ""
        good = [e for e in state.ledger if e.standing is Standing.GOOD and e.version != suspect]
        kept = [e for e in good if e.baseline is not None]
        return max(kept, key=lambda e: e.routed_ms or 0).baseline if kept else None

    def _said_inseparable(self, state: State) -> bool:
        """Whether the product says that its baseline fails too often to tell the two apart."""
        found = self.world.look(state.prompt, state.environment).decision.findings
        return any(f.proof is not None and not f.proof.separable for f in found)

    def _behind(self, environment: str) -> bool:
        newest = self.world.store.states.generation(environment)
        mine = (c for c in self.world.clients if c.environment == environment)
        return any(c.generation < newest for c in mine if c.alive)

    def _known(self, state: State) -> bool:
        """Whether a critical page about this route went out, or about the rollback to it.

        In an environment that pages nobody the incident is what tells.
        """
        key, generation = key_of(state), generation_of(state)
        rollout = state.rollout
        if rollout is not None and rollout.kind is RolloutKind.GRADUAL and state.incident:
            return True  # it gives way: its page was about the route from before its stages
        if state.environment != self.world.person.environment:
            return (key, generation) in self.recorded
        return any(
            of == key and at == generation and page.severity is Severity.CRITICAL
            for of, at, page in self.queued
        )
