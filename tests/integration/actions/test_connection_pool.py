"""A real PgBouncer before a real PostgreSQL: its connections replaced, its clients not disturbed."""

from __future__ import annotations

import psycopg
import pytest

from infra.errors import UserError
from remediation.actions.connection_pool_reset import ConnectionPoolReset
from remediation.records import Effect, Verdict

from .conftest import Describe, target

pytestmark = pytest.mark.integration


def backend(client: psycopg.Connection) -> int:
    row = client.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])


def test_connections_are_replaced_once_and_clients_keep_theirs(console: str, pooled: Describe) -> None:
    told = pooled()
    action = ConnectionPoolReset(told)
    with psycopg.connect(f"{console} dbname=orders", autocommit=True, prepare_threshold=None) as client:
        old = backend(client)
    plan = action.plan(target(told, "pool-0"))
    assert str(old) in plan.changes[0]
    assert action.probe(plan, "k") is Effect.NONE
    action.apply(plan, "k")
    assert action.probe(plan, "k") is Effect.DONE
    assert action.verify(plan).verdict is Verdict.SUCCEEDED
    with psycopg.connect(f"{console} dbname=orders", autocommit=True, prepare_threshold=None) as client:
        new = backend(client)
        assert new != old
        action.apply(plan, "k")  # the planned ones are gone: nothing happens
        assert backend(client) == new
    assert "nothing to put back" in action.undo(plan, "k")


def test_another_kind_and_an_unknown_database_are_refused(pooled: Describe) -> None:
    told = pooled(database="ordres")
    action = ConnectionPoolReset(told)
    assert action.unsuited(target(told, "orders-0")) == "orders-0 is no Pgbouncer"
    with pytest.raises(UserError, match="did you mean 'orders'"):
        action.plan(target(told, "pool-0"))
