"""What other systems say, in memory."""

from collections.abc import Sequence
from dataclasses import replace

from knowngood.core.codec import plain
from knowngood.core.outside import OutsideAlert, history_line, is_shown, remember
from knowngood.store.memory_data import Data


class MemoryOutside:
    """Other systems' alerts, in memory."""

    def __init__(self, data: Data) -> None:
        self._data = data

    def record(self, alerts: Sequence[OutsideAlert], policy_revision: str) -> list[OutsideAlert]:
        """See ports.OutsideAlerts."""
        data, found = self._data, []
        with data.lock:
            for alert in alerts:
                key = alert.source, alert.key
                kept, is_news = remember(data.outside.get(key), alert)
                known = kept.id or len(data.outside) + 1
                data.outside[key] = replace(kept, id=known, labels=plain(kept.labels))
                if is_news:
                    found.append(data.outside[key])
            lines = [history_line(alert, policy_revision) for alert in found]
            data.write_history([line for line in lines if line is not None])
        return found

    def of(
        self, environment: str, prompt: str, since_ms: int, limit: int = 100
    ) -> list[OutsideAlert]:
        """See ports.OutsideAlerts."""
        with self._data.lock:
            found = [
                alert
                for alert in self._data.outside.values()
                if (alert.environment, alert.prompt) == (environment, prompt)
                and is_shown(alert, since_ms)
            ]
        found.sort(key=lambda alert: (-alert.began_ms, -alert.id))
        return found[: max(0, limit)]

    def has_taken(self, source: str, key: str) -> bool:
        """See ports.OutsideAlerts."""
        with self._data.lock:
            return (source, key) in self._data.taken

    def take_once(self, source: str, key: str, now_ms: int) -> bool:
        """See ports.OutsideAlerts."""
        with self._data.lock:
            if (source, key) in self._data.taken:
                return False
            self._data.taken[source, key] = now_ms
        return True

    def forget(self, before_ms: int, taken_before_ms: int) -> int:
        """See ports.OutsideAlerts."""
        data = self._data
        with data.lock:
            old = [key for key, alert in data.outside.items() if alert.seen_ms < before_ms]
            taken = [key for key, at_ms in data.taken.items() if at_ms < taken_before_ms]
            for key in old:
                del data.outside[key]
            for key in taken:
                del data.taken[key]
        return len(old) + len(taken)
