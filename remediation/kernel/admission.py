"""Admission: the one door to every action. All limits are checked, the token reserved and the intent written at once.

The life of an intent: admitted → started → applied → finished, or → undoing → finished, or cancelled when nothing was
done. Each state is durable before the step it announces, so that after a crash the store tells what may have happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import Row, select, update

from remediation.kernel import approvals, breaker, leases, limits
from remediation.kernel.core import Change, Core
from remediation.kernel.incidents import Incidents
from remediation.kernel.rows import load, row_of, write
from remediation.kernel.store import intents, outcomes, tokens
from remediation.records import Claim, Diagnosis, Outcome, Permit, Plan, Refusal, State, Verdict, new_id


class Admission:
    """Grants permits and keeps the intents behind them."""

    def __init__(self, core: Core, incidents: Incidents) -> None:
        self.core = core
        self.incidents = incidents

    def admit(self, claim: Claim, plan: Plan, replicas: int, diagnosis: Diagnosis) -> Permit | Refusal:
        """Leave to run `plan` once, or the first limit that forbids it (in the order of `_checks`)."""
        with self.core.change("admit") as change:
            change.keep(claim)
            row = row_of(change.conn, claim.incident)
            refusal = next((r for r in self._checks(change, row, plan, replicas, diagnosis) if r is not None), None)
            if refusal is None:
                return self._grant(change, claim, plan, row.actions + 1)
            if row.reason.startswith(refusal.name):  # said before: the trail needs it once
                return refusal
            change.note("refused", claim.incident, {"plan": plan.hash, **refusal.model_dump(mode="json")})
            return refusal

    def begin(self, permit: Permit) -> Refusal | None:
        """Announce the action right before it. The kill switch and the rate are read again: time may have passed."""
        with self.core.change("begin") as change:
            self._keep(change, permit)
            refusal = self._renew_token(change, permit)
            if refusal is None:
                self._advance(change, permit, "admitted", to="started")
            else:
                self._cancel(change, permit, refusal.reason)
            return refusal

    def again(self, permit: Permit) -> Refusal | None:
        """Announce that a dead executor's action is completed, under the limits of `begin`: it acts now, not then.

        After a refusal the intent stays as it is and the target is free for whoever recovers it next.
        """
        with self.core.change("again") as change:
            self._keep(change, permit)
            refusal = self._renew_token(change, permit)
            if refusal is None:
                self._advance(change, permit, "started", to="started")
            else:
                leases.release(change.conn, permit.plan.target.resource, permit.fence)
            return refusal

    def applied(self, permit: Permit) -> None:
        """The action returned; whether it helped is not known yet."""
        with self.core.change("applied") as change:
            self._keep(change, permit)
            self._advance(change, permit, "started", to="applied")

    def undoing(self, permit: Permit) -> Refusal | None:
        """Announce the undo. It needs no token (it puts a state back), but the kill switch stops it too."""
        with self.core.change("undoing") as change:
            self._keep(change, permit)
            refusal = limits.kill_switch(change.conn, self.core.limits)
            if refusal is None:
                self._advance(change, permit, "started", "applied", "undoing", to="undoing")
            return refusal

    def finish(self, permit: Permit, verdict: Verdict, reason: str, undone: bool = False) -> Outcome:
        """Record how it ended: outcome, breaker, incident and leases in one change."""
        with self.core.change("finish") as change:
            self._keep(change, permit)
            outcome = self._outcome(change, permit, verdict, reason, undone)
            self._advance(change, permit, "started", "applied", "undoing", to="finished", done=True)
            values = outcome.model_dump(include={"intent", "incident", "action", "cause"})
            resource, at = permit.plan.target.resource, change.now.wall
            row = outcomes.insert().values(resource=resource, verdict=verdict, finished_at=at, **values)
            change.conn.execute(row.values(body=outcome.model_dump_json()))
            self._learn(change, permit, verdict is Verdict.SUCCEEDED)
            leases.release(change.conn, resource, permit.fence)
            self._settle(change, outcome)
            return outcome

    def cancel(self, permit: Permit, reason: str) -> None:
        """Nothing was done: no outcome, but the token stays spent."""
        with self.core.change("cancel") as change:
            self._keep(change, permit)
            self._cancel(change, permit, reason)

    def unfinished(self, incident: str) -> list[tuple[str, str]]:
        """Intents of an incident that neither finished nor were cancelled, as (id, state)."""
        query = select(intents.c.id, intents.c.state).where(intents.c.finished_at.is_(None))
        with self.core.store.read() as conn:
            return [(row.id, row.state) for row in conn.execute(query.where(intents.c.incident == incident)).all()]

    def take_over(self, claim: Claim, intent: str) -> Permit | None:
        """Continue a dead executor's intent under a newer fencing token; None while its lease is still held."""
        with self.core.change("take_over") as change:
            change.keep(claim)
            row = change.conn.execute(select(intents).where(intents.c.id == intent)).one()
            ttl = self.core.limits.lease.total_seconds()
            fence = leases.acquire(change.conn, row.resource, claim.holder, change.now, ttl)
            if fence is None:
                return None
            change.conn.execute(update(intents).where(intents.c.id == intent).values(fence=fence))
            change.note("taken_over", claim.incident, {"intent": intent, "state": row.state, "fence": fence})
            plan = Plan.model_validate_json(row.plan)
            return Permit(intent=intent, key=row.key, fence=fence, claim=claim, plan=plan)

    def _checks(
        self, change: Change, row: Row, plan: Plan, replicas: int, diagnosis: Diagnosis
    ) -> Iterator[Refusal | None]:
        conn, now, core = change.conn, change.now, self.core.limits
        at = diagnosis.evidence_at.timestamp()
        yield limits.kill_switch(conn, core)
        yield None if row.closed_at is None else Refusal(name="closed", reason="incident is closed", transient=False)
        yield limits.fresh("the diagnosis", at, now, core)
        yield limits.evidence_after_last_action(conn, plan, at, now)
        yield limits.budget(row.actions, core)
        yield limits.allowed(plan, core)
        yield approvals.check(conn, row.id, plan, now) if limits.needs_approval(plan, core) else None
        yield limits.busy(conn, plan.target, now)
        yield limits.blast_radius(conn, plan, replicas, core)
        yield breaker.check(conn, now, core)
        yield limits.rate(conn, now, core)

    def _grant(self, change: Change, claim: Claim, plan: Plan, attempt: int) -> Permit:
        conn, intent, target = change.conn, new_id("intent"), plan.target
        ttl = self.core.limits.lease.total_seconds()
        fence = leases.acquire(conn, target.resource, claim.holder, change.now, ttl)
        if fence is None:
            raise leases.Fenced(f"{target.resource} was found free and is not: the store is not serialised")
        if limits.needs_approval(plan, self.core.limits):
            approvals.spend(conn, claim.incident)
        limits.take_token(conn, intent, change.now)
        breaker.admitted(conn, intent)
        key = f"{claim.incident}/{plan.action}/{target.instance}/{target.generation}/{attempt}"
        permit = Permit(intent=intent, key=key, fence=fence, claim=claim, plan=plan)
        values = {"id": intent, "key": key, "incident": claim.incident, "resource": target.resource, "fence": fence}
        values |= {"service": target.service, "state": "admitted", "attempt": attempt, "admitted_at": change.now.wall}
        conn.execute(intents.insert().values(**values, plan=plan.model_dump_json()))
        write(conn, claim.incident, actions=attempt, state=State.OPEN, reason="")
        change.note("admitted", claim.incident, {"intent": intent, "key": key, "plan": plan.model_dump(mode="json")})
        return permit

    def _keep(self, change: Change, permit: Permit) -> None:
        ttl = self.core.limits.lease.total_seconds()
        change.keep(permit.claim)
        leases.keep(change.conn, permit.plan.target.resource, permit.claim.holder, permit.fence, change.now, ttl)

    def _renew_token(self, change: Change, permit: Permit) -> Refusal | None:
        """Date the intent's token from now; a refused one keeps its token, and its date."""
        conn, core = change.conn, self.core.limits
        refusal = limits.kill_switch(conn, core) or limits.rate(conn, change.now, core, but=permit.intent)
        if refusal is None:
            conn.execute(tokens.delete().where(tokens.c.intent == permit.intent))
            limits.take_token(conn, permit.intent, change.now)
        return refusal

    def _advance(self, change: Change, permit: Permit, *sources: str, to: str, done: bool = False) -> None:
        where = (intents.c.id == permit.intent) & intents.c.state.in_(sources)
        values = {"state": to, **({"finished_at": change.now.wall} if done else {})}
        if change.conn.execute(update(intents).where(where).values(**values)).rowcount != 1:
            raise leases.Fenced(f"{permit.intent} is not {' or '.join(sources)} any more: another process has it")
        change.note(to, permit.claim.incident, {"intent": permit.intent, "key": permit.key})

    def _cancel(self, change: Change, permit: Permit, reason: str) -> None:
        self._advance(change, permit, "admitted", "started", "applied", "undoing", to="cancelled", done=True)
        change.note("not_done", permit.claim.incident, {"intent": permit.intent, "reason": reason})
        self._learn(change, permit, None)
        leases.release(change.conn, permit.plan.target.resource, permit.fence)

    def _learn(self, change: Change, permit: Permit, succeeded: bool | None) -> None:
        before = breaker.state(change.conn).state
        after = breaker.learns(change.conn, permit.intent, succeeded, change.now, self.core.limits)
        if after != before:
            change.note(f"breaker_{after}", permit.claim.incident, {"intent": permit.intent, "before": before})
        if after == "open" != before:
            text = f"the circuit breaker opened: too few repairs succeed ({permit.intent})"
            change.tell(permit.claim.incident, f"breaker open: {permit.intent}", text)

    def _outcome(self, change: Change, permit: Permit, verdict: Verdict, reason: str, undone: bool) -> Outcome:
        incident = load(change.conn, permit.claim.incident)
        intent = change.conn.execute(select(intents).where(intents.c.id == permit.intent)).one()
        diagnosis, target = incident.diagnosis, permit.plan.target
        return Outcome(
            incident=incident.id,
            intent=permit.intent,
            action=permit.plan.action,
            cause=diagnosis.cause if diagnosis else "unknown",
            service=target.service,
            instance=target.instance,
            verdict=verdict,
            undone=undone,
            reason=reason,
            confidence=diagnosis.confidence if diagnosis else 0.0,
            attempt=intent.attempt,
            detected_at=incident.opened_at,
            admitted_at=datetime.fromtimestamp(intent.admitted_at, UTC),
            finished_at=change.now.utc,
        )

    def _settle(self, change: Change, outcome: Outcome) -> None:
        change.note("outcome", outcome.incident, outcome.model_dump(mode="json"))
        what = f"{outcome.action} on {outcome.instance}"
        if outcome.verdict is Verdict.SUCCEEDED:
            self.incidents.end(change, outcome.incident, State.RESOLVED, f"{what} helped: {outcome.reason}")
        elif outcome.verdict is Verdict.INCONCLUSIVE:
            self.incidents.halt(change, outcome.incident, f"{what} is inconclusive: {outcome.reason}")
