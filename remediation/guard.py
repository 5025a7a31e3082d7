"""Guard: puts a decided plan before the kernel and turns the answer into what happens next."""

from __future__ import annotations

from remediation.inventory import Inventory, replicas
from remediation.kernel import Kernel
from remediation.records import Claim, Diagnosis, Permit, Plan, Refusal, State


def review(kernel: Kernel, inventory: Inventory, claim: Claim, plan: Plan, diagnosis: Diagnosis) -> Permit | State:
    """A permit to run the plan once, or the state in which the incident now waits (held, paused, awaiting approval)."""
    known = inventory.targets().get(plan.target.instance)
    if known != plan.target:
        changed = "is not in the inventory any more" if known is None else f"is now of generation {known.generation}"
        refusal = Refusal(name="target_changed", reason=f"{plan.target.instance} {changed}", transient=True)
        kernel.incidents.hold(claim, refusal)
        return State.HELD
    answer = kernel.admission.admit(claim, plan, replicas(inventory, plan.target.service), diagnosis)
    if isinstance(answer, Permit):
        return answer
    if answer.name == "approval_needed":
        kernel.incidents.ask(claim, plan)
        return State.AWAITING_APPROVAL
    if answer.transient:
        kernel.incidents.hold(claim, answer)
        return State.HELD
    kernel.incidents.pause(claim, f"{answer.name}: {answer.reason}")
    return State.PAUSED
