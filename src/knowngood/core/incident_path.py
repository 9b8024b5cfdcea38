"""The way that an incident took through the decision tree of its policy, as the nodes' keys."""

from collections.abc import Callable, Collection
from dataclasses import replace

from knowngood.core.history import AuditEntry
from knowngood.core.incident_record import Record
from knowngood.core.model import Outcome
from knowngood.core.tree import TreeNode

MARK = "» "  # what stands before a node that the incident came by

# What a line of history says of the branch taken under each of the incident's triggers.
BRANCHES = {
    "rollback.not_confirmed": "unconfirmed",
    "rollback.confirmed": "confirmed",
    "question.approved": "approved",
    "question.declined": "declined",
    "question.overdue": "unanswered",
    "observation.persists": "persists",
}
STEPS = {
    "rollback.confirmed": "confirm",
    "rollback.target": "choose",
    "rollback.requested": "choose",
    "rollback.switched": "switch",
    "rollback.gradual": "switch",
    "rollback.completed": "switch",
}
OUTCOMES = {
    "rollback.verified": Outcome.RECOVERED,
    "rollback.not_recovered": Outcome.NOT_RECOVERED,
    "rollback.inconclusive": Outcome.INCONCLUSIVE,
}
BRAKES = ("upstream", "flap", "automation_off")


def path_of(record: Record) -> tuple[str, ...]:
    """The keys of the nodes, in the order in which the incident came by."""
    incident = record.facts.filed.incident
    names = [t.name for t in record.facts.policy.triggers if t.name in incident.triggers]
    severities = [t.severity.value for t in record.facts.policy.triggers if t.name in names]
    found = ["start", "yes", *(f"severity/{s}" for s in severities)]
    for name in names:
        found += [f"trigger/{name}", f"trigger/{name}/action"]
    for line in record.timeline:
        if line.at_ms >= record.moments.detected_ms:
            found += _keys(line, names)
    return tuple(dict.fromkeys(found))


def _keys(line: AuditEntry, names: list[str]) -> list[str]:
    mine = [name for name in names if name in _named(line, names)]

    def under(branch: str) -> list[str]:
        return [f"trigger/{name}/{branch}" for name in mine]

    if line.kind == "rollback.held":
        brake = str(line.detail.get("brake", ""))
        if brake in ("no_target", "stale"):
            return under(brake)
        return [*under("held"), *(["brakes", f"brake/{brake}"] if brake in BRAKES else [])]
    if line.kind == "incident.resolved":
        return under("resolves")
    found = under(BRANCHES[line.kind]) if line.kind in BRANCHES else []
    if line.kind == "observation.persists":
        found += under("then")
    if line.kind in STEPS:
        found += ["rollback", f"rollback/{STEPS[line.kind]}"]
    if line.kind in OUTCOMES:
        found += ["rollback", "rollback/verify", f"rollback/verify/{OUTCOMES[line.kind].value}"]
        found += ["rollback/record"] if line.kind == "rollback.verified" else []
    return found


def _named(line: AuditEntry, names: list[str]) -> list[str]:
    """The triggers that a line is about; all of the incident's when it names none."""
    said = [finding["trigger"] for finding in line.detail.get("findings", ())]
    if trigger := line.detail.get("trigger"):
        said.append(trigger)
    return said or names


def marked(node: TreeNode, keys: Collection[str]) -> TreeNode:
    """The tree with the path's nodes marked in their labels."""
    return _each(node, lambda n: MARK + n.label if n.key in keys else n.label)


def along(node: TreeNode, keys: Collection[str]) -> TreeNode:
    """The tree along the path: what branches off it is named, and not followed."""
    if node.key not in keys:
        return replace(node, children=())
    return replace(node, children=tuple(along(child, keys) for child in node.children))


def _each(node: TreeNode, label: Callable[[TreeNode], str]) -> TreeNode:
    children = tuple(_each(child, label) for child in node.children)
    return replace(node, label=label(node), children=children)
