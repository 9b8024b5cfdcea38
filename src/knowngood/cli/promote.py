"""`knowngood promote`: begin to serve a version, up a ladder or to everybody at once."""

from knowngood.cli.backend import connect
from knowngood.cli.changes import body_of, print_change
from knowngood.cli.errors import Usage
from knowngood.cli.ladder import ladder_of
from knowngood.cli.names import version_of
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    As,
    Because,
    DryRun,
    Env,
    Hold,
    Json,
    Name,
    Now,
    OptionalVersion,
    Override,
    Revision,
    Stages,
    Timed,
    Token,
    Url,
    WaitAtMost,
)
from knowngood.cli.output import say


def promote(
    name: Name,
    version: OptionalVersion = "",
    because: Because = "",
    env: Env = DEFAULT_ENVIRONMENT,
    now: Now = False,
    stages: Stages = "",
    hold: Hold = "",
    wait_at_most: WaitAtMost = "",
    timed: Timed = False,
    override: Override = [],  # noqa: B006 # Typer copies it
    revision: Revision = None,
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Begin to serve a version, stage by stage.

    Each stage is left when the version is proven safe; --now serves it to everybody at once. The
    first version that is ever served in an environment is good as declared.
    """
    prompt, wanted = version_of(name, version)
    steps = ladder_of(stages, hold, wait_at_most, timed)
    if now and any(steps.values()):
        raise Usage(
            "--now serves everybody at once, so there are no stages to plan",
            next_step="leave out --now, or --stages, --hold, --wait-at-most and --timed",
        )
    body = body_of(prompt, because, env, revision, dry_run) | {
        "version": wanted,
        "now": now or None,
        **steps,
        "override": override or None,
    }
    answer = connect(url, token, actor).post("/api/promote", body)
    print_change(answer, f"promote {prompt}:{wanted} in {env}", as_json)
    changed = answer["outcome"] == "changed" and not answer["dry_run"]
    if changed and not as_json and len(answer["arms"]) > 1:
        option = "" if env == DEFAULT_ENVIRONMENT else f" --env {env}"
        say(f"  it climbs as its gates open: knowngood gates {prompt} {wanted}{option}")
