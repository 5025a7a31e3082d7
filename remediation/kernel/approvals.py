"""Approvals: a question about one exact plan; usable once, and no answer in time is a no.

Every function runs inside the caller's transaction.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Connection, Row, select, update

from infra.errors import NotFound, UserError
from infra.settings import Remediation
from remediation.clock import Instant
from remediation.kernel.store import approvals
from remediation.records import Approval, Plan, Refusal, new_id


def request(conn: Connection, incident: str, plan: Plan, now: Instant, limits: Remediation) -> Approval:
    """The open question about this plan, asked now if it is not yet; questions about older plans are withdrawn."""
    row = _newest(conn, incident)
    if row is not None and row.state == "pending":
        if row.plan_hash == plan.hash:
            return record(row)
        _set(conn, row.id, "expired", "engine: the plan changed")
    values = {
        "id": new_id("plan"),
        "incident": incident,
        "plan_hash": plan.hash,
        "state": "pending",
        "requested_at": now.wall,
        "expires_at": now.wall + limits.approval_timeout.total_seconds(),
        "decided_by": None,
    }
    conn.execute(approvals.insert().values(**values))
    return record(_get(conn, str(values["id"])))


def decide(conn: Connection, plan_id: str, approve: bool, by: str, now: Instant) -> Approval:
    """Record a human's answer. Raises NotFound, or UserError when it is already decided or too late."""
    row = _get(conn, plan_id)
    if row.state != "pending":
        raise UserError(f"{plan_id} is already {row.state} (by {row.decided_by}); an approval is decided once")
    if overdue(row, now):
        raise UserError(f"{plan_id} expired at {record(row).expires_at:%H:%M:%S} UTC, and no answer is a no")
    _set(conn, plan_id, "approved" if approve else "denied", by)
    return record(_get(conn, plan_id))


def check(conn: Connection, incident: str, plan: Plan, now: Instant) -> Refusal | None:
    """Whether this incident has an unspent approval of exactly `plan`."""
    row = _newest(conn, incident)
    if row is None or row.state in ("used", "pending") or row.plan_hash != plan.hash:
        return Refusal(name="approval_needed", reason="no unspent approval of exactly this plan", transient=True)
    if row.state == "approved" and not overdue(row, now):
        return None
    return Refusal(name="approval_denied", reason=f"{row.state} or late ({row.decided_by})", transient=False)


def spend(conn: Connection, incident: str) -> None:
    """Use up the approval that `check` found."""
    row = _newest(conn, incident)
    if row is not None:
        _set(conn, row.id, "used", row.decided_by)


def expire(conn: Connection, now: Instant) -> list[str]:
    """Deny every pending question whose time is over; returns their incidents."""
    pending = conn.execute(select(approvals).where(approvals.c.state == "pending")).all()
    late = [row for row in pending if overdue(row, now)]
    for row in late:
        _set(conn, row.id, "expired", "engine: no answer in time")
    return [row.incident for row in late]


def newest(conn: Connection, incident: str) -> Approval | None:
    """The latest question about this incident."""
    row = _newest(conn, incident)
    return record(row) if row is not None else None


def overdue(row: Row, now: Instant) -> bool:
    """Late, or asked in the future: after a clock jump the true age is unknown, which is a no."""
    return not row.requested_at <= now.wall < row.expires_at


def record(row: Row) -> Approval:
    return Approval(
        id=row.id,
        incident=row.incident,
        plan_hash=row.plan_hash,
        state=row.state,
        requested_at=datetime.fromtimestamp(row.requested_at, UTC),
        expires_at=datetime.fromtimestamp(row.expires_at, UTC),
        decided_by=row.decided_by,
    )


def _newest(conn: Connection, incident: str) -> Row | None:
    query = select(approvals).where(approvals.c.incident == incident)
    return conn.execute(query.order_by(approvals.c.seq.desc()).limit(1)).first()


def _get(conn: Connection, plan_id: str) -> Row:
    row = conn.execute(select(approvals).where(approvals.c.id == plan_id)).first()
    if row is None:
        pending = select(approvals.c.id).where(approvals.c.state == "pending")
        raise NotFound("pending plan", plan_id, conn.execute(pending).scalars())
    return row


def _set(conn: Connection, plan_id: str, state: str, by: str | None) -> None:
    conn.execute(update(approvals).where(approvals.c.id == plan_id).values(state=state, decided_by=by))
