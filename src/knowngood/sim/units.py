"""What a simulated process sums up for single units while arms are compared, as the SDK does.

Which units count and under which number the SDK's own `ComparedArm` says.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from knowngood import wire
from knowngood.core.model import WHOLE_BP
from knowngood.core.window import SCORE_BINS
from knowngood.sdk.compared import ComparedArm
from knowngood.wire.units import SUMS_PER_FLUSH_MAX, tagged

Arms = Mapping[str, ComparedArm]  # by version
ArmKey = tuple[str, str, int]  # prompt, version, generation


@dataclass(slots=True)
class _Sums:
    """One unit while it is being summed."""

    calls: int = 0
    errors: int = 0
    scores: dict[str, list[int]] = field(default_factory=dict)  # [how many, basis points]

    def row(self, unit: int) -> wire.UnitSum:
        """The unit as it is reported."""
        scores = {name: (count, total) for name, (count, total) in self.scores.items()}
        return wire.UnitSum(unit, self.calls, self.errors, scores)


@dataclass(slots=True)
class HeldUnits:
    """The sums of a process that were not sent yet.

    Of `astray_bp` of a candidate's units, by their number, nothing is ever summed: then something
    else than the prompt sorts the users, and the arms cannot be compared.
    """

    astray_bp: int = 0
    waiting: dict[ArmKey, dict[int, _Sums]] = field(default_factory=dict)

    def of(self, prompt: str, version: str, arm: ComparedArm, users: list[str]) -> "Seconds":
        """A version's calls of one second, one of each of these users."""
        units = [arm.hash_of(user) for user in users]
        seen = Seconds(self, (prompt, version, arm.generation), arm, [u for u in units if u])
        for unit in seen.units:
            if held := seen.held(unit):
                held.calls += 1
        return seen

    def next_groups(self) -> tuple[wire.UnitGroup, ...]:
        """What goes into one flush, the units that were seen first first."""
        return tuple(self._groups())

    def _groups(self) -> Iterator[wire.UnitGroup]:
        room = SUMS_PER_FLUSH_MAX
        for key in list(self.waiting):
            units, taken = self.waiting[key], []
            for unit in list(units):
                room -= 1 + len(units[unit].scores)
                if room < 0:
                    break
                taken.append(units.pop(unit).row(unit))
            if not units:
                del self.waiting[key]
            if taken:
                yield wire.UnitGroup(*key, tuple(taken))
            if room < 0:
                return

    def lose(self) -> None:
        """The process ends without a word."""
        self.waiting.clear()


@dataclass(slots=True)
class Seconds:
    """The units of one version's calls in one second, in no order: the first `failed` ones fail."""

    holder: HeldUnits
    key: ArmKey
    arm: ComparedArm
    units: list[int]
    failed_count: int = 0
    labelled_count: int = 0

    def held(self, unit: int) -> _Sums | None:
        """The unit's sums; None if it is one that never reports."""
        candidate = self.arm.low_bp == 0
        if candidate and unit // WHOLE_BP % WHOLE_BP < self.holder.astray_bp:
            return None
        return self.holder.waiting.setdefault(self.key, {}).setdefault(unit, _Sums())

    def failed(self, count: int) -> None:
        """So many of the calls failed."""
        self.failed_count = count
        for unit in self.units[:count]:
            if held := self.held(unit):
                held.errors += 1

    def scored(self, name: str, index: int, count: int) -> None:
        """So many good calls were labelled in time, all with the score of this bin."""
        for _ in range(count):
            held = self.held(self._next())
            if held and name in self.arm.scores:
                sums = held.scores.setdefault(name, [0, 0])
                sums[0] += 1
                sums[1] += index * (WHOLE_BP // SCORE_BINS)

    def tagged(self, name: str) -> str:
        """The last part of the id of a good call that is judged later."""
        return tagged(name, self.arm.generation, self._next())

    def _next(self) -> int:
        """The unit of the next good call that has no label yet."""
        self.labelled_count += 1
        return self.units[self.failed_count + self.labelled_count - 1]

    def calls_and_errors(self) -> Iterator[tuple[int, int, int]]:
        """(unit, calls, errors) of each call that was really made."""
        for number, unit in enumerate(self.units):
            yield unit, 1, int(number < self.failed_count)
