"""`knowngood explain`: what is seen of a prompt, what was decided, and what it waits on."""

from typing import Any

from rich.text import Text

from knowngood.cli.backend import connect, segment
from knowngood.cli.ladder import is_climbing, print_gates, print_rollout
from knowngood.cli.names import prompt_of
from knowngood.cli.options import (
    DEFAULT_ENVIRONMENT,
    DEFAULT_URL,
    Db,
    Env,
    Json,
    Name,
    PolicyFileOption,
    Token,
    Url,
)
from knowngood.cli.output import heading, print_json, say, styled, table, verdict, when

VERDICTS = ("breach", "blind", "unsure", "clear")
NO_BRAKE = "none: an automatic rollback would go ahead"
HELD_ALL_THE_SAME = "none; what holds the rollback stands above"  # such as: nothing to go back to


def explain(
    name: Name,
    env: Env = DEFAULT_ENVIRONMENT,
    url: Url = DEFAULT_URL,
    token: Token = "",
    db: Db = None,
    policy: PolicyFileOption = None,
    as_json: Json = False,
) -> None:
    """Show what is seen, decided and waited on.

    Breaches come first, with their numbers; the ledger and the brakes come last.
    """
    prompt = prompt_of(name)
    backend = connect(url, token, db=db, policy=policy)
    answer = backend.get(f"/api/prompts/{segment(prompt)}/explain", environment=env)
    if as_json:
        print_json(answer)
        return
    _print_head(answer)
    _print_sees(answer["sees"])
    _print_evidence(answer["sees"])
    _print_decided(answer["decided"])
    _print_waits(answer["waiting_on"])
    _print_rollout(answer["state"]["rollout"])
    _print_related(answer)
    _print_outside(answer["outside"])
    _print_ledger(answer["state"]["ledger"])
    _print_brakes(answer)


def _print_head(answer: dict[str, Any]) -> None:
    state, row = answer["state"], answer["row"]
    say(heading(f"{answer['prompt']} in {answer['environment']}: {state['route']}"))
    parts = [f"generation {state['generation']}", f"revision {state['revision']}"]
    parts += [f"clients: {row['census']}", state["phase"]]
    if row["baking"]:
        named = state["phase"].startswith("bake")  # already, by the phase
        parts.append(row["baking"] if named else f"bake {row['baking']}")
    say("  " + ", ".join(parts))
    incident = state["incident"]
    if incident:
        said = f"incident {incident['id']}, {incident['severity']}, open for {incident['open_for']}"
        say(Text(f"  {said}", style="bold red"))
    _print_asked(state)


def _print_asked(state: dict[str, Any]) -> None:
    """What waits for a person: the open question, and the pages nobody has taken."""
    question = state["question"]
    if question:
        said = f"question {question['number']}: {question['words']} ({question['left']})"
        say(Text(f"  {said}", style="bold yellow"))
        if question["stage"] != "observing":
            say(f"    {question['answers']}")
    for page in state["pages"]:
        by = page["acknowledged_by"]
        how = f"taken by {by}" if by else f"told to level {page['level']}, nobody has taken it"
        say(f"  page {page['thread']}: {how}, {page['told_ago']} ago")


def _print_rollout(rollout: dict[str, Any] | None) -> None:
    if rollout is None:
        return
    _part("Rollout")
    print_rollout(rollout)
    if is_climbing(rollout):
        print_gates(rollout["gates"])


def _print_related(answer: dict[str, Any]) -> None:
    """How the related prompts are; in an incident, what rolls those back that fail as well."""
    if not answer["related"]:
        return
    _part("Related")
    rows = [
        (verdict(row["verdict"] or "unsure"), row["prompt"], row["route"], row["words"])
        for row in answer["related"]
    ]
    _rows(("", "", "", ""), rows, "")
    failing = [row for row in answer["related"] if row["verdict"] == "breach"]
    if answer["state"]["incident"] and failing:
        say("  they fail as well; to roll them back together:")
        for row in failing:
            say(f"    {row['rolls_back']}")


def _print_outside(alerts: list[dict[str, Any]]) -> None:
    """What other systems say: evidence for a person, from which nothing follows by itself."""
    if not alerts:
        return
    _part("Other systems say")
    rows = [
        (
            "fires" if alert["status"] == "firing" else "is over",
            when(alert["began_ms"]),
            alert["words"],
        )
        for alert in alerts
    ]
    _rows(("", "", ""), rows, "")


def _print_sees(findings: list[dict[str, Any]]) -> None:
    _part("What it sees")
    rank = {word: number for number, word in enumerate(VERDICTS)}
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for finding in sorted(findings, key=lambda f: rank[f["verdict"]]):
        alike.setdefault(_alike(finding), []).append(finding)
    _rows(("", "", "", ""), [_seen(each) for each in alike.values()], "nothing: no trigger looks")


def _alike(finding: dict[str, Any]) -> tuple[str, ...]:
    """What makes two lines one: triggers that saw nothing and wait on the same."""
    if finding["estimate"] is not None:
        return finding["version"], finding["trigger"]
    return finding["version"], finding["verdict"], _to(finding), ""


def _seen(alike: list[dict[str, Any]]) -> tuple[Any, ...]:
    first = alike[0]
    if len(alike) == 1:
        return verdict(first["verdict"]), first["version"], first["trigger"], _line(first)
    names = ", ".join(finding["trigger"] for finding in alike)
    said = f"nothing to judge yet{_to(first)}  ({names})"
    return verdict(first["verdict"]), first["version"], f"{len(alike)} triggers", said


def _line(finding: dict[str, Any]) -> str:
    return f"{finding['words']}{_to(finding)}"


def _to(finding: dict[str, Any]) -> str:
    if finding["verdict"] == "breach":
        return f"  -> {finding['response']} ({finding['severity']})"
    if finding["waiting_on"]:
        return f"  needs {finding['waiting_on'][0]['words']}"
    return ""


def _print_evidence(findings: list[dict[str, Any]]) -> None:
    """What the verdicts rest on; triggers that share a detector share a line."""
    rows: dict[tuple[str, str], list[str]] = {}
    for finding in findings:
        if finding["proof_words"]:
            key = (finding["version"], finding["proof_words"])
            rows.setdefault(key, []).append(finding["trigger"])
    if rows:
        _part("Evidence")
        table(
            ("", "", ""),
            [(version, ", ".join(names), words) for (version, words), names in rows.items()],
            indent=2,
        )


def _print_decided(decided: dict[str, Any]) -> None:
    _part("What it decided")
    say(f"  {decided['words']}")
    for action in decided["actions"]:
        say(f"  - {action['words']}")


def _print_waits(waits: list[dict[str, Any]]) -> None:
    _part("What it waits on")
    for words in dict.fromkeys(wait["words"] for wait in waits):  # several triggers may wait alike
        say(f"  {words}")
    if not waits:
        say("  nothing")


def _print_ledger(ledger: list[dict[str, Any]]) -> None:
    _part("Ledger")
    rows = [
        (line["version"], styled(line["standing"]), when(line["since_ms"]), line["because"])
        for line in ledger
    ]
    _rows(("", "", "", ""), rows, "empty: nothing was ever routed here")


def _print_brakes(answer: dict[str, Any]) -> None:
    _part("Brakes")
    brakes = answer["state"]["brakes"]
    for held in brakes:
        say(Text(f"  ! {held['kind']}: {held['words']}", style="yellow"))
    if not brakes:
        held = any(wait["kind"] == "brake" for wait in answer["waiting_on"])
        say(f"  {HELD_ALL_THE_SAME if held else NO_BRAKE}")


def _part(title: str) -> None:
    say()
    say(heading(title))


def _rows(titles: tuple[str, ...], rows: list[Any], instead: str) -> None:
    if rows:
        table(titles, rows, indent=2)
    else:
        say(f"  {instead}")
