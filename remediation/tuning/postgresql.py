"""PostgreSQL: settings that a reload takes, sorts, joins and look-ups in a schema of its own as the workload.

Settings are written by ALTER SYSTEM, reloaded and read back. `server` starts a server in a temporary folder, as an
unprivileged user, on a free port of the loopback address.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from infra.errors import DataError
from remediation.tuning.tune import System, Values

if TYPE_CHECKING:
    import psycopg

BINARIES = Path("/usr/lib/postgresql/15/bin")
ROWS, LOOKUPS = 60_000, 300
UNITS = {"work_mem": "kB"}
QUERIES = (
    "SELECT count(*) FROM (SELECT body FROM aiops_tune.item ORDER BY body OFFSET 0) AS sorted",
    "SELECT a.owner, count(*), max(b.body) FROM aiops_tune.item a JOIN aiops_tune.item b USING (id) GROUP BY a.owner",
)


class Postgresql(System):
    """The server at `dsn`; the session needs the right to ALTER SYSTEM."""

    name = "postgresql"
    levels: ClassVar[dict[str, tuple[float, ...]]] = {
        "work_mem": (4096, 1024, 16384, 65536),  # kB
        "random_page_cost": (4.0, 2.0, 1.1),
        "jit": (1, 0),
        "max_parallel_workers_per_gather": (2, 0),
    }

    def __init__(self, dsn: str, rows: int = ROWS) -> None:
        import psycopg
        import psycopg.sql

        self.rows = rows
        try:
            self.connection = psycopg.connect(dsn, autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as error:
            raise DataError(f"postgresql at {dsn!r} does not answer: {error}") from None
        self.before = self._before()
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS aiops_tune")
        self.connection.execute("DROP TABLE IF EXISTS aiops_tune.item")
        self.connection.execute("CREATE TABLE aiops_tune.item (id integer, owner integer, body text)")
        fill = "INSERT INTO aiops_tune.item SELECT n, n % 997, repeat(md5(n::text), 3) FROM generate_series(1, {}) AS n"
        self.connection.execute(psycopg.sql.SQL(fill).format(rows))
        self.connection.execute("ALTER TABLE aiops_tune.item ADD PRIMARY KEY (id)")
        self.connection.execute("ANALYZE aiops_tune.item")

    def present(self) -> Values:
        """What is in force, when it is a level that may be set; else the default."""
        return {
            knob: self.before[knob] if self.before[knob] in levels else levels[0]
            for knob, levels in self.levels.items()
        }

    def apply(self, values: Values) -> None:
        for knob, value in values.items():
            if knob not in self.levels:
                raise DataError(f"postgresql: {knob!r} may not be set; knobs: {', '.join(self.levels)}")
            self.connection.execute(f"ALTER SYSTEM SET {knob} = '{value:g}{UNITS.get(knob, '')}'")
        self.connection.execute("SELECT pg_reload_conf()")
        self._await(values)

    def run(self) -> float:
        begun = time.perf_counter()
        for query in QUERIES:
            self.connection.execute(query).fetchall()
        for number in range(LOOKUPS):
            self.connection.execute(
                "SELECT body FROM aiops_tune.item WHERE id = %s", (number * 7919 % self.rows,)
            ).fetchone()
        return time.perf_counter() - begun

    def close(self) -> None:
        """Take the workload away."""
        self.connection.execute("DROP SCHEMA aiops_tune CASCADE")
        self.connection.close()

    def _before(self) -> Values:
        return {knob: _read(self.connection, knob) for knob in self.levels}

    def _await(self, values: Values, seconds: float = 5.0) -> None:
        """The session sees a reload soon, not at once."""
        end = time.monotonic() + seconds
        while wrong := [knob for knob, value in values.items() if abs(_read(self.connection, knob) - value) > 1e-9]:
            if time.monotonic() > end:
                raise DataError(f"postgresql: {wrong[0]} was not taken within {seconds:g} s")
            time.sleep(0.01)


def _read(connection: psycopg.Connection, knob: str) -> float:
    row = connection.execute("SELECT setting FROM pg_settings WHERE name = %s", (knob,)).fetchone()
    if row is None:
        raise DataError(f"postgresql: no setting {knob!r} in this server")
    return {"on": 1.0, "off": 0.0}[row[0]] if row[0] in ("on", "off") else float(row[0])


@contextmanager
def server() -> Iterator[str]:
    """The address of a server of our own, stopped and removed afterwards. Raises DataError where there is none."""
    if not (BINARIES / "initdb").exists():
        raise DataError(f"no PostgreSQL 15 in {BINARIES}; install postgresql-15, or name a server with --dsn")
    folder = Path(tempfile.mkdtemp(prefix="aiops-tune-"))
    user = _unprivileged()
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    try:
        _call("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "aiops", user=user)
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"
        _call("pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start", user=user)
        yield f"host=127.0.0.1 port={port} user=aiops dbname=postgres"
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            _call("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "-w", "stop", user=user)
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _call(name: str, *arguments: str, user: str | None) -> None:
    done = subprocess.run(
        [str(BINARIES / name), *arguments], user=user, cwd="/", stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE if name == "initdb" else subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode:
        raise DataError(f"{name} ended with {done.returncode}: {(done.stderr or b'').decode().strip()[-300:]}")
