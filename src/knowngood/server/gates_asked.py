"""Which gates stood between a bad version and its users, and what each of them said."""

from typing import Any

from knowngood.core.explain import duration
from knowngood.core.history import AuditEntry
from knowngood.core.incident_record import Record
from knowngood.core.ladder import share
from knowngood.core.model import WHOLE_BP

PROMOTES = ("rollout.started", "route.moved")
NOT_ASKED_FOR = (
    "the policy asks for none",
    "nothing of this prompt was ever served on",
    "is where versions soak",
    "the first version has nothing to be held against",
)


def gates_asked(record: Record) -> list[dict[str, Any]]:
    """Soak, evaluation, canary and A/B: whether each was asked of the version, and its answer.

    Empty when no deploy explains the incident, or its promotion is not in the history.
    """
    version = record.facts.filed.incident.version
    before = [
        line
        for line in record.timeline
        if line.at_ms <= record.moments.detected_ms and _is_about(line, version)
    ]
    promoted = [line for line in before if line.kind in PROMOTES]
    if record.moments.began_ms is None or not promoted:
        return []
    return [
        _of_promotion("soak", promoted),
        _of_promotion("evaluation", promoted),
        _canary(record, promoted),
        _ab(before),
    ]


def _is_about(line: AuditEntry, version: str) -> bool:
    to = line.detail.get("to")
    arms = [arm[0] for arm in to] if isinstance(to, list) else []
    return line.detail.get("version") == version or version in arms


def _gate(name: str, asked: bool, answer: str | None, words: str) -> dict[str, Any]:
    return {"name": name, "asked": asked, "answer": answer, "words": words}


def _of_promotion(name: str, promoted: list[AuditEntry]) -> dict[str, Any]:
    """A gate that was asked when the version was promoted."""
    override = {each for line in promoted for each in line.detail.get("override", ())}
    said = [
        gate for line in promoted for gate in line.detail.get("gates", ()) if gate["name"] == name
    ]
    if not said:
        return _gate(name, False, None, "not asked: the route was moved without gates")
    answer, because = said[-1]["answer"], said[-1]["because"]
    if answer == "allow" and any(words in because for words in NOT_ASKED_FOR):
        return _gate(name, False, None, f"not asked: {because}")
    if answer == "allow":
        return _gate(name, True, answer, f"asked, and let it through: {because}")
    by = promoted[-1].actor
    over = f"stepped over by {by}" if name in override else "not open"
    return _gate(name, True, answer, f"asked, and {over}: {because}")


def _canary(record: Record, promoted: list[AuditEntry]) -> dict[str, Any]:
    started = next((line for line in promoted if line.kind == "rollout.started"), None)
    stages_bp = started.detail.get("stages_bp", []) if started else []
    if len(stages_bp) < 2:
        moved = [line for line in promoted if line.kind == "route.moved"]
        arms = moved[0].detail["to"] if moved else []
        split = [bp for _, bp in arms if 0 < bp < WHOLE_BP]
        how = "its share was set by hand" if split else "everybody got it at once"
        return _gate("canary", False, None, f"not asked: {how}")
    begun_bp = [
        line.detail["share_bp"]
        for line in record.timeline
        if line.kind == "rollout.stage" and line.at_ms <= record.moments.detected_ms
    ]
    reached_bp = (begun_bp or stages_bp)[-1] if begun_bp else stages_bp[0]
    assert record.moments.began_ms is not None
    after = duration(record.moments.detected_ms - record.moments.began_ms)
    if reached_bp < WHOLE_BP:
        return _gate("canary", True, "deny", f"caught it at {share(reached_bp)}, after {after}")
    return _gate("canary", True, "allow", f"let it through to everybody; found after {after}")


def _ab(lines: list[AuditEntry]) -> dict[str, Any]:
    compared = [line for line in lines if line.kind == "rollout.compared"]
    if compared:
        state = str(compared[-1].detail.get("state"))
        answer = "allow" if state == "pass" else "deny"
        return _gate("ab", True, answer, f"asked: {compared[-1].because}")
    said = [gate for line in lines for gate in line.detail.get("gates", ()) if gate["name"] == "ab"]
    if said:
        return _gate("ab", True, said[-1]["answer"], f"asked: {said[-1]['because']}")
    return _gate("ab", False, None, "not asked: the policy asks for no comparison, or none began")
