"""What every step gets, and what every step gives."""

from dataclasses import dataclass, replace
from typing import Any

from knowngood.core.asking import Purpose
from knowngood.core.codec import to_data
from knowngood.core.drill import DRILL_AUDIENCE, DRILL_MARK, is_drill
from knowngood.core.explain import finding_words, proof_words
from knowngood.core.model import (
    FLEET,
    Action,
    Change,
    Finding,
    Incident,
    Notify,
    Observed,
    Response,
    Severity,
    State,
    Wait,
)
from knowngood.core.people import AUTHOR, EscalationRule
from knowngood.core.rules import PromptPolicy
from knowngood.core.runbook_pick import runbook_of_page
from knowngood.core.window import to_row

USUAL_ENVIRONMENT = "production"  # what a command acts on that names none

UNVERIFIED = " (unverified)"  # after a name that was claimed in the local mode

QUIET_ENVIRONMENTS = ("staging",)  # breaches there are recorded and page nobody


@dataclass(frozen=True, slots=True)
class Case:
    """Everything known of one prompt at `now_ms`."""

    state: State
    observed: Observed
    policy: PromptPolicy
    findings: tuple[Finding, ...]
    now_ms: int

    @property
    def suspect(self) -> str:
        """The version that a rollback would take off the route."""
        assert self.state.route is not None
        return self.state.route.suspect.version

    @property
    def generation(self) -> int:
        """The generation of the route in force."""
        return self.state.route.generation if self.state.route else 0

    def told(self, notice: str) -> bool:
        """Whether the notice was given since the route last moved."""
        return notice in self.state.told


@dataclass(frozen=True, slots=True)
class Step:
    """What one step wants done and what it waits on."""

    actions: tuple[Action, ...] = ()
    waiting_on: tuple[Wait, ...] = ()
    fleet_actions: tuple[Action, ...] = ()
    companions: tuple[Change, ...] = ()
    before_ms: int | None = None  # what is done holds only before this moment


IDLE = Step()


def page(
    case: Case,
    key: str,
    audience: str,
    severity: Severity,
    subject: str,
    body: str,
    *,
    purpose: Purpose = Purpose.NOTE,
    thread: str = "",
    question: int | None = None,
    answers: str = "",
) -> tuple[Notify, ...]:
    """A message to people; none from an environment that never pages, unless it is a drill's.

    `answers` say how to answer it: they are part of this message, and of no later one.
    """
    said = f"{body} {answers}" if answers else body
    said += runbook_line(key, case.findings)
    if case.state.environment not in QUIET_ENVIRONMENTS:
        note = Notify(key, audience, severity, subject, said, purpose, thread, question)
        first = to_first_level(replace(note, evidence=body), case.policy.escalation)
        return (replace(first, targets=with_authors(case, first.targets)),)
    if not _is_drill(case):
        return ()
    said = f"For {audience}, if this were no drill: {said}"
    return (Notify(key, DRILL_AUDIENCE, severity, f"{DRILL_MARK} {subject}", said),)


def to_first_level(note: Notify, rule: EscalationRule) -> Notify:
    """A page that may escalate goes to the level that is told first; all else is left as it is."""
    if note.purpose is not Purpose.PAGE or not note.thread:
        return note
    first = rule.first_call(note.audience)
    if first is None:
        return replace(note, level=-1)
    if first.targets == (note.audience,):  # it says the same
        return replace(note, channels=first.channels)
    return replace(note, targets=first.targets, channels=first.channels)


def with_authors(case: Case, targets: tuple[str, ...]) -> tuple[str, ...]:
    """The targets, with the authors by name where these are among them."""
    if AUTHOR not in targets:
        return targets
    return tuple(dict.fromkeys((*targets, *map(name_of, case.observed.authors.values()))))


def name_of(actor: str) -> str:
    """The name that the policy's people bear; of one that nothing proves, as it was claimed."""
    return actor.removesuffix(UNVERIFIED)


def resolved(
    case: Case, incident: Incident, key: str, severity: Severity, subject: str, body: str
) -> tuple[Notify, ...]:
    """The word that an incident is over, in its own thread and in each that was opened for it."""
    others = [a.thread for a in case.state.alarms if a.thread.startswith(f"{incident.id}:")]
    return tuple(
        note
        for thread in (incident.id, *others)
        for note in page(
            case,
            key if thread == incident.id else f"{key}:{thread}",
            "incidents",
            severity,
            subject,
            body,
            purpose=Purpose.RESOLVED,
            thread=thread,
        )
    )


def runbook_line(key: str, findings: tuple[Finding, ...]) -> str:
    """What a message's body ends with: the command that shows what to do."""
    name = runbook_of_page(key, findings)
    place = key.partition(":")[0]
    if not name or place.count("/") < 2:  # it belongs to no route and no incident
        return ""
    return f" Runbook: `knowngood runbook show {name} --incident {place}`."


def _is_drill(case: Case) -> bool:
    """Whether the version that it is about is a drill's."""
    about = [case.state.incident.version] if case.state.incident else []
    about += [case.suspect] if case.state.route else []
    return any(is_drill(version) for version in about)


def title(case: Case) -> str:
    """`<prompt> (<environment>)`, how every subject begins."""
    name = "knowngood" if case.state.prompt == FLEET else case.state.prompt
    return f"{name} ({case.state.environment})"


def env_option(state: State) -> str:
    """What a command that is copied needs so that it acts on this environment and no other."""
    return "" if state.environment == USUAL_ENVIRONMENT else f" --env {state.environment}"


def sentence(found: tuple[Finding, ...]) -> str:
    """The findings in one line."""
    return "; ".join(finding_words(f) for f in found)


def evidence(case: Case, found: tuple[Finding, ...]) -> dict[str, Any]:
    """What a decision rested on, frozen: each finding's numbers and the windows it read."""
    spans = {(f.version, f.since_ms) for f in found}
    return {
        "findings": [finding_data(f) for f in found],
        "windows": [
            {
                "version": version,
                "since_ms": since_ms,
                "until_ms": case.observed.until_ms,
                "sum": to_row(case.observed.evidence(version).since(since_ms)),
            }
            for version, since_ms in sorted(spans)
        ],
        "now_ms": case.now_ms,
    }


def finding_data(finding: Finding) -> dict[str, Any]:
    """A finding as JSON data, with its sentence."""
    return {
        "trigger": finding.trigger,
        "version": finding.version,
        "metric": finding.metric,
        "comparison": finding.comparison.value,
        "limit": finding.limit,
        "verdict": finding.verdict.value,
        "response": finding.response.value,
        "severity": finding.severity.value,
        "n": finding.n,
        "bad": finding.bad,
        "estimate": finding.estimate,
        "baseline": finding.baseline,
        "baseline_source": finding.baseline_source,
        "since_ms": finding.since_ms,
        "until_ms": finding.until_ms,
        "related": list(finding.related),
        "well": finding.well,
        "proof": to_data(finding.proof) if finding.proof else None,
        "proof_words": proof_words(finding),
        "words": finding_words(finding),
    }


def incident_for(
    case: Case, found: tuple[Finding, ...], severity: Severity, response: Response
) -> Incident:
    """The open incident grown by these findings, or a new one under its derived id."""
    names = tuple(dict.fromkeys(f.trigger for f in found))
    open_one = case.state.incident
    if open_one is None:
        number = case.state.incident_count + 1
        return Incident(
            id=f"{case.state.environment}/{case.state.prompt}/g{case.generation}.{number}",
            version=case.suspect,
            generation=case.generation,
            severity=severity,
            response=response,
            triggers=names,
            opened_ms=case.now_ms,
        )
    return Incident(
        id=open_one.id,
        version=open_one.version,
        generation=open_one.generation,
        severity=min(severity, open_one.severity, key=list(Severity).index),
        response=min(response, open_one.response, key=list(Response).index),
        triggers=tuple(dict.fromkeys((*open_one.triggers, *names))),
        opened_ms=open_one.opened_ms,
        outcome=open_one.outcome,
        part_of=open_one.part_of,
    )
