"""The nouns of traffic that is moved on purpose, stage by stage: up a ladder, or back down."""

from dataclasses import dataclass
from enum import StrEnum

from knowngood.core.trial import Begun, Experiment


class RolloutKind(StrEnum):
    """Which way the traffic goes."""

    CANARY = "canary"  # a new version climbs
    GRADUAL = "gradual"  # a version that is rolled back gives way


@dataclass(frozen=True, slots=True)
class Ladder:
    """The stages of a rollout, as shares of the traffic in basis points.

    Of a canary they are the new version's and rise to 10,000; of a gradual rollback they are what
    is left to the version that is rolled back, and fall to 0. A stage lasts `hold_ms` at least;
    after `wait_ms` without proof a person is asked. `timed`: left on time alone.
    """

    stages_bp: tuple[int, ...]
    hold_ms: int
    wait_ms: int
    timed: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """A rollout goes on only when a person says so."""

    since_ms: int
    because: str
    actor: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """A rollout under way, at `ladder.stages_bp[stage]` since `stage_ms`.

    A canary at its last stage bakes: the old version keeps `holdback_bp` of the traffic as a
    concurrent control, until that is released (0). `triggers` are what a gradual rollback is for.
    `begun`: both arms are compared since this stage began; `answer` is what that has said, once it
    is final.
    `unseen` holds until the first look after the stage was put in force; `before_count` and
    `before_bad_count` are the calls of the version on trial until then, and those that had failed.
    """

    kind: RolloutKind
    from_version: str
    to_version: str
    ladder: Ladder
    began_ms: int
    stage_ms: int
    because: str
    actor: str
    stage: int = 0
    holdback_bp: int = 0
    pause: Pause | None = None
    triggers: tuple[str, ...] = ()
    begun: Begun | None = None
    answer: Experiment | None = None
    unseen: bool = True
    before_count: int = 0
    before_bad_count: int = 0

    @property
    def share_bp(self) -> int:
        """The stage in force, in basis points of the version whose shares the ladder states."""
        return self.ladder.stages_bp[self.stage]

    @property
    def moving(self) -> str:
        """The version whose shares the ladder states: the one on trial."""
        return self.to_version if self.kind is RolloutKind.CANARY else self.from_version

    @property
    def is_before_whole(self) -> bool:
        """Whether the next stage of a canary is everybody."""
        return self.kind is RolloutKind.CANARY and self.stage == len(self.ladder.stages_bp) - 2

    @property
    def is_compared(self) -> bool:
        """Whether what single units show is wanted: a comparison is under way, and still open."""
        return self.begun is not None and self.answer is None

    @property
    def is_baking(self) -> bool:
        """Whether a canary has come to its last stage."""
        return self.kind is RolloutKind.CANARY and self.stage == len(self.ladder.stages_bp) - 1
