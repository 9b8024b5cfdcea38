"""What is kept of a prompt's versions, and why: hot, archived, or free to be purged.

What a route, an incident, a release or the ledger refers to is never free, nor what a person has
pinned, nor a prompt's newest version. docs/decisions/0012 says what counts as referring.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from knowngood.core.errors import BadRequest
from knowngood.core.ladder import share
from knowngood.core.model import Confirming, Entry, Standing, State, Verifying, Version
from knowngood.core.release import Release
from knowngood.core.rules import PromptPolicy

# Pinned versions travel in every snapshot of their prompt: twenty of the largest, a quarter of a
# megabyte each, leave a client's 64 MB to the other prompts.
PINS_MAX = 20


class Kept(StrEnum):
    """Where a version is."""

    HOT = "hot"  # in the memory of every process
    ARCHIVED = "archived"  # in the store: a rollback may still go there
    PURGEABLE = "purgeable"  # in the store until somebody purges


class ReasonKind(StrEnum):
    """Why a version is kept, or why it need not be."""

    ROUTED = "routed"
    ROLLOUT = "rollout"
    NEWEST_GOOD = "newest_good"
    PINNED = "pinned"
    PHASE = "phase"
    INCIDENT = "incident"
    GOOD = "good"
    QUARANTINED = "quarantined"
    RELEASED = "released"
    NEWEST = "newest"
    RECENT = "recent"
    UNUSED = "unused"


HOT = (ReasonKind.ROUTED, ReasonKind.ROLLOUT, ReasonKind.NEWEST_GOOD, ReasonKind.PINNED)


@dataclass(frozen=True, slots=True)
class Pin:
    """A person's word that a version is kept."""

    prompt: str
    version: str
    because: str
    actor: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason; `detail` is a share, a number, a name or a person's words.

    `ago_ms` is how long ago the version was last used, of `kept_ms` for which it is kept unused.
    """

    kind: ReasonKind
    environment: str = ""
    detail: str = ""
    ago_ms: int = 0
    kept_ms: int = 0


@dataclass(frozen=True, slots=True)
class Shelved:
    """Where a version is and why.

    It was last pushed, served, spoken of in a ledger or evaluated at `used_ms`. `free_ms` is when
    it may be purged if nothing happens to it until then; None while something else keeps it.
    """

    version: str
    kept: Kept
    reasons: tuple[Reason, ...]
    used_ms: int
    free_ms: int | None = None
    pin: Pin | None = None


def hot_versions(state: State, policy: PromptPolicy, pinned: Iterable[str]) -> tuple[str, ...]:
    """What every process of the environment holds of a prompt, the route's arms first."""
    routed = [arm.version for arm in state.route.arms] if state.route else []
    good = [entry.version for entry in _newest_good(state, policy)]
    return tuple(dict.fromkeys([*routed, *_rolling(state), *good, *pinned]))


def shelve(
    versions: Sequence[Version],
    states: Sequence[State],
    pins: Iterable[Pin],
    released: Mapping[str, str],
    evaluated_ms: Mapping[str, int],
    policy: PromptPolicy,
    now_ms: int,
) -> tuple[Shelved, ...]:
    """Where each of a prompt's versions is, in their order (oldest first).

    `states` are the prompt's in all environments, and `pins` its own. `released` names a release
    that a version belongs to, and `evaluated_ms` says when it was last evaluated, if it was.
    """
    pin_of = {pin.version: pin for pin in pins}
    newest = versions[-1].version if versions else ""
    shelved = []
    for version in versions:
        name = version.version
        pin = pin_of.get(name)
        used_ms = max(_used_ms(version, states), evaluated_ms.get(name, 0))
        reasons = [reason for state in states for reason in _of_state(state, name, policy)]
        if pin is not None:
            reasons.append(Reason(ReasonKind.PINNED, detail=f"{pin.actor}: {pin.because}"))
        if name in released:
            reasons.append(Reason(ReasonKind.RELEASED, detail=released[name]))
        if name == newest:
            reasons.append(Reason(ReasonKind.NEWEST))
        shelved.append(_shelved(name, reasons, used_ms, policy.archive_ms, pin, now_ms))
    return tuple(shelved)


def refers(state: State, version: str) -> Iterator[Reason]:
    """All that a state refers to the version by: while there is anything, it is not purged."""
    if state.route and (weight_bp := state.route.weight_bp(version)):
        yield Reason(ReasonKind.ROUTED, state.environment, share(weight_bp))
    if version in _rolling(state):
        yield Reason(ReasonKind.ROLLOUT, state.environment)
    if version in _in_phase(state):
        yield Reason(ReasonKind.PHASE, state.environment)
    told = {spell.version for spell in state.spells}
    if version in told or (state.incident and state.incident.version == version):
        yield Reason(ReasonKind.INCIDENT, state.environment)
    # A candidate that has left the route is a memory that nothing reads: its line goes with it.
    if (standing := state.standing(version)) in (Standing.GOOD, Standing.QUARANTINED):
        yield Reason(ReasonKind(standing.value), state.environment)


def released_in(releases: Iterable[Release], prompt: str) -> dict[str, str]:
    """The versions of a prompt that releases name, each with the name of one of them."""
    return {
        member.version: release.name
        for release in releases
        for member in release.members
        if member.prompt == prompt
    }


def refuse_pin(pin: Pin, there: Sequence[Pin]) -> None:
    """Raises BadRequest when the prompt has as many pins as it may have."""
    if len(there) >= PINS_MAX:
        raise BadRequest(
            f"{pin.prompt} has {len(there)} pinned versions, and every process holds them all; "
            f"{PINS_MAX} is the limit",
            known=[each.version for each in there],
            next_step=f"let one of them go: knowngood unpin {pin.prompt} VERSION --because ...",
        )


def _shelved(
    version: str,
    reasons: list[Reason],
    used_ms: int,
    kept_ms: int,
    pin: Pin | None,
    now_ms: int,
) -> Shelved:
    if any(reason.kind in HOT for reason in reasons):
        held = tuple(reason for reason in reasons if reason.kind in HOT)
        return Shelved(version, Kept.HOT, held, used_ms, pin=pin)
    ago_ms = now_ms - used_ms
    if ago_ms < kept_ms:
        free_ms = None if reasons else used_ms + kept_ms
        reasons = [*reasons, Reason(ReasonKind.RECENT, ago_ms=ago_ms, kept_ms=kept_ms)]
        return Shelved(version, Kept.ARCHIVED, tuple(reasons), used_ms, free_ms)
    if reasons:
        return Shelved(version, Kept.ARCHIVED, tuple(reasons), used_ms)
    unused = Reason(ReasonKind.UNUSED, ago_ms=ago_ms, kept_ms=kept_ms)
    return Shelved(version, Kept.PURGEABLE, (unused,), used_ms, used_ms + kept_ms)


def _of_state(state: State, version: str, policy: PromptPolicy) -> Iterator[Reason]:
    newest = [entry.version for entry in _newest_good(state, policy)]
    for reason in refers(state, version):
        if reason.kind is ReasonKind.GOOD and version in newest:
            count = str(policy.keep_hot_count)
            yield Reason(ReasonKind.NEWEST_GOOD, state.environment, count)
        else:
            yield reason


def _newest_good(state: State, policy: PromptPolicy) -> list[Entry]:
    good = [entry for entry in state.ledger if entry.standing is Standing.GOOD]
    good.sort(key=lambda entry: (entry.routed_ms or 0, entry.since_ms), reverse=True)
    return good[: policy.keep_hot_count]


def _rolling(state: State) -> tuple[str, ...]:
    rollout = state.rollout
    return (rollout.from_version, rollout.to_version) if rollout else ()


def _in_phase(state: State) -> tuple[str, ...]:
    match state.phase:
        case Confirming(version=version):
            return (version,)
        case Verifying() as phase:
            return (phase.from_version, phase.to_version)
        case _:
            return ()


def _used_ms(version: Version, states: Sequence[State]) -> int:
    """When the version was last pushed, served or spoken of in a ledger."""
    used_ms = version.created_ms
    for state in states:
        entry = state.entry(version.version)
        if entry is None:
            continue
        routed_ms, left_ms = entry.routed_ms or 0, entry.left_ms or 0
        used_ms = max(used_ms, entry.since_ms, routed_ms, left_ms)
        if routed_ms > left_ms and state.route:
            # When it left was not written down; it was before the route moved last.
            used_ms = max(used_ms, state.route.since_ms)
    return used_ms
