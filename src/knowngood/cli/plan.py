"""`knowngood plan`: how long a ladder would take."""

from knowngood.cli.backend import connect, segment
from knowngood.cli.names import optional_version
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    Env,
    Json,
    Name,
    OptionalVersion,
    Token,
    Url,
)
from knowngood.cli.output import heading, print_json, say


def plan(
    name: Name,
    version: OptionalVersion = "",
    env: Env = DEFAULT_ENVIRONMENT,
    url: Url = DEFAULT_URL,
    token: Token = "",
    as_json: Json = False,
) -> None:
    """Propose a ladder, and say how long each stage needs at today's traffic.

    With what the A/B gate needs, if the policy asks for one. Nothing is changed.
    """
    prompt, wanted = optional_version(name, version)
    path = f"/api/prompts/{segment(prompt)}/plan"
    answer = connect(url, token).get(path, version=wanted, environment=env)
    if as_json:
        print_json(answer)
        return
    what = f"{prompt}:{wanted}" if wanted else prompt
    say(heading(f"{what} in {env}"))
    say(f"Today, with {answer['serving']}: {answer['today_words']}")
    for line in answer["lines"]:
        say(f"  {line}")
