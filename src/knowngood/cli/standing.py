"""`knowngood vouch` and `knowngood unquarantine`: a person's word on a version, in the ledger."""

from collections.abc import Callable

from knowngood.cli.backend import connect
from knowngood.cli.changes import body_of, print_change
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


def _word(verb: str, about: str) -> Callable[..., None]:
    """The command that posts `verb` for a version; `about` is its help."""

    def command(
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
        prompt, wanted = version_of(name, version)
        body = body_of(prompt, because, env, revision, dry_run) | {"version": wanted}
        answer = connect(url, token, actor).post(f"/api/{verb}", body)
        print_change(answer, f"{verb} {prompt}:{wanted} in {env}", as_json)

    command.__doc__ = about
    return command


vouch = _word(
    "vouch",
    """Make a version known good by your word.

    A rollback may choose it from then on.
    """,
)
unquarantine = _word(
    "unquarantine",
    """Lift the quarantine of a version.

    It is a candidate again, and may be promoted.
    """,
)
