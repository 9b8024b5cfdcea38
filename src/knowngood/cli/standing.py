"""`knowngood vouch` and `knowngood unquarantine`: a person's word on a version, in the ledger."""

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
    Revision,
    Token,
    Url,
)


def vouch(
    name: Name,
    version: OptionalVersion = "",
    because: Because = "",
    env: Env = DEFAULT_ENVIRONMENT,
    revision: Revision = None,
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Make a version known good by your word.

    A rollback may choose it from then on.
    """
    prompt, wanted = version_of(name, version)
    body = _body(prompt, wanted, because, env, revision, dry_run)
    answer = connect(url, token, actor).post("/api/vouch", body)
    print_change(answer, f"vouch {prompt}:{wanted} in {env}", as_json)


def unquarantine(
    name: Name,
    version: OptionalVersion = "",
    because: Because = "",
    env: Env = DEFAULT_ENVIRONMENT,
    revision: Revision = None,
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Lift the quarantine of a version.

    It is a candidate again, and may be promoted.
    """
    prompt, wanted = version_of(name, version)
    body = _body(prompt, wanted, because, env, revision, dry_run)
    answer = connect(url, token, actor).post("/api/unquarantine", body)
    print_change(answer, f"unquarantine {prompt}:{wanted} in {env}", as_json)


def _body(
    prompt: str, version: str, because: str, env: str, revision: int | None, dry_run: bool
) -> dict[str, object]:
    return {
        "prompt": prompt,
        "version": version,
        "environment": env,
        "because": need_because(because),
        "revision": revision,
        "dry_run": dry_run or None,
    }
