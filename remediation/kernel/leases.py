"""Leases with fencing tokens: who may work on an incident or a target, and proof that nobody newer took over."""

from __future__ import annotations

import os
import uuid

from sqlalchemy import Connection, Row, select, update

from infra.errors import AiopsError
from remediation.clock import Instant
from remediation.kernel.store import leases
from remediation.process import alive, identity, place


class Fenced(AiopsError):
    """The caller lost its lease: someone with a newer fencing token owns the resource now."""


def new_holder() -> str:
    """A name for one claim: the place, this process, and a random part."""
    return f"{place()}|{os.getpid()}|{identity(os.getpid())}|{uuid.uuid4().hex}"


def acquire(conn: Connection, resource: str, holder: str, now: Instant, ttl: float) -> int | None:
    """Take the lease if it is free, expired or its holder's process is gone; returns the new fencing token or None."""
    row = conn.execute(select(leases).where(leases.c.resource == resource)).first()
    if row is None:
        conn.execute(leases.insert().values(resource=resource, holder=holder, fence=1, expires_at=now.wall + ttl))
        return 1
    if held(row, now):
        return None
    fence = int(row.fence) + 1
    changed = update(leases).where(leases.c.resource == resource)
    conn.execute(changed.values(holder=holder, fence=fence, expires_at=now.wall + ttl))
    return fence


def held(row: Row, now: Instant) -> bool:
    """Whether a lease row still binds. A holder known to be dead holds nothing, whatever the clock says."""
    return bool(row.holder) and now.wall < row.expires_at and not _gone(row.holder)


def lease(conn: Connection, resource: str) -> Row | None:
    return conn.execute(select(leases).where(leases.c.resource == resource)).first()


def keep(conn: Connection, resource: str, holder: str, fence: int, now: Instant, ttl: float) -> None:
    """Renew a lease; raises Fenced when it is not the caller's any more."""
    mine = (leases.c.resource == resource) & (leases.c.fence == fence) & (leases.c.holder == holder)
    if conn.execute(update(leases).where(mine).values(expires_at=now.wall + ttl)).rowcount != 1:
        raise Fenced(f"{resource}: fencing token {fence} is not the newest; another process took over")


def release(conn: Connection, resource: str, fence: int) -> None:
    """Free a lease, if it is still the caller's; the fencing token stays, so it never repeats."""
    mine = (leases.c.resource == resource) & (leases.c.fence == fence)
    conn.execute(update(leases).where(mine).values(holder="", expires_at=0.0))


def _gone(holder: str) -> bool:
    where, pid, started, _ = holder.split("|")
    return where == place() and not alive(int(pid), started)
