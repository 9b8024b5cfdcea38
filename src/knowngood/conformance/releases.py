"""The laws of releases."""

from dataclasses import replace

import pytest

from knowngood.conformance.examples import AWKWARD, NOW_MS
from knowngood.core.errors import ReleaseConflict, UnknownRelease
from knowngood.core.release import Member, Release
from knowngood.ports import Store

MEMBERS = (Member("faq", "v2"), Member("support", "v3"))


class ReleasesConformance:
    """Named sets of versions."""

    def test_everything_of_a_release_survives(self, store: Store) -> None:
        """With any string in its reason."""
        given = Release("spring", MEMBERS, NOW_MS, AWKWARD, AWKWARD)
        assert store.releases.put(given)
        assert store.releases.get("spring") == given
        assert store.releases.all() == [given]

    def test_a_release_is_immutable(self, store: Store) -> None:
        """The same members again change nothing; others under its name are refused."""
        given = Release("spring", MEMBERS, NOW_MS, "ann", "first")
        store.releases.put(given)
        assert not store.releases.put(replace(given, created_ms=NOW_MS + 1, because="again"))
        with pytest.raises(ReleaseConflict):
            store.releases.put(replace(given, members=(*MEMBERS, Member("web", "v1"))))
        assert store.releases.get("spring") == given

    def test_the_newest_come_first(self, store: Store) -> None:
        """And an unknown name is refused with those that are known."""
        for number in range(3):
            store.releases.put(Release(f"r{number}", MEMBERS, NOW_MS + number))
        assert [release.name for release in store.releases.all(2)] == ["r2", "r1"]
        with pytest.raises(UnknownRelease) as refused:
            store.releases.get("r9")
        assert refused.value.known == ["r2", "r1", "r0"]
