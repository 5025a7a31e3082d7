"""The circuit breaker over all actions: too low a success rate stops them, one probe after a cool-down may close it.

Every function runs inside the caller's transaction.
"""

from __future__ import annotations

from sqlalchemy import Connection, Row, func, select, update

from infra.settings import Remediation
from remediation.clock import Instant
from remediation.kernel.store import breaker, outcomes
from remediation.records import Refusal


def state(conn: Connection) -> Row:
    """The breaker's row; made closed on first use."""
    query = select(breaker).where(breaker.c.scope == "all")
    row = conn.execute(query).first()
    if row is None:
        conn.execute(breaker.insert().values(scope="all", state="closed", opened_at=0.0, probe=None, since=0))
        row = conn.execute(query).one()
    return row


def check(conn: Connection, now: Instant, limits: Remediation) -> Refusal | None:
    """Closed: pass. Open: refuse until the cool-down ends. Half-open: refuse, the one probe is on its way."""
    row = state(conn)
    if row.state == "closed":
        return None
    wait = row.opened_at + limits.circuit_breaker_cooldown.total_seconds() - now.wall
    if row.state == "open" and wait <= 0:
        return None
    why = f"its probe is due in {wait:.0f} s" if row.state == "open" else f"its probe {row.probe} is running"
    return Refusal(name="breaker_open", reason=f"the circuit breaker is {row.state}: {why}", transient=True)


def admitted(conn: Connection, intent: str) -> None:
    """Note an admitted intent: behind an open breaker it is the probe."""
    if state(conn).state == "open":
        _set(conn, state="half_open", probe=intent)


def learns(conn: Connection, intent: str, succeeded: bool | None, now: Instant, limits: Remediation) -> str:
    """Count an outcome (None: the intent was cancelled without effect); returns the breaker's new state."""
    row = state(conn)
    if row.state == "half_open" and row.probe == intent:
        if succeeded:
            return reset(conn)
        opened = now.wall if succeeded is False else row.opened_at
        return _set(conn, state="open", probe=None, opened_at=opened)
    if row.state == "closed" and succeeded is not None and _rate_too_low(conn, row.since, limits):
        return _set(conn, state="open", opened_at=now.wall)
    return str(row.state)


def reset(conn: Connection) -> str:
    """Close the breaker and forget the outcomes so far, which opened it."""
    state(conn)
    newest = conn.execute(select(func.max(outcomes.c.seq))).scalar() or 0
    return _set(conn, state="closed", probe=None, since=newest)


def _rate_too_low(conn: Connection, since: int, limits: Remediation) -> bool:
    last = select(outcomes.c.verdict).where(outcomes.c.seq > since).order_by(outcomes.c.seq.desc())
    verdicts = conn.execute(last.limit(limits.circuit_breaker_window)).scalars().all()
    # inconclusive is not a success
    enough = len(verdicts) >= limits.circuit_breaker_min_outcomes
    return enough and verdicts.count("succeeded") / len(verdicts) < limits.circuit_breaker_threshold


def _set(conn: Connection, **values: object) -> str:
    conn.execute(update(breaker).where(breaker.c.scope == "all").values(**values))
    return str(values["state"])
