"""History as a chain, and incidents as they were filed.

Lines that are there already get the hashes that they would have been written with; incidents that
are there already are filed from the history as far as it names them.
"""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

PAGE_COUNT = 1_000  # lines in memory at a time: some 40 MB where every line froze a decision
SQLITE_TRIGGER = (
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
)
POSTGRES_TRIGGER = (
    "CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
    "FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"
)
ENDS = ("incident.resolved", "incident.closed", "rollback.verified")
SEVERITIES = ("critical", "high", "medium", "low")

audit = sa.table(
    "audit",
    sa.column("id", sa.BigInteger),
    sa.column("at_ms", sa.BigInteger),
    sa.column("environment", sa.Text),
    sa.column("prompt", sa.Text),
    sa.column("kind", sa.Text),
    sa.column("body", sa.Text),
    sa.column("hash", sa.Text),
)


def upgrade() -> None:
    """Chain the lines and file the incidents."""
    op.add_column("audit", sa.Column("hash", sa.Text, nullable=False, server_default=""))
    incidents = op.create_table(
        "incidents",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("part_of", sa.Text, nullable=False),
        sa.Column("opened_ms", sa.BigInteger, nullable=False),
        sa.Column("closed_ms", sa.BigInteger),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("incidents_of", "incidents", ["prompt", "environment", "opened_ms"])
    op.create_index("incidents_time", "incidents", ["opened_ms"])
    op.create_index("incidents_part_of", "incidents", ["part_of"])
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(
        "DROP TRIGGER audit_no_update" if sqlite else "DROP TRIGGER audit_append_only ON audit"
    )
    found = _chain()
    op.execute(SQLITE_TRIGGER if sqlite else POSTGRES_TRIGGER)
    _still_open(found)
    rows = [_row(each) for each in found.values()]
    if rows:
        op.bulk_insert(incidents, rows)


def downgrade() -> None:
    """Drop both; the history itself stays as it is."""
    op.drop_table("incidents")
    op.drop_column("audit", "hash")


def _chain() -> dict[str, dict[str, Any]]:
    """Give each line its hash; the incidents that the lines name, by id."""
    connection = op.get_bind()
    before = ""
    found: dict[str, dict[str, Any]] = {}
    for line in _lines(connection):
        body = json.loads(line.body)
        before = sha256(f"{_canonical(line, body)}{before}".encode()).hexdigest()
        connection.execute(audit.update().where(audit.c.id == line.id).values(hash=before))
        _note(found, line, body.get("detail", {}))
    return found


def _lines(connection: sa.Connection) -> Iterator[Any]:
    last_id = 0
    query = sa.select(audit).order_by(audit.c.id).limit(PAGE_COUNT)
    while page := connection.execute(query.where(audit.c.id > last_id)).all():
        yield from page
        last_id = page[-1].id


def _canonical(line: Any, body: dict[str, Any]) -> str:
    """What core.chain hashes, as it was when this migration was written."""
    covered = {
        "at_ms": line.at_ms,
        "environment": line.environment,
        "prompt": line.prompt,
        "kind": line.kind,
        "because": body["because"],
        "actor": body["actor"],
        "revision": body["revision"],
        "generation": body["generation"],
        "policy_revision": body.get("policy_revision", ""),
        "detail": body.get("detail", {}),
    }
    return json.dumps(covered, sort_keys=True, separators=(",", ":"))


def _note(found: dict[str, dict[str, Any]], line: Any, detail: dict[str, Any]) -> None:
    """Remember what a line says of its incident."""
    name = detail.get("incident")
    if not isinstance(name, str) or not name.startswith(f"{line.environment}/{line.prompt}/g"):
        return
    findings = detail.get("findings", ())
    said = [SEVERITIES.index(f["severity"]) for f in findings]
    if name in found:  # a line without findings says nothing about how bad it is
        said.append(SEVERITIES.index(found[name]["incident"]["severity"]))
    worst = min(said, default=0)
    each = found.setdefault(
        name,
        {
            "environment": line.environment,
            "prompt": line.prompt,
            "incident": {
                "id": name,
                "version": findings[0]["version"] if findings else detail.get("from", ""),
                "generation": int(name.rpartition("/g")[2].partition(".")[0]),
                "severity": SEVERITIES[worst],
                "response": findings[0]["response"] if findings else "rollback",
                "triggers": [],
                "opened_ms": line.at_ms,
            },
            "severities": [{"severity": SEVERITIES[worst], "since_ms": line.at_ms}],
        },
    )
    incident = each["incident"]
    incident["triggers"] += [
        f["trigger"] for f in findings if f["trigger"] not in incident["triggers"]
    ]
    if worst < SEVERITIES.index(incident["severity"]):
        incident["severity"] = SEVERITIES[worst]
        each["severities"].append({"severity": SEVERITIES[worst], "since_ms": line.at_ms})
    if line.kind in ENDS:
        each["closed_ms"] = line.at_ms


def _still_open(found: dict[str, dict[str, Any]]) -> None:
    """What the states say is open, is; what they do not, is over, if only by its last line."""
    connection = op.get_bind()
    states = sa.table("states", sa.column("body", sa.Text))
    open_ones = {}
    for (text,) in connection.execute(sa.select(states.c.body)):
        state = json.loads(text)
        if incident := state.get("incident"):
            open_ones[incident["id"]] = (state, incident)
    for name, each in found.items():
        if name not in open_ones:
            each.setdefault("closed_ms", each["severities"][-1]["since_ms"])
    for name, (state, incident) in open_ones.items():
        rise = {"severity": incident["severity"], "since_ms": incident["opened_ms"]}
        found[name] = {
            "environment": state["environment"],
            "prompt": state["prompt"],
            "incident": incident,
            "severities": [rise],
        }


def _row(each: dict[str, Any]) -> dict[str, Any]:
    incident = each["incident"]
    return {
        "id": incident["id"],
        "environment": each["environment"],
        "prompt": each["prompt"],
        "part_of": "",
        "opened_ms": incident["opened_ms"],
        "closed_ms": each.get("closed_ms"),
        "severity": incident["severity"],
        "body": json.dumps(each, separators=(",", ":")),
    }
