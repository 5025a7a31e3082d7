"""The life of an incident: opened once per fingerprint, worked on by one claim at a time, closed or a human's."""

from __future__ import annotations

import json
from collections.abc import Collection

from sqlalchemy import Row, and_, func, select, update

from infra.errors import UserError
from remediation.kernel import approvals, leases, limits, outbox
from remediation.kernel.core import Change, Core
from remediation.kernel.rows import failures, live_row, load, row_of, write
from remediation.kernel.store import audit, incidents, intents
from remediation.records import (
    Approval,
    Claim,
    Decision,
    Detection,
    Diagnosis,
    Incident,
    Plan,
    Refusal,
    State,
    Status,
    Target,
    new_id,
)


class Incidents:
    """State changes and queries of incidents; see `records.State` for the states."""

    def __init__(self, core: Core) -> None:
        self.core = core

    def observe(self, detection: Detection, known: Collection[str]) -> tuple[Incident, Claim | None]:
        """Open an incident for this detection, or join the live one.

        The claim is None when there is nothing to do: the detection is refused (RESOLVED, stale, unknown instance,
        switched off), or the incident waits, or somebody works on it.
        """
        with self.core.change("observe") as change:
            row = live_row(change.conn, detection.fingerprint)
            refusal = self._refusal(change, detection, known)
            if refusal is not None:
                return self._refused(change, detection, row, refusal), None
            if row is None:
                return self._open(change, detection)
            joined = update(incidents).where(incidents.c.id == row.id)
            change.conn.execute(joined.values(duplicates=incidents.c.duplicates + 1))
            wait = row.retry_at - change.now.wall
            due = not 0 < wait <= self.core.limits.health.interval.total_seconds()
            workable = row.state == State.OPEN or (row.state == State.HELD and due)
            claim = self._claim(change, row.id) if workable else None
            return load(change.conn, row.id), claim

    def claim(self, incident: str) -> Claim | None:
        """The right to work on a live incident, or None while somebody alive has it."""
        with self.core.change("claim") as change:
            return self._claim(change, incident) if row_of(change.conn, incident).closed_at is None else None

    def let_go(self, claim: Claim) -> None:
        """Give the claim back; harmless when it was lost."""
        with self.core.change("let_go") as change:
            leases.release(change.conn, f"incident:{claim.incident}", claim.fence)

    def diagnosed(self, claim: Claim, diagnosis: Diagnosis, target: Target) -> State:
        """Record the diagnosis. MERGED when another live incident is about the same target: one cause, one repair."""
        with self.core.change("diagnosed") as change:
            change.keep(claim)
            if not _said(change, claim.incident, diagnosis):
                change.note("diagnosed", claim.incident, diagnosis.model_dump(mode="json"))
            same = and_(incidents.c.root == target.resource, incidents.c.closed_at.is_(None))
            others = select(incidents.c.id).where(same, incidents.c.id != claim.incident)
            other = change.conn.execute(others.where(incidents.c.merged_into.is_(None))).scalar()
            values = {"diagnosis": diagnosis.model_dump_json(), "root": target.resource, "merged_into": other}
            write(change.conn, claim.incident, **values)
            if other is None:
                return State.OPEN
            return self._move(change, claim.incident, State.MERGED, f"{other} is about the same {target.instance}")

    def decided(self, claim: Claim, decision: Decision) -> None:
        with self.core.change("decided") as change:
            change.keep(claim)
            row = row_of(change.conn, claim.incident)
            write(change.conn, claim.incident, decision=decision.model_dump_json())
            if row.state != State.HELD or row.decision != decision.model_dump_json():
                change.note("decided", claim.incident, decision.model_dump(mode="json"))

    def ask(self, claim: Claim, plan: Plan) -> Approval:
        """Put the plan to a human and wait; nothing blocks meanwhile."""
        with self.core.change("ask") as change:
            change.keep(claim)
            approval = approvals.request(change.conn, claim.incident, plan, change.now, self.core.limits)
            self._move(change, claim.incident, State.AWAITING_APPROVAL, f"{approval.id} waits for an answer")
            text = f"{plan.action} on {plan.target.instance} needs approval"
            change.tell(claim.incident, f"needs approval: {approval.id}", text, approval.id)
            return approval

    def show(self, incident: str) -> Claim | None:
        """The right to put its question to people while it waits; None while another living process does."""
        with self.core.change("show") as change:
            ttl = self.core.limits.approval_timeout.total_seconds()
            return self._claim(change, incident, "question", ttl)

    def hide(self, shown: Claim) -> None:
        """The question is not shown here any more; harmless when the right was lost."""
        with self.core.change("hide") as change:
            leases.release(change.conn, f"question:{shown.incident}", shown.fence)

    def is_shown(self, incident: str) -> bool:
        """Whether a living process shows its question."""
        with self.core.store.read() as conn:
            row = leases.lease(conn, f"question:{incident}")
        return row is not None and leases.held(row, self.core.clock.now())

    def unshown(self) -> list[Incident]:
        """Those that wait for an answer to a question that no living process shows."""
        waiting = select(incidents.c.id).where(incidents.c.state == State.AWAITING_APPROVAL)
        with self.core.store.read() as conn:
            found = [load(conn, incident) for incident in conn.execute(waiting).scalars().all()]
        pending = [one for one in found if one.approval is not None and one.approval.state == "pending"]
        return [one for one in pending if not self.is_shown(one.id)]

    def hold(self, claim: Claim, refusal: Refusal, tell: bool = False) -> None:
        """Put off: the next detection tries again. `tell`: a human should know meanwhile."""
        with self.core.change("hold") as change:
            change.keep(claim)
            later = change.now.wall + self.core.limits.health.interval.total_seconds()
            write(change.conn, claim.incident, retry_at=later)
            row = row_of(change.conn, claim.incident)
            if row.state != State.HELD or not row.reason.startswith(refusal.name):  # one entry, not one a second
                self._move(change, claim.incident, State.HELD, f"{refusal.name}: {refusal.reason}")
                if tell:
                    change.tell(claim.incident, f"held: {refusal.name}", f"not repaired: {refusal.reason}")

    def pause(self, claim: Claim, reason: str) -> None:
        """Stop here and tell a human."""
        with self.core.change("pause") as change:
            change.keep(claim)
            self.halt(change, claim.incident, reason)

    def close(self, claim: Claim, state: State, reason: str) -> None:
        """End the incident, and with it those that were merged into it."""
        with self.core.change("close") as change:
            change.keep(claim)
            self.end(change, claim.incident, state, reason)

    def failures(self, incident: str) -> dict[str, int]:
        """How often each action has not helped in this incident."""
        with self.core.store.read() as conn:
            return failures(conn, incident)

    def end(self, change: Change, incident: str, state: State, reason: str) -> None:
        """The same inside another state change. Told where something was done, or people had heard of it."""
        self._move(change, incident, state, reason)
        one = (incidents.c.id == incident) | (incidents.c.merged_into == incident)
        ended = change.conn.execute(select(incidents).where(one, incidents.c.closed_at.is_(None))).all()
        for row in ended:
            write(change.conn, row.id, closed_at=change.now.wall)
            if row.actions or outbox.told(change.conn, row.id):
                change.tell(row.id, state, f"{state}: {reason}")

    def halt(self, change: Change, incident: str, reason: str) -> None:
        """`pause` inside another state change."""
        self._move(change, incident, State.PAUSED, reason)
        change.tell(incident, State.PAUSED, f"paused, a human is needed: {reason}")

    def dismiss(self, incident: str, by: str) -> None:
        """A human closes an incident that nobody works on."""
        with self.core.change("dismiss") as change:
            claim = self._claim(change, incident)
            left = select(intents.c.id).where(intents.c.incident == incident, intents.c.finished_at.is_(None))
            if claim is None or change.conn.execute(left).first() is not None:
                raise UserError(f"{incident} is in the middle of an action; try again when it is resolved")
            self.end(change, incident, State.DISMISSED, f"closed by {by}")
            leases.release(change.conn, f"incident:{incident}", claim.fence)

    def _refusal(self, change: Change, detection: Detection, known: Collection[str]) -> Refusal | None:
        if detection.status is Status.RESOLVED:
            return Refusal(name="resolved", reason="the alert says the symptom is over", transient=False)
        if detection.instance not in known:
            nobody = f"{detection.service}/{detection.instance} is not in the inventory"
            return Refusal(name="unknown_target", reason=nobody, transient=False)
        at = detection.evidence_at.timestamp()
        stale = limits.fresh("the evidence", at, change.now, self.core.limits)
        return stale or self._lingers(change, detection) or limits.kill_switch(change.conn, self.core.limits)

    def _lingers(self, change: Change, detection: Detection) -> Refusal | None:
        closed = select(func.max(incidents.c.closed_at)).where(incidents.c.fingerprint == detection.fingerprint)
        last = change.conn.execute(closed).scalar()
        if not limits.predates(detection.evidence_at.timestamp(), last, change.now):
            return None
        reason = "the evidence is from before the end of the last incident"
        return Refusal(name="lingering_alert", reason=reason, transient=True)

    def _refused(self, change: Change, detection: Detection, row: Row | None, refusal: Refusal) -> Incident:
        idle = row is not None and not self._worked_on(change, row.id)
        if refusal.name == "resolved" and row is not None and idle and row.state != State.OPEN:
            self.end(change, row.id, State.RESOLVED, "the symptom ended without us")
            return load(change.conn, row.id)
        last = select(audit.c.kind, audit.c.body).where(audit.c.subject == detection.fingerprint)
        seen = change.conn.execute(last.order_by(audit.c.seq.desc()).limit(1)).first()
        if seen is None or json.loads(seen.body)["name"] != refusal.name:  # a storm of refusals is one entry
            body = {"name": refusal.name, "reason": refusal.reason, "detection": detection.model_dump(mode="json")}
            change.note("detection_refused", detection.fingerprint, body)
        if row is not None:
            return load(change.conn, row.id)
        now = change.now.utc
        reason = f"{refusal.name}: {refusal.reason}"
        return Incident(
            id="incident-none", state=State.REFUSED, reason=reason, detection=detection, opened_at=now, closed_at=now
        )

    def _open(self, change: Change, detection: Detection) -> tuple[Incident, Claim | None]:
        incident = new_id("incident")
        values = {
            "id": incident,
            "fingerprint": detection.fingerprint,
            "state": State.OPEN,
            "service": detection.service,
            "opened_at": change.now.wall,
            "detection": detection.model_dump_json(),
        }
        change.conn.execute(incidents.insert().values(**values))
        change.note("detected", incident, detection.model_dump(mode="json"))
        return load(change.conn, incident), self._claim(change, incident)

    def _claim(self, change: Change, incident: str, what: str = "incident", ttl: float | None = None) -> Claim | None:
        holder, ttl = leases.new_holder(), ttl or self.core.limits.lease.total_seconds()
        fence = leases.acquire(change.conn, f"{what}:{incident}", holder, change.now, ttl)
        return None if fence is None else Claim(incident=incident, holder=holder, fence=fence)

    def _worked_on(self, change: Change, incident: str) -> bool:
        row = leases.lease(change.conn, f"incident:{incident}")
        return row is not None and leases.held(row, change.now)

    def _move(self, change: Change, incident: str, state: State, reason: str) -> State:
        write(change.conn, incident, state=state, reason=reason)
        change.note(f"incident_{state}", incident, {"reason": reason})
        return state


def _said(change: Change, incident: str, diagnosis: Diagnosis) -> bool:
    """Whether a held incident, looked at again every second, has this diagnosis on record already."""
    row = row_of(change.conn, incident)
    if row.state != State.HELD or row.diagnosis is None:
        return False
    before = Diagnosis.model_validate_json(row.diagnosis)
    return (before.cause, before.service, before.instance) == (diagnosis.cause, diagnosis.service, diagnosis.instance)
