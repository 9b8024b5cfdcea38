"""`knowngood pause`, `resume`, `skip`, `abort`, `replan` and `gates`: a rollout under way."""

from collections.abc import Callable
from typing import Any

from knowngood.cli.backend import connect, segment
from knowngood.cli.changes import body_of, print_change
from knowngood.cli.errors import Usage
from knowngood.cli.ladder import (
    is_climbing,
    ladder_of,
    print_comparison,
    print_gates,
    print_rollout,
)
from knowngood.cli.names import prompt_of, version_of
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    As,
    Because,
    Db,
    DryRun,
    Env,
    Hold,
    Json,
    Name,
    OptionalVersion,
    PolicyFileOption,
    Revision,
    Stages,
    Timed,
    Token,
    Url,
    WaitAtMost,
)
from knowngood.cli.output import heading, print_json, say


def _command(verb: str, title: str, about: str) -> Callable[..., None]:
    """The command that posts `verb`; `about` is its help, and `title` goes before the prompt."""

    def command(
        name: Name,
        because: Because = "",
        env: Env = DEFAULT_ENVIRONMENT,
        revision: Revision = None,
        dry_run: DryRun = False,
        url: Url = DEFAULT_URL,
        token: Token = "",
        actor: As = "",
        as_json: Json = False,
    ) -> None:
        prompt = prompt_of(name)
        body = body_of(prompt, because, env, revision, dry_run)
        answer = connect(url, token, actor).post(f"/api/rollouts/{verb}", body)
        _print(answer, f"{title} {prompt} in {env}", as_json)

    command.__doc__ = about
    return command


pause = _command(
    "pause",
    "pause",
    """Hold a rollout at its stage until you resume it.

    A breach rolls it back all the same.
    """,
)
resume = _command(
    "resume",
    "resume",
    """Let a paused rollout go on.

    The time of its stage begins anew.
    """,
)
skip = _command(
    "skip",
    "skip a stage of",
    """Go on to the next stage without waiting for its gates.

    Of a bake it is the end: the version is known good by your word.
    """,
)
abort = _command(
    "abort",
    "abort the rollout of",
    """Take a version that is on its way up off again.

    Nothing is found wrong and nothing is quarantined: it may be promoted another time. If something
    is wrong, roll back.
    """,
)


def replan(
    name: Name,
    because: Because = "",
    env: Env = DEFAULT_ENVIRONMENT,
    stages: Stages = "",
    hold: Hold = "",
    wait_at_most: WaitAtMost = "",
    timed: Timed = False,
    revision: Revision = None,
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Change the stages of a rollout in flight.

    The share in force stays; what comes after it is the new plan.
    """
    body = body_of(prompt_of(name), because, env, revision, dry_run)
    steps = ladder_of(stages, hold, wait_at_most, timed)
    if not any(steps.values()):
        raise Usage(
            "nothing to plan: it says nothing new",
            next_step="add --stages, --hold, --wait-at-most or --timed",
        )
    body |= steps
    answer = connect(url, token, actor).post("/api/rollouts/plan", body)
    _print(answer, f"replan the rollout of {body['prompt']} in {env}", as_json)


def gates(
    name: Name,
    version: OptionalVersion = "",
    env: Env = DEFAULT_ENVIRONMENT,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    policy: PolicyFileOption = None,
    as_json: Json = False,
) -> None:
    """Show every gate of a promotion, with its answer and its reason.

    While the version is on its way up, those of its stage as well.
    """
    prompt, wanted = version_of(name, version)
    path = f"/api/prompts/{segment(prompt)}/gates"
    backend = connect(url, token, db=db, policy=policy)
    answer = backend.get(path, version=wanted, environment=env)
    if as_json:
        print_json(answer)
        return
    say(heading(f"{prompt}:{wanted} in {env}"))
    say("Before a promotion")
    print_gates(answer["promotion"])
    rollout = answer["rollout"]
    if rollout is None or wanted not in (rollout["from_version"], rollout["to_version"]):
        return
    climbs = is_climbing(rollout) and wanted == rollout["to_version"]
    say("Of the stage in force" if climbs else "Under way")
    print_rollout(rollout)
    if climbs:
        print_gates(answer["stage"])
        print_comparison(answer["comparison"])


def _print(answer: dict[str, Any], title: str, as_json: bool) -> None:
    """What was done, and what is under way now."""
    print_change(answer, title, as_json)
    if as_json or answer["dry_run"]:
        return
    if answer["rollout"]:
        print_rollout(answer["rollout"])
    else:
        say(f"  the rollout is over: {answer['route']}")
