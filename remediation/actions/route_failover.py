"""Lead traffic over the backup servers of an HAProxy backend: its other servers are taken out by the runtime socket.

HAProxy fails over by itself only when every primary fails its checks, and returns as soon as one passes again: a
primary that flaps is taken out for good here. Undo lets the health checks decide again.
"""

from __future__ import annotations

import time

from infra.errors import UserError
from remediation.action import Check, Parameters
from remediation.records import Effect, Plan, Target, Verdict
from remediation.services import ServiceAction
from remediation.systems.haproxy import Haproxy

PAUSE = 0.1  # seconds between looks


class FailoverParameters(Parameters):
    """`servers`: those to take out; `backups`: those that take over."""

    servers: tuple[str, ...]
    backups: tuple[str, ...]


class RouteFailover(ServiceAction[FailoverParameters, Haproxy]):
    parameters = FailoverParameters
    system = Haproxy
    treats = frozenset({"route_failing"})
    disruption = 2

    def parametrise(self, target: Target) -> FailoverParameters:
        found = self.at(target).servers().values()
        servers = tuple(one.name for one in found if not one.backup and not one.forced)
        backups = tuple(one.name for one in found if one.backup and one.up and not one.forced)
        if not servers or not backups:
            raise UserError(f"{target.instance}: {'no backup server is up' if servers else 'it is led over already'}")
        return FailoverParameters(servers=servers, backups=backups)

    def changes(self, target: Target, parameters: FailoverParameters) -> tuple[str, ...]:
        over = ", ".join(parameters.backups)
        return tuple(f"{target.instance}: {name} into maintenance, over to {over}" for name in parameters.servers)

    def apply(self, plan: Plan, key: str) -> None:
        haproxy, parameters = self.at(plan.target), self.typed(plan)
        found = haproxy.servers()
        if missing := [name for name in (*parameters.servers, *parameters.backups) if name not in found]:
            raise UserError(f"{plan.target.instance} has no server {missing[0]} any more; look again before acting")
        if not any(found[name].up for name in parameters.backups):
            raise UserError(f"{plan.target.instance}: no planned backup server is up any more")
        for name in parameters.servers:
            if not found[name].forced:
                haproxy.force(name, out=True)

    def verify(self, plan: Plan) -> Check:
        """A backup passes its checks for as many looks as the settings ask; a failing one may come up meanwhile."""
        parameters, haproxy, good = self.typed(plan), self.at(plan.target), 0
        deadline = time.monotonic() + self.health.verify_timeout.total_seconds()
        while True:
            found = haproxy.servers()
            if not all(found[name].forced for name in parameters.servers):
                return Check(verdict=Verdict.INCONCLUSIVE, reason="a primary is in use again: somebody else acts")
            up = [name for name in parameters.backups if found[name].up]
            good = good + 1 if up else 0
            if good == self.health.verify_successes:
                return Check(verdict=Verdict.SUCCEEDED, reason=f"{', '.join(up)} passes its checks, {good} looks long")
            if time.monotonic() > deadline:
                return Check(verdict=Verdict.FAILED, reason="no backup server stays up")
            time.sleep(PAUSE)

    def probe(self, plan: Plan, key: str) -> Effect:
        found, servers = self.at(plan.target).servers(), self.typed(plan).servers
        forced = [name in found and found[name].forced for name in servers]
        return Effect.DONE if all(forced) else Effect.PARTIAL if any(forced) else Effect.NONE

    def undo(self, plan: Plan, key: str) -> str:
        haproxy, servers = self.at(plan.target), self.typed(plan).servers
        for name in servers:
            haproxy.force(name, out=False)
        return f"the health checks decide again about {', '.join(servers)}"
