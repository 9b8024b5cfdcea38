"""The one suite of laws, on every store we ship."""

from knowngood.conformance import StoreConformance


class TestStore(StoreConformance):
    """Runs on the `store` of conftest.py: memory, SQLite, PostgreSQL."""
