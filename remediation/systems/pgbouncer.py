"""PgBouncer, asked over its console (the database `pgbouncer`) and, as a client would, through one of its pools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any

import psycopg
from psycopg.conninfo import make_conninfo
from pydantic import AfterValidator, Field, SecretStr

from infra.errors import DataError, NotFound
from infra.settings import Duration
from remediation.records import Finding, Name, Record
from remediation.system import Options, Silent, System
from remediation.systems.postgresql import address_of, checked_dsn, first_line


class PgbouncerOptions(Options):
    """`dsn`: of a role that `admin_users` names; `database`: the pool's; `server`: its PostgreSQL in the inventory."""

    dsn: Annotated[SecretStr, AfterValidator(checked_dsn)]
    database: str
    max_wait: Duration = timedelta(seconds=1)  # a client that waits longer for a connection has found the pool full
    max_pool_size: Annotated[int, Field(ge=1)] = 100
    server: Name | None = None


class Connection(Record):
    """A server connection: its backend's pid with the moment it was opened (by PgBouncer's clock)."""

    pid: int
    opened: str


class Pgbouncer(System[PgbouncerOptions]):
    options = PgbouncerOptions

    @property
    def address(self) -> tuple[str, int] | str:
        return address_of(self.told.dsn, port=6432)

    @contextmanager
    def console(self, database: str = "pgbouncer") -> Iterator[psycopg.ClientCursor[Any]]:
        """Raises Silent when it takes longer than a look may, DataError with the first line of every other error."""
        dsn = make_conninfo(
            self.told.dsn.get_secret_value(), dbname=database, connect_timeout=max(2, int(self.timeout))
        )
        try:
            with (
                psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection,
                psycopg.ClientCursor(connection) as cursor,
            ):
                yield cursor
        except psycopg.errors.ConnectionTimeout as error:
            raise Silent(f"{self.target.instance} does not answer in time: {first_line(error)}") from None
        except psycopg.Error as error:
            raise DataError(f"{self.target.instance}: {first_line(error)}") from None

    def finding(self) -> Finding | None:
        with self.console() as console:
            pool = self.pool(console)
        limit = self.told.max_wait.total_seconds()
        waited = pool["maxwait"] + pool["maxwait_us"] / 1e6
        if not pool["cl_waiting"] or waited <= limit:
            return None
        fact = f"{pool['cl_waiting']} clients of {self.told.database} wait, one {waited:.1f} s; the limit is {limit:g}"
        return Finding(cause="pool_exhausted", confidence=0.85, fact=fact)

    def pool(self, console: psycopg.ClientCursor[Any]) -> dict[str, Any]:
        """The pool of the database whose clients wait longest; zeros where none has been made yet."""
        pools = [one for one in rows(console, "SHOW POOLS") if one["database"] == self.told.database]
        empty = {"cl_waiting": 0, "maxwait": 0, "maxwait_us": 0, "user": ""}
        return max(pools, key=lambda one: (one["maxwait"], one["maxwait_us"]), default=empty)

    def database(self, console: psycopg.ClientCursor[Any]) -> dict[str, Any]:
        """Its line of SHOW DATABASES. Raises NotFound."""
        found = {one["name"]: one for one in rows(console, "SHOW DATABASES")}
        if self.told.database not in found:
            raise NotFound(f"database of {self.target.instance}", self.told.database, found)
        return found[self.told.database]

    def connections(self, console: psycopg.ClientCursor[Any]) -> list[Connection]:
        """The database's server connections that are to be used again, the oldest first."""
        servers = [one for one in rows(console, "SHOW SERVERS") if one["database"] == self.told.database]
        kept = [
            Connection(pid=one["remote_pid"], opened=one["connect_time"]) for one in servers if not one["close_needed"]
        ]
        return sorted(kept, key=lambda one: (one.opened, one.pid))


def rows(console: psycopg.ClientCursor[Any], command: str) -> list[dict[str, Any]]:
    """What a SHOW command answers, by column."""
    console.execute(command.encode())
    names = [column.name for column in console.description or ()]
    return [dict(zip(names, row, strict=True)) for row in console.fetchall()]
