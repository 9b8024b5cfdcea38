"""One prompt on a stage: the production engine over an empty store, in virtual time.

A replay plays recorded calls on it, a policy's test invented ones. What is judged, decided and
written is the engine's; here is only what a process and a person do: report, and deploy.
"""

from collections.abc import Iterable, Mapping

from knowngood import wire
from knowngood.core.content import check_environment_name, check_prompt_name, digest
from knowngood.core.day import healthy_day, leaving
from knowngood.core.model import (
    Action,
    Arm,
    Change,
    Content,
    State,
    Version,
    whole,
)
from knowngood.core.policy import PolicyFile
from knowngood.core.rollout import Ladder
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps import operator
from knowngood.core.steps.rollouts import Promotion, begin
from knowngood.core.window import Window
from knowngood.engine.ingest import Ingest
from knowngood.engine.loop import Engine
from knowngood.engine.reconcile import Look, look, new_reconciler
from knowngood.ports import Notifier, Store
from knowngood.store.memory import open_memory

# Whoever deploys in a trace or a test does it all the same.
OVERRIDE = ("quarantined", "in_progress")


class Stage:
    """An engine with one prompt in one environment, and the clock in the caller's hand."""

    def __init__(
        self,
        policy: PolicyFile,
        prompt: str,
        environment: str,
        actor: str,
        now_ms: int,
        notifiers: Mapping[str, Notifier] | None = None,
    ) -> None:
        """An empty stage at `now_ms`; `actor` is who deploys. Raises BadRequest for a bad name."""
        self.prompt = check_prompt_name(prompt)
        self.environment = check_environment_name(environment)
        self.policy: PromptPolicy = policy.for_prompt(prompt)
        self.actor = actor
        self.now_ms = now_ms
        self.store: Store = open_memory()
        self.store.states.environments(add=environment)
        reconciler = new_reconciler(self.store, policy, now_ms)
        ingest = Ingest(self.store, lambda: policy.scores)
        self.engine = Engine(self.store, ingest, reconciler, notifiers or {}, compacted_ms=now_ms)
        self._seqs: dict[str, int] = {}

    def state(self) -> State:
        """What is remembered of the prompt."""
        return self.store.states.get(self.environment, self.prompt)

    def look(self) -> Look:
        """What the engine sees and would decide now; nothing is changed."""
        reconciler, until_ms = self.engine.reconciler, self.engine.until_ms
        return look(reconciler, self.environment, self.prompt, until_ms, self.now_ms)

    def report(self, client: str, rows: Iterable[wire.Row] = (), closing: bool = False) -> None:
        """One flush of one process now; without rows it says that it lives and was idle."""
        self._seqs[client] = self._seqs.get(client, 0) + 1
        generation = self.store.states.generation(self.environment)
        batch = wire.Batch(
            client_id=client,
            boot=client,
            seq=self._seqs[client],
            environment=self.environment,
            generation=generation,
            rows=tuple(rows),
            closing=closing,
        )
        self.engine.ingest.take(batch, {}, self.now_ms)

    def tick(self, at_ms: int) -> list[Look]:
        """Let the engine tick at `at_ms`, which is not before now; the looks that acted."""
        self.now_ms = at_ms
        return self.engine.tick(at_ms)

    def deploy(self, version: str, because: str, at_ms: int) -> None:
        """What a person does with `knowngood promote` at that moment."""
        self.split(whole(version), because, at_ms)

    def split(self, arms: tuple[Arm, ...], because: str, at_ms: int) -> None:
        """Serve these arms from that moment on; versions that are new are pushed first."""
        self.now_ms = max(self.now_ms, at_ms)
        for arm in arms:
            self._push(arm.version)
        state = self.state()
        outgoing = self._healthy_day(state)
        self.apply(state, operator.move(state, arms, because, OVERRIDE, outgoing))
        self.engine.reconciler.wake((self.environment, self.prompt), self.now_ms)

    def promote(self, version: str, ladder: Ladder, because: str, at_ms: int) -> None:
        """Begin to serve a version up this ladder, with the policy's holdback at its end.

        It is pushed first if it is new. Raises BadLadder.
        """
        self.now_ms = max(self.now_ms, at_ms)
        self._push(version)
        state = self.state()
        holdback_bp = self.policy.bake.holdback_bp
        asked = Promotion(version, ladder, holdback_bp, because, self.actor, OVERRIDE)
        self.apply(state, begin(state, asked, self._healthy_day(state), self.now_ms))
        self.engine.reconciler.wake((self.environment, self.prompt), self.now_ms)

    def apply(self, state: State, actions: tuple[Action, ...]) -> None:
        """Do to the state what a person asked for, if anything."""
        if actions:
            revision = self.policy.revision
            change = Change(
                self.environment, self.prompt, state.revision, actions, self.actor, revision
            )
            self.store.states.apply([change], self.now_ms)

    def _push(self, version: str) -> None:
        content = Content(text=f"{self.prompt} {version}")
        made = Version(self.prompt, version, content, digest(content), self.actor, self.now_ms)
        self.store.registry.put(made)

    def _healthy_day(self, state: State) -> Window | None:
        """The last day of the known-good version that leaves; the same rules as a promotion's."""
        gone = leaving(state, self.policy, self.now_ms)
        if gone is None:
            return None
        key = (self.environment, self.prompt, gone.version)
        read = self.store.series.read(key, gone.since_ms, self.now_ms)
        return healthy_day(state, self.policy, read)
