"""Times and actions for people and machines: what `read` and `act` both say."""

from datetime import UTC, datetime
from typing import Any

from knowngood.core.explain import duration, phase_words, route_words, wait_words
from knowngood.core.ladder import stages_words
from knowngood.core.model import (
    Action,
    Approve,
    Arm,
    CountRollback,
    Enter,
    Freeze,
    Hold,
    Join,
    MoveRoute,
    Notify,
    Record,
    Renew,
    Route,
    SetAlarm,
    SetAutomation,
    SetIncident,
    SetQuestion,
    SetRollout,
    Stand,
    State,
    Strike,
    Told,
    Wait,
)


def iso(ms: int) -> str:
    """The instant as ISO 8601 in UTC, to the millisecond: `2026-01-31T12:00:00.250Z`."""
    seconds, rest_ms = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ms:03d}Z"


def when(name: str, ms: int | None) -> dict[str, Any]:
    """An instant in both forms: `{name}_ms` and, as ISO text, `{name}`."""
    return {f"{name}_ms": ms, name: None if ms is None else iso(ms)}


def many(count: int, noun: str) -> str:
    """`1 message`, `2 messages`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def arms_data(state: State, arms: tuple[Arm, ...]) -> list[dict[str, Any]]:
    """The arms with what the ledger says of their versions, the control first."""
    return [
        {
            "version": arm.version,
            "weight_bp": arm.weight_bp,
            "standing": state.standing(arm.version),
        }
        for arm in arms
    ]


def route_data(state: State) -> dict[str, Any]:
    """A state's route in words and numbers."""
    route = state.route
    return {
        "route": route_words(route),
        "arms": arms_data(state, route.arms) if route else [],
        "generation": route.generation if route else 0,
        "revision": state.revision,
        **when("routed", route.since_ms if route else None),
    }


def hold_data(hold: Hold | None, now_ms: int) -> dict[str, Any] | None:
    """A hold of automation that is in force, with its words."""
    if hold is None or now_ms >= hold.until_ms:
        return None
    left = duration(hold.until_ms - now_ms)
    return {
        **when("until", hold.until_ms),
        "because": hold.because,
        "actor": hold.actor,
        "words": f"automation is off by {hold.actor}: {hold.because} ({left} left)",
    }


def action_words(action: Action) -> str:
    """An action as an imperative."""
    match action:
        case MoveRoute(arms):
            return f"serve {route_words(Route(arms))}"
        case Stand(version, standing, because):
            return f"write {version} into the ledger as {standing.value}: {because}"
        case Freeze(version, baseline):
            return f"keep the last day of {version} as its baseline ({baseline.call_count} calls)"
        case Join(version, release):
            return f"remember that {version} came with the release {release.name}"
        case Renew(version):
            return f"begin the evidence on {version} anew"
        case Strike(version):
            return f"strike {version} from the ledger"
        case Enter(phase):
            return f"begin: {phase_words(phase)}"
        case SetIncident(None):
            return "close the incident"
        case SetIncident(incident):
            assert incident is not None
            return f"open or amend incident {incident.id}"
        case SetRollout(None):
            return "end the rollout"
        case SetRollout(rollout):
            assert rollout is not None
            return f"put {rollout.moving} at {stages_words(rollout)}"
        case SetQuestion(None):
            return "ask no more"
        case SetQuestion(question):
            assert question is not None
            return f"ask {question.who} about {question.trigger}: {question.stage.value}"
        case SetAlarm(alarm):
            return f"amend the alarm {alarm.thread}"
        case Approve(approval):
            return f"remember that {approval.actor} approves {approval.version}"
        case Notify(audience=audience, subject=subject):
            return f"tell {audience}: {subject}"
        case Told(notice, forget):
            return f"{'forget' if forget else 'remember'} the notice {notice}"
        case SetAutomation(None):
            return "turn automation on"
        case SetAutomation(hold):
            assert hold is not None
            return f"turn automation off until {iso(hold.until_ms)}"
        case CountRollback():
            return "count the rollback for the flap guard"
        case Record(kind, because):
            return f"record {kind}: {because}"


def wait_data(wait: Wait) -> dict[str, Any]:
    """What is waited on, as data with its words."""
    return {
        "kind": wait.kind,
        "words": wait_words(wait),
        "need": wait.need,
        "have": wait.have,
        "detail": wait.detail,
        "eta_ms": wait.eta_ms,
    }
