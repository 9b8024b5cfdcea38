"""`knowngood eval`: record, import and run evaluations of a version, list and compare them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from knowngood.cli import eval_run
from knowngood.cli.backend import connect
from knowngood.cli.errors import Usage
from knowngood.cli.eval_answer import Recorded, conclude, examples_data, read_results, scale_of
from knowngood.cli.names import optional_version, two_versions, version_of
from knowngood.cli.options import (
    DEFAULT_URL,
    AfterVersion,
    As,
    AtLeast,
    Because,
    BeforeVersion,
    Db,
    DryRun,
    Json,
    Name,
    OptionalVersion,
    PassAt,
    ScoreRange,
    SuiteName,
    Token,
    Url,
)
from knowngood.cli.output import heading, print_json, say, table, when
from knowngood.core.explain import few

app = typer.Typer(
    help="Record what a suite of examples finds of a version; compare two versions.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
FORMS = "promptfoo, junit or scores"


@dataclass(frozen=True, slots=True)
class _Counts:
    """What a person states."""

    passed: int | None
    failed: int | None
    cases: int | None
    skipped: int | None

    def data(self) -> dict[str, int]:
        """What was said, for the API."""
        said = {name: getattr(self, name) for name in ("passed", "failed", "cases", "skipped")}
        return {name: count for name, count in said.items() if count is not None}


def _count(help_: str) -> Any:
    return typer.Option(metavar="N", help=help_, show_default=False)


@app.command("record")
def record(
    suite: SuiteName,
    name: Name,
    version: OptionalVersion = "",
    passed: Annotated[int | None, _count("How many examples passed.")] = None,
    failed: Annotated[int | None, _count("How many failed.")] = None,
    cases: Annotated[int | None, _count("Instead of --failed: how many there were.")] = None,
    skipped: Annotated[int | None, _count("How many were skipped; they do not count.")] = None,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="FILE",
            help='Instead of counts: JSON, `{"example": 0.9, "another": true}`.',
            show_default=False,
        ),
    ] = None,
    score_range: ScoreRange = "",
    pass_at: PassAt = None,
    at_least: AtLeast = "",
    because: Because = "",
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Record how many examples passed and failed, or the score of each.

    Only scores one by one can be compared with those of another version.
    """
    prompt, wanted = version_of(name, version)
    counts = _Counts(passed, failed, cases, skipped).data()
    if (scores is None) == (not counts):
        raise Usage("expected either --passed and --failed, or --scores FILE")
    if scores is None:
        found: dict[str, Any] = {**counts, "source": "record"}
    else:
        found = examples_data(
            read_results(scores, "scores", scale_of(score_range, pass_at)), "scores"
        )
    recorded = Recorded(suite, prompt, wanted, because, at_least, dry_run)
    conclude(connect(url, token, actor), recorded, found, as_json)


@app.command("import")
def import_results(
    suite: SuiteName,
    name: Name,
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help="The version, unless NAME names it already.")
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="promptfoo's JSON, JUnit XML, or scores.")
    ] = "",
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORM",
            help=f"{FORMS}; default: junit for .xml, else promptfoo.",
            show_default=False,
        ),
    ] = "",
    score_range: ScoreRange = "",
    pass_at: PassAt = None,
    at_least: AtLeast = "",
    because: Because = "",
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Record what another tool found: promptfoo's JSON, JUnit XML, or plain scores.

    What is wrong with the file is said, and then nothing is recorded.
    """
    prompt, wanted = version_of(name, version if file else "")
    path = Path(file or version)
    form = form or ("junit" if path.suffix == ".xml" else "promptfoo")
    results = read_results(path, form, scale_of(score_range, pass_at))
    recorded = Recorded(suite, prompt, wanted, because, at_least, dry_run)
    conclude(connect(url, token, actor), recorded, examples_data(results, form), as_json)


app.command("run")(eval_run.run)


@app.command("list")
def list_evaluations(
    name: Name,
    version: OptionalVersion = "",
    suite: Annotated[
        str, typer.Option("--suite", metavar="SUITE", help="One suite.", show_default=False)
    ] = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """List the evaluations of a prompt or of one version, newest first."""
    prompt, wanted = optional_version(name, version)
    answer = connect(url, token, db=db).get(
        "/api/evaluations", prompt=prompt, version=wanted, suite=suite
    )
    if as_json:
        print_json(answer)
    elif not answer["evaluations"]:
        say(f"no evaluation of {prompt}{f':{wanted}' if wanted else ''} is recorded")
        say("next: knowngood eval run, or knowngood eval record")
    else:
        table(("id", "recorded", "version", "suite", "by", "result"), _rows(answer["evaluations"]))


def _rows(evaluations: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            str(e["id"]),
            when(e["recorded_ms"]),
            e["version"],
            e["suite"],
            e["actor"],
            f"{e['words']}  {e['because']}",
        )
        for e in evaluations
    ]


@app.command("compare")
def compare(
    suite: SuiteName,
    name: Name,
    a: BeforeVersion,
    b: AfterVersion = "",
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Compare two versions example by example: which is better, and is that proven?

    Of each version the newest evaluation of the suite counts.
    """
    prompt, before, after = two_versions(name, a, b, "SUITE NAME A B or SUITE NAME:A B")
    answer = connect(url, token, db=db).get(
        "/api/evaluations/compare", prompt=prompt, a=before, b=after, suite=suite
    )
    if as_json:
        print_json(answer)
        return
    say(heading(f"{suite} of {prompt}"))
    for each in (answer["a"], answer["b"]):
        say(f"  {each['version']}  {each['words']}")
    say(f"  {answer['words']}")
    for side, ids in ((before, answer["only_a"]), (after, answer["only_b"])):
        if ids:
            say(f"  with {side} alone: {few(ids)}")
    say(answer["better_words"])
