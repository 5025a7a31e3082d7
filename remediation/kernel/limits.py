"""The limits of one admission, each a function inside the caller's transaction: a named Refusal, or None to pass.

All of them run in one serialised transaction together with the write of the intent, so no two processes can pass the
same limit at the same time.
"""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, or_, select

from infra.settings import Remediation
from remediation.clock import Instant
from remediation.kernel.leases import held, lease
from remediation.kernel.store import intents, outcomes, switches, tokens
from remediation.records import Plan, Refusal, Target

WINDOW = 60.0  # seconds; the rate limit's sliding window
_FORGET = 86_400.0


def kill_switch(conn: Connection, limits: Remediation) -> Refusal | None:
    """`remediation.enabled` in the settings, or the switch in the store: either one stops everything."""
    row = conn.execute(select(switches).where(switches.c.name == "remediation")).first()
    if limits.enabled and (row is None or row.enabled):
        return None
    who = f"switched off by {row.by}" if row is not None and not row.enabled else "remediation.enabled is false"
    return Refusal(name="kill_switch", reason=who, transient=True)


def fresh(what: str, at: float, now: Instant, limits: Remediation) -> Refusal | None:
    """Refuse evidence older than `feature_max_age`, or from the future by more than that: its age is unknown."""
    age, limit = now.wall - at, limits.feature_max_age.total_seconds()
    if abs(age) <= limit:
        return None
    side = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s in the future"
    return Refusal(name="stale_evidence", reason=f"{what} is {side}, the limit is {limit:.0f} s", transient=True)


def blast_radius(conn: Connection, plan: Plan, replicas: int, limits: Remediation) -> Refusal | None:
    """One cluster and namespace, and a share of a service's replicas in repair at once (never below one instance)."""
    radius, target = limits.blast_radius, plan.target
    if (target.cluster, target.namespace) != (radius.cluster, radius.namespace):
        outside = f"{target.cluster}/{target.namespace} is outside of {radius.cluster}/{radius.namespace}"
        return Refusal(name="blast_radius", reason=outside, transient=False)
    if replicas < 1:
        return Refusal(name="blast_radius", reason=f"{target.service} has no replicas", transient=False)
    running = select(func.count()).where(intents.c.finished_at.is_(None), intents.c.service == target.service)
    busy, cap = conn.execute(running).scalar_one(), max(1, int(radius.max_share * replicas))
    if busy < cap:
        return None
    reason = f"{busy} of {replicas} replicas of {target.service} are in repair, the cap is {cap}"
    return Refusal(name="blast_radius", reason=reason, transient=True)


def predates(evidence_at: float, event: float | None, now: Instant) -> bool:
    """Whether evidence was seen before an event. An event in the future dates from before the clock was set back."""
    return event is not None and evidence_at <= event <= now.wall


def evidence_after_last_action(conn: Connection, plan: Plan, evidence_at: float, now: Instant) -> Refusal | None:
    """An alert may linger after the repair: evidence older than the target's last outcome says nothing about now."""
    query = select(func.max(outcomes.c.finished_at)).where(outcomes.c.resource == plan.target.resource)
    last = conn.execute(query).scalar()
    if last is None or not predates(evidence_at, last, now):
        return None
    reason = f"the evidence predates the last repair of {plan.target.instance} by {last - evidence_at:.1f} s"
    return Refusal(name="lingering_alert", reason=reason, transient=True)


def rate(conn: Connection, now: Instant, limits: Remediation, but: str = "") -> Refusal | None:
    """At most `max_actions_per_minute` tokens in any 60 s; the one of the intent `but` is not counted.

    A token counts for 60 s by the wall clock or by the boot clock, whichever is longer, and one from the future
    counts: a jump of the wall clock in either direction can only make the limit stricter.
    """
    by_wall = tokens.c.wall > now.wall - WINDOW
    by_boot = (tokens.c.boot == now.boot) & (tokens.c.mono > now.mono - WINDOW) if now.boot else by_wall
    spent = select(func.count()).select_from(tokens).where(or_(by_wall, by_boot), tokens.c.intent != but)
    used = conn.execute(spent).scalar_one()
    if used < limits.max_actions_per_minute:
        return None
    reason = f"{used} actions in the last {WINDOW:.0f} s, the limit is {limits.max_actions_per_minute}"
    return Refusal(name="rate_limited", reason=reason, transient=True)


def take_token(conn: Connection, intent: str, now: Instant) -> None:
    """Reserve the token of an admitted intent; it is never given back, whatever becomes of the intent."""
    conn.execute(tokens.insert().values(intent=intent, wall=now.wall, boot=now.boot, mono=now.mono))
    conn.execute(delete(tokens).where(tokens.c.wall < now.wall - _FORGET, tokens.c.boot != now.boot))


def budget(actions: int, limits: Remediation) -> Refusal | None:
    """Actions of one incident: a repair that does not help must end at a human."""
    if actions < limits.max_actions_per_incident:
        return None
    reason = f"{actions} actions did not end the incident, the limit is {limits.max_actions_per_incident}"
    return Refusal(name="budget_exhausted", reason=reason, transient=False)


def allowed(plan: Plan, limits: Remediation) -> Refusal | None:
    """An action that `remediation.actions` does not name is refused: destructive things fail closed."""
    if plan.action in limits.actions:
        return None
    reason = f"remediation.actions does not name {plan.action}; set it to true, or to false for approval"
    return Refusal(name="not_allowed", reason=reason, transient=False)


def needs_approval(plan: Plan, limits: Remediation) -> bool:
    """Whether a human must agree: everything not set to true, and whatever cannot be undone."""
    return limits.approval_required or plan.irreversible or not limits.actions.get(plan.action, False)


def busy(conn: Connection, target: Target, now: Instant) -> Refusal | None:
    """One action at a time on one target, and none while an earlier one there is not resolved."""
    row = lease(conn, target.resource)
    if row is not None and held(row, now):
        return Refusal(name="target_busy", reason=f"{row.resource} is leased (fence {row.fence})", transient=True)
    left = select(intents.c.id).where(intents.c.resource == target.resource, intents.c.finished_at.is_(None))
    intent = conn.execute(left.limit(1)).scalar()
    if intent is None:
        return None
    return Refusal(name="target_busy", reason=f"{intent} is not resolved yet; recovery will", transient=True)
