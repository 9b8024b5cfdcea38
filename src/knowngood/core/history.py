"""What a change leaves behind: its lines of history, and its messages to people."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from knowngood.core.asking import Purpose
from knowngood.core.model import Severity


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of history. History only ever grows.

    `id` is given by the store, rising, and so is `hash`, which chains it to the line before: see
    core.chain.
    """

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
    hash: str = field(default="", compare=False)  # it follows from the lines themselves


class Outcome(StrEnum):
    """How one try of one channel ended."""

    DELIVERED = "delivered"
    RETRY = "retry"  # it is tried again at `next_ms`
    REJECTED = "rejected"  # the channel will never take this message
    EXPIRED = "expired"  # too old to be of use to anybody
    GAVE_UP = "gave_up"  # tried as often as is of any use
    SKIPPED = "skipped"  # somebody had acknowledged before it went out


@dataclass(frozen=True, slots=True)
class Delivery:
    """One try to hand one message to one channel: the delivery log. `id` is given by the store.

    `answer` is what the provider said. `receipt` is what the channel needs to go on with the same
    thread: a Slack message's place, an e-mail's id, the key that a page went out under. A message
    id of 0 is a test of the channel: there is no such message.
    """

    message_id: int
    key: str
    thread: str
    channel: str
    outcome: Outcome
    answer: str
    at_ms: int
    next_ms: int = 0
    receipt: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that waits in the outbox. `id` is given by the store. See model.Notify."""

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
    purpose: Purpose = Purpose.NOTE
    thread: str = ""
    question: int | None = None
    targets: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
