"""Laws of releases: what was promoted as one moves as one, unless somebody says otherwise."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from knowngood.core.decide import decide
from knowngood.core.frozen import FROZEN, thaw
from knowngood.core.model import FLEET, Action, Change, Join, Notify, Record, Standing, State
from knowngood.core.release import Release
from knowngood.core.rollout import Rollout, RolloutKind
from knowngood.core.steps.case import QUIET_ENVIRONMENTS
from knowngood.sim.laws.base import (
    Checker,
    StateKey,
    key_of,
    kinds_of,
    lead_of,
    name_of,
    went_along,
)
from knowngood.sim.releases import ALONE
from knowngood.sim.watch import Applied

if TYPE_CHECKING:
    from knowngood.sim.world import World

SYSTEM = "system"
BACK = ("rollback.switched", "rollback.gradual")
OFF = (*BACK, "rollback.completed", "rollout.aborted")
# A person's word about one prompt's traffic: from then on it goes its own way.
OWN_WAY = ("route.moved", "rollout.started")


def part(state: State, release: Release) -> str | None:
    """The version of the release that the prompt serves, whatever its share."""
    for arm in state.route.arms if state.route else ():
        entry = state.entry(arm.version)
        if entry is not None and entry.release == release:
            return arm.version
    return None


def served(state: State) -> list[tuple[str, Release]]:
    """What is served as a part of a release."""
    entries = [state.entry(arm.version) for arm in state.route.arms] if state.route else []
    return [(e.version, e.release) for e in entries if e is not None and e.release is not None]


class Members(Checker):
    """What the laws of releases share: every prompt as it was just before an apply."""

    def members(self, event: Applied, release: Release) -> dict[str, tuple[State, State]]:
        """Each member's state before and after; one that is not in the apply has not changed."""
        environment = event.changes[0].environment
        touched = {
            before.prompt: (before, after)
            for before, after in zip(event.before, event.after, strict=True)
        }
        found = {}
        for member in release.members:
            there = self.world.store.states.get(environment, member.prompt)
            found[member.prompt] = touched.get(member.prompt, (there, there))
        return found


class Together(Members):
    """A release comes whole, goes back whole, and is aborted whole.

    Whoever goes back alone was told to; whoever stays had nowhere to go, or a person's hold, and
    people are told of it.
    """

    def applied(self, event: Applied) -> None:
        """Hold each member's move against those of the others."""
        changes = {change.prompt: change for change in event.changes}
        for change, before in zip(event.changes, event.before, strict=True):
            for action in change.actions:
                if isinstance(action, Join):
                    self._came(event, changes, action.release)
            if set(OFF) & kinds_of(change) and not _alone(event.changes):
                after = event.after[event.changes.index(change)]
                for version, release in served(before):
                    if "rollback.completed" in kinds_of(change):
                        self._ended(event, release, before)
                    elif _goes(before, after, version):
                        self._went(event, changes, release, change)

    def _came(self, event: Applied, changes: dict[str, Change], release: Release) -> None:
        for member in release.members:
            before, _ = self.members(event, release)[member.prompt]
            joins = any(isinstance(a, Join) for a in _actions(changes, member.prompt))
            is_there = before.route is not None and before.route.weight_bp(member.version) == 10_000
            if not joins and not is_there:
                self.fail(f"{release.name} was promoted without {member.prompt}")

    def _went(
        self, event: Applied, changes: dict[str, Change], release: Release, lead: Change
    ) -> None:
        aborted = "rollout.aborted" in kinds_of(lead)
        for before, after in self.members(event, release).values():
            version = part(before, release)
            if version is None or before.prompt == lead.prompt or _goes(before, after, version):
                continue
            if _gives_way(before, version):
                continue  # it has been on its way back for a while
            if aborted and before.rollout is not None and before.rollout.moving != version:
                continue  # it has gone on: something newer takes the place of its part
            words = f"{release.name} went back with {lead.prompt} and without {name_of(before)}"
            if aborted:
                self.fail(words)
                continue
            self._stayed(words, before, release, changes.get(before.prompt), lead, event.now_ms)

    def _ended(self, event: Applied, release: Release, lead: State) -> None:
        """What began to go down as one, and stands on the same stage, comes to its end as one."""
        for before, after in self.members(event, release).values():
            version = part(before, release)
            if version is None or not _gives_way(before, version) or not _abreast(lead, before):
                continue
            if after.route is not None and after.route.weight_bp(version):
                self.fail(f"{release.name} is through on {lead.prompt}, not on {before.prompt}")

    def _stayed(
        self,
        words: str,
        before: State,
        release: Release,
        change: Change | None,
        lead: Change,
        now_ms: int,
    ) -> None:
        told = any(notice.startswith("left_behind:") for notice in before.told)
        lines = kinds_of(change) if change else set()
        if not told and "release.left_behind" not in lines:
            self.fail(f"{words}, which nothing says")
        paged = any(isinstance(a, Notify) for a in change.actions) if change else told
        if not paged and before.environment not in QUIET_ENVIRONMENTS:
            self.fail(f"{words}, and nobody is paged")
        if change is not None and set(BACK) & lines:
            return  # its own way back leads to its part, which it has proven
        hold = before.automation
        held = lead.actor == SYSTEM and hold is not None and now_ms < hold.until_ms
        gone = {version for version, _ in served(before)}
        good = [
            e.version
            for e in before.ledger
            if e.standing is Standing.GOOD and e.version not in gone
        ]
        if good and not held:
            self.fail(f"{words}, which had {', '.join(good)} to go back to")


def _actions(changes: dict[str, Change], prompt: str) -> Iterable[Action]:
    return changes[prompt].actions if prompt in changes else ()


def _alone(changes: tuple[Change, ...]) -> bool:
    """Whether a person said that one prompt goes back by itself."""
    return any(
        isinstance(action, Record)
        and action.kind == "rollback.requested"
        and action.because.startswith(ALONE)
        for change in changes
        for action in change.actions
    )


def _goes(before: State, after: State, version: str) -> bool:
    """Whether the version was taken off, or begins to give way."""
    assert before.route is not None and after.route is not None
    return after.route.weight_bp(version) == 0 or (
        _gives_way(after, version) and not _gives_way(before, version)
    )


def _abreast(one: State, other: State) -> bool:
    mine, its = one.rollout, other.rollout
    return (
        mine is not None
        and its is not None
        and (mine.began_ms, mine.share_bp) == (its.began_ms, its.share_bp)
    )


def _gives_way(state: State, version: str) -> bool:
    rollout = state.rollout
    return (
        rollout is not None
        and rollout.kind is RolloutKind.GRADUAL
        and rollout.from_version == version
    )


class Level(Members):
    """The members of a release stand on the same stage, and are paused or not, all of them.

    Up until one has come to its bake, which is each prompt's own; down as long as they began as
    one, on the same stages. A member whose traffic a person moves by itself goes its own way.
    """

    def __init__(self, world: "World") -> None:
        """A law that knows of nobody who goes their own way."""
        super().__init__(world)
        self.own_way: set[tuple[StateKey, str]] = set()

    def applied(self, event: Applied) -> None:
        """Compare the members of every release that the apply has touched."""
        for change, after in zip(event.changes, event.after, strict=True):
            joins = [a for a in change.actions if isinstance(a, Join)]
            left = "release.left_behind" in kinds_of(change)
            for version, _ in served(after):
                key = key_of(after), version
                if any(join.version == version for join in joins):
                    self.own_way.discard(key)
                elif left or set(OWN_WAY) & kinds_of(change):
                    self.own_way.add(key)
        seen: list[Release] = []
        for after in event.after:
            for _, release in served(after):
                if release not in seen:
                    seen.append(release)
                    self._level(event, release)

    def _level(self, event: Applied, release: Release) -> None:
        up: dict[str, Rollout] = {}
        down: dict[tuple[int, tuple[int, ...]], dict[str, Rollout]] = {}
        for _, after in self.members(event, release).values():
            rollout, version = after.rollout, part(after, release)
            if rollout is None or version != rollout.moving or rollout.is_baking:
                continue
            if rollout.kind is RolloutKind.GRADUAL:
                began = rollout.began_ms, rollout.ladder.stages_bp
                down.setdefault(began, {})[after.prompt] = rollout
            elif (key_of(after), version) not in self.own_way:
                up[after.prompt] = rollout
        for group in (up, *down.values()):
            self._same(release, group)

    def _same(self, release: Release, group: dict[str, Rollout]) -> None:
        if len({rollout.share_bp for rollout in group.values()}) > 1:
            shares = ", ".join(f"{p} {r.share_bp} bp" for p, r in group.items())
            self.fail(f"{release.name} is not level: {shares}")
        if len({rollout.pause is None for rollout in group.values()}) > 1:
            paused = ", ".join(p for p, r in group.items() if r.pause is not None)
            self.fail(f"{release.name} is paused on {paused} only")


class Led(Checker):
    """Whatever a prompt did because of another's decision leads to it, and follows from it.

    The look stands in the lead's lines of the same transaction; the decision that it gives again
    has these very lines for the partner.
    """

    def applied(self, event: Applied) -> None:
        """Make every decision of the system again that moved more than one prompt."""
        led = [change for change in event.changes if went_along(change)]
        for change in led:
            lead = next((c for c in event.changes if c.prompt == lead_of(change)), None)
            if lead is None:
                self.fail(f"{change.prompt}: its line leads to nothing")
            elif change.actor == SYSTEM:
                self._again(lead, change)
            elif not any(FROZEN in line.detail for line in _lines(lead)):
                self.fail(f"{change.prompt}: its lead keeps no look")
        for change in event.changes[1:]:
            other = change.prompt not in (FLEET, event.changes[0].prompt)  # a purge is everywhere
            if change.actor == SYSTEM and other and change not in led:
                self.fail(f"{change.prompt}: moved along, and its line leads to nobody")

    def _again(self, lead: Change, change: Change) -> None:
        frozen = [line.detail[FROZEN] for line in _lines(lead) if FROZEN in line.detail]
        if not frozen:
            self.fail(f"{change.prompt}: its lead keeps no look")
            return
        look = thaw(frozen[0])
        rules = self.world.policy.for_prompt(lead.prompt)
        again = decide(look.state, look.observed, rules, look.now_ms)
        lines = [line for c in again.companions if c.prompt == change.prompt for line in _lines(c)]
        if _words(lines) != _words(_lines(change)):
            self.fail(f"{change.prompt}: replayed as {_words(lines)}, not {_words(_lines(change))}")


def _lines(change: Change) -> list[Record]:
    return [action for action in change.actions if isinstance(action, Record)]


def _words(lines: list[Record]) -> list[tuple[str, str]]:
    return [(line.kind, line.because) for line in lines]
