"""`knowngood promote`: serve a version to everybody."""

from knowngood.cli.backend import connect
from knowngood.cli.changes import print_change
from knowngood.cli.errors import need_because
from knowngood.cli.names import version_of
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    As,
    Because,
    DryRun,
    Env,
    Json,
    Name,
    OptionalVersion,
    Override,
    Revision,
    Token,
    Url,
)


def promote(
    name: Name,
    version: OptionalVersion = "",
    because: Because = "",
    env: Env = DEFAULT_ENVIRONMENT,
    override: Override = [],  # noqa: B006 # Typer copies it
    revision: Revision = None,
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Serve a version to everybody.

    The first version that is ever served in an environment is good as declared.
    """
    prompt, wanted = version_of(name, version)
    body = {
        "prompt": prompt,
        "version": wanted,
        "environment": env,
        "because": need_because(because),
        "override": override or None,
        "revision": revision,
        "dry_run": dry_run or None,
    }
    answer = connect(url, token, actor).post("/api/promote", body)
    print_change(answer, f"promote {prompt}:{wanted} in {env}", as_json)
