"""Let PgBouncer open more server connections: `SET default_pool_size`, doubled up to the bound of the settings.

What PgBouncer's file says is not touched: a reload or a restart returns to it, which the plan says.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import psycopg
from psycopg.sql import SQL, Literal
from pydantic import Field

from infra.errors import UserError
from remediation.action import Check, Parameters
from remediation.records import Effect, Plan, Target, Verdict
from remediation.services import ServiceAction
from remediation.systems.pgbouncer import Pgbouncer, rows
from remediation.systems.postgresql import Postgresql

PAUSE = 0.1  # seconds between looks
_FREE = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int - count(*)
FROM pg_stat_activity WHERE backend_type = 'client backend'
"""


class ResizeParameters(Parameters):
    """Server connections of each pool that has no size of its own, before and after."""

    before: Annotated[int, Field(ge=1)]
    after: Annotated[int, Field(ge=1)]


class ConnectionPoolResize(ServiceAction[ResizeParameters, Pgbouncer]):
    parameters = ResizeParameters
    system = Pgbouncer
    treats = frozenset({"pool_exhausted"})
    disruption = 0

    def parametrise(self, target: Target) -> ResizeParameters:
        pgbouncer = self.at(target)
        with pgbouncer.console() as console:
            before, own = _size(console), pgbouncer.database(console)["pool_size"]
        if own != before:
            raise UserError(
                f"{target.instance}: {pgbouncer.told.database} has a pool_size of its own ({own}), "
                "which only its file changes"
            )
        after = min(2 * before, pgbouncer.told.max_pool_size)
        if after <= before:
            raise UserError(
                f"{target.instance}: the pool has {before}, max_pool_size is {pgbouncer.told.max_pool_size}"
            )
        self._room(pgbouncer, after - before)
        return ResizeParameters(before=before, after=after)

    def changes(self, target: Target, parameters: ResizeParameters) -> tuple[str, ...]:
        sizes = f"default_pool_size of {target.instance} from {parameters.before} to {parameters.after}"
        return (f"{sizes}, until it is reloaded or restarted",)

    def apply(self, plan: Plan, key: str) -> None:
        self._set(plan, source=self.typed(plan).before, to=self.typed(plan).after)

    def verify(self, plan: Plan) -> Check:
        """The size is in force and no client waits too long."""
        pgbouncer, after = self.at(plan.target), self.typed(plan).after
        deadline = time.monotonic() + self.health.verify_timeout.total_seconds()
        while True:
            with pgbouncer.console() as console:
                size = _size(console)
            if size != after:
                return Check(
                    verdict=Verdict.INCONCLUSIVE, reason=f"the size is {size}, not {after}: somebody else acts"
                )
            trouble = pgbouncer.finding()
            if trouble is None:
                return Check(verdict=Verdict.SUCCEEDED, reason=f"with {after} connections no client waits too long")
            if time.monotonic() > deadline:
                return Check(verdict=Verdict.FAILED, reason=f"with {after} connections still: {trouble.fact}")
            time.sleep(PAUSE)

    def probe(self, plan: Plan, key: str) -> Effect:
        parameters = self.typed(plan)
        with self.at(plan.target).console() as console:
            size = _size(console)
        return {parameters.after: Effect.DONE, parameters.before: Effect.NONE}.get(size, Effect.UNKNOWN)

    def undo(self, plan: Plan, key: str) -> str:
        parameters = self.typed(plan)
        self._set(plan, source=parameters.after, to=parameters.before)
        return f"default_pool_size is {parameters.before} again"

    def _set(self, plan: Plan, source: int, to: int) -> None:
        """Raises UserError when the size is neither the one before nor the one after."""
        with self.at(plan.target).console() as console:
            size = _size(console)
            if size == to:
                return
            if size != source:
                raise UserError(f"{plan.target.instance} has a pool size of {size}, not {source}: somebody else set it")
            console.execute(SQL("SET default_pool_size = {}").format(Literal(to)))
            if (now := _size(console)) != to:
                raise UserError(f"{plan.target.instance}: default_pool_size is {now} in spite of SET")

    def _room(self, pgbouncer: Pgbouncer, more: int) -> None:
        """Raises UserError when the server, where the settings name it, has not so many connections free."""
        if pgbouncer.told.server is None:
            return
        with self.services.system(pgbouncer.told.server, Postgresql).session() as connection:
            row = connection.execute(_FREE).fetchone()
        if row is None or row[0] < more:
            raise UserError(f"{pgbouncer.told.server} has {row[0] if row else 0} connections free, {more} are needed")


def _size(console: psycopg.ClientCursor[Any]) -> int:
    return next(int(one["value"]) for one in rows(console, "SHOW CONFIG") if one["key"] == "default_pool_size")
