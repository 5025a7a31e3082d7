"""Work one detection through the six steps; ask here for an approval where the plan needs one.

The kernel decides and remembers; this flow shows. `aiops approve` answers the same question; a run that waits for it
is then released.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, task
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput

from flows import timeline
from flows.show import page, say
from infra.settings import settings
from remediation.engine import engine
from remediation.records import Detection, Incident, State


class Answer(RunInput):
    """The form that Prefect shows while a plan waits."""

    approve: bool = False
    by: str = "prefect-ui"


@flow(flow_run_name="remediate {detection[service]} {detection[id]}", description=__doc__)
def remediate(detection: dict[str, Any]) -> dict[str, str]:
    """Handle one detection (the JSON of `remediation.records.Detection`) and say where its incident stands then."""
    incident = handle(detection)
    while incident.state is State.AWAITING_APPROVAL and incident.approval and incident.approval.state == "pending":
        page(incident.id, timeline.markdown(incident))
        incident = ask(incident, incident.approval.id)  # a plan that changed meanwhile is asked about anew
    page(incident.id, timeline.markdown(incident))
    say(f"{incident.id} is {incident.state}: {incident.reason}")
    return {"incident": incident.id, "state": str(incident.state), "reason": incident.reason}


@task(name="handle", task_run_name="handle {detection[instance]}", tags=["remediation"])
def handle(detection: dict[str, Any]) -> Incident:
    incident = engine().handle(Detection.model_validate(detection))
    for seconds, step, text in timeline.rows(incident):
        say(f"{seconds:7.2f} s  {step:<12} {text}")
    return incident


def ask(incident: Incident, approval: str) -> Incident:
    """Wait for a human, here or at the command line. No answer in time is a no."""
    say(f"waiting for approval of {approval}; resume this run to answer")
    patience = settings().remediation.approval_timeout.total_seconds()
    try:
        answer = pause_flow_run(wait_for_input=Answer, timeout=int(patience), poll_interval=2)
    except FlowPauseTimeout:
        engine().kernel.expire_approvals()
        return engine().get(incident.id)
    now = engine().get(incident.id)
    if not now.approval or now.approval.id != approval or now.approval.state != "pending":
        return now  # answered at the command line
    return engine().approve(approval, answer.by) if answer.approve else engine().deny(approval, answer.by)
