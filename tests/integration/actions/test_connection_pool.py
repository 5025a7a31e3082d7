"""A real PgBouncer before a real PostgreSQL: its connections replaced, the pool widened and put back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from infra.errors import UserError
from remediation.actions.connection_pool_reset import ConnectionPoolReset
from remediation.actions.connection_pool_resize import ConnectionPoolResize
from remediation.records import Effect, Verdict
from remediation.services import ServiceInventory

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


@pytest.fixture
def full(console: str) -> Iterator[None]:
    """Two connections held in transactions and a third client that waits: the pool of two is full."""

    def wait() -> None:
        with psycopg.connect(f"{console} dbname=orders", autocommit=True, prepare_threshold=None) as client:
            client.execute("SELECT 1")

    with ExitStack() as held:
        for _ in range(2):
            client = held.enter_context(psycopg.connect(f"{console} dbname=orders", prepare_threshold=None))
            client.execute("SELECT 1")
        waiting = threading.Thread(target=wait)
        waiting.start()
        yield
    waiting.join(10)
    assert not waiting.is_alive()


def size(console: str) -> int:
    with psycopg.connect(f"{console} dbname=pgbouncer", autocommit=True) as admin:
        answer = psycopg.ClientCursor(admin).execute("SHOW CONFIG").fetchall()
    return next(int(row[1]) for row in answer if row[0] == "default_pool_size")


@pytest.mark.usefixtures("full")
def test_a_full_pool_is_found_widened_once_and_put_back(console: str, pooled: Describe) -> None:
    told = pooled(max_wait="200ms")
    action, inventory = ConnectionPoolResize(told), ServiceInventory(told)
    deadline = time.monotonic() + 5
    while (look := inventory.observe()["pool-0"]).finding is None:
        assert time.monotonic() < deadline, "the full pool was not found"
        time.sleep(0.05)
    assert look.finding.cause == "pool_exhausted"
    plan = action.plan(target(told, "pool-0"))
    assert plan.parameters == {"before": 2, "after": 4}
    assert action.probe(plan, "k") is Effect.NONE
    for _ in range(2):
        action.apply(plan, "k")
        assert (size(console), action.probe(plan, "k")) == (4, Effect.DONE)
    assert action.verify(plan).verdict is Verdict.SUCCEEDED
    assert inventory.observe()["pool-0"].finding is None
    for _ in range(2):
        assert action.undo(plan, "k") == "default_pool_size is 2 again"
        assert size(console) == 2


def test_a_size_that_somebody_else_set_is_refused(console: str, pooled: Describe) -> None:
    told = pooled()
    action = ConnectionPoolResize(told)
    plan = action.plan(target(told, "pool-0"))
    with psycopg.connect(f"{console} dbname=pgbouncer", autocommit=True) as admin:
        cursor = psycopg.ClientCursor(admin)
        cursor.execute("SET default_pool_size = 3")
        try:
            assert action.probe(plan, "k") is Effect.UNKNOWN
            assert action.verify(plan).verdict is Verdict.INCONCLUSIVE
            with pytest.raises(UserError, match="pool size of 3, not 2"):
                action.apply(plan, "k")
            assert size(console) == 3
        finally:
            cursor.execute("SET default_pool_size = 2")


def test_the_bounds_of_the_settings_and_of_the_server_hold(pooled: Describe, dsn: str) -> None:
    told = pooled(max_pool_size=2)
    with pytest.raises(UserError, match="the pool has 2, max_pool_size is 2"):
        ConnectionPoolResize(told).plan(target(told, "pool-0"))
    with psycopg.connect(dsn, autocommit=True) as server:
        (most,) = server.execute("SELECT current_setting('max_connections')::int").fetchone() or (0,)
        with ExitStack() as held, pytest.raises(UserError, match="orders-0 has . connections free, 2 are needed"):
            for _ in range(most - 9):  # of these three are kept for superusers, the rest is used by the tests
                held.enter_context(psycopg.connect(dsn))
            while True:
                ConnectionPoolResize(pooled()).plan(target(told, "pool-0"))
                held.enter_context(psycopg.connect(dsn))
