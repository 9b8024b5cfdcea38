"""What a purge writes, worked out before anything is written. Every store uses it.

A purge is decided on what was read, and carried out on what is there: it is refused when a state
changed meanwhile, or when anything refers to the version after all. What is purged stays known by
its digest, so that its name never means another content.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from knowngood.core.errors import ContentConflict, InUse, StaleState, UnknownVersion
from knowngood.core.history import AuditEntry
from knowngood.core.model import (
    Action,
    Change,
    MoveRoute,
    Record,
    SetRollout,
    Stand,
    State,
    Strike,
    Version,
)
from knowngood.core.retention import Kept, Pin, Shelved, refers

PURGED, PINNED, UNPINNED, STRUCK = (
    "version.purged",
    "version.pinned",
    "version.unpinned",
    "ledger.struck",
)


@dataclass(frozen=True, slots=True)
class Purge:
    """Versions of a prompt that are to go, each with the time at which it was pushed.

    `revisions` are those of the prompt's states when it was decided, by environment.
    """

    prompt: str
    versions: Mapping[str, int]
    revisions: Mapping[str, int]
    because: str
    actor: str
    policy_revision: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """A version without its content."""

    version: str
    digest: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class Settled:
    """All that a purge writes: `digests` are those of the versions that go, by name."""

    digests: Mapping[str, str]
    changes: tuple[Change, ...] = ()
    lines: tuple[AuditEntry, ...] = ()


def purge_of(
    prompt: str,
    versions: Iterable[Version],
    shelved: Iterable[Shelved],
    states: Iterable[State],
    because: str,
    actor: str,
    policy_revision: str = "",
) -> Purge | None:
    """The order to purge all that is free; None when nothing is."""
    pushed_ms = {version.version: version.created_ms for version in versions}
    free = {s.version: pushed_ms[s.version] for s in shelved if s.kept is Kept.PURGEABLE}
    revisions = {state.environment: state.revision for state in states}
    return Purge(prompt, free, revisions, because, actor, policy_revision) if free else None


def settle(
    order: Purge,
    states: Sequence[State],
    pins: Iterable[Pin],
    released: Mapping[str, str],
    there: Sequence[Head],
    now_ms: int,
) -> Settled:
    """What the purge writes, given what is there now.

    What went already is left out, also if it was pushed again. `states` are all written states of
    the prompt, `released` names its versions' releases, and `there` are its versions, oldest first.
    Raises StaleState when a state is not the one that was seen, or a version was pinned meanwhile,
    and InUse when something refers to a version.
    """
    if {state.environment: state.revision for state in states} != dict(order.revisions):
        raise StaleState(
            f"{order.prompt} has changed since it was looked at", next_step="look again"
        )
    gone = {v.version: v.digest for v in there if order.versions.get(v.version) == v.created_ms}
    if pinned := [pin.version for pin in pins if pin.version in gone]:
        raise StaleState(f"{order.prompt}:{pinned[0]} was pinned meanwhile", next_step="look again")
    for version in gone:
        for state in states:
            for reason in refers(state, version):
                raise InUse(
                    f"{order.prompt}:{version} is referred to in {state.environment} "
                    f"({reason.kind.value}), so it is not purged"
                )
        if version in released:
            raise InUse(f"{order.prompt}:{version} is part of the release {released[version]}")
        if version == there[-1].version:
            raise InUse(f"{order.prompt}:{version} is the prompt's newest version")
    return Settled(
        gone,
        tuple(change for state in states for change in _struck(order, state, gone)),
        tuple(_purged_line(order, version, digest, now_ms) for version, digest in gone.items()),
    )


def _struck(order: Purge, state: State, gone: Collection[str]) -> list[Change]:
    lines = [entry.version for entry in state.ledger if entry.version in gone]
    if not lines:
        return []
    record = Record(STRUCK, order.because, {"versions": lines})
    actions: tuple[Action, ...] = (*(Strike(version) for version in lines), record)
    revision = state.revision
    return [
        Change(
            state.environment, order.prompt, revision, actions, order.actor, order.policy_revision
        )
    ]


def named(changes: Iterable[Change]) -> set[tuple[str, str]]:
    """The (prompt, version) names that the changes bring onto a route, a rollout or a ledger."""
    found: set[tuple[str, str]] = set()
    for change in changes:
        for action in change.actions:
            match action:
                case MoveRoute(arms):
                    found |= {(change.prompt, arm.version) for arm in arms}
                case Stand(version):
                    found.add((change.prompt, version))
                case SetRollout(rollout) if rollout is not None:
                    found |= {(change.prompt, rollout.from_version)}
                    found |= {(change.prompt, rollout.to_version)}
    return found


def refuse_purged(gone: Iterable[tuple[str, str]]) -> None:
    """Raises UnknownVersion if there are any: what was purged is served only when pushed again."""
    for prompt, version in sorted(gone):
        raise UnknownVersion(
            f"{prompt}:{version} was purged",
            next_step=f"push it again: knowngood push {prompt} {version} FILE",
        )


def refuse_reuse(prompt: str, version: str, digest: str, purged_digest: str | None) -> None:
    """Raises ContentConflict if the name belongs to other content that was purged."""
    if purged_digest not in (None, digest):
        raise ContentConflict(
            f"{prompt}:{version} was purged and had other content; a name never means two",
            next_step="push it under another version name",
        )


def pin_line(pin: Pin, policy_revision: str, kind: str = PINNED) -> AuditEntry:
    """The line of history of a pin, or with UNPINNED of its end."""
    return AuditEntry(
        at_ms=pin.at_ms,
        environment="",
        prompt=pin.prompt,
        kind=kind,
        because=pin.because,
        actor=pin.actor,
        revision=0,
        generation=0,
        policy_revision=policy_revision,
        detail={"version": pin.version},
    )


def _purged_line(order: Purge, version: str, digest: str, now_ms: int) -> AuditEntry:
    return AuditEntry(
        at_ms=now_ms,
        environment="",
        prompt=order.prompt,
        kind=PURGED,
        because=order.because,
        actor=order.actor,
        revision=0,
        generation=0,
        policy_revision=order.policy_revision,
        detail={"version": version, "digest": digest},
    )
