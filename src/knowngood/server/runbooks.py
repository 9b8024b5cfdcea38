"""The runbooks that there are: those that come with knowngood, and those of a folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from knowngood.core.errors import UnknownRunbook
from knowngood.core.policy import PolicyFile
from knowngood.core.runbook import VARIABLES, Act, Problem, Runbook, Step
from knowngood.core.runbook_build import Known, overdue_days
from knowngood.core.runbook_fill import by_hand, fill_markdown
from knowngood.core.runbook_pick import runbook_for, table_of
from knowngood.core.runbook_words import does
from knowngood.server import incident_values
from knowngood.server.desk import Desk
from knowngood.server.runbook_file import FILES_MAX, SUFFIX, BadRunbook, lint, parse, read_text

SHIPPED_FOLDER = Path(__file__).resolve().parents[1] / "runbooks"
SHIPPED = "knowngood"


@dataclass(frozen=True, slots=True)
class Kept:
    """A runbook with its text and where it is from: `knowngood`, or a file."""

    runbook: Runbook
    text: str
    origin: str


@dataclass(frozen=True, slots=True)
class Library:
    """Runbooks by id. One of a folder takes the place of a shipped one that has its id."""

    runbooks: Mapping[str, Kept] = field(default_factory=lambda: MappingProxyType({}))

    def get(self, name: str) -> Kept:
        """The runbook. Raises UnknownRunbook, with those that there are."""
        if name not in self.runbooks:
            raise UnknownRunbook(f"there is no runbook {name!r}", known=sorted(self.runbooks))
        return self.runbooks[name]

    def runbook_for(
        self, situation: str, triggers: tuple[str, ...], metrics: tuple[str, ...] = ()
    ) -> str | None:
        """The id of the runbook for a page or an incident; those of the folder come first."""
        kept = sorted(self.runbooks.values(), key=lambda each: each.origin == SHIPPED)
        table = table_of([(each.runbook.id, each.runbook.triggers) for each in kept])
        return runbook_for(situation, triggers, metrics, table)


def load_library(folder: str | Path | None, policy: PolicyFile | None = None) -> Library:
    """The shipped runbooks and those of the folder. Raises BadRunbook for one that is not valid."""
    found = dict(shipped().runbooks)
    if folder is not None:
        path = Path(folder)
        if not path.is_dir():
            raise BadRunbook(f"there is no folder {folder}", next_step="name one that exists")
        known = known_of(policy)
        own: dict[str, Kept] = {}
        for file in sorted(path.rglob(f"*{SUFFIX}"))[:FILES_MAX]:
            text = read_text(file)
            runbook = parse(text, str(file), known)
            if runbook.id in own:
                where = f"{own[runbook.id].origin} and {file}"
                raise BadRunbook(f"two runbooks have the id {runbook.id!r}: {where}")
            own[runbook.id] = Kept(runbook, text, str(file))
        found |= own
    return Library(MappingProxyType(found))


@cache
def shipped() -> Library:
    """The runbooks that come with knowngood."""
    found: dict[str, Kept] = {}
    for file in sorted(SHIPPED_FOLDER.glob(f"*{SUFFIX}")):
        text = read_text(file)
        runbook = parse(text, file.name, known_of(None))
        found[runbook.id] = Kept(runbook, text, SHIPPED)
    return Library(MappingProxyType(found))


def known_of(policy: PolicyFile | None, *, strict: bool = False) -> Known:
    """The names that a runbook may use under a policy; with `strict` its triggers' names too."""
    from knowngood.core.policy import parse as parse_policy

    file = policy or parse_policy({})
    triggers = trigger_names(file) if strict else None
    return Known(file.scores, file.counters, triggers)


def trigger_names(policy: PolicyFile) -> list[str]:
    """Every trigger of the policy, whatever prompt it is for."""
    places = [policy.data["defaults"], *policy.data["prompts"].values()]
    return sorted({name for place in places for name in place.get("triggers", {})})


# --- What may be seen


def listed(library: Library, now_ms: int) -> dict[str, Any]:
    """Every runbook in a line."""
    today = day_of(now_ms)
    return {"runbooks": [_row(kept, today) for _, kept in sorted(library.runbooks.items())]}


def show(
    desk: Desk,
    library: Library,
    name: str,
    incident: str | None,
    prompt: str | None,
    environment: str,
    now_ms: int,
) -> dict[str, Any]:
    """A runbook; with an incident or a prompt, filled with its names, numbers and commands."""
    kept = library.get(name)
    place = None
    values: dict[str, str] = {"runbook": name, **kept.runbook.constants}
    if incident or prompt:
        place = incident_values.place_of(desk, incident, prompt, environment)
        values |= incident_values.values_of(desk, place, now_ms)
    return {
        **_row(kept, day_of(now_ms)),
        "incident": place.incident if place else None,
        "values": {key: values.get(key, "") for key in (*VARIABLES, *kept.runbook.constants)},
        "intro": _filled(kept.runbook.intro, values, place is not None).strip(),
        "steps": [step_data(step, values, filled=place is not None) for step in kept.runbook.steps],
        "text": kept.text,
    }


def step_data(step: Step, values: Mapping[str, str], *, filled: bool = True) -> dict[str, Any]:
    """A step as data: its prose, what it does in words, and the command that does the same."""
    own = dict(values) if filled else {}
    act = step.work if isinstance(step.work, Act) else None
    return {
        "step": step.name,
        "title": _filled(step.title, own, filled),
        "kind": step.kind.value,
        "prose": _filled(readable(step.prose), own, filled),
        "does": _filled(does(step), own, filled) if step.work else None,
        "command": by_hand(act, own) if act and filled else None,
        "otherwise": "go_on" if step.goes_on else "stop",
    }


def readable(prose: str) -> str:
    """A step's prose without its executable block, which is said in words instead."""
    lines: list[str] = []
    inside = False
    for line in prose.split("\n"):
        if line.startswith("```") and "{" in line and not inside:
            inside = True
        elif inside:
            inside = line.strip() != "```"
        else:
            lines.append(line)
    return "\n".join(lines).strip("\n")


def _filled(text: str, values: Mapping[str, str], filled: bool) -> str:
    return fill_markdown(text, values) if filled else text


def _row(kept: Kept, today: date) -> dict[str, Any]:
    runbook = kept.runbook
    return {
        "id": runbook.id,
        "title": runbook.title,
        "severity": runbook.severity,
        "triggers": list(runbook.triggers),
        "owners": list(runbook.owners),
        "reviewed_at": runbook.reviewed_at,
        "overdue_days": overdue_days(runbook.reviewed_at, runbook.max_age_days, today),
        "steps_count": len(runbook.steps),
        "origin": kept.origin,
        "digest": runbook.digest,
    }


def checked(desk: Desk, text: str, now_ms: int) -> dict[str, Any]:
    """What is wrong with a runbook's text, under the policy in force."""
    known = known_of(desk.policy, strict=True)
    runbook, problems = lint(text, known, today=day_of(now_ms))
    return {
        "id": runbook.id if runbook else None,
        "valid": not problems,
        "problems": [problem_data(problem) for problem in problems],
    }


def problem_data(problem: Problem) -> dict[str, Any]:
    """A problem as data."""
    return {"line": problem.line, "words": problem.words, "hint": problem.hint}


def day_of(now_ms: int) -> date:
    """The day of an instant, in UTC."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).date()
