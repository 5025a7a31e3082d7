"""PostgreSQL: settings that a reload takes, sorts, joins and look-ups in a schema of its own as the workload.

Settings are written by ALTER SYSTEM, reloaded and read back; restored is what ALTER SYSTEM had set before, as it was
written, or nothing where it had set nothing. `server` starts a server in a temporary folder, as an
unprivileged user; only a socket in that folder, which no other user can enter, leads to it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from infra.errors import DataError
from remediation.tuning.journal import State
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
    """The server at `dsn`; the session needs the right to ALTER SYSTEM and to read `pg_file_settings`."""

    name = "postgresql"
    levels: ClassVar[dict[str, tuple[float, ...]]] = {
        "work_mem": (4096, 1024, 16384, 65536),  # kB
        "random_page_cost": (4.0, 2.0, 1.1),
        "jit": (1, 0),
        "max_parallel_workers_per_gather": (2, 0),
    }

    def __init__(self, dsn: str, rows: int = ROWS) -> None:
        import psycopg

        self.rows, self.filled = rows, False
        try:
            self.connection = psycopg.connect(dsn, autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as error:
            raise DataError(f"postgresql does not answer: {_masked(str(error), dsn)}") from None
        except psycopg.ProgrammingError:  # its text quotes the address, password and all
            right = "'host=… user=… dbname=…' or postgresql://user@host/dbname"
            raise DataError(f"--dsn is no address of a PostgreSQL server; right is {right}") from None

    def identity(self) -> str:
        """Names this server whatever address it is reached by."""
        row = self.connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
        return f"postgresql-{row[0] if row else 0}"

    def present(self) -> Values:
        """What is in force in this session, be it a level that may be set or not."""
        return {knob: _read(self.connection, knob) for knob in self.levels}

    def state(self) -> State:
        """Of each knob what ALTER SYSTEM has set, as it is written; None: nothing."""
        import psycopg

        query = (
            "SELECT name, setting FROM pg_file_settings WHERE name = ANY(%s) AND sourcefile = "
            "current_setting('data_directory') || '/postgresql.auto.conf' ORDER BY seqno"
        )
        try:
            written: dict[str, str] = dict(self.connection.execute(query, (list(self.levels),)).fetchall())
        except psycopg.errors.InsufficientPrivilege as error:
            raise DataError(f"postgresql: what is set cannot be read, so nothing is tuned: {error}") from None
        return {knob: written.get(knob) for knob in self.levels}

    def restore(self, state: State) -> None:
        for knob, written in state.items():
            self._alter(knob, written)
        self._reload()
        if wrong := [knob for knob, written in self.state().items() if written != state.get(knob)]:
            raise DataError(f"postgresql: {wrong[0]} is not what it was; set {state.get(wrong[0])!r} by ALTER SYSTEM")

    def apply(self, values: Values) -> None:
        for knob, value in values.items():
            self._alter(knob, f"{_exact(value)}{UNITS.get(knob, '')}")
        self._reload()
        if wrong := [knob for knob, value in values.items() if abs(_read(self.connection, knob) - value) > 1e-9]:
            raise DataError(f"postgresql: {wrong[0]} is {_read(self.connection, wrong[0]):g} in spite of ALTER SYSTEM")

    def run(self) -> float:
        self._fill()
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
        self.connection.execute("DROP SCHEMA IF EXISTS aiops_tune CASCADE")
        self.connection.close()

    def _fill(self) -> None:
        import psycopg.sql

        if self.filled:
            return
        self.connection.execute("CREATE SCHEMA IF NOT EXISTS aiops_tune")
        self.connection.execute("DROP TABLE IF EXISTS aiops_tune.item")
        self.connection.execute("CREATE TABLE aiops_tune.item (id integer, owner integer, body text)")
        fill = "INSERT INTO aiops_tune.item SELECT n, n % 997, repeat(md5(n::text), 3) FROM generate_series(1, {}) AS n"
        self.connection.execute(psycopg.sql.SQL(fill).format(self.rows))
        self.connection.execute("ALTER TABLE aiops_tune.item ADD PRIMARY KEY (id)")
        self.connection.execute("ANALYZE aiops_tune.item")
        self.filled = True

    def _alter(self, knob: str, written: str | None) -> None:
        """ALTER SYSTEM; `written` None: take its entry away."""
        from psycopg.sql import SQL, Identifier, Literal

        if knob not in self.levels:
            raise DataError(f"postgresql: {knob!r} may not be set; knobs: {', '.join(self.levels)}")
        told = (
            SQL("ALTER SYSTEM RESET {}").format(Identifier(knob))
            if written is None
            else SQL("ALTER SYSTEM SET {} = {}").format(Identifier(knob), Literal(written))
        )
        self.connection.execute(told)

    def _reload(self, seconds: float = 5.0) -> None:
        """The session sees a reload soon, not at once."""
        before, end = self._loaded(), time.monotonic() + seconds
        self.connection.execute("SELECT pg_reload_conf()")
        while self._loaded() == before:
            if time.monotonic() > end:
                raise DataError(f"postgresql: settings were not reloaded within {seconds:g} s")
            time.sleep(0.01)

    def _loaded(self) -> Any:
        return self.connection.execute("SELECT pg_conf_load_time()").fetchone()


def _masked(text: str, dsn: str) -> str:
    """`text` without the password of `dsn`."""
    from psycopg.conninfo import conninfo_to_dict

    secret = conninfo_to_dict(dsn).get("password")
    return text.replace(str(secret), "***") if secret else text


def _exact(value: float) -> str:
    """As PostgreSQL reads it, no digit lost."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _read(connection: psycopg.Connection, knob: str) -> float:
    row = connection.execute("SELECT setting FROM pg_settings WHERE name = %s", (knob,)).fetchone()
    if row is None:
        raise DataError(f"postgresql: no setting {knob!r} in this server")
    return {"on": 1.0, "off": 0.0}[row[0]] if row[0] in ("on", "off") else float(row[0])


@contextmanager
def server(*settings: str) -> Iterator[str]:
    """The address of a server of our own, stopped and removed afterwards. Raises DataError where there is none.

    `settings`: more of its configuration, each as `name=value`.
    """
    if not (BINARIES / "initdb").exists():
        raise DataError(f"no PostgreSQL 15 in {BINARIES}; install postgresql-15, or name a server with --dsn")
    folder = Path(tempfile.mkdtemp(prefix="aiops-tune-"))
    user = _unprivileged()
    if user:
        shutil.chown(folder, user)
    try:
        _call("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "aiops", user=user)
        options = f"-c listen_addresses= -c port=5432 -c unix_socket_directories={folder}"
        options += "".join(f" -c {setting}" for setting in settings)
        _call("pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log", "-o", options, "start", user=user)
        yield f"host={folder} port=5432 user=aiops dbname=postgres"
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
