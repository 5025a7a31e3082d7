"""Real servers on loopback, one of each for the whole run, described in settings as an operator would."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from infra.settings import Settings
from remediation.records import Target
from remediation.services import ServiceInventory
from remediation.tuning.postgresql import BINARIES, server

Describe = Callable[..., Settings]


@pytest.fixture(scope="session")
def dsn() -> Iterator[str]:
    """A PostgreSQL with statistics of statements and hypothetical indexes."""
    if not (BINARIES / "initdb").exists():
        pytest.skip("no PostgreSQL 15: install the Debian package postgresql-15")
    if not (BINARIES.parent / "lib" / "hypopg.so").exists():
        pytest.skip("no HypoPG: install the Debian package postgresql-15-hypopg")
    with server("shared_preload_libraries=pg_stat_statements", "fsync=off", "autovacuum=off") as address:
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION pg_stat_statements")
            connection.execute("CREATE EXTENSION hypopg")
        yield address


@pytest.fixture
def database(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A session of an application, in a schema without tables."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        for name in ("pg_stat_statements", "hypopg"):
            connection.execute(f"CREATE EXTENSION {name}")
        connection.execute("SELECT pg_stat_statements_reset()")
        yield connection


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Describe:
    """Settings with the database as `orders-0`, some of its keys given."""

    def describe(**keys: Any) -> Settings:
        service = {"kind": "postgresql", "instances": {"orders-0": {"dsn": dsn, **keys}}}
        return Settings(home=tmp_path, remediation={"services": {"orders": service}})  # type: ignore[arg-type]

    return describe


def target(settings: Settings, instance: str = "orders-0") -> Target:
    return ServiceInventory(settings).targets()[instance]


@pytest.fixture(scope="session")
def console(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PgBouncer before the database; the address of its console."""
    if not (program := shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")):
        pytest.skip("no PgBouncer: install the Debian package pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="aiops-pgbouncer-"))
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    given = (
        f"[databases]\norders = {dsn}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
    )
    given += "admin_users = aiops\nunix_socket_dir =\ndefault_pool_size = 2\nignore_startup_parameters = options\n"
    (folder / "pgbouncer.ini").write_text(given)
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    folder.chmod(0o755)
    process = subprocess.Popen([program, "-q", str(folder / "pgbouncer.ini")], user=user, stderr=subprocess.DEVNULL)
    address = f"host=127.0.0.1 port={port} user=aiops"
    try:
        for _ in range(100):
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(5)
        shutil.rmtree(folder)


@pytest.fixture
def pooled(console: str, dsn: str, tmp_path: Path) -> Describe:
    """Settings with the pool as `pool-0` before the database `orders-0`, some of the pool's keys given."""

    def describe(**keys: Any) -> Settings:
        told = {"dsn": console, "database": "orders", "server": "orders-0", **keys}
        pool = {"kind": "pgbouncer", "depends_on": ["orders"], "instances": {"pool-0": told}}
        orders = {"kind": "postgresql", "instances": {"orders-0": {"dsn": dsn}}}
        return Settings(home=tmp_path, remediation={"services": {"pool": pool, "orders": orders}})  # type: ignore[arg-type]

    return describe
