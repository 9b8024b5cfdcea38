"""How a server is run: checked when it is written down, so that a mistake stops the start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from knowngood.core.content import check_environment_name
from knowngood.core.errors import KnowngoodError
from knowngood.server.tokens import Roster, read_file, roster_of

TOKEN_VARIABLE = "KNOWNGOOD_TOKEN"  # noqa: S105 - the name of a variable
LINK_KEY_VARIABLE = "KNOWNGOOD_LINK_KEY"
LINK_KEY_CHARS_MIN = 32
MEMORY = "memory:"
ANY_HOST = ("0.0.0.0", "::")  # noqa: S104 - recognised, in order to refuse them


class BadSettings(KnowngoodError):
    """The server's settings are not valid."""

    code = "bad_settings"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything `knowngood serve` can be told.

    `db` is a file, a `postgresql://` URL, or `memory:` (nothing is kept). `tokens` are written as
    knowngood.server.tokens says, as are the lines of `token_file`. `runbooks` is a folder of
    runbooks of your own. `public_url` is where people find this server from outside; links in
    messages begin with it, signed with `link_key`. The way out leads through `egress_proxy` if
    there is one; `egress_loopback` lets it lead to this machine and speak plain HTTP there, for
    tests. Raises BadSettings for values that contradict each other, and BadToken.
    """

    db: str = "knowngood.db"
    host: str = "127.0.0.1"
    port: int = 8000
    policy: str | None = None
    tokens: tuple[str, ...] = ()
    token_file: str | None = None
    allow_hosts: tuple[str, ...] = ()
    insecure_behind_proxy: bool = False
    environments: tuple[str, ...] = ()
    notify: tuple[str, ...] = ("log",)
    runbooks: str | None = None
    public_url: str = ""
    link_key: str = field(default="", repr=False)
    heartbeat_url: str = field(default="", repr=False)  # whoever knows it can keep us alive
    egress_proxy: str = field(default="", repr=False)
    egress_loopback: bool = False

    def __post_init__(self) -> None:
        if not self.db:
            raise BadSettings("`db` is empty", next_step="name a file, such as --db knowngood.db")
        if not self.host:
            raise BadSettings("`host` is empty", next_step="--host 127.0.0.1")
        if not 0 <= self.port <= 65_535:
            raise BadSettings(f"{self.port} is not a port; ports are 1 to 65535")
        for environment in self.environments:
            check_environment_name(environment)
        _ = self.roster
        _check_exposure(self)
        _check_links(self)

    @property
    def is_local(self) -> bool:
        """Whether this is the single-user local mode: loopback, and no token is asked for."""
        return not self.tokens and self.token_file is None

    @property
    def is_behind_tls(self) -> bool:
        """Whether browsers reach this server through a proxy that speaks TLS."""
        return self.insecure_behind_proxy or self.public_url.startswith("https://")

    @property
    def roster(self) -> Roster:
        """Everybody who holds a token; the file is read. Raises BadToken."""
        lines = read_file(Path(self.token_file)) if self.token_file is not None else []
        return roster_of((*self.tokens, *lines))

    @property
    def hosts(self) -> frozenset[str]:
        """The names under which browsers and clients may address this server."""
        bound = () if self.host in ANY_HOST else (self.host,)
        public = urlsplit(self.public_url).hostname
        outside = (public,) if public else ()
        names = ("localhost", "127.0.0.1", "::1", *bound, *self.allow_hosts, *outside)
        return frozenset(name.strip("[]").lower() for name in names)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that is bound to `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def settings_from(values: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in `values`; without tokens in them, those of KNOWNGOOD_TOKEN (comma-separated).

    Beside a token file the variable is not read: it may hold the token of whoever starts it.

    Raises BadSettings for a name that is unknown, listing those that are known.
    """
    known = [field.name for field in fields(Settings)]
    for name in values:
        if name not in known:
            raise BadSettings(f"there is no setting {name!r}", known=known)
    taken = dict(values)
    for name in ("tokens", "allow_hosts", "environments", "notify"):
        if isinstance(taken.get(name), list):
            taken[name] = tuple(taken[name])
    if not taken.get("tokens") and taken.get("token_file") is None:
        given = environ.get(TOKEN_VARIABLE, "")
        taken["tokens"] = tuple(token.strip() for token in given.split(",") if token.strip())
    taken.setdefault("link_key", environ.get(LINK_KEY_VARIABLE, "").strip())
    return Settings(**taken)


def _check_links(settings: Settings) -> None:
    if settings.public_url:
        try:
            parts = urlsplit(settings.public_url)
            host = parts.hostname
        except ValueError:
            host = None
        if not host or parts.scheme not in ("https", "http") or parts.query or parts.fragment:
            raise BadSettings(
                f"{settings.public_url!r} is not where a browser could find this server",
                next_step="--public-url https://knowngood.example.com",
            )
        if parts.scheme == "http" and not is_loopback(host):
            raise BadSettings(
                f"links to {host} would be answered in the clear", next_step="use https"
            )
    if settings.link_key and len(settings.link_key) < LINK_KEY_CHARS_MIN:
        raise BadSettings(
            f"{LINK_KEY_VARIABLE} has {len(settings.link_key)} characters; "
            f"it needs at least {LINK_KEY_CHARS_MIN}",
            next_step="make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))', "
            "or leave it out: then the database keeps one",
        )


def _check_exposure(settings: Settings) -> None:
    if is_loopback(settings.host):
        return
    where = f"{settings.host} can be reached from other machines"
    if settings.is_local:
        raise BadSettings(
            f"{where}, and no token is set: everybody there could change what is served",
            next_step=f"set --token-file, --token or {TOKEN_VARIABLE}, or bind to 127.0.0.1",
        )
    if not settings.insecure_behind_proxy:
        raise BadSettings(
            f"{where}, and this server speaks plain HTTP: tokens would travel in the clear",
            next_step="put a TLS proxy in front and say --insecure-behind-proxy, "
            "or bind to 127.0.0.1",
        )
