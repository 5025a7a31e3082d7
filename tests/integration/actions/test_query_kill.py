"""Long queries of a real PostgreSQL: found, ended gently then by force, nobody else's touched."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest

from infra.errors import UserError
from infra.settings import Settings
from remediation.actions.query_kill import QueryKill
from remediation.engine import build
from remediation.health import symptom
from remediation.records import Effect, State, Verdict
from remediation.services import ServiceInventory

from .conftest import Describe, target

pytestmark = pytest.mark.integration


def wait(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@contextmanager
def long_query(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A session in which a query runs for a minute unless somebody ends it."""

    def run() -> None:
        with suppress(psycopg.Error):
            connection.execute("SELECT pg_sleep(60)")

    with psycopg.connect(dsn, autocommit=True) as connection:
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield connection
        finally:
            with suppress(psycopg.Error):
                connection.cancel_safe()
            thread.join()


def found(settings: Settings) -> int:
    look = ServiceInventory(settings).observe()["orders-0"]
    own = symptom(look, settings.remediation.health)
    return int(own.fact.split()[0]) if own and own.cause == "long_query" else 0


def test_a_query_is_cancelled_and_its_session_lives(dsn: str, settings: Describe) -> None:
    told = settings(long_query="200ms")
    action = QueryKill(told)
    with long_query(dsn) as session, psycopg.connect(dsn) as bystander:
        wait(lambda: found(told) == 1)
        plan = action.plan(target(told))
        assert plan.irreversible and str(session.info.backend_pid) in plan.changes[0]
        assert action.probe(plan, "k") is Effect.NONE
        action.apply(plan, "k")
        assert action.probe(plan, "k") is Effect.DONE
        assert action.verify(plan).verdict is Verdict.SUCCEEDED
        wait(lambda: session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE)
        assert session.execute("SELECT 1").fetchone() == (1,), "cancelled, not terminated"
        assert bystander.execute("SELECT 1").fetchone() == (1,)
        assert found(told) == 0


def test_what_cannot_be_cancelled_is_terminated(dsn: str, settings: Describe) -> None:
    told = settings(long_query="200ms")
    action = QueryKill(told)
    with psycopg.connect(dsn) as idle:
        idle.execute("SELECT 1")  # opens a transaction and leaves it
        wait(lambda: found(told) == 1)
        plan = action.plan(target(told))
        plan = plan.model_copy(update={"parameters": {**plan.parameters, "grace": 0.2}})
        action.apply(plan, "k")
        assert action.verify(plan).verdict is Verdict.SUCCEEDED
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")


def test_a_session_that_does_something_else_by_now_is_left_alone(dsn: str, settings: Describe) -> None:
    told = settings(long_query="200ms")
    action = QueryKill(told)
    with psycopg.connect(dsn) as session:
        session.execute("SELECT 1")
        wait(lambda: found(told) == 1)
        plan = action.plan(target(told))
        session.commit()
        session.execute("SELECT 2")
        for _ in range(2):
            action.apply(plan, "k")
        assert session.execute("SELECT 3").fetchone() == (3,)


def test_spared_roles_and_other_work_are_not_planned(dsn: str, settings: Describe) -> None:
    with long_query(dsn):
        time.sleep(0.3)
        with pytest.raises(UserError, match="no query runs for longer"):
            QueryKill(settings(long_query="200ms", spared_roles=["aiops"])).plan(target(settings()))


def test_without_an_answer_of_a_human_nothing_is_ended_and_with_it_the_loop_closes(
    dsn: str, settings: Describe
) -> None:
    told = settings(long_query="200ms")
    rule = {"cause": "long_query", "actions": ["query_kill"]}
    changed = {**told.remediation.model_dump(), "actions": {"query_kill": True}, "rules": [rule]}
    engine = build(Settings(home=told.home, remediation=changed))  # type: ignore[arg-type]
    with long_query(dsn) as session:
        watcher = engine.watcher()
        wait(lambda: found(told) == 1)
        (detection,) = [one for _ in range(2) for one in watcher.poll()]
        incident = engine.handle(detection)
        assert incident.state is State.AWAITING_APPROVAL and incident.approval is not None
        assert found(told) == 1
        incident = engine.approve(incident.approval.id, "operator")
        assert incident.state is State.RESOLVED, incident.reason
        assert incident.outcome is not None and incident.outcome.verdict is Verdict.SUCCEEDED
        wait(lambda: session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE)
    assert engine.verify_audit().ok
