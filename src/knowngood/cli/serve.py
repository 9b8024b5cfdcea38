"""`knowngood serve`: run the server."""

from pathlib import Path
from typing import Annotated

import typer

Db = Annotated[
    str, typer.Option("--db", metavar="FILE", help="The database: a file or a PostgreSQL URL.")
]
Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", help="The port to listen on.")]
Policy = Annotated[
    Path | None,
    typer.Option("--policy", metavar="FILE", help="The policy; default: the built-in one."),
]
Runbooks = Annotated[
    Path | None,
    typer.Option(
        "--runbooks",
        metavar="DIR",
        help="A folder of `*.runbook.md` of your own, beside those that come with knowngood.",
        show_default=False,
    ),
]
Token = Annotated[
    list[str] | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help="Ask every client for a token, and take this one: `role/name:secret`, of which "
        "role and name may be left out; may be repeated. Default: KNOWNGOOD_TOKEN, "
        "comma-separated.",
        show_default=False,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="The same from a file that only you may read, one a line; it is read again when it "
        "changes. See `knowngood token`.",
        show_default=False,
    ),
]
InsecureBehindProxy = Annotated[
    bool,
    typer.Option(
        "--insecure-behind-proxy",
        help="Listen for other machines without TLS, because a proxy in front speaks it.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        help="Another name under which clients address this server; may be repeated.",
        show_default=False,
    ),
]
Notify = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="NAME",
        help="A channel besides those of the policy; may be repeated. There is `log`, the "
        "default: every message is a line of the server's log.",
        show_default=False,
    ),
]
PublicUrl = Annotated[
    str,
    typer.Option(
        "--public-url",
        metavar="URL",
        help="Where people reach this server; with it messages carry links that answer.",
        envvar="KNOWNGOOD_PUBLIC_URL",
    ),
]
HeartbeatUrl = Annotated[
    str,
    typer.Option(
        "--heartbeat-url",
        metavar="URL",
        help="Asked once a minute while all is well, so that a watchdog elsewhere notices when "
        "it stays away.",
        envvar="KNOWNGOOD_HEARTBEAT_URL",
    ),
]
EgressProxy = Annotated[
    str,
    typer.Option(
        "--egress-proxy",
        metavar="URL",
        help="The proxy through which other systems are told.",
        envvar="KNOWNGOOD_EGRESS_PROXY",
    ),
]
EgressLoopback = Annotated[
    bool,
    typer.Option(
        "--egress-loopback",
        help="Let channels be on this machine, in plain HTTP: for trying them out.",
    ),
]


def serve(
    db: Db = "knowngood.db",
    host: Host = "127.0.0.1",
    port: Port = 8000,
    policy: Policy = None,
    runbooks: Runbooks = None,
    token: Token = None,
    token_file: TokenFile = None,
    insecure_behind_proxy: InsecureBehindProxy = False,
    allow_host: AllowHost = None,
    notify: Notify = None,
    public_url: PublicUrl = "",
    heartbeat_url: HeartbeatUrl = "",
    egress_proxy: EgressProxy = "",
    egress_loopback: EgressLoopback = False,
) -> None:
    """Run the server and the engine that judges."""
    from knowngood.server.app import run  # heavy: FastAPI and SQLAlchemy
    from knowngood.server.settings import settings_from
    from knowngood.web import install

    run(
        settings_from(
            {
                "db": db,
                "host": host,
                "port": port,
                "policy": str(policy) if policy else None,
                "runbooks": str(runbooks) if runbooks else None,
                "tokens": token or [],
                "token_file": str(token_file) if token_file else None,
                "allow_hosts": allow_host or [],
                "insecure_behind_proxy": insecure_behind_proxy,
                **({"notify": notify} if notify else {}),
                "public_url": public_url,
                "heartbeat_url": heartbeat_url,
                "egress_proxy": egress_proxy,
                "egress_loopback": egress_loopback,
            }
        ),
        install,
    )
