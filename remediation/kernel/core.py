"""What all parts of the kernel share: store, audit trail, limits, clock, and the one way to change state."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from infra.settings import Remediation
from remediation.clock import Clock, Instant
from remediation.kernel import leases
from remediation.kernel.audit import Trail
from remediation.kernel.store import Store, outbox
from remediation.records import Claim, canonical, new_id


@dataclass(frozen=True)
class Change:
    """One open transaction: its connection, its moment, and the entries it adds to the trail and the outbox."""

    conn: Connection
    now: Instant
    core: Core

    def note(self, kind: str, subject: str, body: Mapping[str, Any], actor: str = "engine") -> None:
        """Append to the audit trail."""
        self.core.trail.append(self.conn, self.now, actor, kind, subject, body)

    def tell(self, incident: str, text: str) -> None:
        """Queue a notification, sent after the commit; the same text about the same incident is queued once."""
        dedup = f"{incident}: {text}"
        if self.conn.execute(select(outbox.c.id).where(outbox.c.dedup == dedup)).first() is None:
            values = {"id": new_id("notice"), "dedup": dedup, "incident": incident, "created_at": self.now.wall}
            self.conn.execute(outbox.insert().values(**values, body=canonical({"incident": incident, "text": text})))

    def keep(self, claim: Claim) -> None:
        """Renew the claim; raises leases.Fenced when somebody newer holds it."""
        ttl = self.core.limits.lease.total_seconds()
        leases.keep(self.conn, f"incident:{claim.incident}", claim.holder, claim.fence, self.now, ttl)


@dataclass(frozen=True)
class Core:
    """The kernel's ground."""

    store: Store
    trail: Trail
    limits: Remediation
    clock: Clock

    @contextmanager
    def change(self, name: str) -> Iterator[Change]:
        """One state change: all of it or nothing, with its audit entries."""
        with self.store.transaction(name) as conn:
            yield Change(conn, self.clock.now(), self)
