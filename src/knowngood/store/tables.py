"""The tables, and in which of the two databases they live.

The control database is small and precious: every commit reaches the disk. The observations are many
and may lose their last moment in a power cut. On PostgreSQL both live in one database.

Texts that people or providers write are kept inside `body`, JSON escaped to ASCII: a column
of PostgreSQL takes neither NUL nor half of a surrogate pair, and a rollback must not fail on a
comment.
"""

from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

CONTROL = MetaData()
OBSERVATIONS = MetaData()

# SQLite numbers rows itself only if the column is called INTEGER; it holds 64 bits all the same.
RowId = BigInteger().with_variant(Integer, "sqlite")

versions = Table(
    "versions",
    CONTROL,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("prompt", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("prompt", "version", name="versions_name"),
)

environments = Table(
    "environments",
    CONTROL,
    Column("name", Text, primary_key=True),
    Column("generation", BigInteger, nullable=False),
)

states = Table(
    "states",
    CONTROL,
    Column("environment", Text, primary_key=True),
    Column("prompt", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),  # of the route, 0 without one
    Column("body", Text, nullable=False),
)

audit = Table(
    "audit",
    CONTROL,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("environment", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("audit_prompt", "prompt", "environment", "id"),
    sqlite_autoincrement=True,
)

outbox = Table(
    "outbox",
    CONTROL,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("key", Text, nullable=False),
    Column("next_try_ms", BigInteger, nullable=False),
    Column("attempt_count", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("done_ms", BigInteger),  # when it was sent or given up; null while it waits
    Column("outcome", Text),  # "sent" or "gave_up"
    Column("answer", Text),  # JSON: the provider's last word, a receipt or an error
    UniqueConstraint("key", name="outbox_key"),
    Index(
        "outbox_waiting",
        "id",
        sqlite_where=text("done_ms IS NULL"),
        postgresql_where=text("done_ms IS NULL"),
    ),
    sqlite_autoincrement=True,
)

# What each channel answered, try by try. A try of no message (a test) has message_id 0.
deliveries = Table(
    "deliveries",
    CONTROL,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("message_id", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),
    Column("thread", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("receipt", Text),  # JSON; null when there is none
    Column("body", Text, nullable=False),
    Index("deliveries_message", "message_id", "id"),
    Index("deliveries_thread", "thread", "id"),
    sqlite_autoincrement=True,
)

policies = Table(
    "policies",
    CONTROL,
    Column("digest", Text, primary_key=True),
    Column("put_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

evaluations = Table(
    "evaluations",
    CONTROL,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("prompt", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("suite", Text, nullable=False),
    Column("recorded_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("examples", LargeBinary, nullable=False),  # compressed JSON text
    Index("evaluations_of", "prompt", "version", "suite", "id"),
    sqlite_autoincrement=True,
)

releases = Table(
    "releases",
    CONTROL,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("body", Text, nullable=False),
    sqlite_autoincrement=True,
)

pins = Table(
    "pins",
    CONTROL,
    Column("prompt", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("because", Text, nullable=False),  # JSON
    Column("actor", Text, nullable=False),  # JSON
    Column("at_ms", BigInteger, nullable=False),
)

# What was purged, so that its name never means another content and nobody routes it.
purged = Table(
    "purged",
    CONTROL,
    Column("prompt", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("purged_ms", BigInteger, nullable=False),
)

runbook_runs = Table(
    "runbook_runs",
    CONTROL,
    Column("seq", RowId, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("incident", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("runbook_runs_incident", "incident", "seq"),
    sqlite_autoincrement=True,
)

inbound_evidence = Table(
    "inbound_evidence",
    CONTROL,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("source", Text, nullable=False),
    Column("key", Text, nullable=False),  # JSON
    Column("status", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("began_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
    Column("at_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),  # sha256 of the body that it came in
    Column("body", Text, nullable=False),  # JSON
    UniqueConstraint("source", "key", name="inbound_evidence_key"),
    Index("inbound_evidence_of", "environment", "prompt", "began_ms"),
    Index("inbound_evidence_seen", "seen_ms"),
    sqlite_autoincrement=True,
)

# Messages that must not be taken twice, such as a press of a button.
inbound_taken = Table(
    "inbound_taken",
    CONTROL,
    Column("source", Text, primary_key=True),
    Column("key", Text, primary_key=True),  # JSON
    Column("at_ms", BigInteger, nullable=False),
    Index("inbound_taken_at", "at_ms"),
)

series = Table(
    "series",
    OBSERVATIONS,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("environment", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("width_ms", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Index("series_key", "environment", "prompt", "version", "at_ms"),  # read
    Index("series_time", "at_ms"),  # touched, and what is too old
    Index("series_width", "width_ms", "at_ms"),  # what is to be rolled up, oldest first
)

clients = Table(
    "clients",
    OBSERVATIONS,
    Column("id", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("boot", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("closed", Boolean, nullable=False),
    Column("ended", Text, nullable=False, server_default="[]"),  # JSON list
    Index("clients_seen", "environment", "seen_ms"),
)

scores = Table(
    "scores",
    OBSERVATIONS,
    Column("call", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("bin", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Index("scores_time", "at_ms"),
)

# No index on until_ms: each save would have to rewrite it. What is too old is looked for among one
# row for each version, and not often.
checkpoints = Table(
    "checkpoints",
    OBSERVATIONS,
    Column("environment", Text, primary_key=True),
    Column("prompt", Text, primary_key=True),
    Column("version", Text, primary_key=True),
    Column("until_ms", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),  # compressed JSON text
)


unit_arms = Table(
    "unit_arms",
    OBSERVATIONS,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("environment", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),  # of the route that the arm belongs to
    UniqueConstraint("environment", "prompt", "version", "generation", name="unit_arms_key"),
)

# By the hundred thousand, and read as a whole: the key is all there is to a row, and names of
# prompts and versions are not repeated in each.
unit_sums = Table(
    "unit_sums",
    OBSERVATIONS,
    Column("arm", BigInteger, primary_key=True, autoincrement=False),
    Column("unit", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),  # of a score; empty for calls
    Column("count", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


@dataclass(frozen=True, slots=True)
class Schema:
    """One set of tables with its own line of migrations; `head` is the newest of them."""

    name: str
    metadata: MetaData
    head: str

    @property
    def version_table(self) -> str:
        """The table that says which migration the database has reached."""
        return f"knowngood_{self.name}_version"


CONTROL_SCHEMA = Schema("control", CONTROL, "0008")
OBSERVATIONS_SCHEMA = Schema("observations", OBSERVATIONS, "0004")
