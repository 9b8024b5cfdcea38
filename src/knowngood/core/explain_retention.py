"""What is kept and why, in words for all who show it: a part of explain.py."""

from knowngood.core.explain import duration
from knowngood.core.retention import Reason, ReasonKind, Shelved


def kept_words(shelved: Shelved) -> str:
    """All reasons in one line."""
    return "; ".join(reason_words(reason) for reason in shelved.reasons)


def reason_words(reason: Reason) -> str:
    """One reason: `among the 3 newest good versions of production`."""
    environment = reason.environment
    match reason.kind:
        case ReasonKind.ROUTED:
            return f"serves {reason.detail} of {environment}"
        case ReasonKind.ROLLOUT:
            return f"part of the rollout in {environment}"
        case ReasonKind.NEWEST_GOOD if reason.detail == "1":
            return f"the newest good version of {environment}"
        case ReasonKind.NEWEST_GOOD:
            return f"among the {reason.detail} newest good versions of {environment}"
        case ReasonKind.PINNED:
            return f"pinned by {reason.detail}"
        case ReasonKind.PHASE:
            return f"part of the rollback under way in {environment}"
        case ReasonKind.INCIDENT:
            return f"an incident of {environment} was about it"
        case ReasonKind.GOOD:
            return f"known good in {environment}: a rollback may go there"
        case ReasonKind.QUARANTINED:
            return f"quarantined in {environment}: the ledger warns of it"
        case ReasonKind.RELEASED:
            return f"part of the release {reason.detail}"
        case ReasonKind.NEWEST:
            return "the newest version of the prompt"
        case ReasonKind.RECENT:
            ago_ms = max(0, reason.ago_ms)
            left = duration(reason.kept_ms - ago_ms)
            return f"last used {duration(ago_ms)} ago, kept for {left} more"
        case ReasonKind.UNUSED:
            kept = duration(reason.kept_ms)
            ago = duration(reason.ago_ms)
            return f"nothing refers to it, and it was last used {ago} ago (kept for {kept})"


def archived_words(version: str) -> str:
    """What a rollback to an archived version costs: nothing but its text on the way."""
    return (
        f"{version} was archived: each process gets its text together with the new route, "
        "in the same poll"
    )
