"""History that somebody changed, for tests that find it out."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from knowngood.core.codec import plain
from knowngood.core.history import AuditEntry
from knowngood.ports import Log

Edit = Callable[[dict[str, Any]], object]


def change(monkeypatch: pytest.MonkeyPatch, log: Log, entry_id: int, edit: Edit) -> None:
    """Whoever reads this kind of log from now on, reads one line's detail as `edit` left it."""
    kind: Any = type(log)
    get, read = kind.get, kind.read

    def changed(entry: AuditEntry) -> AuditEntry:
        if entry.id != entry_id:
            return entry
        detail = plain(entry.detail)
        edit(detail)
        return replace(entry, detail=detail)

    def changed_lines(*args: Any, **named: Any) -> list[AuditEntry]:
        return [changed(entry) for entry in read(*args, **named)]

    monkeypatch.setattr(kind, "get", lambda *args: changed(get(*args)))
    monkeypatch.setattr(kind, "read", changed_lines)


def without_evidence(detail: dict[str, Any]) -> None:
    """The detectors are said to have shown nothing."""
    for version in detail["frozen"]["versions"].values():
        for signs in version["reading"]["rates"].values():
            for sign in signs:
                sign["log_e"] = 0.0
