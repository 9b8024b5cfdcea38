"""What a person can do from a page: each verb is one order, rehearsed before it is given.

A verb's `order` is called twice: with `dry_run` for the page that shows exactly what would change,
and then in earnest with what that page has shown. What a rollback is bound to is the version on
trial and the target that were seen, not the revision: it must not be refused because somebody wrote
a note meanwhile. Everything else that could surprise is bound to the revision.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from knowngood.core.asking import Answer
from knowngood.core.errors import BadRequest
from knowngood.core.units import duration_ms
from knowngood.server import act, answers, approvals, incident_orders, incidents, rollouts
from knowngood.server.act import Ask, Gradual
from knowngood.server.desk import Desk
from knowngood.server.roles import Need, need_of
from knowngood.server.rollouts import Steps

Given = Mapping[str, str]
Data = dict[str, Any]
Order = Callable[..., Data]  # (desk, given, ask, now_ms), and the library where it is needed
BECAUSE_CHARS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class Field:
    """A further field that a page asks for."""

    label: str
    hint: str
    usual: str = ""


ASKED = {
    "for": Field("For how long", "such as 30m or 2h", "1h"),
    "of": Field("Which incident it repeats", "its id, such as production/NAME/g3.1"),
    "person": Field("Who", "the name of a person"),
}


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that can be done.

    `does` says what it does to users, `button` is the last word before it is done. `api` is the
    route of the API that does the same: who may do it there may do it here. `keeps` are the fields
    that say what is meant. `is_bound`: it is refused when the state has changed meanwhile.
    """

    title: str
    does: str
    button: str
    api: str
    order: Order
    keeps: tuple[str, ...] = ("environment", "prompt")
    is_bound: bool = True
    is_grave: bool = False
    asks_for: str = ""  # one of ASKED
    asks_why: str = "Why"  # what the field for the reason is called
    why_chars_max: int = BECAUSE_CHARS_MAX
    is_about_harm: bool = True  # what is wrong now is the reason that is offered
    needs_library: bool = False

    @property
    def need(self) -> Need:
        """The role that it needs."""
        return need_of("POST", self.api)


def rollback(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """To the target that was shown, from the version that was on trial then."""
    return _back(desk, given, ask, now_ms, None)


def gradual(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """The same in the policy's stages."""
    return _back(desk, given, ask, now_ms, Gradual())


def _back(desk: Desk, given: Given, ask: Ask, now_ms: int, steps: Gradual | None) -> Data:
    seen = given.get("suspect", "")
    return act.rollback(
        desk,
        given["environment"],
        given["prompt"],
        given.get("to") or None,
        ask,
        now_ms,
        gradual=steps,
        first=act.only_from(desk, seen) if seen else act.nothing_first,
    )


def _answer(said: Answer) -> Order:
    def order(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
        named = given.get("thread") or given["prompt"]
        number = int(given["number"]) if given.get("number", "").isdecimal() else None
        return answers.answer(desk, named, said, number, ask, now_ms, given["environment"])

    return order


def _rollout(do: Callable[[Desk, str, str, Ask, int], Data]) -> Order:
    def order(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
        return do(desk, given["environment"], given["prompt"], ask, now_ms)

    return order


def promote(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """Up the policy's ladder."""
    place = given["environment"], given["prompt"], _version(given)
    return rollouts.promote(desk, *place, ask, Steps(), now_ms)


def agree(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """The second person's word for a promotion."""
    place = given["environment"], given["prompt"], _version(given)
    return approvals.approve_promotion(desk, *place, ask, now_ms)


def vouch(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """Known good by a person's word."""
    return act.vouch(desk, given["environment"], given["prompt"], _version(given), ask, now_ms)


def unquarantine(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """A candidate again."""
    place = given["environment"], given["prompt"], _version(given)
    return act.unquarantine(desk, *place, ask, now_ms)


def hold(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """Automation off, for as long as is said; without a prompt, for all of them."""
    off_ms = duration_ms(given.get("for") or "1h")
    return act.automation(
        desk, given["environment"], given.get("prompt") or None, off_ms, ask, now_ms
    )


def release(desk: Desk, given: Given, ask: Ask, now_ms: int) -> Data:
    """Automation on again."""
    return act.automation(
        desk, given["environment"], given.get("prompt") or None, None, ask, now_ms
    )


def _version(given: Given) -> str:
    if not given.get("version"):
        raise BadRequest("no version is named", next_step="choose one on the prompt's page")
    return given["version"]


_BACK = ("environment", "prompt", "to", "suspect")
_ANSWER = ("environment", "prompt", "thread", "number")
_VERSION = ("environment", "prompt", "version")
_INCIDENT = ("environment", "prompt", "incident")
_NAMED = "/api/incidents/{environment}/{prompt}/{number}"

VERBS: dict[str, Verb] = {
    "rollback": Verb(
        "Roll back",
        "Everybody is served the known-good version, at once.",
        "Roll back now",
        "/api/rollback",
        rollback,
        _BACK,
        is_bound=False,
        is_grave=True,
    ),
    "gradual": Verb(
        "Roll back gradually",
        "Users go back in stages, and the target is watched on the way.",
        "Begin the rollback",
        "/api/rollback",
        gradual,
        _BACK,
        is_bound=False,
        is_grave=True,
    ),
    "approve": Verb(
        "Approve the rollback",
        "What was asked is done: the version goes, the target serves.",
        "Approve: roll back",
        "/api/answers",
        _answer(Answer.APPROVE),
        _ANSWER,
        is_bound=False,
        is_grave=True,
    ),
    "decline": Verb(
        "Investigate, and do not roll back",
        "Nothing moves. You are reminded until it is over, or until you decide otherwise.",
        "Investigate",
        "/api/answers",
        _answer(Answer.DECLINE),
        _ANSWER,
        is_bound=False,
    ),
    "ack": Verb(
        "Acknowledge",
        "Nobody else is called. A question that is open stays open.",
        "I am looking at it",
        "/api/answers",
        _answer(Answer.ACK),
        ("environment", "prompt", "thread"),
        is_bound=False,
    ),
    "pause": Verb(
        "Pause the rollout",
        "It stays at its stage until somebody resumes it. A breach still rolls back.",
        "Pause",
        "/api/rollouts/pause",
        _rollout(rollouts.pause),
        is_bound=False,
    ),
    "resume": Verb(
        "Resume the rollout",
        "It goes on; the stage's time begins anew.",
        "Resume",
        "/api/rollouts/resume",
        _rollout(rollouts.resume),
    ),
    "skip": Verb(
        "Skip to the next stage",
        "The next stage begins without waiting for the gates of this one.",
        "Skip this stage",
        "/api/rollouts/skip",
        _rollout(rollouts.skip),
        is_grave=True,
    ),
    "abort": Verb(
        "Abort the rollout",
        "The version that served before has everybody again. Nothing is quarantined.",
        "Abort",
        "/api/rollouts/abort",
        _rollout(rollouts.abort),
        is_grave=True,
    ),
    "promote": Verb(
        "Promote a version",
        "It begins at the first stage of the ladder and climbs on proof.",
        "Begin the canary",
        "/api/promote",
        promote,
        _VERSION,
    ),
    "agree": Verb(
        "Approve a promotion",
        "Nothing moves by this. Somebody else may begin to serve the version now.",
        "Approve the promotion",
        "/api/approvals",
        agree,
        _VERSION,
        is_bound=False,
    ),
    "vouch": Verb(
        "Call it known good",
        "By your word a rollback may choose it.",
        "Vouch for it",
        "/api/vouch",
        vouch,
        _VERSION,
    ),
    "unquarantine": Verb(
        "Lift the quarantine",
        "It is a candidate again and may be promoted.",
        "Lift it",
        "/api/unquarantine",
        unquarantine,
        _VERSION,
    ),
    "hold": Verb(
        "Turn automatic rollbacks off",
        "Nothing rolls back by itself meanwhile. A person's rollback works all the while.",
        "Turn off",
        "/api/automation",
        hold,
        is_grave=True,
        asks_for="for",
    ),
    "release": Verb(
        "Turn automatic rollbacks on",
        "Critical damage is rolled back by itself again.",
        "Turn on",
        "/api/automation",
        release,
    ),
    "note": Verb(
        "Add a note",
        "It stands in the timeline of the incident, which only grows.",
        "Add the note",
        f"{_NAMED}/notes",
        incident_orders.note,
        (*_INCIDENT, "update", "next"),
        is_bound=False,
        asks_why="Note",
        why_chars_max=incidents.TEXT_CHARS_MAX,
        is_about_harm=False,
    ),
    "role": Verb(
        "Give somebody a role",
        "Everybody sees who does what. The last word on a role holds.",
        "Give the role",
        f"{_NAMED}/roles",
        incident_orders.role,
        (*_INCIDENT, "role"),
        is_bound=False,
        asks_for="person",
        is_about_harm=False,
    ),
    "false_positive": Verb(
        "Close as a false positive",
        "Nothing was wrong: the record says so, and the version is watched anew.",
        "It was a false positive",
        f"{_NAMED}/close",
        incident_orders.false_positive,
        _INCIDENT,
        is_bound=False,
        is_about_harm=False,
    ),
    "duplicate": Verb(
        "Close as a duplicate",
        "The record names the incident that this one repeats.",
        "It is a duplicate",
        f"{_NAMED}/close",
        incident_orders.duplicate,
        _INCIDENT,
        is_bound=False,
        asks_for="of",
        is_about_harm=False,
    ),
    "review": Verb(
        "Mark as reviewed",
        "It was what it seemed, and has been gone over.",
        "It is reviewed",
        f"{_NAMED}/close",
        incident_orders.review,
        _INCIDENT,
        is_bound=False,
        is_about_harm=False,
    ),
    "runbook": Verb(
        "Run the runbook",
        "Its steps are gone through one by one. Nothing is ordered before you say so at its step.",
        "Begin",
        "/api/runbook-runs",
        incident_orders.begin,
        (*_INCIDENT, "runbook"),
        is_bound=False,
        is_about_harm=False,
        needs_library=True,
    ),
    "step": Verb(
        "Go on with the runbook",
        "The step is done once, and stands in the timeline with your name.",
        "Do it",
        "/api/runbook-runs/answer",
        incident_orders.step,
        (*_INCIDENT, "run", "step", "word"),
        is_bound=False,
        is_about_harm=False,
    ),
}
