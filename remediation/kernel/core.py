"""What all parts of the kernel share: store, audit trail, limits, clock, and the one way to change state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from infra.settings import Remediation
from remediation.clock import Clock, Instant
from remediation.kernel import leases, outbox
from remediation.kernel.audit import Trail
from remediation.kernel.rows import load
from remediation.kernel.store import Store
from remediation.notice import about
from remediation.records import Claim


@dataclass(frozen=True)
class Change:
    """One open transaction: its connection, its moment, and the entries it adds to the trail and the outbox."""

    conn: Connection
    now: Instant
    core: Core

    def note(self, kind: str, subject: str, body: Mapping[str, Any], actor: str = "engine") -> None:
        """Append to the audit trail."""
        self.core.trail.append(self.conn, self.now, actor, kind, subject, body)

    def tell(self, incident: str, event: str, text: str, approval: str = "") -> None:
        """Queue a notification, sent after the commit; an event of an incident is told once in every channel."""
        notice = about(load(self.conn, incident), event, text, approval)
        outbox.queue(self.conn, notice, self.core.channels, self.now)

    def keep(self, claim: Claim) -> None:
        """Renew the claim; raises leases.Fenced when somebody newer holds it."""
        ttl = self.core.limits.lease.total_seconds()
        leases.keep(self.conn, f"incident:{claim.incident}", claim.holder, claim.fence, self.now, ttl)


@dataclass(frozen=True)
class Core:
    """The kernel's ground; `channels`: the names of those that are told."""

    store: Store
    trail: Trail
    limits: Remediation
    clock: Clock
    channels: tuple[str, ...] = ()

    @contextmanager
    def change(self, name: str) -> Iterator[Change]:
        """One state change: all of it or nothing, with its audit entries."""
        with self.store.transaction(name) as conn:
            yield Change(conn, self.clock.now(), self)
