"""What a change leaves behind: its lines of history, and its messages to people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from knowngood.core.model import Severity


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of history. History only ever grows. `id` is given by the store, rising."""

    at_ms: int
    environment: str
    prompt: str
    kind: str
    because: str
    actor: str
    revision: int
    generation: int
    policy_revision: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that waits in the outbox. `id` is given by the store."""

    key: str
    environment: str
    prompt: str
    audience: str
    severity: Severity
    subject: str
    body: str
    created_ms: int
    next_try_ms: int
    attempt_count: int = 0
    id: int = 0
