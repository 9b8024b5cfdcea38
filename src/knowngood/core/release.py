"""The nouns of a release: versions of several prompts that come, and go, as one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from knowngood.core.errors import BadRequest, ReleaseConflict

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
MEMBERS_MAX = 50  # all of them are changed in one transaction


@dataclass(frozen=True, slots=True)
class Member:
    """One prompt's version in a release."""

    prompt: str
    version: str


@dataclass(frozen=True, slots=True)
class Release:
    """A named set of versions, at most one of each prompt, in the order of their names."""

    name: str
    members: tuple[Member, ...]
    created_ms: int = 0
    actor: str = ""
    because: str = ""

    def names(self) -> set[tuple[str, str]]:
        """The (prompt, version) names in it."""
        return {(member.prompt, member.version) for member in self.members}

    def besides(self, prompt: str) -> tuple[Member, ...]:
        """The other prompts' versions."""
        return tuple(member for member in self.members if member.prompt != prompt)


def new_release(
    name: str, members: Sequence[Member], actor: str, because: str, now_ms: int
) -> Release:
    """A release of these versions. Raises BadRequest for a name or a set that is none."""
    if not NAME.fullmatch(name):
        raise BadRequest(
            f"{name!r} is no name of a release",
            next_step="use a-z, 0-9, dot, underscore and hyphen, a letter or digit first",
        )
    prompts = [member.prompt for member in members]
    if twice := sorted({prompt for prompt in prompts if prompts.count(prompt) > 1}):
        raise BadRequest(f"the release names two versions of {twice[0]}")
    if not 2 <= len(members) <= MEMBERS_MAX:
        raise BadRequest(
            f"a release has 2 to {MEMBERS_MAX} prompts, not {len(members)}",
            next_step="promote a single version without a release",
        )
    ordered = tuple(sorted(members, key=lambda member: member.prompt))
    return Release(name, ordered, now_ms, actor, because)


def is_same(there: Release, given: Release) -> bool:
    """True for the same members. Raises ReleaseConflict for others under the same name."""
    if there.members == given.members:
        return True
    members = ", ".join(f"{member.prompt}:{member.version}" for member in there.members)
    raise ReleaseConflict(
        f"the release {there.name} exists with {members}; releases are immutable",
        next_step="give the new one another name",
    )
