"""End queries that run, or idle in a transaction, for longer than the settings allow: cancel, then terminate.

The plan names each session by its pid and its start, as approved; a session that has moved on to another query since
is left alone. What a query did is rolled back by the server and cannot be run again from here, hence irreversible.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import psycopg
from pydantic import Field

from infra.errors import UserError
from remediation.action import Check, Parameters
from remediation.records import Effect, Plan, Target, Verdict
from remediation.services import ServiceAction
from remediation.systems.postgresql import Backend, Postgresql

PAUSE = 0.1  # seconds between looks
_PRESENT = """
SELECT pid, backend_start, CASE state WHEN 'active' THEN query_start ELSE state_change END FROM pg_stat_activity
"""
_SIGNAL = """
SELECT {function}(pid) FROM pg_stat_activity
WHERE pid = %(pid)s AND backend_start = %(backend_start)s
    AND CASE state WHEN 'active' THEN query_start ELSE state_change END = %(since)s
"""


class KillParameters(Parameters):
    """`backends`: the sessions to end; `grace`: seconds between cancelling and terminating."""

    backends: tuple[Backend, ...]
    grace: Annotated[float, Field(gt=0, le=60)] = 2.0


class QueryKill(ServiceAction[KillParameters, Postgresql]):
    parameters = KillParameters
    system = Postgresql
    treats = frozenset({"long_query", "slow_query"})
    disruption = 2
    destructive = True
    irreversible = True

    def parametrise(self, target: Target) -> KillParameters:
        postgresql = self.at(target)
        with postgresql.session() as connection:
            found = postgresql.long_queries(connection)
        if not found:
            raise UserError(f"no query runs for longer than {postgresql.told.long_query.total_seconds():g} s")
        return KillParameters(backends=tuple(found))

    def changes(self, target: Target, parameters: KillParameters) -> tuple[str, ...]:
        return tuple(
            f"end what pid {one.pid} of {one.role} does ({one.state} since {one.since:%Y-%m-%d %H:%M:%S %Z}, "
            f"statement {one.statement}): cancel, after {parameters.grace:g} s terminate"
            for one in parameters.backends
        )

    def apply(self, plan: Plan, key: str) -> None:
        """Signals only what is still as planned, so that a repetition signals only what is left."""
        parameters = self.typed(plan)
        with self.at(plan.target).session() as connection:
            for backend in self._left(connection, parameters):
                _signal(connection, "pg_cancel_backend", backend)
            self._wait(connection, parameters)
            for backend in self._left(connection, parameters):
                _signal(connection, "pg_terminate_backend", backend)

    def verify(self, plan: Plan) -> Check:
        """The planned sessions do something else or are gone; whether new long ones came is another incident."""
        with self.at(plan.target).session() as connection:
            parameters = self.typed(plan)
            self._wait(connection, parameters)
            left = self._left(connection, parameters)
        if left:
            pids = ", ".join(str(one.pid) for one in left)
            return Check(verdict=Verdict.FAILED, reason=f"still there after being terminated: pid {pids}")
        return Check(verdict=Verdict.SUCCEEDED, reason=f"{len(parameters.backends)} ended, none of them is left")

    def probe(self, plan: Plan, key: str) -> Effect:
        parameters = self.typed(plan)
        with self.at(plan.target).session() as connection:
            left = self._left(connection, parameters)
        if not left:
            return Effect.DONE
        return Effect.NONE if len(left) == len(parameters.backends) else Effect.PARTIAL

    def _left(self, connection: psycopg.Connection[Any], parameters: KillParameters) -> list[Backend]:
        """The planned sessions that are still at it."""
        present = set(connection.execute(_PRESENT).fetchall())
        return [one for one in parameters.backends if (one.pid, one.backend_start, one.since) in present]

    def _wait(self, connection: psycopg.Connection[Any], parameters: KillParameters) -> None:
        deadline = time.monotonic() + parameters.grace
        while self._left(connection, parameters) and time.monotonic() < deadline:
            time.sleep(PAUSE)


def _signal(connection: psycopg.Connection[Any], function: str, backend: Backend) -> None:
    """The condition is part of the statement: between a look and a signal a pid can become another's."""
    connection.execute(_SIGNAL.format(function=function).encode(), backend.model_dump())
