"""What the policy says of other systems that report to us, and which prompt their alerts are of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knowngood.core.policy_checks import Check, Reader, below, fields, listed, text
from knowngood.core.units import shown

ALERTMANAGER, GRAFANA = "alertmanager", "grafana"
LABEL, FIELD = "label:", "field:"
DEFAULT_ENVIRONMENT = "production"
RESOLVED_WORDS = ("resolved", "ok", "closed")


@dataclass(frozen=True, slots=True)
class InboundRule:
    """How the alerts of one source are read.

    Each of `prompt`, `environment`, `key`, `status`, `summary` and `url` is a plain text, or
    `label:NAME`, or (of JSON of any shape) `field:a.b.c`. `secret` is where the secret of the
    source is kept, empty when it comes with a token.
    """

    source: str
    prompt: str
    environment: str = DEFAULT_ENVIRONMENT
    key: str = ""
    status: str = ""
    summary: str = ""
    url: str = ""
    resolved: tuple[str, ...] = RESOLVED_WORDS
    secret: str = ""

    @property
    def is_json(self) -> bool:
        """Whether it is JSON of a shape that the policy has to explain."""
        return self.source not in (ALERTMANAGER, GRAFANA)

    def take(self, what: str, labels: Mapping[str, str], body: Any = None) -> str:
        """What `prompt`, `key` and so on come to for an alert; empty where it says nothing."""
        said: str = getattr(self, what)
        if said.startswith(LABEL):
            return labels.get(said.removeprefix(LABEL), "")
        if said.startswith(FIELD):
            return as_text(at_path(body, said.removeprefix(FIELD)))
        return said


def at_path(body: Any, path: str) -> Any:
    """What stands at `a.b.0.c` in JSON data; None when there is nothing."""
    for part in path.split("."):
        if isinstance(body, Mapping):
            body = body.get(part)
        elif isinstance(body, Sequence) and not isinstance(body, str) and part.isdigit():
            body = body[int(part)] if int(part) < len(body) else None
        else:
            return None
    return body


def as_text(value: Any) -> str:
    """A value as a label has it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def place(reader: Reader, path: str, value: Any) -> None:
    """A text, `label:NAME` or `field:a.b.c`."""
    text(reader, path, value)
    if isinstance(value, str) and value.strip() in (LABEL, FIELD):
        reader.wrong(path, f"{shown(value)} names nothing", next_step=f"write {value.strip()}NAME")


def source(secret: Check) -> Check:
    """The check of one source; `secret` checks where its secret is kept."""
    known: dict[str, Check] = {"prompt": place, "environment": place, "secret": secret}
    own: dict[str, Check] = {
        **known,
        "key": place,
        "status": place,
        "summary": place,
        "url": place,
        "resolved": listed(text),
    }

    def run(reader: Reader, path: str, value: Any) -> None:
        is_json = path.rpartition(".")[2] not in (ALERTMANAGER, GRAFANA)
        fields(reader, path, value, own if is_json else known)
        if not isinstance(value, Mapping):
            return
        for needed in ("prompt", "key") if is_json else ("prompt",):
            if needed not in value:
                reader.wrong(
                    below(path, needed), "a source needs it", tuple(own if is_json else known)
                )
        for key, said in value.items():
            if isinstance(said, str) and said.startswith(FIELD) and not is_json:
                reader.wrong(
                    below(path, key), "its alerts have labels", next_step="write label:NAME"
                )

    return run


def build_inbound(name: str, data: Mapping[str, Any]) -> InboundRule:
    """The rule of checked data."""
    said: dict[str, Any] = {
        key: tuple(item) if key == "resolved" else item for key, item in data.items()
    }
    return InboundRule(source=name, **said)
