"""PostgreSQL 14 or newer, asked over its own protocol; statements come from `pg_stat_statements` where it is installed.

The role of `dsn` needs `pg_monitor` to look, `pg_signal_backend` to end queries, and to own the tables to index them.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr

from infra.errors import DataError
from infra.settings import Duration, Health
from remediation.records import Finding, Record, Target
from remediation.system import Options, Silent, System

APPLICATION = "aiops"
LOOKED_AT = 50  # statements of a look, those that took most time

# its own work (vacuum, index builds, dumps) is long by nature and costly to repeat
_LONG = """
SELECT pid, backend_start, usename AS role, state, coalesce(query_id, 0) AS statement,
    CASE state WHEN 'active' THEN query_start ELSE state_change END AS since
FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
    AND application_name <> %(own)s AND usename <> ALL(%(spared)s)
    AND state IN ('active', 'idle in transaction', 'idle in transaction (aborted)')
    AND CASE state WHEN 'active' THEN query_start ELSE state_change END < now() - %(limit)s
    AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum UNION ALL SELECT pid FROM pg_stat_progress_create_index
        UNION ALL SELECT pid FROM pg_stat_progress_analyze UNION ALL SELECT pid FROM pg_stat_progress_cluster
        UNION ALL SELECT pid FROM pg_stat_progress_copy)
ORDER BY since, pid
"""
_COUNTERS = """
SELECT queryid, calls, total_exec_time / 1000 FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND queryid IS NOT NULL
ORDER BY total_exec_time DESC LIMIT %s
"""


def checked_dsn(dsn: SecretStr) -> SecretStr:
    """The address as given. Raises ValueError, without its text, when it is none."""
    try:
        conninfo_to_dict(dsn.get_secret_value())
    except psycopg.ProgrammingError:  # its text holds the dsn
        raise ValueError("is no address of PostgreSQL; write postgresql://user@host:5432/database") from None
    return dsn


class PostgresqlOptions(Options):
    """`spared_roles`: their queries are never ended; `window`: only calls this young count as slow."""

    dsn: Annotated[SecretStr, AfterValidator(checked_dsn)]
    schemas: tuple[str, ...] = ("public",)  # where indexes may be made
    long_query: Duration = timedelta(minutes=5)
    spared_roles: tuple[str, ...] = ()
    slow_statement: Duration = timedelta(milliseconds=500)
    window: Duration = timedelta(seconds=15)
    max_indexes: Annotated[int, Field(ge=1, le=10)] = 3  # of one action


class Backend(Record):
    """One session: its pid is used again after it, its pid with its start is not."""

    pid: int
    backend_start: datetime
    role: str
    state: str
    statement: int
    since: datetime


class Postgresql(System[PostgresqlOptions]):
    options = PostgresqlOptions

    def __init__(self, target: Target, options: PostgresqlOptions, health: Health) -> None:
        super().__init__(target, options, health)
        self._counters: deque[tuple[float, dict[int, tuple[int, float]]]] = deque()

    @property
    def address(self) -> tuple[str, int] | str:
        return address_of(self.told.dsn, port=5432)

    @contextmanager
    def session(self, timeout: float | None = None, read_only: bool = True) -> Iterator[psycopg.Connection[Any]]:
        """A connection in autocommit whose statements take `timeout` seconds at most (None: a look's time; 0: any).

        Raises Silent when it takes longer, DataError with the server's first line for every other error.
        """
        limit = self.timeout if timeout is None else timeout
        defaults = (
            f"-c statement_timeout={int(limit * 1000)} -c default_transaction_read_only={'on' if read_only else 'off'}"
        )
        try:
            with psycopg.connect(
                self.told.dsn.get_secret_value(),
                autocommit=True,
                connect_timeout=max(2, int(self.timeout)),
                application_name=APPLICATION,
                options=defaults,
            ) as connection:
                yield connection
        except (errors.QueryCanceled, errors.ConnectionTimeout) as error:
            raise Silent(f"{self.target.instance} does not answer in time: {first_line(error)}") from None
        except psycopg.Error as error:
            raise DataError(f"{self.target.instance}: {first_line(error)}") from None

    def finding(self) -> Finding | None:
        with self.session() as connection:
            queries = self.long_queries(connection)
            slow = self._slow(connection)
        if queries:
            oldest = f"pid {queries[0].pid} of {queries[0].role}, {queries[0].state} since {queries[0].since:%H:%M:%S}"
            limit = self.told.long_query.total_seconds()
            return Finding(
                cause="long_query", confidence=0.9, fact=f"{len(queries)} over {limit:g} s; oldest: {oldest}"
            )
        return slow

    def long_queries(self, connection: psycopg.Connection[Any]) -> list[Backend]:
        """Sessions that work, or idle in a transaction, for longer than `long_query`; the oldest first."""
        given = {"own": APPLICATION, "spared": list(self.told.spared_roles), "limit": self.told.long_query}
        rows = connection.execute(_LONG, given).fetchall()
        return [Backend(**dict(zip(Backend.model_fields, row, strict=True))) for row in rows]

    def _slow(self, connection: psycopg.Connection[Any]) -> Finding | None:
        """The statement that took most time in the window, if its mean is over the limit.

        Totals since the server's start would stay bad for ever; the calls of the window become good again.
        """
        if not has_statements(connection):
            return None
        now = time.monotonic()
        present = {queryid: (calls, spent) for queryid, calls, spent in connection.execute(_COUNTERS, (LOOKED_AT,))}
        self._counters.append((now, present))
        while self._counters[0][0] < now - self.told.window.total_seconds():
            self._counters.popleft()
        old = self._counters[0][1]
        worst, limit = (0.0, 0, 0), self.told.slow_statement.total_seconds()
        for queryid, (calls, spent) in present.items():
            # not among the first of a full list, it may have any past; not in a short one, it has none
            before, spent_before = old.get(queryid, (calls, spent) if len(old) == LOOKED_AT else (0, 0.0))
            if calls > before and (spent - spent_before) / (calls - before) > limit:
                worst = max(worst, (spent - spent_before, calls - before, queryid))
        spent, calls, queryid = worst
        if not calls:
            return None
        fact = f"statement {queryid} took {spent / calls:.3f} s on average of {calls} calls, the limit is {limit:g}"
        return Finding(cause="slow_query", confidence=0.8, fact=fact)


def has_statements(connection: psycopg.Connection[Any]) -> bool:
    """Whether `pg_stat_statements` can be read."""
    found = connection.execute("SELECT to_regclass('pg_stat_statements') IS NOT NULL").fetchone()
    return bool(found and found[0])


def address_of(dsn: SecretStr, port: int) -> tuple[str, int] | str:
    """Where a dsn leads; `port`: where it names none."""
    given = conninfo_to_dict(dsn.get_secret_value())
    host, port = str(given.get("host") or "127.0.0.1"), int(given.get("port") or port)
    return f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)


def first_line(error: psycopg.Error) -> str:
    """Later lines quote values of rows."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
