"""Incidents: which there are, what each of them was, and what people say of them."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from knowngood.core.asking import Stage
from knowngood.core.content import check_prompt_name
from knowngood.core.errors import BadRequest, InProgress, StoreUnavailable
from knowngood.core.explain import duration
from knowngood.core.frozen import FROZEN
from knowngood.core.history import AuditEntry, Delivery
from knowngood.core.incident import Filed
from knowngood.core.incident_path import along, marked, path_of
from knowngood.core.incident_record import (
    BY_PEOPLE,
    CLOSED,
    DEPLOY_MS,
    NOTE,
    OPENS,
    REVIEWED,
    ROLE,
    Clock,
    Facts,
    Impact,
    Progress,
    Record,
    first_trigger,
    record_of,
    routed_ms,
)
from knowngood.core.model import Action, Observed, Renew, SetIncident, State, Verifying
from knowngood.core.model import Record as Line
from knowngood.core.policy import PolicyFile, parse
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.case import Case, resolved, title
from knowngood.core.steps.follow import UNANSWERED
from knowngood.core.tree import render_tree, tree
from knowngood.core.window import EMPTY, merge
from knowngood.server.act import Ask, carry_out, check_ask
from knowngood.server.desk import Desk
from knowngood.server.gates_asked import gates_asked
from knowngood.server.read import PAGE_MAX, entry_data, stamp
from knowngood.server.words import iso, when

# Lines of history in one record. Each look that is frozen in one takes some 40 KB; an incident that
# nobody can verify writes a hundred lines a day.
LINES_MAX = 1_000
SAID_MAX = 1_000  # notes and roles of one incident
BEFORE_MS = 600_000  # in which the look stands frozen that saw it coming
DELIVERIES_MAX = 200
RELATED_MAX = 20
TEXT_CHARS_MAX = 10_000  # a note; longer reports belong into a document of their own
ROLE_CHARS_MAX = 100
FAILED_THREAD = ":rollback-failed"
ENDS = (Progress.FALSE_POSITIVE, Progress.DUPLICATE, Progress.REVIEWED)


# --- What may be seen


def listed(
    desk: Desk,
    environment: str | None,
    prompt: str | None,
    is_open: bool | None,
    before_ms: int | None,
    limit: int,
    now_ms: int,
) -> dict[str, Any]:
    """The newest incidents that match, newest first. Raises UnknownEnvironment or BadRequest."""
    if environment is not None:
        desk.check_environment(environment)
    if prompt is not None:
        check_prompt_name(prompt)
    found = desk.store.incidents.find(
        environment, prompt, is_open=is_open, before_ms=before_ms, limit=min(limit, PAGE_MAX)
    )
    return {**stamp(now_ms), "incidents": [filed_data(each, now_ms) for each in found]}


def filed_data(filed: Filed, now_ms: int) -> dict[str, Any]:
    """An incident in one row."""
    incident = filed.incident
    end_ms = now_ms if filed.closed_ms is None else filed.closed_ms
    return {
        "id": incident.id,
        "environment": filed.environment,
        "prompt": filed.prompt,
        "version": incident.version,
        "severity": incident.severity,
        "response": incident.response,
        "triggers": list(incident.triggers),
        "outcome": incident.outcome,
        "part_of": incident.part_of or None,
        "open": filed.closed_ms is None,
        "took": duration(end_ms - incident.opened_ms),
        **when("opened", incident.opened_ms),
        **when("closed", filed.closed_ms),
    }


def one(desk: Desk, incident_id: str, now_ms: int) -> dict[str, Any]:
    """Everything that is known of one incident. Raises UnknownIncident."""
    return record_data(desk, record(desk, incident_id, now_ms))


def record(desk: Desk, incident_id: str, now_ms: int) -> Record:
    """The record, folded from the history. Raises UnknownIncident."""
    store = desk.store
    filed = store.incidents.get(incident_id)
    place = filed.environment, filed.prompt
    opened_ms = filed.incident.opened_ms
    end_ms = now_ms if filed.closed_ms is None else filed.closed_ms
    state = store.states.get(*place)
    lines = store.log.between(*place, opened_ms - BEFORE_MS, end_ms, LINES_MAX)
    since_ms = routed_ms(filed, state, lines)
    if since_ms is not None and opened_ms - since_ms <= DEPLOY_MS:
        lines = store.log.between(*place, since_ms, end_ms, LINES_MAX)
    said = store.log.between(*place, end_ms, max(now_ms, end_ms), SAID_MAX, BY_PEOPLE)
    facts = Facts(
        filed=filed,
        lines=(*lines, *(line for line in said if line.detail.get("incident") == incident_id)),
        state=state,
        policy=_policy_of(desk, filed, lines),
        now_ms=now_ms,
        parts=tuple(store.incidents.parts(incident_id)),
        deliveries=_deliveries(desk, incident_id),
    )
    folded = record_of(facts)
    return replace(folded, facts=replace(facts, impact=_impact(desk, folded, since_ms)))


def _policy_of(desk: Desk, filed: Filed, lines: list[AuditEntry]) -> PromptPolicy:
    """The policy that judged the incident, else the one in force."""
    revision = next((e.policy_revision for e in lines if e.at_ms >= filed.incident.opened_ms), "")
    kept = desk.store.policies.get(revision) if revision else None
    file: PolicyFile = parse(kept) if kept is not None else desk.policy
    return file.for_prompt(filed.prompt)


def _deliveries(desk: Desk, incident_id: str) -> tuple[Delivery, ...]:
    """What each channel answered, in the incident's thread and in those opened for it."""
    threads = (incident_id, f"{incident_id}{FAILED_THREAD}", f"{incident_id}{UNANSWERED}")
    log = desk.store.deliveries
    found = [each for thread in threads for each in log.recent(DELIVERIES_MAX, thread)]
    return tuple(sorted(found, key=lambda each: each.id))


def _impact(desk: Desk, record: Record, since_ms: int | None) -> Impact | None:
    """What users got of the bad version; None when what was reported is not there any more."""
    filed, moments = record.facts.filed, record.moments
    place = filed.environment, filed.prompt
    findings = record.evidence.detail.get("findings", ()) if record.evidence else ()
    seen_ms = min((f["since_ms"] for f in findings), default=moments.detected_ms)
    from_ms = since_ms if moments.began_ms is not None and since_ms is not None else seen_ms
    until_ms = moments.propagated_ms or filed.closed_ms or record.facts.now_ms
    # A bucket that holds the beginning counts: nothing was served before it.
    begin_ms = from_ms - from_ms % 1_000
    total, all_count = EMPTY, 0
    # Without the observations the record is all the same the record.
    with suppress(StoreUnavailable):
        for entry in record.facts.state.ledger:
            key = (*place, entry.version)
            for bucket in desk.store.series.read(key, begin_ms, until_ms + 1):
                all_count += bucket.window.call_count
                if entry.version == filed.incident.version:
                    total = merge(total, bucket.window)
    if not all_count:
        return None
    return Impact(from_ms, until_ms, total.call_count, total.error_count, all_count)


def record_data(desk: Desk, record: Record) -> dict[str, Any]:
    """A record as data: the fields of the incident, each part under its name."""
    facts = record.facts
    filed, policy = facts.filed, facts.policy
    keys = path_of(record)
    return {
        **filed_data(filed, facts.now_ms),
        **stamp(facts.now_ms),
        "title": title_of(record),
        "state": record.progress,
        "duplicate_of": record.duplicate_of or None,
        "severities": [
            {"severity": rise.severity, **when("since", rise.since_ms)} for rise in filed.severities
        ],
        "good_version": record.good_version,
        "fixed_by": record.fixed_by,
        "clocks": [clock_data(clock) for clock in record.clocks],
        "impact": impact_data(record),
        "evidence": _evidence(record.evidence),
        "decision": _decision(record),
        "action": _action(record),
        "propagation": [
            {"after_ms": s.after_ms, "current_count": s.current_count, "live_count": s.live_count}
            for s in record.spread
        ],
        "verification": _verification(record.verification),
        "affected": affected(desk, record),
        "gates": gates_asked(record),
        "path": list(keys),
        "tree": render_tree(marked(tree(policy), keys)),
        "way": render_tree(along(marked(tree(policy), keys), keys)),
        "pages": [_page(each) for each in facts.deliveries],
        "roles": dict(record.roles),
        "notes": [_note(line) for line in record.notes],
        "timeline": [timeline_data(record, line) for line in record.timeline],
        "policy_revision": policy.revision,
    }


def title_of(record: Record) -> str:
    """`support-bot v2.0.0: errors 12.0% > 5.0% (30 of 250)`."""
    filed = record.facts.filed
    opened = (line.because for line in record.timeline if line.kind in OPENS)
    words = next(opened, ", ".join(filed.incident.triggers))
    return f"{filed.prompt} {filed.incident.version}: {words}"


def clock_data(clock: Clock) -> dict[str, Any]:
    """A clock with its words."""
    return {
        "name": clock.name,
        "ms": clock.ms,
        "words": "–" if clock.ms is None else took(clock.ms),
        "running": clock.is_running,
        "limit_ms": clock.limit_ms,
        "at_most_ms": clock.at_most_ms,
        "kept": clock.kept,
    }


def took(ms: int) -> str:
    """A length; what happens in one transaction takes no time."""
    return "at once" if ms == 0 else duration(ms)


def impact_data(record: Record) -> dict[str, Any] | None:
    """What users got of the bad version, with its words."""
    found = record.facts.impact
    if found is None:
        return None
    share = found.failed_count / found.call_count if found.call_count else 0.0
    return {
        **when("since", found.since_ms),
        **when("until", found.until_ms),
        "calls": found.call_count,
        "failed": found.failed_count,
        "failed_share": share,
        "all_calls": found.all_call_count,
        "served_share": found.call_count / found.all_call_count,
    }


def _evidence(line: AuditEntry | None) -> dict[str, Any] | None:
    if line is None:
        return None
    look = line.detail.get(FROZEN)
    return {
        "entry": line.id,
        "kind": line.kind,
        "because": line.because,
        "policy_revision": line.policy_revision,
        "findings": line.detail.get("findings", []),
        "windows": line.detail.get("windows", []),
        **when("at", line.at_ms),
        "data_until_ms": look["until_ms"] if look else None,
        "can_be_replayed": look is not None,
    }


def _decision(record: Record) -> dict[str, Any] | None:
    line, trigger = record.decision, first_trigger(record.facts)
    if line is None:
        return None
    how = {"rollback.confirmed": "automatic", "question.approved": "approved"}
    if line.kind == "rollback.switched":  # what it was released with decided for it
        how[line.kind] = "automatic" if line.detail.get("automatic") else "manual"
    return {
        **timeline_data(record, line),
        "how": how.get(line.kind, "manual"),
        "trigger": trigger.name if trigger else None,
        "who": trigger.who if trigger else None,
        "limit_ms": trigger.limit_ms if trigger else None,
        "on_timeout": trigger.on_timeout if trigger else None,
        "known_good": list(record.alternatives),
    }


def _action(record: Record) -> dict[str, Any] | None:
    line = record.action
    if line is None:
        return None
    return {
        **timeline_data(record, line),
        "from": line.detail.get("from"),
        "to": line.detail.get("to"),
        "method": "gradual" if line.kind == "rollback.gradual" else "instant",
        "generation": line.generation,
        "quarantined": line.detail.get("quarantined"),
        "automatic": line.detail.get("automatic"),
    }


def _verification(line: AuditEntry | None) -> dict[str, Any] | None:
    if line is None:
        return None
    return {
        "entry": line.id,
        "outcome": line.detail.get("outcome"),
        "because": line.because,
        "windows": line.detail.get("windows", []),
        **when("at", line.at_ms),
    }


def _page(each: Delivery) -> dict[str, Any]:
    return {
        "message": each.message_id,
        "key": each.key,
        "thread": each.thread,
        "channel": each.channel,
        "outcome": each.outcome,
        "answer": each.answer,
        **when("at", each.at_ms),
    }


def _note(line: AuditEntry) -> dict[str, Any]:
    next_ms = line.detail.get("next_ms")
    return {
        "text": line.because,
        "actor": line.actor,
        "update": bool(line.detail.get("update")),
        **when("at", line.at_ms),
        **when("next", next_ms),
    }


def timeline_data(record: Record, line: AuditEntry) -> dict[str, Any]:
    """A line of history as one of the timeline, so long after it was detected."""
    found = entry_data(line)
    return {
        **{key: found[key] for key in ("id", "at_ms", "at", "kind", "because", "actor", "hash")},
        "after_ms": line.at_ms - record.moments.detected_ms,
    }


def affected(desk: Desk, record: Record) -> list[dict[str, Any]]:
    """The other prompts that had to do with it: parts, what went back with it, related ones."""
    facts = record.facts
    filed = facts.filed
    found: dict[str, dict[str, Any]] = {}
    for part in facts.parts:
        found[part.prompt] = {"prompt": part.prompt, "how": "part", "incident": part.id}
    for prompt, went in _with_it(desk, record).items():
        found.setdefault(prompt, {"prompt": prompt, "how": "released_with", "incident": None})
        found[prompt] |= went
    end_ms = facts.now_ms if filed.closed_ms is None else filed.closed_ms
    for name in desk.policy.related_to(filed.prompt)[:RELATED_MAX]:
        for each in desk.store.incidents.find(filed.environment, name, limit=RELATED_MAX):
            over_ms = facts.now_ms if each.closed_ms is None else each.closed_ms
            if each.incident.opened_ms <= end_ms and over_ms >= record.moments.detected_ms:
                found.setdefault(name, {"prompt": name, "how": "related", "incident": each.id})
    return [found[name] for name in sorted(found)]


def _with_it(desk: Desk, record: Record) -> Mapping[str, dict[str, Any]]:
    """What the version was released with and went back in the same transaction."""
    action = record.action
    look = record.evidence.detail.get(FROZEN) if record.evidence else None
    if action is None or look is None:
        return {}
    filed = record.facts.filed
    ledger = look["state"].get("ledger", ())
    release = next(
        (e.get("release") for e in ledger if e["version"] == filed.incident.version), None
    )
    found = {}
    for member in (release or {}).get("members", ()):
        if member["prompt"] == filed.prompt:
            continue
        lines = desk.store.log.between(
            filed.environment,
            member["prompt"],
            action.at_ms,
            action.at_ms,
            LINES_MAX,
            ("rollback.switched", "rollback.gradual"),
        )
        if lines:
            detail = lines[0].detail
            found[member["prompt"]] = {"from": detail.get("from"), "to": detail.get("to")}
    return found


# --- What may be said


def note(
    desk: Desk,
    incident_id: str,
    text: str,
    ask: Ask,
    now_ms: int,
    *,
    update: bool = False,
    next_ms: int | None = None,
) -> dict[str, Any]:
    """Write a note into the timeline; `update`: for people outside, the next one due in `next_ms`.

    Raises UnknownIncident, or BadRequest for no text or too long a text.
    """
    filed = desk.store.incidents.get(incident_id)
    if not text.strip():
        raise BadRequest("a note needs a text")
    if len(text) > TEXT_CHARS_MAX:
        raise BadRequest(f"the note has {len(text)} characters; the limit is {TEXT_CHARS_MAX}")
    detail: dict[str, Any] = {"incident": incident_id}
    if update:
        detail |= {"update": True, "next_ms": None if next_ms is None else now_ms + next_ms}
    return _say(desk, filed, NOTE, text, detail, ask, now_ms)


def role(
    desk: Desk, incident_id: str, name: str, person: str, ask: Ask, now_ms: int
) -> dict[str, Any]:
    """Give a person a role, such as commander; the last word holds.

    Raises UnknownIncident or BadRequest.
    """
    filed = desk.store.incidents.get(incident_id)
    for said in (name, person):
        if not said.strip() or len(said) > ROLE_CHARS_MAX or not said.isprintable():
            raise BadRequest(
                f"{said[:80]!r} is no name of a role or a person: 1 to {ROLE_CHARS_MAX} characters"
            )
    detail = {"incident": incident_id, "role": name, "person": person}
    return _say(desk, filed, ROLE, f"{person} is {name}", detail, ask, now_ms)


def close_as(
    desk: Desk, incident_id: str, how: str, of: str | None, ask: Ask, now_ms: int
) -> dict[str, Any]:
    """Say what an incident was: a false positive, a duplicate `of` another, or reviewed.

    An open one is closed with it, unless its rollback is being verified (InProgress); only one that
    is over can be reviewed. Raises UnknownIncident or BadRequest.
    """
    filed = desk.store.incidents.get(incident_id)
    known = [end.value for end in ENDS]
    if how not in known:
        raise BadRequest(f"an incident cannot be closed as {how!r}", known=known)
    check_ask(ask, because=True)
    if (how == Progress.DUPLICATE) != bool(of):
        raise BadRequest("a duplicate, and nothing else, names the incident that it repeats")
    if of:
        if of == incident_id:
            raise BadRequest(f"{of} cannot repeat itself")
        desk.store.incidents.get(of)
    detail = {"incident": incident_id, "as": how, **({"duplicate_of": of} if of else {})}
    if filed.closed_ms is not None:
        return _say(desk, filed, REVIEWED, ask.because, detail, ask, now_ms)
    if how == Progress.REVIEWED:
        raise BadRequest(
            f"{incident_id} is still open; what is over can be reviewed",
            next_step=f"knowngood explain {filed.prompt} --env {filed.environment}",
        )

    def decide(state: State) -> tuple[Action, ...]:
        return _closing(desk, state, incident_id, detail, ask.because, now_ms)

    done = carry_out(desk, filed.environment, filed.prompt, ask, decide, now_ms)
    if not done.actions:  # it was closed meanwhile
        return _say(desk, filed, REVIEWED, ask.because, detail, ask, now_ms)
    return _said(incident_id, CLOSED, ask, now_ms)


def _closing(
    desk: Desk, state: State, incident_id: str, detail: dict[str, Any], because: str, now_ms: int
) -> tuple[Action, ...]:
    """Close the open incident by a person's word; its evidence begins anew, as after any end."""
    incident = state.incident
    if incident is None or incident.id != incident_id:
        return ()
    if isinstance(state.phase, Verifying):
        raise InProgress(
            f"the rollback of {state.phase.from_version} is being verified",
            next_step="wait until it is over; what is over can still be called so",
        )
    case = Case(state, Observed(now_ms), desk.policy.for_prompt(state.prompt), (), now_ms)
    arms = state.route.arms if state.route else ()
    subject = f"{title(case)}: closed as {detail['as'].replace('_', ' ')}, {incident.id}"
    return (
        SetIncident(None),
        *(Renew(arm.version) for arm in arms),
        Line(CLOSED, because, detail),
        *resolved(case, incident, f"{incident.id}:closed", incident.severity, subject, because),
    )


def _say(
    desk: Desk,
    filed: Filed,
    kind: str,
    because: str,
    detail: dict[str, Any],
    ask: Ask,
    now_ms: int,
) -> dict[str, Any]:
    state = desk.store.states.get(filed.environment, filed.prompt)
    if not ask.dry_run:
        entry = AuditEntry(
            at_ms=now_ms,
            environment=filed.environment,
            prompt=filed.prompt,
            kind=kind,
            because=because,
            actor=ask.actor,
            revision=state.revision,
            generation=state.route.generation if state.route else 0,
            policy_revision=desk.policy.revision,
            detail=detail,
        )
        desk.store.log.append([entry])
    return _said(filed.id, kind, ask, now_ms)


def _said(incident_id: str, kind: str, ask: Ask, now_ms: int) -> dict[str, Any]:
    return {
        "incident": incident_id,
        "recorded": kind,
        "actor": ask.actor,
        "dry_run": ask.dry_run,
        "at_ms": now_ms,
        "at": iso(now_ms),
    }


def clock_of(state: State, now_ms: int) -> str | None:
    """The open incident's clock in a few words: what it waits for, and for how long already."""
    incident = state.incident
    if incident is None:
        return None
    if isinstance(state.phase, Verifying):
        return f"recovering for {duration(now_ms - state.phase.began_ms)}"
    question = state.question
    if question is not None and question.stage is Stage.ASKED:
        return f"undecided for {duration(now_ms - question.asked_ms)}"
    return f"open for {duration(now_ms - incident.opened_ms)}"
