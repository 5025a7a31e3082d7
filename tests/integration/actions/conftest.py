"""Real servers on loopback, one of each for the whole run, described in settings as an operator would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
