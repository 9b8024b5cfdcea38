"""All verbs together, in the order in which a newcomer meets them."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from knowngood.cli import (
    answers,
    audit,
    automation,
    backtest,
    demo,
    diff,
    doctor,
    drill,
    environments,
    evals,
    explain,
    keep,
    list_prompts,
    notify,
    plan,
    policy,
    promote,
    push,
    releases,
    replay,
    rollback,
    rollouts,
    runbook,
    serve,
    show,
    standing,
    status,
    tokens,
)
from knowngood.cli.errors import fail
from knowngood.core.errors import KnowngoodError

DEFAULT_VERB = "status"
ABOUT = (
    "Stores LLM prompt versions, serves them, watches them in production, and rolls back to the "
    "last version known to be good. Without a verb it shows the status."
)


class Verbs(TyperGroup):
    """The verbs; no verb means `status`, and every refusal ends the same way."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default verb in front of nothing, or of nothing but its options."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = [DEFAULT_VERB, *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; turn a KnowngoodError into its message and exit code."""
        try:
            return super().invoke(ctx)
        except KnowngoodError as error:
            raise fail(error) from None
        except BrokenPipeError:
            raise typer.Exit(0) from None  # `knowngood audit | head` has seen enough


app = typer.Typer(
    cls=Verbs,
    help=ABOUT,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from knowngood import __version__

        typer.echo(f"knowngood {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """What holds for every verb: nothing is done before it."""


def _register() -> None:
    for name, verb in (
        ("demo", demo.demo),
        ("serve", serve.serve),
        ("status", status.status),
        ("explain", explain.explain),
        ("rollback", rollback.rollback),
        ("approve", answers.approve),
        ("decline", answers.decline),
        ("ack", answers.ack),
        ("push", push.push),
        ("promote", promote.promote),
        ("gates", rollouts.gates),
        ("pause", rollouts.pause),
        ("resume", rollouts.resume),
        ("skip", rollouts.skip),
        ("abort", rollouts.abort),
        ("replan", rollouts.replan),
        ("plan", plan.plan),
        ("list", list_prompts.list_prompts),
        ("show", show.show),
        ("diff", diff.diff),
        ("vouch", standing.vouch),
        ("unquarantine", standing.unquarantine),
        ("pin", keep.pin),
        ("unpin", keep.unpin),
        ("purge", keep.purge),
        ("automation", automation.automation),
        ("audit", audit.audit),
        ("doctor", doctor.doctor),
        ("drill", drill.drill),
        ("replay", replay.replay),
        ("backtest", backtest.backtest),
    ):
        app.command(name)(verb)
    app.add_typer(evals.app, name="eval")
    app.add_typer(releases.app, name="release")
    app.add_typer(notify.app, name="notify")
    app.add_typer(policy.app, name="policy")
    app.add_typer(runbook.app, name="runbook")
    app.add_typer(environments.app, name="environments")
    app.add_typer(tokens.app, name="token")


_register()
