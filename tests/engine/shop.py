"""A small shop: a memory store with one prompt or more, an engine over it, and virtual time."""

from typing import Any

from knowngood import wire
from knowngood.core.content import digest
from knowngood.core.model import Change, Content, State, Version
from knowngood.core.policy import PolicyFile, parse
from knowngood.core.steps.operator import promote
from knowngood.core.window import Window
from knowngood.engine.ingest import Ingest
from knowngood.engine.loop import Engine
from knowngood.engine.reconcile import new_reconciler
from knowngood.ports import Store
from knowngood.store.memory import open_memory

START = 1_800_000_000_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
SECONDS_MAX = 120  # that a shop waits for something to happen


class Pager:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.subjects: list[str] = []

    def notify(self, page, receipt, now_ms):
        from knowngood.ports import Delivered

        self.subjects.append(page.subject)
        return Delivered("ok")


def stocked(*prompts: str, provider: str = "acme") -> Store:
    """A store whose prompts have the versions v1, v2 and v3."""
    store = open_memory()
    for prompt in prompts or ("cs",):
        for number, version in enumerate(("v1", "v2", "v3")):
            content = Content(text=f"Say {version}.", config={"provider": provider})
            store.registry.put(
                Version(prompt, version, content, digest(content), "ann", START + number)
            )
    return store


def batch(seq: int, *rows: wire.Row, client: str = "web-1", **more: Any) -> wire.Batch:
    """A flush of one process."""
    fields = {"boot": "b1", "environment": "production", "generation": 1, **more}
    return wire.Batch(client_id=client, seq=seq, rows=rows, **fields)


def row(version: str = "v1", ago_ms: int = 0, prompt: str = "cs", **window: Any) -> wire.Row:
    """What happened to a version in one second."""
    return wire.Row(prompt, version, ago_ms, Window(**(window or {"ok": 1})))


class Shop:
    """An engine over a store, told what happens second by second."""

    def __init__(self, *prompts: str, store: Store | None = None, **policy: Any) -> None:
        """It opens at START with every prompt on no route."""
        self.prompts = prompts or ("cs",)
        self.store = store or stocked(*self.prompts)
        self.policy: PolicyFile = parse(policy)
        self.now_ms = START
        self.seq = 0
        self.pager = Pager()
        self.errors: list[tuple[Any, Exception]] = []
        self.open()

    def open(self) -> None:
        """Start (again) from what the store remembers."""
        self.ingest = Ingest(self.store, lambda: self.policy.scores)
        reconciler = new_reconciler(self.store, self.policy, self.now_ms)
        reconciler.on_error = lambda key, error: self.errors.append((key, error))
        self.engine = Engine(
            self.store,
            self.ingest,
            reconciler,
            {"pager": self.pager},
            lambda name, error: self.errors.append((name, error)),
            compacted_ms=self.now_ms,
        )

    def state(self, prompt: str = "cs") -> State:
        """What is remembered of the prompt."""
        return self.store.states.get("production", prompt)

    def serving(self, prompt: str = "cs") -> str:
        """The version that has all the traffic."""
        route = self.state(prompt).route
        assert route is not None
        return route.suspect.version

    def promotes(self, version: str, *prompts: str) -> None:
        """A person routes the version."""
        for prompt in prompts or self.prompts:
            seen = self.state(prompt)
            actions = promote(seen, version, "a deploy", ("in_progress",), None)
            change = Change("production", prompt, seen.revision, actions, "ann")
            self.store.states.apply([change], self.now_ms)

    def second(self, *, ok: Any = 0, errors: Any = 0, **by_prompt: Any) -> None:
        """A second goes by: every prompt's route has these calls, and the engine ticks."""
        self.now_ms += SECOND
        self.seq += 1
        generation = self.store.states.generation("production")
        rows = []
        for prompt in self.prompts:
            fine, failed = by_prompt.get(prompt, (ok, errors))
            if fine or failed:
                window = {"ok": fine, "errors": {"provider": failed} if failed else {}}
                rows.append(row(self.serving(prompt), 500, prompt, **window))
        self.ingest.take(batch(self.seq, *rows, generation=generation), {}, self.now_ms)
        self.engine.tick(self.now_ms)

    def seconds(self, count: int, **calls: Any) -> None:
        """Several such seconds."""
        for _ in range(count):
            self.second(**calls)

    def until(self, kind: str, prompt: Any = "cs", **calls: Any) -> None:
        """Such seconds until the prompt's history has another line of this kind."""
        before = self.kinds(prompt).count(kind)
        for _ in range(SECONDS_MAX):
            self.second(**calls)
            if self.kinds(prompt).count(kind) > before:
                return
        raise AssertionError(f"no {kind} in {SECONDS_MAX} s, only {self.kinds(prompt)}")

    def kinds(self, prompt: str = "cs") -> list[str]:
        """The kinds of the prompt's history, in order."""
        return [line.kind for line in self.store.log.read(prompt=prompt, limit=1000)]
