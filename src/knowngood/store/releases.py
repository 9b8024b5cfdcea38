"""Releases in SQL, the same on both databases."""

import json

from sqlalchemy import select

from knowngood.core.codec import from_data, to_data
from knowngood.core.errors import UnknownRelease
from knowngood.core.purge import refuse_purged
from knowngood.core.release import Release, is_same
from knowngood.store.control import purged_of
from knowngood.store.database import Database, to_text
from knowngood.store.tables import releases

NAMES_KNOWN = 20  # that a refusal names


class SqlReleases:
    """The releases in SQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def put(self, release: Release) -> bool:
        """See ports.Releases."""
        with self._db.writing() as connection:
            self._db.alone(connection, "retention")  # what a release names is not purged
            there = connection.execute(
                select(releases.c.body).where(releases.c.name == release.name)
            ).scalar()
            if there is not None:
                return not is_same(from_data(Release, json.loads(there)), release)
            refuse_purged(purged_of(connection, release.names()))
            body = to_text(to_data(release))
            connection.execute(releases.insert(), [{"name": release.name, "body": body}])
        return True

    def get(self, name: str) -> Release:
        """See ports.Releases."""
        query = select(releases.c.body).where(releases.c.name == name)
        with self._db.reading() as connection:
            body = connection.execute(query).scalar()
        if body is None:
            known = [release.name for release in self.all(NAMES_KNOWN)]
            raise UnknownRelease(f"there is no release {name!r}", known=known)
        return from_data(Release, json.loads(body))

    def all(self, limit: int = 100) -> list[Release]:
        """See ports.Releases."""
        query = select(releases.c.body).order_by(releases.c.id.desc()).limit(max(0, limit))
        with self._db.reading() as connection:
            bodies = connection.execute(query).scalars().all()
        return [from_data(Release, json.loads(body)) for body in bodies]
