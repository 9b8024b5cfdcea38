"""The reference store: what the ports mean, in dictionaries under one lock."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from knowngood.core.codec import plain
from knowngood.core.commit import commit, keys
from knowngood.core.content import refuse_other_content
from knowngood.core.errors import (
    UnknownEntry,
    UnknownPrompt,
    UnknownVersion,
)
from knowngood.core.history import AuditEntry, Outgoing
from knowngood.core.model import (
    FLEET,
    Change,
    ClientSeen,
    State,
    Version,
)
from knowngood.core.purge import (
    UNPINNED,
    Head,
    Purge,
    named,
    pin_line,
    refuse_purged,
    refuse_reuse,
    settle,
)
from knowngood.core.retention import Pin, refuse_pin, released_in
from knowngood.core.rollup import CLIENTS_KEPT_MS, SCORES_KEPT_MS
from knowngood.core.unit_sums import Tally
from knowngood.core.window import Bucket
from knowngood.ports import NO_UNITS, UnitArm, UnitKey, VersionKey
from knowngood.store.memory_data import Data, Timeline
from knowngood.store.memory_deliveries import MemoryDeliveries
from knowngood.store.memory_incidents import MemoryIncidents, file_incidents
from knowngood.store.memory_outside import MemoryOutside
from knowngood.store.memory_runs import MemoryRuns
from knowngood.store.memory_versions import MemoryEvaluations, MemoryReleases
from knowngood.store.opened import OpenStore, Timekeeper


def open_memory() -> OpenStore:
    """An empty store."""
    data, timekeeper = Data(), Timekeeper()
    return OpenStore(
        registry=MemoryRegistry(data),
        states=MemoryStates(data, timekeeper),
        log=MemoryLog(data),
        outbox=MemoryOutbox(data),
        series=MemorySeries(data),
        clients=MemoryClients(data),
        policies=MemoryPolicies(data),
        checkpoints=MemoryCheckpoints(data),
        evaluations=MemoryEvaluations(data),
        releases=MemoryReleases(data),
        retention=MemoryRetention(data),
        units=MemoryUnits(data),
        runs=MemoryRuns(data),
        outside=MemoryOutside(data),
        deliveries=MemoryDeliveries(data),
        incidents=MemoryIncidents(data),
        close=lambda: None,
        timekeeper=timekeeper,
    )


class MemoryRegistry:
    """The registry in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def put(self, version: Version) -> bool:
        """See ports.Registry."""
        with self._data.lock:
            name = version.prompt, version.version
            there = self._data.versions.get(version.prompt, {}).get(version.version)
            if there is None:
                refuse_reuse(*name, version.digest, self._data.purged.get(name))
                self._data.purged.pop(name, None)
                self._data.versions.setdefault(version.prompt, {})[version.version] = version
                return True
        refuse_other_content(version, there)
        return False

    def get(self, prompt: str, version: str) -> Version:
        """See ports.Registry."""
        with self._data.lock:
            versions = self._of(prompt)
            if version not in versions:
                raise UnknownVersion(f"{prompt} has no version {version!r}", known=list(versions))
            return versions[version]

    def versions(self, prompt: str) -> list[Version]:
        """See ports.Registry."""
        with self._data.lock:
            return sorted(self._of(prompt).values(), key=lambda version: version.created_ms)

    def prompts(self) -> list[str]:
        """See ports.Registry."""
        with self._data.lock:
            return sorted(self._data.versions)

    def contents(self, keys: Iterable[tuple[str, str]]) -> list[Version]:
        """See ports.Registry."""
        with self._data.lock:
            versions = self._data.versions
            return [
                versions[prompt][version]
                for prompt, version in dict.fromkeys(keys)
                if version in versions.get(prompt, {})
            ]

    def _of(self, prompt: str) -> dict[str, Version]:
        if prompt not in self._data.versions:
            raise UnknownPrompt(f"there is no prompt {prompt!r}", known=sorted(self._data.versions))
        return self._data.versions[prompt]


class MemoryStates:
    """The control states in memory."""

    def __init__(self, data: Data, timekeeper: Timekeeper | None = None) -> None:
        self._data, self._timekeeper = data, timekeeper or Timekeeper()

    def get(self, environment: str, prompt: str) -> State:
        """See ports.States."""
        with self._data.lock:
            self._data.generation(environment)
            fresh = State(environment, prompt)
            return self._data.states.get((environment, prompt), fresh)

    def all(self, environment: str | None = None) -> list[State]:
        """See ports.States."""
        with self._data.lock:
            return [
                state
                for key, state in sorted(self._data.states.items(), key=lambda item: item[0])
                if key[1] != FLEET and environment in (None, key[0])
            ]

    def apply(self, changes: Sequence[Change], now_ms: int) -> list[State]:
        """See ports.States."""
        data = self._data
        with data.lock:
            before = {key: self.get(*key) for key in keys(changes)}
            generations = {key[0]: data.generation(key[0]) for key in before}
            at_ms = self._timekeeper.at_ms(now_ms)
            done = commit(changes, before, generations, self._last_line, at_ms, now_ms)
            # Whoever has read what is there now names something that is gone; others read again.
            refuse_purged(named(changes) & data.purged.keys())
            # Nothing below can fail: everything is written, or nothing was.
            data.states.update(zip(before, done.states, strict=True))
            data.generations.update(done.generations)
            data.write_history(done.audit)
            file_incidents(data, done.incidents)
            for message in done.outgoing:
                if message.key not in data.queued:
                    data.queued.add(message.key)
                    number = len(data.queued)
                    data.waiting[number] = replace(message, id=number)
            return list(done.states)

    def generation(self, environment: str) -> int:
        """See ports.States."""
        with self._data.lock:
            return self._data.generation(environment)

    def environments(self, add: str | None = None) -> list[str]:
        """See ports.States."""
        with self._data.lock:
            if add is not None:
                self._data.generations.setdefault(add, 0)
            return sorted(self._data.generations)

    def _last_line(self, environment: str, prompt: str) -> AuditEntry | None:
        lines = reversed(self._data.log)
        return next(
            (line for line in lines if (line.environment, line.prompt) == (environment, prompt)),
            None,
        )


class MemoryLog:
    """The audit log in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def append(self, entries: Iterable[AuditEntry]) -> None:
        """See ports.Log."""
        with self._data.lock:
            self._data.write_history(list(entries))

    def read(
        self,
        environment: str | None = None,
        prompt: str | None = None,
        after_id: int = 0,
        limit: int = 100,
        before_id: int | None = None,
        kind: str = "",
    ) -> list[AuditEntry]:
        """See ports.Log."""
        found: list[AuditEntry] = []
        with self._data.lock:
            for line in reversed(self._data.log):
                if line.id <= after_id or len(found) >= limit:
                    break
                if before_id is not None and line.id >= before_id:
                    continue
                is_here = environment in (None, line.environment) and prompt in (None, line.prompt)
                if is_here and kind in line.kind:
                    found.append(line)
        return found[::-1]

    def get(self, entry_id: int) -> AuditEntry:
        """See ports.Log."""
        with self._data.lock:
            if not 1 <= entry_id <= len(self._data.log):
                raise UnknownEntry(f"there is no entry {entry_id}")
            return self._data.log[entry_id - 1]

    def follow(self, after_id: int = 0, limit: int = 100) -> list[AuditEntry]:
        """See ports.Log."""
        with self._data.lock:
            return self._data.log[after_id : after_id + max(0, limit)]

    def between(
        self,
        environment: str,
        prompt: str,
        since_ms: int,
        until_ms: int,
        limit: int,
        kinds: Collection[str] = (),
    ) -> list[AuditEntry]:
        """See ports.Log."""
        with self._data.lock:
            found = [
                line
                for line in self._data.log
                if (line.environment, line.prompt) == (environment, prompt)
                and since_ms <= line.at_ms <= until_ms
                and (not kinds or line.kind in kinds)
            ]
        return found[: max(0, limit)]


class MemoryOutbox:
    """The outbox in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def due(self, now_ms: int, limit: int) -> list[Outgoing]:
        """See ports.Outbox."""
        with self._data.lock:
            waiting = sorted(self._data.waiting.items())
            return [message for _, message in waiting if message.next_try_ms <= now_ms][:limit]

    def sent(self, message_id: int, receipt: str, now_ms: int) -> None:
        """See ports.Outbox."""
        self._done(message_id)

    def retry(self, message_id: int, next_try_ms: int, error: str) -> None:
        """See ports.Outbox."""
        with self._data.lock:
            if message := self._data.waiting.get(message_id):
                self._data.waiting[message_id] = replace(
                    message, next_try_ms=next_try_ms, attempt_count=message.attempt_count + 1
                )

    def gave_up(self, message_id: int, error: str, now_ms: int) -> None:
        """See ports.Outbox."""
        self._done(message_id)

    def waiting_count(self) -> int:
        """See ports.Outbox."""
        with self._data.lock:
            return len(self._data.waiting)

    def _done(self, message_id: int) -> None:
        with self._data.lock:
            self._data.waiting.pop(message_id, None)


class MemorySeries:
    """The observations in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def append(
        self,
        rows: Sequence[tuple[VersionKey, Bucket]],
        heard: Sequence[ClientSeen],
        scored: Mapping[tuple[str, str], tuple[int, int]],
        units: Mapping[UnitKey, tuple[int, int]] = NO_UNITS,
    ) -> None:
        """See ports.Series."""
        data = self._data
        with data.lock:
            for key, bucket in rows:
                data.series.setdefault(key, Timeline()).add(bucket)
            for client in heard:
                there = data.clients.get(client.id)
                if there is None or there.boot != client.boot or there.seq <= client.seq:
                    data.clients[client.id] = client
            for call, (bin_, at_ms) in scored.items():
                if call not in data.scores or data.scores[call][1] <= at_ms:
                    data.scores[call] = (bin_, at_ms)
            for (arm, unit, name), (count, total) in units.items():
                sums = data.units.setdefault(arm, {})
                before = sums.get((unit, name), (0, 0))
                sums[unit, name] = before[0] + count, before[1] + total

    def read(self, key: VersionKey, since_ms: int, until_ms: int) -> list[Bucket]:
        """See ports.Series."""
        with self._data.lock:
            timeline = self._data.series.get(key)
            return timeline.between(since_ms, until_ms) if timeline else []

    def touched(self, since_ms: int) -> list[tuple[VersionKey, int]]:
        """See ports.Series."""
        with self._data.lock:
            newest = [(key, t.order[-1]) for key, t in self._data.series.items() if t.order]
        return sorted((key, at_ms) for key, at_ms in newest if at_ms >= since_ms)

    def scores(self, calls: Iterable[str]) -> dict[tuple[str, str], int]:
        """See ports.Series."""
        wanted = set(calls)
        with self._data.lock:
            return {c: bin_ for c, (bin_, _) in self._data.scores.items() if c[0] in wanted}

    def compact(self, now_ms: int) -> int:
        """See ports.Series."""
        data = self._data
        with data.lock:
            before = sum(len(t.order) for t in data.series.values())
            for timeline in data.series.values():
                timeline.compact(now_ms)
            data.series = {key: t for key, t in data.series.items() if t.order}
            gone = before - sum(len(t.order) for t in data.series.values())
            gone += len(data.scores) + len(data.clients)
            data.scores = {
                call: (bin_, at_ms)
                for call, (bin_, at_ms) in data.scores.items()
                if at_ms >= now_ms - SCORES_KEPT_MS
            }
            data.clients = {
                client.id: client
                for client in data.clients.values()
                if client.seen_ms >= now_ms - CLIENTS_KEPT_MS
            }
            return gone - len(data.scores) - len(data.clients)


class MemoryUnits:
    """What single units have shown, in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def tally(self, arm: UnitArm) -> list[Tally]:
        """See ports.Units."""
        with self._data.lock:
            sums = Counter((name, *s) for (_, name), s in self._data.units.get(arm, {}).items())
        return sorted(Tally(*same, unit_count) for same, unit_count in sums.items())

    def arms(self) -> list[UnitArm]:
        """See ports.Units."""
        with self._data.lock:
            return sorted(self._data.units)

    def forget(self, arm: UnitArm) -> int:
        """See ports.Units."""
        with self._data.lock:
            return len(self._data.units.pop(arm, {}))


class MemoryClients:
    """The processes that were heard of, in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def clients(self, environment: str, since_ms: int) -> list[ClientSeen]:
        """See ports.Clients."""
        with self._data.lock:
            return sorted(
                (
                    client
                    for client in self._data.clients.values()
                    if client.environment == environment and client.seen_ms >= since_ms
                ),
                key=lambda client: client.id,
            )

    def client(self, client_id: str) -> ClientSeen | None:
        """See ports.Clients."""
        with self._data.lock:
            return self._data.clients.get(client_id)


class MemoryPolicies:
    """The policies in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def put(self, digest: str, policy: Mapping[str, Any], now_ms: int) -> None:
        """See ports.Policies."""
        with self._data.lock:
            self._data.policies.setdefault(digest, plain(policy))

    def get(self, digest: str) -> Mapping[str, Any] | None:
        """See ports.Policies."""
        with self._data.lock:
            policy = self._data.policies.get(digest)
            return None if policy is None else dict(policy)


class MemoryCheckpoints:
    """Where the folds over observations stood, in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def save(self, rows: Mapping[VersionKey, tuple[int, Mapping[str, Any]]]) -> None:
        """See ports.Checkpoints."""
        new = {key: (until_ms, plain(state)) for key, (until_ms, state) in rows.items()}
        with self._data.lock:
            kept = self._data.checkpoints
            for key, fold in new.items():
                if key not in kept or kept[key][0] <= fold[0]:
                    kept[key] = fold

    def load(self, key: VersionKey) -> tuple[int, Mapping[str, Any]] | None:
        """See ports.Checkpoints."""
        with self._data.lock:
            fold = self._data.checkpoints.get(key)
        # A copy: nobody changes what is kept by changing what was loaded.
        return None if fold is None else (fold[0], plain(fold[1]))

    def forget(self, before_ms: int) -> int:
        """See ports.Checkpoints."""
        with self._data.lock:
            kept = self._data.checkpoints
            old = [key for key, (until_ms, _) in kept.items() if until_ms < before_ms]
            for key in old:
                del kept[key]
        return len(old)


class MemoryRetention:
    """What a person keeps, and what goes, in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def pins(self, prompt: str | None = None) -> list[Pin]:
        """See ports.Retention."""
        with self._data.lock:
            return [pin for key, pin in sorted(self._data.pins.items()) if prompt in (None, key[0])]

    def pin(self, pin: Pin, policy_revision: str) -> bool:
        """See ports.Retention."""
        data = self._data
        with data.lock:
            if (pin.prompt, pin.version) in data.pins:
                return False
            known = list(data.versions.get(pin.prompt, {}))
            if pin.version not in known:
                raise UnknownVersion(f"{pin.prompt} has no version {pin.version!r}", known=known)
            refuse_pin(pin, self.pins(pin.prompt))
            data.pins[pin.prompt, pin.version] = pin
            data.write_history([pin_line(pin, policy_revision)])
        return True

    def unpin(self, pin: Pin, policy_revision: str) -> bool:
        """See ports.Retention."""
        with self._data.lock:
            if self._data.pins.pop((pin.prompt, pin.version), None) is None:
                return False
            self._data.write_history([pin_line(pin, policy_revision, UNPINNED)])
        return True

    def purge(self, order: Purge, now_ms: int) -> list[str]:
        """See ports.Retention."""
        data = self._data
        with data.lock:
            states = [state for state in MemoryStates(data).all() if state.prompt == order.prompt]
            there = data.versions.get(order.prompt, {})
            aged = sorted(there.values(), key=lambda version: version.created_ms)
            heads = [Head(v.version, v.digest, v.created_ms) for v in aged]
            released = released_in(data.releases.values(), order.prompt)
            done = settle(order, states, self.pins(order.prompt), released, heads, now_ms)
            MemoryStates(data).apply(done.changes, now_ms)
            for version, digest in done.digests.items():
                del there[version]
                data.purged[order.prompt, version] = digest
            data.write_history(done.lines)
        return list(done.digests)
