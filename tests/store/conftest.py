"""Stores for tests: migrated once, copied for each test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("knowngood.conformance")

from knowngood.store.memory import open_memory  # noqa: E402 - assertions are rewritten on import
from knowngood.store.opened import OpenStore  # noqa: E402
from knowngood.store.postgres import open_postgres  # noqa: E402
from knowngood.store.sqlite import observations_path, open_sqlite  # noqa: E402
from tests.postgres import PostgresServer, postgres_server  # noqa: E402


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for each worker that needs one."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: PostgresServer) -> str:
    url = postgres.create()
    open_postgres(url).close()
    return url


@pytest.fixture
def empty_postgres(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a database without tables."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture
def postgres_url(postgres: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of an empty store."""
    url = postgres.create(postgres_template)
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def new_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Puts an empty store into a folder and returns its path."""
    template = tmp_path_factory.mktemp("template") / "knowngood.db"
    open_sqlite(template).close()

    def copy(folder: Path) -> Path:
        path = folder / "knowngood.db"
        shutil.copy(template, path)
        shutil.copy(observations_path(template), observations_path(path))
        return path

    return copy


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    """A fresh store of each kind."""
    match request.param:
        case "memory":
            opened = open_memory()
        case "sqlite":
            opened = open_sqlite(request.getfixturevalue("new_sqlite")(tmp_path))
        case _:
            opened = open_postgres(request.getfixturevalue("postgres_url"))
    with opened:
        yield opened
