"""Who is served what: the arms of a route."""

from dataclasses import dataclass

from knowngood.core.errors import BadWeights

WHOLE_BP = 10_000


@dataclass(frozen=True, slots=True)
class Arm:
    """A version's share of the traffic, in basis points."""

    version: str
    weight_bp: int


@dataclass(frozen=True, slots=True)
class ShareStep:
    """From `since_ms` on the candidate had this share of the traffic."""

    since_ms: int
    weight_bp: int


@dataclass(frozen=True, slots=True)
class Route:
    """Who is served what: one arm, or a control (first) and a candidate (second).

    The candidate owns the hash buckets from 0 upward, so raising its weight only ever adds units.
    Raises BadWeights unless there are one or two different versions whose weights sum to 10,000.
    """

    arms: tuple[Arm, ...]
    salt: str = ""
    generation: int = 0
    since_ms: int = 0
    steps: tuple[ShareStep, ...] = ()  # the candidate's shares since it came, oldest first

    def __post_init__(self) -> None:
        if not 1 <= len(self.arms) <= 2:
            raise BadWeights(f"a route has one or two arms, got {len(self.arms)}")
        if len({arm.version for arm in self.arms}) != len(self.arms):
            raise BadWeights(f"both arms of the route are {self.arms[0].version}")
        for arm in self.arms:
            if not 0 < arm.weight_bp <= WHOLE_BP:
                raise BadWeights(
                    f"the weight of {arm.version} is {arm.weight_bp} bp; it must be 1 to 10000"
                )
        if (whole := sum(arm.weight_bp for arm in self.arms)) != WHOLE_BP:
            raise BadWeights(f"the weights sum to {whole} basis points, not to 10000")

    @property
    def control(self) -> Arm:
        """The arm that owns the upper buckets; the only arm of an unsplit route."""
        return self.arms[0]

    @property
    def candidate(self) -> Arm | None:
        """The arm under trial, if the route is split."""
        return self.arms[1] if len(self.arms) == 2 else None

    @property
    def suspect(self) -> Arm:
        """The arm that a rollback would take off the route: the candidate, else the only arm."""
        return self.arms[-1]

    def weight_bp(self, version: str) -> int:
        """The share of `version`, 0 when it is not on the route."""
        return next((arm.weight_bp for arm in self.arms if arm.version == version), 0)


def whole(version: str) -> tuple[Arm, ...]:
    """The arms of a route that serves one version to everybody."""
    return (Arm(version, WHOLE_BP),)
