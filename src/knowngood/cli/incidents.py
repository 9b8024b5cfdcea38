"""`knowngood incident`: what went wrong, how it was found and ended, and what people say of it."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from knowngood.cli.backend import connect, segment
from knowngood.cli.errors import Usage, need_because
from knowngood.cli.names import prompt_of
from knowngood.cli.options import (
    DEFAULT_URL,
    As,
    Because,
    Db,
    DryRun,
    Json,
    OptionalName,
    Token,
    Url,
)
from knowngood.cli.output import heading, print_json, say, table, when
from knowngood.core.explain import duration, percent

ID_FORM = re.compile(r"[^/]+/[^/]+/g[0-9]+\.[0-9]+")
KEPT = {"within": "✓ within", "late": "! late", "over": "✗ over"}
STYLES = {"critical": "bold red", "high": "red", "medium": "yellow"}

app = typer.Typer(help="What went wrong, how it was found and ended, and what people say of it.")

IncidentId = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The incident, such as production/support-bot/g7.1; `list` shows them."
    ),
]


class How(StrEnum):
    """What an incident was."""

    FALSE_POSITIVE = "false_positive"
    DUPLICATE_OF = "duplicate_of"
    REVIEWED = "reviewed"


class Format(StrEnum):
    """How a record is written."""

    MARKDOWN = "md"
    JSON = "json"


class Theme(StrEnum):
    """The colours of charts."""

    LIGHT = "light"
    DARK = "dark"


def _path(incident_id: str, more: str = "") -> str:
    if not ID_FORM.fullmatch(incident_id):
        raise Usage(
            f"{incident_id!r} is no incident", next_step="`knowngood incident list` shows their ids"
        )
    return "/api/incidents/" + "/".join(map(segment, incident_id.split("/"))) + more


@app.command("list")
def list_incidents(
    name: OptionalName = "",
    env: Annotated[
        str | None, typer.Option("--env", metavar="NAME", help="One environment; default: all.")
    ] = None,
    is_open: Annotated[bool, typer.Option("--open", help="Only those that are not over.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many.")] = 30,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """List the incidents, the newest first."""
    answer = connect(url, token, db=db).get(
        "/api/incidents",
        environment=env,
        prompt=prompt_of(name) if name else None,
        state="open" if is_open else "all",
        limit=limit,
    )
    if as_json:
        print_json(answer)
    elif not answer["incidents"]:
        say("no open incident" if is_open else "no incident yet")
    else:
        table(("id", "opened", "severity", "state", "version", "triggers"), _rows(answer))


def _rows(answer: dict[str, Any]) -> list[tuple[str | Text, ...]]:
    return [
        (
            each["id"],
            when(each["opened_ms"]),
            Text(each["severity"], style=STYLES.get(each["severity"], "")),
            f"open for {each['took']}" if each["open"] else f"over after {each['took']}",
            each["version"],
            ", ".join(each["triggers"])
            + (f" (part of {each['part_of']})" if each["part_of"] else ""),
        )
        for each in answer["incidents"]
    ]


@app.command("show")
def show(
    incident_id: IncidentId,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Show one incident: clocks, impact, decision, gates, people and timeline."""
    answer = connect(url, token, db=db).get(_path(incident_id))
    if as_json:
        print_json(answer)
        return
    _print_head(answer)
    _part("Clocks")
    table(("", "took", "limit", ""), [_clock(clock) for clock in answer["clocks"]], indent=2)
    _print_decision(answer)
    _print_affected(answer["affected"])
    if answer["gates"]:
        _part("Gates")
        table(("", ""), [(g["name"], g["words"]) for g in answer["gates"]], indent=2)
    _print_people(answer)
    _part("Timeline")
    rows = [
        (when(e["at_ms"]), _after(e["after_ms"]), e["kind"], e["actor"], e["because"])
        for e in answer["timeline"]
    ]
    table(("at", "", "what", "by", "because"), rows, indent=2)
    say()
    say(f"next: knowngood postmortem {incident_id} -o FILE.md")


def _print_head(answer: dict[str, Any]) -> None:
    say(heading(answer["title"]))
    of = f" of {answer['duplicate_of']}" if answer["duplicate_of"] else ""
    state = f"{answer['state'].replace('_', ' ')}{of}"
    say(f"  {answer['id']}, {answer['severity']}, {state}")
    if answer["part_of"]:
        say(f"  part of {answer['part_of']}")
    over = f"over after {answer['took']}" if answer["closed"] else f"open for {answer['took']}"
    say(f"  opened {when(answer['opened_ms'])}, {over}")
    impact = answer["impact"]
    if impact:
        share = percent(impact["failed_share"])
        served = f"{answer['version']} served {impact['calls']:,} calls"
        say(f"  {served}, {impact['failed']:,} of them failed ({share})")
    if answer["fixed_by"]:
        say(f"  fixed later by {answer['fixed_by']}")


def _print_decision(answer: dict[str, Any]) -> None:
    decision, action, verified = answer["decision"], answer["action"], answer["verification"]
    if not (decision or action or verified):
        return
    _part("Decision")
    if decision:
        say(f"  {decision['how']}, by {decision['actor']}: {decision['because']}")
    if action:
        say(f"  {action['from']} -> {action['to']}, {action['method']}")
    if verified:
        say(f"  {verified['because']}")
    if answer["evidence"] and answer["evidence"]["can_be_replayed"]:
        say(f"  to make it again: knowngood audit replay {answer['evidence']['entry']}")


def _print_affected(affected: list[dict[str, Any]]) -> None:
    if affected:
        _part("Other prompts")
        rows = [(e["prompt"], e["how"].replace("_", " "), e["incident"] or "") for e in affected]
        table(("", "", ""), rows, indent=2)


def _print_people(answer: dict[str, Any]) -> None:
    if answer["roles"] or answer["notes"]:
        _part("People")
    for role, person in answer["roles"].items():
        say(f"  {role}: {person}")
    for note in answer["notes"]:
        kind = "update" if note["update"] else "note"
        say(f"  {when(note['at_ms'])} {kind} by {note['actor']}: {note['text']}")


def _part(title: str) -> None:
    say()
    say(heading(title))


def _clock(clock: dict[str, Any]) -> tuple[str, ...]:
    limit = "" if clock["limit_ms"] is None else duration(clock["limit_ms"])
    if clock["at_most_ms"]:
        limit += f", at most {duration(clock['at_most_ms'])}"
    so_far = " so far" if clock["running"] else ""
    return clock["name"], f"{clock['words']}{so_far}", limit, KEPT.get(clock["kept"], "")


def _after(ms: int) -> str:
    return f"{'-' if ms < 0 else '+'}{duration(abs(ms))}"


@app.command("note")
def note(
    incident_id: IncidentId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note.")],
    update: Annotated[
        bool, typer.Option("--update", help="A status update, for people who do not work on it.")
    ] = False,
    then: Annotated[
        str,
        typer.Option(
            "--next", metavar="TIME", help="In how long the next update comes.", show_default=False
        ),
    ] = "",
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Add a note to the timeline, which only grows."""
    if then and not update:
        raise Usage("--next goes with --update")
    body = {
        "text": text,
        "update": update or None,
        "next": then or None,
        "dry_run": dry_run or None,
    }
    _print_said(connect(url, token, actor).post(_path(incident_id, "/notes"), body), as_json)


@app.command("role")
def role(
    incident_id: IncidentId,
    name: Annotated[str, typer.Argument(metavar="ROLE", help="Such as commander.")],
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Who has it from now on.")],
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Say who has which role in the incident."""
    body = {"role": name, "person": person, "dry_run": dry_run or None}
    _print_said(connect(url, token, actor).post(_path(incident_id, "/roles"), body), as_json)


@app.command("close-as")
def close_as(
    incident_id: IncidentId,
    how: Annotated[
        How, typer.Argument(metavar="WHAT", help="false_positive, duplicate_of or reviewed.")
    ],
    of: Annotated[
        str, typer.Argument(metavar="OTHER-ID", help="Of a duplicate: what it repeats.")
    ] = "",
    because: Because = "",
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
    actor: As = "",
    as_json: Json = False,
) -> None:
    """Say what an incident was. One that is open is closed with it."""
    if (how is How.DUPLICATE_OF) != bool(of):
        raise Usage("`duplicate_of`, and nothing else, names the incident that it repeats")
    body = {
        "how": "duplicate" if how is How.DUPLICATE_OF else how.value,
        "of": of or None,
        "because": need_because(because),
        "dry_run": dry_run or None,
    }
    _print_said(connect(url, token, actor).post(_path(incident_id, "/close"), body), as_json)


def _print_said(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    would = "would record" if answer["dry_run"] else "recorded"
    say(f"{would} {answer['recorded']} by {answer['actor']} in {answer['incident']}")


@app.command("export")
def export(
    incident_id: IncidentId,
    form: Annotated[
        Format, typer.Option("--format", metavar="FORMAT", help="md or json.")
    ] = Format.MARKDOWN,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where to; default: the terminal."),
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
) -> None:
    """Write the whole record as a document or as JSON."""
    answer = connect(url, token, db=db).get(_path(incident_id))
    if form is Format.JSON:
        import json

        text = json.dumps(answer, indent=2, ensure_ascii=False) + "\n"
    else:
        from knowngood.server.incident_text import incident_text  # heavy: the server

        text = incident_text(answer)
    _write(output, text)


def postmortem(
    incident_id: IncidentId,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.md",
            help="Where to, with the charts beside it; default: the terminal, without them.",
        ),
    ] = None,
    theme: Annotated[
        Theme, typer.Option("--theme", metavar="THEME", help="Of the charts: light or dark.")
    ] = Theme.LIGHT,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Draft the post-mortem of an incident, with charts as SVG files beside it."""
    stem = output.stem if output else "postmortem"
    answer = connect(url, token, db=db).get(
        _path(incident_id, "/postmortem"), stem=stem, theme=theme.value
    )
    if output is not None:
        for chart in answer["charts"]:
            _write(output.with_name(chart["file"]), chart["svg"])
        _write(output, answer["markdown"])
    if as_json:
        print_json(answer)
    elif output is None:
        _write(None, answer["markdown"])
    else:
        files = ", ".join(chart["file"] for chart in answer["charts"])
        say(f"wrote {output}" + (f" with {files}" if files else ""))


def _write(path: Path | None, text: str) -> None:
    if path is None:
        for line in text.splitlines():
            say(line)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Usage(f"cannot write {path}: {error.strerror}") from error
