"""One arm of a route whose arms are compared: which units count for it."""

from knowngood.core.model import WHOLE_BP
from knowngood.core.routing import unit_hash


class ComparedArm:
    """An arm that owns the buckets from `low_bp` up to `high_bp`, by one generation of its route.

    `scores` are those that are compared; the sums of others are not asked for.
    """

    __slots__ = ("generation", "high_bp", "low_bp", "salt", "scores")

    def __init__(
        self, generation: int, salt: str, low_bp: int, high_bp: int, scores: tuple[str, ...]
    ) -> None:
        self.generation = generation
        self.salt = salt
        self.low_bp = low_bp
        self.high_bp = high_bp
        self.scores = frozenset(scores)

    def hash_of(self, unit: str) -> int | None:
        """The hash of a unit that was assigned to this arm.

        None for one that came here otherwise: `call(unit=...)` may name another unit than `get`
        did, or one where `get` had none. Whoever was not assigned is not compared.
        """
        found = unit_hash(self.salt, unit)
        return found if self.low_bp <= found % WHOLE_BP < self.high_bp else None
