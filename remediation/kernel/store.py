"""The kernel's tables and its one way to change them: a serialised, durable transaction.

SQLite (WAL, synchronous=FULL, BEGIN IMMEDIATE) by default, PostgreSQL by URL (an advisory lock gives the same
serialisation). No code outside this module knows which of the two it runs on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    make_url,
    select,
    text,
)

from infra.errors import UserError

SCHEMA = 2
_PG_LOCK = 0x41494F5053  # "AIOPS"
metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

incidents = Table(
    "incidents",
    metadata,
    Column("id", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("service", String, nullable=False),
    Column("root", String, index=True),  # the target's resource once diagnosed
    Column("merged_into", String, index=True),
    Column("retry_at", Float, nullable=False, default=0.0),
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("duplicates", Integer, nullable=False, default=0),
    Column("actions", Integer, nullable=False, default=0),
    Column("detection", Text, nullable=False),
    Column("diagnosis", Text),
    Column("decision", Text),
)
Index("incidents_service", incidents.c.service, incidents.c.opened_at)
Index(
    "one_live_incident",
    incidents.c.fingerprint,
    unique=True,
    sqlite_where=incidents.c.closed_at.is_(None),
    postgresql_where=incidents.c.closed_at.is_(None),
)

leases = Table(
    "leases",
    metadata,
    Column("resource", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("expires_at", Float, nullable=False),
)

intents = Table(
    "intents",
    metadata,
    Column("id", String, primary_key=True),
    Column("key", String, nullable=False, unique=True),
    Column("incident", String, nullable=False),
    Column("resource", String, nullable=False),
    Column("service", String, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("state", String, nullable=False),  # admitted → started → applied → (undoing →) finished | cancelled
    Column("attempt", Integer, nullable=False),
    Column("plan", Text, nullable=False),
    Column("admitted_at", Float, nullable=False),
    Column("finished_at", Float),
)
Index("intents_open", intents.c.finished_at, intents.c.service)

tokens = Table(
    "tokens",
    metadata,
    Column("intent", String, primary_key=True),
    Column("wall", Float, nullable=False, index=True),
    Column("boot", String, nullable=False),
    Column("mono", Float, nullable=False),
)

breaker = Table(
    "breaker",
    metadata,
    Column("scope", String, primary_key=True),
    Column("state", String, nullable=False),  # closed | open | half_open
    Column("opened_at", Float, nullable=False),
    Column("probe", String),
    Column("since", Integer, nullable=False),  # only outcomes after this seq count
)

approvals = Table(
    "approvals",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("incident", String, nullable=False, index=True),
    Column("plan_hash", String, nullable=False),
    Column("state", String, nullable=False),
    Column("requested_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("decided_by", String),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("intent", String, nullable=False, unique=True),
    Column("incident", String, nullable=False, index=True),
    Column("action", String, nullable=False),
    Column("cause", String, nullable=False),
    Column("resource", String, nullable=False, index=True),
    Column("verdict", String, nullable=False),
    Column("finished_at", Float, nullable=False),
    Column("body", Text, nullable=False),
)

switches = Table(
    "switches",
    metadata,
    Column("name", String, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("by", String, nullable=False),
    Column("at", Float, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("notice", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("incident", String, nullable=False),
    Column("event", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("due_at", Float),  # when to try next; null: sent or given up
    Column("sent_at", Float),
    Column("attempts", Integer, nullable=False, default=0),
    Column("error", Text),
    UniqueConstraint("incident", "event", "channel"),
)
Index("outbox_due", outbox.c.channel, outbox.c.due_at)

# the channels of the process that stays and sends: the others queue for them as well
subscriptions = Table("subscriptions", metadata, Column("channel", String, primary_key=True))

audit = Table(
    "audit",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("time", String, nullable=False),
    Column("actor", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("prev", String, nullable=False),
    Column("hash", String, nullable=False),
)


class Store:
    """Opens (and on first use creates) the kernel's database.

    `boundary` is called with `commit:NAME` just before and `committed:NAME` just after each commit: crash tests kill
    the process there. `on_commit` receives what the transaction left in `connection.info["after"]`.
    """

    def __init__(self, url: str, boundary: Callable[[str], None] | None = None) -> None:
        self.boundary = boundary or (lambda name: None)
        self.engine = _sqlite(url) if make_url(url).get_backend_name() == "sqlite" else create_engine(url)
        with self.read() as conn:
            version = _version(conn)
        if version in (None, 1):
            version = self._create()
        if version != SCHEMA:
            place = make_url(url).render_as_string(hide_password=True)
            raise UserError(f"{place} has kernel schema {version}, this program needs {SCHEMA}; use its own version")

    @contextmanager
    def transaction(self, name: str) -> Iterator[Connection]:
        """One state change, alone in the store and durable when the block ends; an exception undoes all of it."""
        after: list[Callable[[], None]] = []
        with self.engine.connect() as conn, conn.begin() as change:
            _serialise(conn)
            conn.info["after"] = after
            yield conn
            self.boundary(f"commit:{name}")
            change.commit()
        self.boundary(f"committed:{name}")
        for callback in after:
            callback()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view that blocks nobody."""
        with self.engine.connect().execution_options(aiops_read=True) as conn, conn.begin():
            yield conn

    def close(self) -> None:
        self.engine.dispose()

    def _create(self) -> int:
        with self.engine.begin() as conn:
            _serialise(conn)
            found = _version(conn)  # again: another process may have been faster
            if found == 1:  # its outbox knew no channels but the log, which has what was queued
                outbox.drop(conn)
                conn.execute(schema_version.delete())
            if found in (None, 1):
                metadata.create_all(conn)
                conn.execute(schema_version.insert().values(version=SCHEMA))
        with self.read() as conn:
            return _version(conn) or 0


def _version(conn: Connection) -> int | None:
    if not inspect(conn).has_table(schema_version.name):
        return None
    return conn.execute(select(schema_version.c.version)).scalar()


def _serialise(conn: Connection) -> None:
    if conn.dialect.name == "postgresql":
        conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _PG_LOCK})


def _sqlite(url: str) -> Engine:
    path = make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    engine = create_engine(url, connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        for pragma in ("busy_timeout=60000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        conn.exec_driver_sql("BEGIN" if conn.get_execution_options().get("aiops_read") else "BEGIN IMMEDIATE")

    return engine
