"""A decision made again from what was frozen with it: the same verdict, or the difference."""

import json
from contextlib import suppress
from typing import Any

from knowngood.core.codec import plain
from knowngood.core.decide import decide
from knowngood.core.errors import UnknownEntry
from knowngood.core.frozen import FROZEN, NotFrozen, thaw
from knowngood.core.history import AuditEntry
from knowngood.core.look import findings
from knowngood.core.model import (
    Decision,
    Record,
)
from knowngood.core.policy import parse
from knowngood.core.rules import PromptPolicy
from knowngood.core.steps.case import finding_data
from knowngood.core.steps.parts import TOGETHER
from knowngood.server.desk import Desk
from knowngood.server.read import ENTRY_ID_MAX
from knowngood.server.words import when

# The transaction of the largest release, at most: fifty prompts that each write a few lines.
TOGETHER_LINES = 500
LINES_MAX = 12  # lines before and after that one decision may have written; a rollback writes four
BY_HAND = "rollback.requested"


def rerun(desk: Desk, entry_id: int) -> dict[str, Any]:
    """Judge again what the entry judged, with the policy of then, and compare byte for byte.

    Raises UnknownEntry; NotFrozen when nothing was put away with it, which holds for what people
    did by hand, but for their rollbacks.
    """
    if not 0 < entry_id <= ENTRY_ID_MAX:
        raise UnknownEntry(f"there is no entry {entry_id}")
    asked = desk.store.log.get(entry_id)
    entry = _with_look(desk, asked)
    policy = _policy(desk, entry)
    look = thaw(entry.detail[FROZEN])
    if entry.kind == BY_HAND:
        found = findings(look.state, look.observed, policy, look.now_ms)
        again = [{"kind": BY_HAND, "findings": [finding_data(f) for f in found]}]
        before = [{"kind": BY_HAND, "findings": entry.detail["findings"]}]
    else:
        decision = decide(look.state, look.observed, policy, look.now_ms)
        judged = asked if entry.prompt != asked.prompt else entry
        before, again = _written(desk, judged), _records(decision, entry, judged.prompt)
    return {
        "id": entry_id,
        "frozen_in": entry.id,
        "prompt": asked.prompt,
        "judged_for": entry.prompt,
        "kind": asked.kind,
        "because": asked.because,
        **when("judged", look.now_ms),
        "policy_revision": entry.policy_revision,
        "same": _text(before) == _text(again),
        "recorded": before,
        "again": again,
    }


def _with_look(desk: Desk, asked: AuditEntry) -> AuditEntry:
    """The line of the same decision that holds the look: its first one.

    What a partner did because of another prompt was decided there: the look is that prompt's.
    """
    mine = _of_decision(desk, asked)
    for line in mine:
        if FROZEN in line.detail:
            return line
    if source := next((line.detail[TOGETHER] for line in mine if TOGETHER in line.detail), None):
        near = desk.store.log.read(
            asked.environment, source["lead"], max(0, asked.id - TOGETHER_LINES), TOGETHER_LINES * 2
        )
        for line in near:
            if line.revision == source["revision"] and FROZEN in line.detail:
                return line
    raise NotFrozen(
        f"entry {asked.id} ({asked.kind}) was not judged: nothing was frozen with it",
        next_step="`knowngood audit` lists the history; rollbacks, holds and alerts were judged",
    )


def _of_decision(desk: Desk, asked: AuditEntry) -> list[AuditEntry]:
    """All lines that one decision wrote: they share prompt, revision and time."""
    near = [asked]
    for entry_id in range(max(1, asked.id - LINES_MAX), asked.id + LINES_MAX + 1):
        if entry_id != asked.id:
            with suppress(UnknownEntry):
                near.append(desk.store.log.get(entry_id))
    near.sort(key=lambda line: line.id)
    return [line for line in near if _decision_of(line) == _decision_of(asked)]


def _decision_of(line: AuditEntry) -> tuple[str, str, int, int, str]:
    return line.environment, line.prompt, line.revision, line.at_ms, line.actor


def _policy(desk: Desk, entry: AuditEntry) -> PromptPolicy:
    data = desk.store.policies.get(entry.policy_revision)
    if data is None:
        digest = entry.policy_revision[:12]
        raise UnknownEntry(f"the policy {digest} that judged entry {entry.id} is not in this store")
    return parse(data).for_prompt(entry.prompt)


def _written(desk: Desk, entry: AuditEntry) -> list[dict[str, Any]]:
    return [_line(e.kind, e.because, e.detail) for e in _of_decision(desk, entry)]


def _records(decision: Decision, entry: AuditEntry, prompt: str) -> list[dict[str, Any]]:
    """The lines that the decision writes for the prompt: its own, or those of a partner."""
    actions = decision.actions
    if prompt != entry.prompt:
        actions = tuple(
            each
            for change in decision.companions
            if change.prompt == prompt
            for each in change.actions
        )
    return [_line(a.kind, a.because, a.detail) for a in actions if isinstance(a, Record)]


def _line(kind: str, because: str, detail: Any) -> dict[str, Any]:
    told = {key: value for key, value in detail.items() if key != FROZEN}
    return {"kind": kind, "because": because, "detail": plain(told)}


def _text(lines: list[dict[str, Any]]) -> str:
    return json.dumps(plain(lines), sort_keys=True)
