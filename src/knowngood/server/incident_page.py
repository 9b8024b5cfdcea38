"""One incident as its page shows it: the record, how it stands now, and what to do about it."""

from collections.abc import Collection
from typing import Any

from knowngood.core.errors import KnowngoodError
from knowngood.core.explain import duration
from knowngood.core.incident_path import along, path_of
from knowngood.core.incident_record import Record
from knowngood.core.model import Outcome, Standing, State, Verdict
from knowngood.core.runbook import Situation
from knowngood.core.runbook_run import Run, RunState, Word
from knowngood.core.steps.parts import release_of
from knowngood.core.tree import TreeNode, tree
from knowngood.server import runbook_runs, runbooks
from knowngood.server.act import Ask
from knowngood.server.desk import Desk
from knowngood.server.fleet import row_of
from knowngood.server.incidents import affected, record, record_data, took
from knowngood.server.read import fleet_hold
from knowngood.server.runbooks import Library

Data = dict[str, Any]

RUNS_SHOWN = 20
NEIGHBOURS_MAX = 20
BAR = 1_000  # a bar's whole length
SLIVER = 8  # what a second of five minutes is still seen as
BETWEEN = {
    "detect": "from the deploy until it was seen",
    "decide": "until it was decided",
    "act": "until the route had moved",
    "propagate": "until every process followed",
    "recover": "from the switch until recovery was proven",
    "total": "from the deploy to the end",
}
BRAKES = {
    "no_target": Situation.TARGET_BAD,
    "upstream": Situation.UPSTREAM,
    "flap": Situation.FLAP,
}


def page(desk: Desk, library: Library, incident_id: str, wanted: str, now_ms: int) -> Data:
    """Everything that the page shows. `wanted` is the runbook to show, empty for its own.

    Raises UnknownIncident, or UnknownRunbook for a wanted one.
    """
    found = record(desk, incident_id, now_ms)
    filed, state = found.facts.filed, found.facts.state
    data = record_data(desk, found)
    row = row_of(desk, filed.environment, filed.prompt, now_ms)
    is_current = state.incident is not None and state.incident.id == incident_id
    question = row["question"] if is_current else None
    return {
        **data,
        "row": row,
        "question": question if question and question["stage"] != "observing" else None,
        "serves_bad": state.route is not None and bool(state.route.weight_bp(data["version"])),
        "automation": fleet_hold(desk, filed.environment, now_ms) or row["automation"],
        "bars": [bar(clock, is_over=not data["open"]) for clock in data["clocks"]],
        "branches": branches(found, is_whole=False),
        "all_branches": branches(found, is_whole=True),
        "neighbours": neighbours(desk, found, now_ms),
        "book": book(desk, library, found, data, wanted, now_ms),
    }


# --- Clocks


def bar(clock: Data, *, is_over: bool) -> Data:
    """A clock as a bar: how far it went, where its limits stand, and whether they were kept."""
    ms, limit_ms, most_ms = clock["ms"], clock["limit_ms"], clock["at_most_ms"]
    allowed_ms = most_ms if most_ms and ms is not None and ms > limit_ms else limit_ms
    top_ms = max(ms or 0, allowed_ms or 0, 1) * 1.1
    meanings = {"within": "good", "late": "watching", "over": "bad"}
    filled = max(SLIVER, round(BAR * ms / top_ms)) if ms and limit_ms else 0
    return {
        **clock,
        "between": BETWEEN[clock["name"]],
        "meaning": meanings.get(clock["kept"], "none"),
        "verdict": _kept_words(clock, is_over),
        "fill": min(BAR, filled),
        "goal": round(BAR * limit_ms / top_ms) if limit_ms else None,
        "most": round(BAR * most_ms / top_ms) if most_ms and allowed_ms == most_ms else None,
        "limit": took(limit_ms) if limit_ms else "",
        "at_most": took(most_ms) if most_ms else "",
    }


def _kept_words(clock: Data, is_over: bool) -> str:
    ms, limit_ms, most_ms = clock["ms"], clock["limit_ms"], clock["at_most_ms"]
    if ms is None:
        return "it did not come to that" if is_over else "not yet"
    if limit_ms is None:
        return "no limit" if clock["name"] != "total" else ""
    match clock["kept"]:
        case "within":
            return f"kept: within {took(limit_ms)}"
        case "late":
            return f"late: past {took(limit_ms)}, within the {took(most_ms)} that are allowed"
        case "over":
            return f"missed: past {took(most_ms or limit_ms)}"
    return f"{duration(limit_ms - ms)} left of {took(limit_ms)}"


# --- The way through the policy


def branches(found: Record, *, is_whole: bool) -> Data:
    """The policy's tree with the incident's way marked; what branches off it, only if whole."""
    keys = path_of(found)
    root = tree(found.facts.policy)
    return _branch(root if is_whole else along(root, keys), set(keys))


def _branch(node: TreeNode, keys: Collection[str]) -> Data:
    return {
        "label": node.label,
        "on": node.key in keys,
        "children": [_branch(child, keys) for child in node.children],
    }


# --- Other prompts


def neighbours(desk: Desk, found: Record, now_ms: int) -> list[Data]:
    """The prompts that had to do with it, or are declared related, each with how it stands now.

    `with_it`: a rollback takes it along, since both were released as one.
    """
    filed, state = found.facts.filed, found.facts.state
    rows: dict[str, Data] = {each["prompt"]: each for each in affected(desk, found)}
    together = _released_with(state, filed.incident.version)
    for prompt in together:
        rows.setdefault(prompt, {"prompt": prompt, "how": "released_with", "incident": None})
    for prompt in desk.policy.related_to(filed.prompt):
        rows.setdefault(prompt, {"prompt": prompt, "how": "declared", "incident": None})
    whole = []
    for prompt in sorted(rows)[:NEIGHBOURS_MAX]:
        row = row_of(desk, filed.environment, prompt, now_ms)
        is_well = all(arm["standing"] == Standing.GOOD for arm in row["arms"])
        whole.append(
            {
                **rows[prompt],
                "row": row,
                "with_it": prompt in together,
                "may_go_back": bool(row["arms"])
                and prompt not in together
                and (not is_well or row["verdict"] == Verdict.BREACH),
            }
        )
    return whole


def _released_with(state: State, version: str) -> set[str]:
    """The prompts whose versions came with this one, while it is served."""
    release = release_of(state)
    if release is None or state.route is None or state.route.suspect.version != version:
        return set()
    return {member.prompt for member in release.members} - {state.prompt}


# --- The runbook


def book(desk: Desk, library: Library, found: Record, data: Data, wanted: str, now_ms: int) -> Data:
    """The runbook that belongs to the incident, as far as it was run."""
    kept = desk.store.runs.of(found.facts.filed.id, RUNS_SHOWN)
    run = _run(kept, wanted)
    name = wanted or (run.runbook if run else None) or _own(library, found, data)
    others = [(id_, each.runbook.title) for id_, each in sorted(library.runbooks.items())]
    whole: Data = {"name": name, "others": others, "run": None, "trouble": "", "steps": []}
    if name is None:
        return whole
    if run is None:
        filled = runbooks.show(desk, library, name, found.facts.filed.id, None, "", now_ms)
        return {**whole, **{key: filled[key] for key in ("title", "intro", "steps")}}
    try:
        seen = runbook_runs.run_data(desk, run, now_ms)
    except KnowngoodError as error:  # what it names is not in the policy any more
        return {**whole, "title": run.runbook, "intro": "", "trouble": error.message}
    following = seen["next"]
    return {
        **whole,
        "title": seen["title"],
        "intro": "",
        "steps": seen["steps"],
        "run": seen,
        "now": _sees(desk, run, following, now_ms) if following else "",
    }


def _run(kept: list[Run], wanted: str) -> Run | None:
    """The run to go on with, else the newest."""
    mine = [run for run in kept if not wanted or run.runbook == wanted]
    going = (run for run in mine if run.state is not RunState.DONE)
    return next(going, mine[0] if mine else None)


def _own(library: Library, found: Record, data: Data) -> str | None:
    incident = found.facts.filed.incident
    findings = (data["evidence"] or {}).get("findings", ())
    metrics = tuple(dict.fromkeys(finding["metric"] for finding in findings))
    return library.runbook_for(_situation(found, data), incident.triggers, metrics)


def _situation(found: Record, data: Data) -> str:
    """What the incident has become, where that says more than its triggers."""
    outcome = (data["verification"] or {}).get("outcome") or data["outcome"]
    if outcome == Outcome.NOT_RECOVERED:
        return Situation.ROLLBACK_FAILED.value
    held = [line for line in found.timeline if line.kind == "rollback.held"]
    brake = str(held[-1].detail.get("brake", "")) if held else ""
    if brake in BRAKES:
        return BRAKES[brake].value
    return Situation.CASCADE.value if found.facts.parts else ""


def _sees(desk: Desk, run: Run, step: Data, now_ms: int) -> str:
    """What a look would find now, for a step that looks or waits."""
    if step["kind"] not in ("check", "wait"):
        return ""
    try:
        ask = Ask("dashboard", dry_run=True)
        seen = runbook_runs.rehearse(desk, run.id, step["step"], Word.GO, ask, now_ms)
    except KnowngoodError:
        return ""
    return seen[0].removeprefix(f"{step['title']}: ")
