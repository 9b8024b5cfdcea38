"""What must always hold of a state: asked after every change, by the simulator and by `doctor`."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from knowngood.core import ladder
from knowngood.core.errors import KnowngoodError
from knowngood.core.model import (
    FLEET,
    Confirming,
    Incident,
    Route,
    Standing,
    State,
    Steady,
    Verifying,
)
from knowngood.core.rollout import Rollout, RolloutKind

INCIDENT_NUMBER = re.compile(r"g(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")


class BadState(KnowngoodError):
    """The change would leave a state that makes no sense."""

    code = "bad_state"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not hold. An error must never be stored; a warning may pass by itself."""

    severity: Literal["error", "warning"]
    message: str


def problems(state: State) -> list[Problem]:
    """Everything that is wrong with a state, errors and warnings; empty when it is sound."""
    return [
        *(_errors(state, _basic(state))),
        *(_errors(state, _ledger(state))),
        *(_errors(state, _fleet(state) if state.prompt == FLEET else _route(state))),
        *(_errors(state, _phase(state))),
        *(_errors(state, _rollout(state, state.rollout) if state.rollout else ())),
        *(_errors(state, _incident(state, state.incident) if state.incident else ())),
        *(Problem("warning", f"{_name(state)}: {message}") for message in _oddities(state)),
    ]


def refuse(state: State, before: State | None = None) -> None:
    """Raises BadState with every error of the state that `before` did not have; warnings pass.

    An old error, whatever made it, must not stand in the way of a rollback; `doctor` reports it.
    """
    errors = [p.message for p in problems(state) if p.severity == "error"]
    if errors and before is not None:
        old = {p.message for p in problems(before)}
        errors = [message for message in errors if message not in old]
    if errors:
        raise BadState("; ".join(errors))


def _name(state: State) -> str:
    return f"{state.environment}/{state.prompt}"


def _errors(state: State, messages: Iterable[str]) -> Iterator[Problem]:
    return (Problem("error", f"{_name(state)}: {message}") for message in messages)


def _basic(state: State) -> Iterator[str]:
    if not state.environment or not state.prompt:
        yield "a state needs an environment and a prompt"
    if state.revision < 0:
        yield f"the revision is {state.revision}; it starts at 0 and rises"
    if state.incident_count < 0:
        yield f"the incident count is {state.incident_count}"
    if len(set(state.told)) != len(state.told):
        yield "a notice is remembered twice"


def _ledger(state: State) -> Iterator[str]:
    seen: set[str] = set()
    for entry in state.ledger:
        if entry.version in seen:
            yield f"the ledger has {entry.version} twice"
        seen.add(entry.version)
        if not entry.version:
            yield "the ledger has a version without a name"
        if entry.since_ms < 0 or (entry.routed_ms or 0) < 0:
            yield f"the ledger's times of {entry.version} are negative"


def _fleet(state: State) -> Iterator[str]:
    if state.route is not None:
        yield "the fleet's own state has a route"
    if state.ledger:
        yield "the fleet's own state has a ledger"
    if not isinstance(state.phase, Steady):
        yield f"the fleet's own state is {type(state.phase).__name__.lower()}"


def _route(state: State) -> Iterator[str]:
    if state.route is None:
        return
    if state.route.generation < 1:
        yield f"the route's generation is {state.route.generation}; a route comes with 1 or more"
    if state.route.since_ms < 0:
        yield f"the route is there since {state.route.since_ms} ms"
    for arm in state.route.arms:
        if state.entry(arm.version) is None:
            yield f"{arm.version} is on the route and not in the ledger"


def _phase(state: State) -> Iterator[str]:
    match state.phase:
        case Confirming(version=version):
            if not _serves(state.route, version):
                yield f"confirming a breach of {version}, which is not on the route"
        case Verifying() as phase:
            if not _serves(state.route, phase.to_version):
                yield f"verifying the recovery on {phase.to_version}, which is not on the route"
            if phase.from_version == phase.to_version:
                yield f"verifying a switch from {phase.from_version} to itself"
            if phase.deadline_ms < phase.began_ms:
                yield "the recovery's deadline is before its beginning"
            if phase.attempt_count < 1:
                yield f"the recovery's attempt count is {phase.attempt_count}"
        case Steady():
            pass


def _rollout(state: State, rollout: Rollout) -> Iterator[str]:
    """A rollout says what is served, and stands on a stage of a ladder that is one."""
    steps = rollout.ladder
    if not 0 <= rollout.stage < len(steps.stages_bp):
        yield f"the rollout stands on stage {rollout.stage} of {len(steps.stages_bp)}"
        return
    if wrong := ladder.problem(steps.stages_bp, rollout.kind):
        yield f"the rollout's ladder: {wrong}"
    if state.route is None or state.route.arms != ladder.arms(rollout):
        yield f"the route is not that of the rollout's stage, {ladder.stages_words(rollout)}"
    if rollout.begun is not None and (rollout.is_baking or rollout.kind is RolloutKind.GRADUAL):
        yield "a rollout that asks for no comparison has begun one"
    elif rollout.begun is not None and rollout.begun.share_bp != rollout.share_bp:
        yield f"the comparison was begun at another share than {ladder.share(rollout.share_bp)}"
    if rollout.answer is not None and rollout.begun is None:
        yield "a comparison was answered and never begun"
    if isinstance(state.phase, Verifying):
        yield "a rollout goes on while a rollback is verified"


def _serves(route: Route | None, version: str) -> bool:
    return route is not None and route.weight_bp(version) > 0


def _incident(state: State, incident: Incident) -> Iterator[str]:
    prefix = f"{_name(state)}/"
    number = INCIDENT_NUMBER.fullmatch(incident.id.removeprefix(prefix))
    if not incident.id.startswith(prefix) or number is None:
        yield f"the incident's id is {incident.id!r}, not {prefix}g<generation>.<n>"
    elif int(number[1]) != incident.generation:
        yield f"incident {incident.id} says it is of generation {incident.generation}"
    if state.route is not None and incident.generation > state.route.generation:
        yield f"incident {incident.id} is of a generation after the route's"


def _oddities(state: State) -> Iterator[str]:
    """What happens for good reasons, but not for long."""
    for arm in state.route.arms if state.route else ():
        # A gradual rollback quarantines a version while it still has traffic.
        if state.standing(arm.version) is Standing.QUARANTINED:
            yield f"{arm.version} is quarantined and has {arm.weight_bp / 100:g} % of the traffic"
    # A step of the wall clock can do this.
    if list(state.rollbacks_ms) != sorted(state.rollbacks_ms):
        yield "the rollbacks are not in the order of their times"
    if state.incident and state.prompt != FLEET and not state.entry(state.incident.version):
        yield f"the incident is about {state.incident.version}, which the ledger does not know"
