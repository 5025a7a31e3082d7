"""Create the indexes that the busiest statements miss, CONCURRENTLY, and only such as the planner asks for.

Candidates are columns of the catalogue that stand in the conditions of the statements' plans. Each is shown to the
planner as a hypothetical index (HypoPG), which costs nothing; one that at least halves a statement's cost is planned.
An index's name carries the idempotency key, so the server itself tells what an earlier call has done.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg.sql import SQL, Identifier

from infra.errors import DataError, UserError
from remediation.action import Check, Parameters
from remediation.records import Effect, Plan, Record, Target, Verdict, digest
from remediation.services import ServiceAction
from remediation.systems._statements import Explained, Statement, busiest, explain
from remediation.systems.postgresql import Postgresql

STATEMENTS = 20  # are looked at, those that took most time
LEAST = 0.5  # share of a statement's cost that must go
LOCK_TIMEOUT = "60s"  # a transaction that is open for longer makes the build fail instead of wait for ever
_COLUMNS = """
SELECT a.attname, quote_ident(a.attname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'm') AND a.attnum > 0 AND NOT a.attisdropped
"""
_STATE = """
SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = ANY(%s)
"""
_SAME = """
SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = %s AND t.relname = %s AND i.indisvalid AND i.indpred IS NULL AND %s::name[] = ARRAY(
    SELECT a.attname FROM unnest(i.indkey[0:%s]) WITH ORDINALITY AS k(num, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.num ORDER BY place)
"""


class Index(Record):
    """A btree index; `statements`: the ids of those that the planner would run with it."""

    table_schema: str
    table: str
    columns: tuple[str, ...]
    statements: tuple[int, ...]

    def name(self, key: str) -> str:
        """The same for the same call; short enough for the server (63 bytes)."""
        made_of = [key, self.table_schema, self.table, *self.columns]
        return f"{self.table.encode()[:40].decode(errors='ignore')}_aiops_{digest(made_of)[:12]}"

    def definition(self, name: str | None = None) -> psycopg.sql.Composed:
        columns = SQL(", ").join(Identifier(column) for column in self.columns)
        called = SQL("CONCURRENTLY {} ").format(Identifier(name)) if name else SQL("")
        where = Identifier(self.table_schema, self.table)
        return SQL("CREATE INDEX {}ON {} ({})").format(called, where, columns)


class IndexParameters(Parameters):
    indexes: tuple[Index, ...]


class Candidate(NamedTuple):
    """An index that one statement gains from; `gain`: seconds of its time so far that go, by the planner's cost."""

    schema: str
    table: str
    columns: tuple[str, ...]
    queryid: int
    gain: float


class IndexCreation(ServiceAction[IndexParameters, Postgresql]):
    parameters = IndexParameters
    system = Postgresql
    treats = frozenset({"missing_index", "slow_query"})
    disruption = 1
    requires = ("postgresql-15-hypopg",)

    def parametrise(self, target: Target) -> IndexParameters:
        postgresql = self.at(target)
        with postgresql.session(timeout=10 * postgresql.timeout) as connection:
            if connection.execute("SELECT to_regproc('hypopg_create_index')").fetchone() == (None,):
                raise DataError(f"{target.instance}: no HypoPG to ask the planner with: CREATE EXTENSION hypopg")
            found = [one for s in busiest(connection, STATEMENTS) for one in _missing(connection, s, postgresql)]
        if not found:
            raise UserError(f"no index would halve the cost of one of the {STATEMENTS} busiest statements")
        return IndexParameters(indexes=tuple(_best(found, postgresql.told.max_indexes)))

    def changes(self, target: Target, parameters: IndexParameters) -> tuple[str, ...]:
        return tuple(
            f"{one.definition().as_string()} concurrently, for statement {', '.join(map(str, one.statements))}"
            for one in parameters.indexes
        )

    def apply(self, plan: Plan, key: str) -> None:
        session = self.at(plan.target).session(timeout=0, read_only=False)
        with session as connection, _alone(connection, key) as alone:
            if not alone:
                raise UserError(f"the indexes of {key} are being built by another session")
            connection.execute(SQL("SET lock_timeout = {}").format(LOCK_TIMEOUT))
            for index in self.typed(plan).indexes:
                valid = _state(connection, index, key)
                if valid is True:
                    continue
                if valid is False:  # broken off while it was built
                    _drop(connection, index, key)
                _refuse_same(connection, index)
                connection.execute(index.definition(index.name(key)))

    def verify(self, plan: Plan) -> Check:
        """The planner, asked anew, reads one of the new indexes for every statement that they were made for."""
        wanted = {queryid for index in self.typed(plan).indexes for queryid in index.statements}
        with self.at(plan.target).session(timeout=10 * self.health.timeout.total_seconds()) as connection:
            present = {one.queryid: one for one in busiest(connection, 10 * STATEMENTS) if one.queryid in wanted}
            plans = {queryid: explain(connection, statement) for queryid, statement in present.items()}
        if not any(plans.values()):
            return Check(verdict=Verdict.INCONCLUSIVE, reason="the server has forgotten the statements")
        for queryid, explained in plans.items():
            if explained and not any("_aiops_" in node.used for node in explained.nodes):
                return Check(
                    verdict=Verdict.FAILED, reason=f"statement {queryid} does not read it: {explained.outline()}"
                )
        outlines = "; ".join(f"{queryid}: {one.outline()}" for queryid, one in plans.items() if one)
        return Check(verdict=Verdict.SUCCEEDED, reason=f"read for statement {outlines}")

    def probe(self, plan: Plan, key: str) -> Effect:
        with self.at(plan.target).session() as connection, _alone(connection, key) as alone:
            if not alone:
                return Effect.UNKNOWN  # somebody builds them at this moment
            found = [_state(connection, index, key) for index in self.typed(plan).indexes]
        if all(found):
            return Effect.DONE
        return Effect.NONE if all(valid is None for valid in found) else Effect.PARTIAL

    def undo(self, plan: Plan, key: str) -> str:
        indexes = self.typed(plan).indexes
        with self.at(plan.target).session(timeout=0, read_only=False) as connection:
            for index in indexes:
                _drop(connection, index, key)
        return f"dropped again: {', '.join(index.name(key) for index in indexes)}"


def _missing(connection: psycopg.Connection[Any], statement: Statement, at: Postgresql) -> Iterable[Candidate]:
    """The best index for each table that a statement scans whole: one column, or two where the second halves too."""
    before = explain(connection, statement)
    for node in before.nodes if before else ():
        if before is None or node.kind != "Seq Scan" or node.schema not in at.told.schemas:
            continue
        columns = _columns(connection, before, node.schema, node.relation, node.alias)
        best: tuple[float, tuple[str, ...]] = (before.cost, ())
        for _ in range(2):
            tried = [(*best[1], column) for column in columns if column not in best[1]]
            costs = [(_cost(connection, statement, node.schema, node.relation, one), one) for one in tried]
            cheapest = min(costs, default=best)
            if cheapest[0] > best[0] * (1 - LEAST):
                break
            best = cheapest
        if best[1]:
            gain = statement.seconds * (1 - best[0] / before.cost)
            yield Candidate(node.schema, node.relation, best[1], statement.queryid, gain)


def _columns(connection: psycopg.Connection[Any], plan: Explained, schema: str, table: str, alias: str) -> list[str]:
    """The table's columns that stand in a condition of the plan. One too many costs a question to the planner."""
    said = " ".join(node.conditions for node in plan.nodes).replace('"', "")
    rows = connection.execute(_COLUMNS, (schema, table)).fetchall()
    return [name for name, _ in rows if re.search(rf"(?<![\w.]){re.escape(f'{alias}.{name}')}(?!\w)", said)]


def _cost(
    connection: psycopg.Connection[Any], statement: Statement, schema: str, table: str, columns: tuple[str, ...]
) -> float:
    """The planner's cost if there were such an index; infinite where there cannot be one."""
    index = Index(table_schema=schema, table=table, columns=columns, statements=())
    try:
        connection.execute("SELECT hypopg_create_index(%s)", (index.definition().as_string(connection),))
        explained = explain(connection, statement)
    except (psycopg.errors.UndefinedObject, psycopg.errors.FeatureNotSupported):  # no order on this type
        return float("inf")
    finally:
        connection.execute("SELECT hypopg_reset()")
    return explained.cost if explained else float("inf")


def _best(found: list[Candidate], count: int) -> Iterable[Index]:
    """The indexes that save most time, those of several statements taken together."""
    together: dict[tuple[str, str, tuple[str, ...]], list[Candidate]] = {}
    for one in found:
        together.setdefault((one.schema, one.table, one.columns), []).append(one)
    ranked = sorted(together.items(), key=lambda item: (-sum(one.gain for one in item[1]), item[0]))
    for (schema, table, columns), group in ranked[:count]:
        queryids = tuple(sorted({one.queryid for one in group}))
        yield Index(table_schema=schema, table=table, columns=columns, statements=queryids)


@contextmanager
def _alone(connection: psycopg.Connection[Any], key: str) -> Iterator[bool]:
    """Hold the lock of this key; False when another session has it. Given back at once, not when the server notices."""
    number = int(digest(key)[:15], 16)
    mine = connection.execute("SELECT pg_try_advisory_lock(%s)", (number,)).fetchone() == (True,)
    try:
        yield mine
    finally:
        if mine and not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", (number,))


def _state(connection: psycopg.Connection[Any], index: Index, key: str) -> bool | None:
    """Whether the index of this key is valid; None: there is none."""
    row = connection.execute(_STATE, (index.table_schema, [index.name(key)])).fetchone()
    return None if row is None else bool(row[1])


def _refuse_same(connection: psycopg.Connection[Any], index: Index) -> None:
    columns = list(index.columns)
    given = (index.table_schema, index.table, columns, len(columns) - 1)
    if row := connection.execute(_SAME, given).fetchone():
        raise UserError(
            f"{row[0]} begins with the same columns by now: somebody else made it; look again before acting"
        )


def _drop(connection: psycopg.Connection[Any], index: Index, key: str) -> None:
    name = Identifier(index.table_schema, index.name(key))
    connection.execute(SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(name))
