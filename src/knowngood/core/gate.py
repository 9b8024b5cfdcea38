"""May this version go on? One list of gates, each with its answer and its reason."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from knowngood.core.model import Wait


class Answer(StrEnum):
    """What a gate says: never the absence of an answer."""

    ALLOW = "allow"
    DENY = "deny"
    NOT_YET = "not_yet"


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of going on, and what it waits on while it does not let through."""

    name: str
    answer: Answer
    because: str
    waiting_on: tuple[Wait, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it lets through."""
        return self.answer is Answer.ALLOW


def closed(gates: Iterable[Gate]) -> tuple[Gate, ...]:
    """The gates that do not let through: what denies first, then what only has to wait."""
    shut = [gate for gate in gates if not gate.is_open]
    return tuple(sorted(shut, key=lambda gate: gate.answer is Answer.NOT_YET))


def allow(name: str, because: str) -> Gate:
    """A gate that is open."""
    return Gate(name, Answer.ALLOW, because)


def deny(name: str, because: str) -> Gate:
    """A gate that only a person opens."""
    return Gate(name, Answer.DENY, because, (Wait("gate", detail=because),))


def not_yet(name: str, because: str, *waits: Wait) -> Gate:
    """A gate that opens by itself once what it waits on has come."""
    waiting_on = waits or (Wait("not_yet", detail=because),)
    return Gate(name, Answer.NOT_YET, because, waiting_on)
