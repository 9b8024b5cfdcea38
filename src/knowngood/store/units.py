"""What single units have shown, in SQL, the same on both databases."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, select, tuple_

from knowngood.core.unit_sums import Tally
from knowngood.ports import UnitArm, UnitKey
from knowngood.store.database import Database
from knowngood.store.tables import unit_arms, unit_sums

ARM = ("environment", "prompt", "version", "generation")
SUM = ("arm", "unit", "name")
FORGET_COUNT = 20_000  # in one transaction: some 50 ms, during which nothing can be appended
_ALONE = "units"
_SIGN, _ALL = 1 << 63, 1 << 64


def add_units(
    database: Database, connection: Connection, units: Mapping[UnitKey, tuple[int, int]]
) -> None:
    """Add the sums to what is kept, inside a writing transaction."""
    # Two that lock the same rows in different orders would wait for each other for ever.
    database.alone(connection, _ALONE)
    arms = sorted({arm for arm, _, _ in units})
    named = [dict(zip(ARM, (*key, generation), strict=True)) for key, generation in arms]
    connection.execute(database.insert(unit_arms).on_conflict_do_nothing(), named)
    ids = {arm: _id_of(connection, arm) for arm in arms}
    new = database.insert(unit_sums)
    statement = new.on_conflict_do_update(
        index_elements=SUM,
        set_={name: unit_sums.c[name] + new.excluded[name] for name in ("count", "total")},
    )
    rows = [
        {"arm": ids[arm], "unit": _signed(unit), "name": name, "count": count, "total": total}
        for (arm, unit, name), (count, total) in units.items()
    ]
    connection.execute(statement, rows)


class SqlUnits:
    """The units in SQL. How many have the same sums is counted by the database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def tally(self, arm: UnitArm) -> list[Tally]:
        """See ports.Units."""
        same = (unit_sums.c.name, unit_sums.c.count, unit_sums.c.total)
        with self._db.reading() as connection:
            number = _id_of(connection, arm)
            query = select(*same, func.count()).where(unit_sums.c.arm == number).group_by(*same)
            return sorted(Tally(*row) for row in connection.execute(query))

    def arms(self) -> list[UnitArm]:
        """See ports.Units."""
        with self._db.reading() as connection:
            rows = connection.execute(select(*(unit_arms.c[name] for name in ARM))).all()
        return sorted(((row[0], row[1], row[2]), row[3]) for row in rows)

    def forget(self, arm: UnitArm) -> int:
        """See ports.Units."""
        key = [unit_sums.c[name] for name in SUM]
        with self._db.writing() as connection:
            self._db.alone(connection, _ALONE)
            number = _id_of(connection, arm)
            batch = select(*key).where(unit_sums.c.arm == number).limit(FORGET_COUNT)
            found = connection.execute(delete(unit_sums).where(tuple_(*key).in_(batch))).rowcount
            if found < FORGET_COUNT:
                connection.execute(delete(unit_arms).where(unit_arms.c.id == number))
        return found


def _id_of(connection: Connection, arm: UnitArm) -> int | None:
    key, generation = arm
    query = select(unit_arms.c.id).filter_by(**dict(zip(ARM, (*key, generation), strict=True)))
    found: int | None = connection.execute(query).scalar_one_or_none()
    return found


def _signed(unit: int) -> int:
    """The same 64 bits as the databases read them; that a hash is the same one is all we ask."""
    return unit - _ALL if unit >= _SIGN else unit
