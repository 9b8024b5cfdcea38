"""Whom to tell, where, and how long to wait for them: channels, audiences, escalation, approvals.

No secret stands in a policy: it names the environment variable (`env:NAME`) or the file
(`file:/path`) that holds it, and only the server looks there.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from knowngood.core.inbound import source
from knowngood.core.people import ApprovalRule, Channel, EscalationRule, Level
from knowngood.core.policy_checks import (
    Check,
    Reader,
    below,
    count,
    duration,
    fields,
    flag,
    listed,
    one_of,
    section,
    text,
)
from knowngood.core.units import duration_ms, shown

EXHAUSTED = ("broadcast", "rollback", "hold")
DELEGATES = ("auto", "never")
PURPOSES = ("page", "note", "resolved", "acknowledged", "change")
LEVELS_MAX = 10
SECRET = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+")
AUTO = "auto"


def secret(reader: Reader, path: str, value: Any) -> None:
    """A reference to a secret, never the secret."""
    if not isinstance(value, str) or not SECRET.fullmatch(value):
        reader.wrong(
            path,
            "a policy holds no secrets",
            next_step="name where it is: env:VARIABLE, or file:/run/secrets/NAME",
        )


def url_or_secret(reader: Reader, path: str, value: Any) -> None:
    """An address, or where it is kept when it is a secret by itself."""
    if not isinstance(value, str) or not (
        value.startswith(("https://", "http://")) or SECRET.fullmatch(value)
    ):
        reader.wrong(path, f"{shown(value)} is not a URL", next_step="https://..., or env:VARIABLE")


# By kind: what it may say, and what it must.
KINDS: dict[str, tuple[dict[str, Check], tuple[str, ...]]] = {
    "log": ({}, ()),
    "pagerduty": (
        {
            "routing_key": secret,
            "region": one_of("region", ("us", "eu")),
            "webhook_secret": secret,
            "url": url_or_secret,
        },
        ("routing_key",),
    ),
    "slack": (
        {"token": secret, "channel": text, "signing_secret": secret, "url": url_or_secret},
        ("token", "channel"),
    ),
    "slack_webhook": ({"url": url_or_secret}, ("url",)),
    "webhook": ({"url": url_or_secret, "secret": secret, "allow_private": flag}, ("url",)),
    "email": (
        {
            "host": text,
            "port": count(1),
            "from": text,
            "to": listed(text),
            "security": one_of("security", ("starttls", "tls", "none")),
            "username": text,
            "password": secret,
        },
        ("host", "from"),
    ),
    "apprise": ({"url": secret}, ("url",)),
}


def channel(reader: Reader, path: str, value: Any) -> None:
    """A channel: its kind, and what that kind needs."""
    if not isinstance(value, Mapping) or value.get("kind") not in KINDS:
        kind = value.get("kind") if isinstance(value, Mapping) else value
        reader.unknown(below(path, "kind"), "kind of channel", kind, tuple(KINDS))
        return
    known, needed = KINDS[value["kind"]]
    fields(reader, path, value, {"kind": text, "purposes": PURPOSE_LIST, **known})
    for key in needed:
        if key not in value:
            reader.wrong(below(path, key), f"a channel of kind {value['kind']} needs it")


def levels(reader: Reader, path: str, value: Any) -> None:
    """The levels of an escalation, one or more."""
    listed(section(LEVEL))(reader, path, value)
    if not isinstance(value, Sequence) or isinstance(value, str):
        return
    if not 1 <= len(value) <= LEVELS_MAX:
        reader.wrong(path, f"an escalation has 1 to {LEVELS_MAX} levels, not {len(value)}")
    for index, item in enumerate(value):
        if isinstance(item, Mapping) and not item.get("targets"):
            reader.wrong(f"{path}[{index}].targets", "a level names whom it tells")


def people_count(reader: Reader, path: str, value: Any) -> None:
    """`auto`, or how many people a promotion needs, its requester included."""
    if value != AUTO:
        count(1)(reader, path, value)


inbound = source(secret)  # a system whose alerts are evidence

PURPOSE_LIST = listed(one_of("purpose of a message", PURPOSES))
LEVEL: dict[str, Check] = {
    "targets": listed(text),
    "channels": listed(text),
    "ack_timeout": duration,
}
ESCALATION: dict[str, Check] = {
    "levels": levels,
    "repeat": count(0),
    "on_exhausted": one_of("end of an escalation", EXHAUSTED),
    "delegate": one_of("way to delegate", DELEGATES),
}
APPROVALS: dict[str, Check] = {
    "people": people_count,
    "valid": duration,
    "environments": listed(text),
}


def audiences(reader: Reader, path: str, value: Any) -> None:
    """Which channels each audience is told on."""
    if not isinstance(value, Mapping):
        reader.wrong(path, f"{shown(value)} is not a mapping of audiences to lists of channels")
        return
    for key, item in value.items():
        text(reader, below(path, key), key)
        listed(text)(reader, below(path, key), item)


def check_channel_names(reader: Reader, file: Mapping[str, Any]) -> None:
    """Note every channel that is named and not declared."""
    known = sorted(file["channels"])
    for audience, names in file["audiences"].items():
        for name in names:
            if name not in known:
                reader.unknown(below("audiences", audience), "channel", name, known)
    places = {"defaults": file["defaults"]}
    places |= {below("prompts", key): entry for key, entry in file["prompts"].items()}
    for path, place in places.items():
        for index, level in enumerate(place.get("escalation", {}).get("levels", ())):
            for name in level.get("channels", ()):
                if name not in known:
                    where = f"{path}.escalation.levels[{index}].channels"
                    reader.unknown(where, "channel", name, known)


def build_channel(name: str, data: Mapping[str, Any]) -> Channel:
    """The channel of checked data."""
    return Channel(name, data["kind"], {key: data[key] for key in sorted(data) if key != "kind"})


def build_escalation(data: Mapping[str, Any]) -> EscalationRule:
    """The escalation of a checked and merged section."""
    return EscalationRule(
        levels=tuple(
            Level(
                tuple(level["targets"]),
                tuple(level.get("channels", ())),
                duration_ms(level.get("ack_timeout", "5m")),
            )
            for level in data["levels"]
        ),
        repeat_count=data["repeat"],
        on_exhausted=data["on_exhausted"],
        delegates=data["delegate"] == AUTO,
    )


def build_approvals(data: Mapping[str, Any]) -> ApprovalRule:
    """The approvals of a checked and merged section."""
    people = data["people"]
    return ApprovalRule(
        people_count=None if people == AUTO else people,
        valid_ms=duration_ms(data["valid"]),
        environments=tuple(data["environments"]),
    )
