"""Incident rows read from and written to the store, as records."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from infra.errors import NotFound
from remediation.kernel import approvals
from remediation.kernel.store import Store, audit, incidents, outcomes
from remediation.records import Decision, Detection, Diagnosis, Incident, Outcome, State, Step

EVENT = "io.iacdharma.remediation"  # prefix of the CloudEvents types


def get(store: Store, incident: str) -> Incident:
    """One incident with its timeline. Raises NotFound."""
    with store.read() as conn:
        return load(conn, incident, timeline=True)


def live(store: Store) -> list[Incident]:
    """All that are not closed, oldest first."""
    query = select(incidents.c.id).where(incidents.c.closed_at.is_(None)).order_by(incidents.c.opened_at)
    with store.read() as conn:
        return [load(conn, row.id) for row in conn.execute(query).all()]


def history(
    store: Store,
    service: str | None = None,
    state: State | None = None,
    limit: int = 50,
    before: datetime | None = None,
) -> list[Incident]:
    """Incidents with their timelines, newest first; `before` is the `opened_at` of the last page's last one."""
    query = select(incidents.c.id).order_by(incidents.c.opened_at.desc(), incidents.c.id).limit(limit)
    query = query if service is None else query.where(incidents.c.service == service)
    query = query if state is None else query.where(incidents.c.state == state)
    query = query if before is None else query.where(incidents.c.opened_at < before.timestamp())
    with store.read() as conn:
        return [load(conn, row.id, timeline=True) for row in conn.execute(query).all()]


def all_outcomes(store: Store) -> list[Outcome]:
    """Every finished action, oldest first."""
    with store.read() as conn:
        bodies = conn.execute(select(outcomes.c.body).order_by(outcomes.c.seq)).scalars().all()
    return [Outcome.model_validate_json(body) for body in bodies]


def row_of(conn: Connection, incident: str) -> Row:
    """The row of an incident. Raises NotFound, which names the live ones."""
    row = conn.execute(select(incidents).where(incidents.c.id == incident)).first()
    if row is None:
        alive = select(incidents.c.id).where(incidents.c.closed_at.is_(None))
        raise NotFound("incident", incident, conn.execute(alive).scalars())
    return row


def live_row(conn: Connection, fingerprint: str) -> Row | None:
    """The one incident of this fingerprint that is not closed."""
    alive = select(incidents).where(incidents.c.fingerprint == fingerprint, incidents.c.closed_at.is_(None))
    return conn.execute(alive).first()


def write(conn: Connection, incident: str, **values: Any) -> None:
    """Change columns of one incident."""
    conn.execute(update(incidents).where(incidents.c.id == incident).values(**values))


def load(conn: Connection, incident: str, timeline: bool = False) -> Incident:
    """The whole record; the timeline only on request."""
    row = row_of(conn, incident)
    last = select(outcomes.c.body).where(outcomes.c.incident == incident).order_by(outcomes.c.seq.desc())
    outcome = conn.execute(last.limit(1)).scalar()
    return Incident(
        id=row.id,
        state=State(row.state),
        reason=row.reason,
        detection=Detection.model_validate_json(row.detection),
        diagnosis=Diagnosis.model_validate_json(row.diagnosis) if row.diagnosis else None,
        decision=Decision.model_validate_json(row.decision) if row.decision else None,
        outcome=Outcome.model_validate_json(outcome) if outcome else None,
        approval=approvals.newest(conn, incident),
        duplicates=row.duplicates,
        actions=row.actions,
        opened_at=_utc(row.opened_at),
        closed_at=None if row.closed_at is None else _utc(row.closed_at),
        steps=_timeline(conn, incident) if timeline else (),
    )


def failures(conn: Connection, incident: str) -> dict[str, int]:
    """How often each action has not helped in this incident."""
    lost = select(outcomes.c.action, func.count()).where(
        outcomes.c.incident == incident, outcomes.c.verdict != "succeeded"
    )
    return {action: count for action, count in conn.execute(lost.group_by(outcomes.c.action)).all()}


def _timeline(conn: Connection, incident: str) -> tuple[Step, ...]:
    rows = conn.execute(select(audit).where(audit.c.subject == incident).order_by(audit.c.seq)).all()
    return tuple(
        Step(
            id=str(row.seq),
            type=f"{EVENT}.{row.kind}",
            subject=incident,
            time=datetime.fromisoformat(row.time),
            data={**json.loads(row.body), "actor": row.actor},
        )
        for row in rows
    )


def _utc(wall: float) -> datetime:
    return datetime.fromtimestamp(wall, UTC)
