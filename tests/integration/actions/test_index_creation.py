"""Missing indexes of a real PostgreSQL: found in its statistics, asked of the planner, built, undone."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from infra.errors import UserError
from remediation.actions.index_creation import IndexCreation, _alone
from remediation.records import Effect, Plan, Verdict

from .conftest import Describe, target

pytestmark = pytest.mark.integration
ORDERS = """
CREATE TABLE orders (id integer PRIMARY KEY, customer integer, state text, "Odd name" integer);
INSERT INTO orders
    SELECT n, n % 5000, CASE n % 3 WHEN 0 THEN 'open' ELSE 'done' END, n FROM generate_series(1, 30000) AS n;
ANALYZE orders
"""


def indexes(database: psycopg.Connection[Any]) -> set[str]:
    rows = database.execute("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'").fetchall()
    return {row[0].split(" USING ")[1] for row in rows}


@pytest.fixture
def slow(database: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    """An application that looks for customers in a table without an index on them."""
    database.execute(ORDERS)
    for customer in range(20):
        database.execute("SELECT count(*) FROM orders o WHERE o.customer = %s", (customer,))
    database.execute("SELECT id FROM orders WHERE id = 7")
    database.execute("SELECT max(id) FROM orders WHERE state = 'open'")
    return database


@pytest.fixture
def action(settings: Describe) -> IndexCreation:
    return IndexCreation(settings())


@pytest.fixture
def plan(slow: psycopg.Connection[Any], action: IndexCreation, settings: Describe) -> Plan:
    return action.plan(target(settings()))


def test_the_index_that_is_missing_is_planned_and_no_other(slow: psycopg.Connection[Any], plan: Plan) -> None:
    (index,) = plan.parameters["indexes"]
    assert (index["table"], tuple(index["columns"])) == ("orders", ("customer",))
    assert plan.changes[0].startswith('CREATE INDEX ON "public"."orders" ("customer") concurrently')
    assert indexes(slow) == {"btree (id)"}, "a plan changes nothing"


def test_built_once_verified_and_undone(slow: psycopg.Connection[Any], action: IndexCreation, plan: Plan) -> None:
    assert action.probe(plan, "k") is Effect.NONE
    for _ in range(2):
        action.apply(plan, "k")
        assert sorted(indexes(slow)) == ["btree (customer)", "btree (id)"]
    assert action.probe(plan, "k") is Effect.DONE
    check = action.verify(plan)
    assert check.verdict is Verdict.SUCCEEDED and "Index" in check.reason
    assert "dropped again" in action.undo(plan, "k")
    action.undo(plan, "k")
    assert indexes(slow) == {"btree (id)"}
    assert action.probe(plan, "k") is Effect.NONE
    assert action.verify(plan).verdict is Verdict.FAILED


def test_a_build_that_broke_off_is_completed(slow: psycopg.Connection[Any], action: IndexCreation, plan: Plan) -> None:
    name = action.typed(plan).indexes[0].name("k")
    slow.execute(f'CREATE INDEX "{name}" ON orders (customer)'.encode())
    slow.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", (name,))
    assert action.probe(plan, "k") is Effect.PARTIAL
    action.apply(plan, "k")
    assert action.probe(plan, "k") is Effect.DONE
    assert action.verify(plan).verdict is Verdict.SUCCEEDED


def test_while_it_is_built_elsewhere_nobody_touches_it(dsn: str, action: IndexCreation, plan: Plan) -> None:
    with psycopg.connect(dsn, autocommit=True) as other, _alone(other, "k") as mine:
        assert mine
        assert action.probe(plan, "k") is Effect.UNKNOWN
        with pytest.raises(UserError, match="being built by another session"):
            action.apply(plan, "k")


def test_a_table_that_changed_is_refused(slow: psycopg.Connection[Any], action: IndexCreation, plan: Plan) -> None:
    slow.execute("CREATE INDEX mine ON orders (customer, state)")
    with pytest.raises(UserError, match="mine begins with the same columns"):
        action.apply(plan, "k")
    slow.execute("DROP INDEX mine; ALTER TABLE orders DROP COLUMN customer")
    with pytest.raises(UserError, match="customer"):
        action.apply(plan, "k")
    assert indexes(slow) == {"btree (id)"}


def test_names_of_the_catalogue_only(slow: psycopg.Connection[Any], action: IndexCreation, settings: Describe) -> None:
    slow.execute("SELECT pg_stat_statements_reset()")
    slow.execute('SELECT id, $$orders.customer); DROP TABLE orders; --$$ FROM orders WHERE "Odd name" = 5')
    plan = action.plan(target(settings()))
    assert [one["columns"] for one in plan.parameters["indexes"]] == [["Odd name"]]
    assert indexes(slow) == {"btree (id)"}


def test_outside_of_the_named_schemas_and_without_need_nothing_is_planned(
    slow: psycopg.Connection[Any], settings: Describe
) -> None:
    with pytest.raises(UserError, match="no index would halve"):
        IndexCreation(settings(schemas=["other"])).plan(target(settings()))
    slow.execute("CREATE INDEX ON orders (customer)")
    with pytest.raises(UserError, match="no index would halve"):
        IndexCreation(settings()).plan(target(settings()))
