"""Who is served which version: sticky hashing, and nothing else.

A unit's bucket depends only on the rollout's salt and the unit, so every process of every language
makes the same choice without asking anybody. `spec/routing.json` holds the cases each must pass.
"""

from dataclasses import dataclass
from hashlib import blake2b

from knowngood.core.model import WHOLE_BP, Route

STATIC = "static"  # the route has one arm
SPLIT = "split"  # the unit's bucket decided
RANDOM = "random"  # there was no unit: a bucket drawn for this call decided


@dataclass(frozen=True, slots=True)
class Choice:
    """A version and why it was chosen: `static`, `split` or `random`."""

    version: str
    reason: str


def bucket(salt: str, unit: str) -> int:
    """The bucket (0 to 9999) of a unit: the first 8 bytes of blake2b(`<salt>:<unit>`) mod 10,000.

    The digest is the plain 64-byte one; its first 8 bytes are read as a big-endian number. Lone
    surrogates are hashed as if UTF-8 allowed them, so that no string is without a bucket.
    """
    # unit_hash in place: every `get` of a split route comes by here.
    digest = blake2b(f"{salt}:{unit}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % WHOLE_BP


def unit_hash(salt: str, unit: str) -> int:
    """The 64 bits of a unit, of which its bucket is taken: another number for another salt."""
    digest = blake2b(f"{salt}:{unit}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big")


def choose(route: Route, unit: str) -> Choice:
    """The version that a unit is served; the same unit gets the same one while the route stands."""
    if len(route.arms) == 1:
        return Choice(route.arms[0].version, STATIC)
    return Choice(_owner(route, bucket(route.salt, unit)), SPLIT)


def choose_bucket(route: Route, bucket_no: int) -> Choice:
    """The version that owns a bucket (0 to 9999), for a call without a unit that drew one."""
    if len(route.arms) == 1:
        return Choice(route.arms[0].version, STATIC)
    return Choice(_owner(route, bucket_no), RANDOM)


def new_salt(environment: str, prompt: str, version: str, generation: int) -> str:
    """The salt of the rollout of `version` that starts at `generation`: 16 hex digits.

    Derived, so two engines that start the same rollout agree; it differs from rollout to rollout,
    so not always the same units go first.
    """
    name = "\0".join((environment, prompt, version, str(generation)))
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _owner(route: Route, bucket_no: int) -> str:
    # The candidate owns the buckets from 0 upward: raising its weight only ever adds units to it.
    control, candidate = route.arms
    return candidate.version if bucket_no < candidate.weight_bp else control.version
