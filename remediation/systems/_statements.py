"""The statements of a PostgreSQL database that take most time, and the planner's answer to what would help them.

Their text is what applications sent. It is given to the planner and to nobody else: `EXPLAIN` of a prepared
statement runs nothing, in a session that may only read, and what is proposed is built from names of the catalogue.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg

from infra.errors import DataError
from remediation.systems.postgresql import has_statements

_TOP = """
SELECT queryid, query, total_exec_time / 1000, calls, temp_blks_written FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND toplevel AND queryid IS NOT NULL
    AND query ~* '^\\s*(select|with|update|delete|insert)\\M'
ORDER BY total_exec_time DESC LIMIT %s
"""


class Statement(NamedTuple):
    """One row of `pg_stat_statements`: `seconds` in all calls, `spilled` blocks of temporary files."""

    queryid: int
    text: str
    seconds: float
    calls: int
    spilled: int


class Node(NamedTuple):
    """One step of a plan: its kind, its relation where it has one, and its conditions as text."""

    kind: str
    schema: str
    relation: str
    alias: str
    used: str  # the index that it reads
    conditions: str


class Explained(NamedTuple):
    """A plan: the planner's cost of all of it, and its steps."""

    cost: float
    nodes: tuple[Node, ...]

    def outline(self) -> str:
        """One line: the steps, outermost first."""
        return " > ".join(" ".join(filter(None, (n.kind, n.used or n.relation))) for n in self.nodes)


def busiest(connection: psycopg.Connection[Any], count: int) -> list[Statement]:
    """The statements that took most time. Raises DataError where there are no statistics of statements."""
    if not has_statements(connection):
        raise DataError("no pg_stat_statements: add it to shared_preload_libraries and CREATE EXTENSION it")
    return [Statement(*row) for row in connection.execute(_TOP, (count,))]


def explain(connection: psycopg.Connection[Any], statement: Statement) -> Explained | None:
    """The plan for any parameters; None when the text, whose constants are cut out, cannot be planned."""
    name = b"aiops_explained"
    prepared = connection.pgconn.prepare(name, statement.text.encode())
    if prepared.status != psycopg.pq.ExecStatus.COMMAND_OK:
        return None
    try:
        described = connection.pgconn.describe_prepared(name)
        values = ", ".join(["NULL"] * described.nparams)
        connection.execute("SET plan_cache_mode = force_generic_plan")
        asked = f"EXPLAIN (FORMAT JSON, VERBOSE) EXECUTE aiops_explained{f'({values})' if values else ''}"
        row = connection.execute(asked.encode()).fetchone()
    except psycopg.errors.QueryCanceled:
        raise
    except psycopg.Error:
        return None
    finally:
        connection.execute("DEALLOCATE aiops_explained")
    plan = row[0] if row else None
    plan = json.loads(plan) if isinstance(plan, str) else plan
    return Explained(plan[0]["Plan"]["Total Cost"], tuple(_nodes(plan[0]["Plan"]))) if plan else None


def _nodes(step: dict[str, Any]) -> Iterator[Node]:
    said = " ".join(
        str(text) for key, text in step.items() if key.endswith(("Cond", "Filter", "Sort Key", "Group Key"))
    )
    schema, relation, alias, used = (
        str(step.get(key, "")) for key in ("Schema", "Relation Name", "Alias", "Index Name")
    )
    yield Node(step["Node Type"], schema, relation, alias, used, said)
    for inner in step.get("Plans", ()):
        yield from _nodes(inner)
