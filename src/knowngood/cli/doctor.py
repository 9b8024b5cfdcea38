"""`knowngood doctor`: is everything in order?"""

import typer

from knowngood.cli.backend import connect
from knowngood.cli.errors import EXIT_REFUSED
from knowngood.cli.options import DEFAULT_URL, Db, Json, PolicyFileOption, Token, Url
from knowngood.cli.output import print_json, say, table, verdict


def doctor(
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    policy: PolicyFileOption = None,
    as_json: Json = False,
) -> None:
    """Check that everything is in order.

    States, contents, tables, engine, clock and policy; the exit code is 1 if one is broken.
    """
    answer = connect(url, token, db=db, policy=policy).get("/api/doctor")
    if as_json:
        print_json(answer)
    else:
        rows = [
            (verdict(check["verdict"]), check["name"], words)
            for check in answer["checks"]
            for words in (check["words"], *check["detail"])
        ]
        table(("", "", ""), rows)
        say("nothing is broken" if answer["ok"] else "something is broken, see above")
    if not answer["ok"]:
        raise typer.Exit(EXIT_REFUSED)
