"""Let PgBouncer open its server connections anew: `RECONNECT` closes each as soon as its transaction ends.

The plan names the connections that it means, so a repetition finds them gone and does nothing. Undo has nothing to
put back: clients keep their sessions, and a server connection carries no state from one transaction to the next.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from infra.errors import UserError
from remediation.action import Check, Parameters
from remediation.records import Effect, Plan, Target, Verdict
from remediation.services import ServiceAction
from remediation.systems.pgbouncer import Connection, Pgbouncer

PAUSE = 0.1  # seconds between looks


class ResetParameters(Parameters):
    """`connections`: those to be replaced."""

    database: str
    connections: tuple[Connection, ...]


class ConnectionPoolReset(ServiceAction[ResetParameters, Pgbouncer]):
    parameters = ResetParameters
    system = Pgbouncer
    treats = frozenset({"pool_stale", "pool_exhausted"})
    disruption = 1

    def parametrise(self, target: Target) -> ResetParameters:
        pgbouncer = self.at(target)
        with pgbouncer.console() as console:
            pgbouncer.database(console)
            connections = pgbouncer.connections(console)
        if not connections:
            raise UserError(f"{target.instance} has no server connections for {pgbouncer.told.database}")
        return ResetParameters(database=pgbouncer.told.database, connections=tuple(connections))

    def changes(self, target: Target, parameters: ResetParameters) -> tuple[str, ...]:
        pids = ", ".join(str(one.pid) for one in parameters.connections)
        return (f"{target.instance} replaces its connections of {parameters.database} (backends {pids})",)

    def apply(self, plan: Plan, key: str) -> None:
        with self.at(plan.target).console() as console:
            if self._kept(plan, console):
                name = Identifier(self.typed(plan).database)
                console.execute(SQL("RECONNECT {}").format(name))

    def verify(self, plan: Plan) -> Check:
        """A query through the pool is answered, by a connection that is not one of the old."""
        pgbouncer, database = self.at(plan.target), self.typed(plan).database
        deadline = time.monotonic() + self.health.verify_timeout.total_seconds()
        while True:
            try:
                with pgbouncer.console(database) as client:
                    client.execute("SELECT 1")
                with pgbouncer.console() as console:
                    kept = self._kept(plan, console)
                if not kept:
                    return Check(verdict=Verdict.SUCCEEDED, reason=f"{database} answers by new connections")
                trouble = f"{len(kept)} of the old connections are still used"
            except UserError as error:
                trouble = str(error)
            if time.monotonic() > deadline:
                return Check(verdict=Verdict.FAILED, reason=trouble)
            time.sleep(PAUSE)

    def probe(self, plan: Plan, key: str) -> Effect:
        with self.at(plan.target).console() as console:
            kept = self._kept(plan, console)
        return Effect.NONE if kept else Effect.DONE  # RECONNECT marks all at once

    def undo(self, plan: Plan, key: str) -> str:
        return "nothing to put back: the new connections are to the same server with the same settings"

    def _kept(self, plan: Plan, console: psycopg.ClientCursor[Any]) -> set[Connection]:
        """Planned connections that are used still."""
        return set(self.typed(plan).connections) & set(self.at(plan.target).connections(console))
