"""What Prometheus may ask of the server itself. What is asked of prompts is in `read`."""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Summary, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from knowngood.core.history import Delivery
from knowngood.engine.ingest import Ingest
from knowngood.engine.observe import LIVE_MS
from knowngood.ports import Clock, Store


class Metrics(Collector):
    """The figures, in a registry of their own: an application's are nobody's business here."""

    def __init__(self, store: Store, ingest: Ingest, clock: Clock) -> None:
        """Figures that are counted here, and others that are read when they are asked for."""
        self._store, self._ingest, self._clock = store, ingest, clock
        self.registry = CollectorRegistry()
        self.tick_seconds = Summary(
            "knowngood_tick_seconds", "How long the engine's ticks take", registry=self.registry
        )
        self._actions = Counter(
            "knowngood_actions",
            "What the engine did by itself, by kind of action",
            ["kind"],
            registry=self.registry,
        )
        self._deliveries = Counter(
            "knowngood_deliveries",
            "Tries to hand a message to a channel, by how they ended",
            ["channel", "outcome"],
            registry=self.registry,
        )
        self.registry.register(self)

    def count_actions(self, kinds: Iterable[str]) -> None:
        """Count what a look did."""
        for kind in kinds:
            self._actions.labels(kind).inc()

    def count_delivery(self, delivery: Delivery) -> None:
        """Count a try."""
        self._deliveries.labels(delivery.channel, delivery.outcome.value).inc()

    def text(self) -> bytes:
        """Everything in Prometheus's text format."""
        return generate_latest(self.registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the store."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The figures that are read from elsewhere. A store that fails leaves its figures out."""
        accepted = CounterMetricFamily(
            "knowngood_ingest_accepted", "Rows and late scores that were taken in"
        )
        accepted.add_metric([], self._ingest.accepted_count)
        yield accepted
        ignored = CounterMetricFamily(
            "knowngood_ingest_ignored", "What was left out, by reason", labels=["reason"]
        )
        for reason, count in list(self._ingest.ignored_counts.items()):
            ignored.add_metric([reason], count)
        yield ignored
        for read in (self._outbox, self._environments):
            yield from _if_it_works(read)

    def _outbox(self) -> list[Metric]:
        waiting = self._store.outbox.waiting_count()
        return [
            GaugeMetricFamily(
                "knowngood_outbox_waiting", "Messages to people that are not sent yet", waiting
            )
        ]

    def _environments(self) -> list[Metric]:
        generation = GaugeMetricFamily(
            "knowngood_generation", "The environment's generation", labels=["environment"]
        )
        live = GaugeMetricFamily(
            "knowngood_clients_live", "Processes heard from lately", labels=["environment"]
        )
        for name in self._store.states.environments():
            generation.add_metric([name], self._store.states.generation(name))
            heard = self._store.clients.clients(name, self._clock.now_ms() - LIVE_MS)
            live.add_metric([name], sum(not client.closed for client in heard))
        return [generation, live]


def _if_it_works(read: Callable[[], list[Metric]]) -> list[Metric]:
    try:
        return read()
    except Exception:
        return []
