"""The reports of drills, as lines of history."""

from typing import Any

from knowngood.core.drill import DRILL_MARK, Fault
from knowngood.core.errors import BadRequest
from knowngood.core.history import AuditEntry
from knowngood.server.act import Ask
from knowngood.server.desk import Desk

KIND = "drill"
PRODUCTION = "production"
REPORT_CHARS_MAX = 20_000
RECENT_COUNT = 200  # lines in which the one is found that was written a moment ago


def record(
    desk: Desk,
    environment: str,
    prompt: str,
    fault: str,
    outcome: str,
    report: dict[str, Any],
    ask: Ask,
    now_ms: int,
) -> dict[str, Any]:
    """Write a drill's report into the history. Raises Unknown… or BadRequest."""
    if environment == PRODUCTION:
        raise BadRequest("a drill never touches production", next_step="drill in staging")
    if len(str(report)) > REPORT_CHARS_MAX:
        raise BadRequest(f"the report has more than {REPORT_CHARS_MAX:,} characters")
    state = desk.state(environment, desk.resolve(prompt)[0])
    entry = AuditEntry(
        at_ms=now_ms,
        environment=environment,
        prompt=state.prompt,
        kind=KIND,
        because=f"{DRILL_MARK} {Fault(fault).value}: limits {outcome}",
        actor=ask.actor,
        revision=state.revision,
        generation=state.route.generation if state.route else 0,
        policy_revision=desk.policy.revision,
        detail=report,
    )
    desk.store.log.append([entry])
    lines = desk.store.log.read(environment, state.prompt, limit=RECENT_COUNT)
    own = [line.id for line in lines if line.kind == KIND]
    return {"id": own[-1] if own else None, "outcome": outcome}
