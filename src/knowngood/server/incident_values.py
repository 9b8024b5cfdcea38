"""The names and numbers of an incident that a runbook is filled with."""

import re
from dataclasses import dataclass
from typing import Any

from knowngood.core.errors import KnowngoodError, UnknownIncident
from knowngood.core.evolve import incident_of
from knowngood.core.explain import amount, finding_words
from knowngood.core.history import AuditEntry
from knowngood.core.measure import measure
from knowngood.core.model import Verdict, Verifying
from knowngood.core.steps.case import Case, env_option
from knowngood.core.steps.target import choose_target
from knowngood.engine.observe import unfit
from knowngood.server.act import case_of
from knowngood.server.desk import Desk
from knowngood.server.words import iso

_NO_INCIDENT = re.compile(r"g\d+(\.0)?")
LINES_MAX = 1_000  # of a prompt's history, in which an incident that is over is looked for
NAMES_KNOWN = 20
MOVES = ("rollback.switched", "rollback.gradual")
OPENINGS = ("incident.opened", "rollback.confirmed", "rollback.held", "rollback.suspected")


@dataclass(frozen=True, slots=True)
class Place:
    """What a runbook is about: an incident, or a prompt in an environment where there is none."""

    incident: str
    environment: str
    prompt: str


def place_of(
    desk: Desk, incident: str | None, prompt: str | None, environment: str = "production"
) -> Place:
    """The incident's place, or the prompt's own. Raises Unknown… with what is known."""
    if incident:
        return _incident_place(desk, incident_of(incident))
    state = desk.state(environment, desk.resolve(prompt or "")[0])
    if state.incident is not None:
        return Place(state.incident.id, environment, state.prompt)
    generation = state.route.generation if state.route else 0
    return Place(f"{environment}/{state.prompt}/g{generation}", environment, state.prompt)


def _incident_place(desk: Desk, incident: str) -> Place:
    parts = incident.split("/")
    known = [s.incident.id for s in desk.store.states.all() if s.incident][:NAMES_KNOWN]
    if len(parts) != 3:
        raise UnknownIncident(
            f"{incident!r} is no incident's id",
            known=known,
            next_step="as in production/NAME/g3.1, or name the prompt with --prompt",
        )
    if _NO_INCIDENT.fullmatch(parts[2]):  # what a page about no incident names
        return place_of(desk, None, parts[1], parts[0])
    place = Place(incident, parts[0], parts[1])
    state = desk.state(place.environment, place.prompt)
    open_one = state.incident is not None and state.incident.id == incident
    if not open_one and not _lines(desk, place):
        raise UnknownIncident(f"there is no incident {incident!r}", known=known)
    return place


def values_of(desk: Desk, place: Place, now_ms: int) -> dict[str, str]:
    """Every variable that is known of the place; the others are empty.

    The observations being unavailable costs the numbers and nothing else.
    """
    state = desk.store.states.get(place.environment, place.prompt)
    lines = _lines(desk, place)
    case, _ = case_of(desk, state, now_ms)
    bad, good = _versions(desk, case, lines, now_ms)
    incident = state.incident
    mine = incident if incident is not None and incident.id == place.incident else None
    said = [line for line in lines if line.kind in OPENINGS]
    breach = [finding_words(f) for f in case.findings if f.verdict is Verdict.BREACH]
    return {
        "incident": place.incident,
        "prompt": place.prompt,
        "environment": place.environment,
        "env": env_option(state).strip(),
        "severity": mine.severity.value if mine else "",
        "triggers": ", ".join(mine.triggers) if mine else "",
        "because": said[0].because if said else "; ".join(breach),
        "opened": iso(mine.opened_ms) if mine else iso(lines[0].at_ms) if lines else "",
        "bad_version": bad,
        "good_version": good,
        "related": ", ".join(desk.policy.related_to(place.prompt)),
        **_figures(case, bad),
        **_authors(desk, place.prompt, bad, good),
    }


def _versions(desk: Desk, case: Case, lines: list[AuditEntry], now_ms: int) -> tuple[str, str]:
    """The version at fault and the one to go back to, as far as anybody knows."""
    state = case.state
    moved = [line.detail for line in lines if line.kind in MOVES]
    if moved:
        return str(moved[-1].get("from", "")), str(moved[-1].get("to", ""))
    if isinstance(state.phase, Verifying):
        return state.phase.from_version, state.phase.to_version
    if state.route is None:
        return "", ""
    bad = state.incident.version if state.incident else case.suspect
    return bad, choose_target(state, bad, unfit(desk.store, state, case.policy, now_ms)) or ""


def _figures(case: Case, version: str) -> dict[str, str]:
    window = case.observed.evidence(version).since(case.now_ms - case.policy.window_ms)
    found: dict[str, str] = {"calls": str(window.call_count) if window.call_count else ""}
    for metric in ("error_rate", "latency_p99", "quality"):
        if metric == "quality" and metric not in case.policy.scores:
            continue
        seen = measure(metric, window, (), case.policy.scores)
        found[metric] = "" if seen.estimate is None else amount(metric, seen.estimate)
    return found


def _authors(desk: Desk, prompt: str, bad: str, good: str) -> dict[str, str]:
    found: list[str] = []
    provider: Any = ""
    for name in (bad, good):
        try:
            version = desk.store.registry.get(prompt, name) if name else None
        except KnowngoodError:
            version = None  # purged since
        if version is not None:
            found.append(version.author)
            provider = provider or version.content.config.get("provider", "")
    return {"authors": ", ".join(dict.fromkeys(found)), "provider": str(provider)}


def _lines(desk: Desk, place: Place) -> list[AuditEntry]:
    """The lines of history that name the incident, oldest first."""
    lines = desk.store.log.read(place.environment, place.prompt, limit=LINES_MAX)
    return [line for line in lines if line.detail.get("incident") == place.incident]
