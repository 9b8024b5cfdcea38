"""Incidents as they are filed: opened, amended and closed with the state that they belong to.

Every store files them inside the transaction of the state's change, so that what is over is found
as quickly as what is open. What an incident was all about is folded from the history: see
core.incident_record.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from knowngood.core.errors import UnknownIncident
from knowngood.core.model import Change, Incident, SetIncident, Severity, State

IDS_KNOWN = 10  # that a refusal names


@dataclass(frozen=True, slots=True)
class Rise:
    """A severity, and since when the incident has had it."""

    severity: Severity
    since_ms: int


@dataclass(frozen=True, slots=True)
class Filed:
    """An incident as it is filed. `incident` is the last that the state said of it."""

    environment: str
    prompt: str
    incident: Incident
    closed_ms: int | None = None
    severities: tuple[Rise, ...] = ()  # the newest is the incident's own

    @property
    def id(self) -> str:
        """The incident's id."""
        return self.incident.id


@dataclass(frozen=True, slots=True)
class Filing:
    """An incident was opened, amended or (`is_over`) closed."""

    environment: str
    prompt: str
    incident: Incident
    at_ms: int
    is_over: bool = False


def filings(before: State, change: Change, now_ms: int) -> list[Filing]:
    """What a change does to the state's incidents, in order; one of another id ends the open one"""
    open_one = before.incident
    found: list[Filing] = []
    for action in change.actions:
        if not isinstance(action, SetIncident):
            continue
        place = change.environment, change.prompt
        said = action.incident
        if open_one is not None and (said is None or said.id != open_one.id):
            found.append(Filing(*place, open_one, now_ms, is_over=True))
        if said is not None:
            found.append(Filing(*place, said, now_ms))
        open_one = said
    return found


def filed(there: Filed | None, filing: Filing) -> Filed:
    """What is filed after the filing; `there` is what was filed before."""
    incident = filing.incident
    kept = there or Filed(
        filing.environment,
        filing.prompt,
        incident,
        severities=(Rise(incident.severity, incident.opened_ms),),
    )
    if incident.severity is not kept.severities[-1].severity:
        rise = Rise(incident.severity, filing.at_ms)
        kept = replace(kept, severities=(*kept.severities, rise))
    # Closed is closed: an id never comes back, for it names the route's generation.
    closed_ms = filing.at_ms if filing.is_over else kept.closed_ms
    return replace(kept, incident=incident, closed_ms=closed_ms)


def unknown(incident_id: str, known: Collection[str]) -> UnknownIncident:
    """The refusal of an id under which nothing is filed; `known` are the newest ids."""
    return UnknownIncident(
        f"there is no incident {incident_id!r}",
        known=list(known)[:IDS_KNOWN],
        next_step="knowngood incident list",
    )
