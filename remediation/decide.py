"""Decision: the rules choose the gentlest allowed action that treats the cause, and say why the others were not."""

from __future__ import annotations

from collections.abc import Mapping

from infra.errors import UserError
from infra.settings import Remediation
from remediation.action import Action
from remediation.kernel.limits import needs_approval
from remediation.records import Decision, Diagnosis, Plan, Rejected, Target

ATTEMPTS = 2  # times the same action may fail in one incident before the next one of the rule is preferred


def decide(
    diagnosis: Diagnosis,
    target: Target,
    actions: Mapping[str, Action],
    settings: Remediation,
    failures: Mapping[str, int],
) -> Decision:
    """Choose for one diagnosis; `failures` counts, by action, what has not helped in this incident already.

    Order: fewest exhausted attempts, then least disruption, then the rule's own order.
    """
    rules = [rule for rule in settings.rules if rule.cause == diagnosis.cause]
    if not rules:
        known = ", ".join(sorted({rule.cause for rule in settings.rules})) or "none"
        return Decision(plan=None, reason=f"no rule for {diagnosis.cause}; there are rules for: {known}")
    sure = [rule for rule in rules if diagnosis.confidence >= rule.confidence]
    if not sure:
        least = min(rule.confidence for rule in rules)
        reason = f"{diagnosis.cause} has confidence {diagnosis.confidence:.2f}, the rule asks for {least:.2f}"
        return Decision(plan=None, reason=reason)
    names = list(dict.fromkeys(name for rule in sure for name in rule.actions))
    forbidden = {name: why for name in names if (why := _forbidden(name, target, settings, actions))}
    rejected = [Rejected(action=name, why=why) for name, why in forbidden.items()]
    allowed = [name for name in names if name not in forbidden]
    if not allowed:
        return Decision(plan=None, reason=f"no action against {diagnosis.cause} is allowed", rejected=tuple(rejected))
    ranked = sorted(allowed, key=lambda n: (failures.get(n, 0) // ATTEMPTS, actions[n].disruption, names.index(n)))
    plan, futile = _first_plan(ranked, target, actions)
    rejected += futile
    if plan is None:
        return Decision(plan=None, reason=f"no action can treat {diagnosis.cause} now", rejected=tuple(rejected))
    best, others = plan.action, ranked[len(futile) + 1 :]
    rejected += [Rejected(action=name, why=_worse(name, best, actions, failures)) for name in others]
    return Decision(
        plan=plan,
        needs_approval=needs_approval(plan, settings),
        reason=f"{best} treats {diagnosis.cause} (confidence {diagnosis.confidence:.2f}) in {diagnosis.instance}",
        rejected=tuple(rejected),
    )


def _first_plan(names: list[str], target: Target, actions: Mapping[str, Action]) -> tuple[Plan | None, list[Rejected]]:
    """The plan of the first action that finds something to do, and why those before it do not."""
    futile: list[Rejected] = []
    for name in names:
        try:
            return actions[name].plan(target), futile
        except UserError as error:
            futile.append(Rejected(action=name, why=str(error)))
    return None, futile


def _forbidden(name: str, target: Target, settings: Remediation, actions: Mapping[str, Action]) -> str:
    if name not in settings.actions:
        return "remediation.actions does not name it"
    return actions[name].unsuited(target) if name in actions else "it is not installed"


def _worse(name: str, best: str, actions: Mapping[str, Action], failures: Mapping[str, int]) -> str:
    if failures.get(name, 0) // ATTEMPTS > failures.get(best, 0) // ATTEMPTS:
        return f"failed {failures[name]} times in this incident"
    if actions[name].disruption > actions[best].disruption:
        return f"more disruptive than {best}"
    return f"comes after {best} in the rule"
