"""The safety kernel: one transactional store whose limits hold whatever process dies.

Nothing here knows an action, a workload or an orchestrator. Every public method that changes something is one
transaction with its audit entries; `Incidents` is the life of an incident, `Admission` the door to every action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from infra.settings import Settings
from remediation.clock import Clock, SystemClock
from remediation.kernel import approvals, audit, breaker, outbox
from remediation.kernel.admission import Admission
from remediation.kernel.audit import Trail, Verification
from remediation.kernel.core import Core
from remediation.kernel.incidents import Incidents
from remediation.kernel.store import Store, switches
from remediation.records import Approval


@dataclass(frozen=True)
class Kernel:
    """The parts, over one `Core`."""

    core: Core
    incidents: Incidents
    admission: Admission

    def switch(self, on: bool, by: str) -> None:
        """The kill switch: off stops every action that has not begun, in every process, from the next step on."""
        with self.core.change("switch") as change:
            where = switches.c.name == "remediation"
            change.conn.execute(switches.delete().where(where))
            change.conn.execute(switches.insert().values(name="remediation", enabled=on, by=by, at=change.now.wall))
            change.note("switched_on" if on else "switched_off", "remediation", {}, actor=by)

    def subscribe(self) -> None:
        """Every process queues for this one's channels from now on: call it where messages are sent all the time."""
        with self.core.change("subscribe") as change:
            outbox.subscribe(change.conn, self.core.channels)

    def reset_breaker(self, by: str) -> None:
        """Close the circuit breaker by hand."""
        with self.core.change("reset_breaker") as change:
            breaker.reset(change.conn)
            change.note("breaker_reset", "remediation", {}, actor=by)

    def decide(self, plan_id: str, approve: bool, by: str) -> Approval:
        """A human's answer to a pending approval. Raises NotFound, or UserError when decided before or too late."""
        with self.core.change("approval") as change:
            approval = approvals.decide(change.conn, plan_id, approve, by, change.now)
            body = {"plan": approval.plan_hash, "approval": plan_id}
            change.note("approved" if approve else "denied", approval.incident, body, actor=by)
            if not approve:
                self.incidents.halt(change, approval.incident, f"denied by {by}")
            return approval

    def expire_approvals(self) -> list[str]:
        """Turn questions without an answer into a no; returns the paused incidents."""
        with self.core.change("expire") as change:
            late = approvals.expire(change.conn, change.now)
            for incident in late:
                change.note("approval_expired", incident, {})
                self.incidents.halt(change, incident, "no approval in time, which is a no")
            return late

    def breaker_state(self) -> dict[str, Any]:
        """State and since when, for status pages."""
        with self.core.change("breaker_state") as change:
            return dict(breaker.state(change.conn)._mapping)

    def enabled(self) -> bool:
        """What the kill switch says now."""
        with self.core.store.read() as conn:
            row = conn.execute(select(switches.c.enabled).where(switches.c.name == "remediation")).scalar()
        return self.core.limits.enabled and row is not False

    def verify_audit(self) -> Verification:
        """Check the whole trail against its signed head."""
        trail = self.core.trail
        checkpoint = trail.checkpoint()  # first: the chain may only be longer than its signed head
        return audit.verify(audit.entries(self.core.store), checkpoint, trail.public_key())


def open_kernel(
    settings: Settings,
    clock: Clock | None = None,
    boundary: Callable[[str], None] | None = None,
    channels: Iterable[str] = (),
) -> Kernel:
    """The kernel of these settings: SQLite below `home`, or the database of `remediation.database_url`.

    `channels`: the names of the notification channels that get what is told.
    """
    url = settings.remediation.database_url
    home = settings.home
    trail = Trail(home)
    store = Store(url.get_secret_value() if url else f"sqlite:///{home / 'kernel.db'}", boundary)
    limits = settings.remediation.model_copy(update={"enabled": settings.enabled and settings.remediation.enabled})
    core = Core(store=store, trail=trail, limits=limits, clock=clock or SystemClock(), channels=tuple(channels))
    incidents = Incidents(core)
    return Kernel(core=core, incidents=incidents, admission=Admission(core, incidents))
