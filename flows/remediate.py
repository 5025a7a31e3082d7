"""Work one detection through the six steps; ask here for an approval where the plan needs one.

The kernel decides and remembers; this flow shows. `aiops approve` answers the same question; a run that waits for it
is then released. One run at a time shows a question: a second one leaves it to the first, unless that is dead.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import ceil
from typing import Any

from prefect import flow, task
from prefect.exceptions import FlowPauseTimeout
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run

from flows import timeline
from flows.approve import close_forms
from flows.show import page, say
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
    while _waits(incident) and (shown := engine().kernel.incidents.show(incident.id)):
        try:
            page(incident.id, timeline.markdown(incident))
            incident = ask(incident)  # a plan that changed meanwhile is asked about anew
        finally:
            engine().kernel.incidents.hide(shown)
    page(incident.id, timeline.markdown(incident))
    say(f"{incident.id} is {incident.state}: {incident.reason}")
    return {"incident": incident.id, "state": str(incident.state), "reason": incident.reason}


@task(name="handle", task_run_name="handle {detection[instance]}", tags=["remediation"])
def handle(detection: dict[str, Any]) -> Incident:
    incident = engine().handle(Detection.model_validate(detection))
    for seconds, step, text in timeline.rows(incident):
        say(f"{seconds:7.2f} s  {step:<12} {text}")
    return incident


def ask(incident: Incident) -> Incident:
    """Wait for a human, here or at the command line. No answer in time is a no."""
    if incident.approval is None:
        return incident
    approval = incident.approval.id
    close_forms(incident, keep=str(flow_run.id))
    say(f"waiting for approval of {approval}; resume this run to answer")
    patience = incident.approval.expires_at - datetime.now(UTC)
    try:
        answer = pause_flow_run(wait_for_input=Answer, timeout=max(1, ceil(patience.total_seconds())), poll_interval=2)
    except FlowPauseTimeout:
        engine().kernel.expire_approvals()
        return engine().get(incident.id)
    now = engine().get(incident.id)
    if not _waits(now) or (now.approval and now.approval.id != approval):
        return now  # answered at the command line
    return engine().approve(approval, answer.by) if answer.approve else engine().deny(approval, answer.by)


def _waits(incident: Incident) -> bool:
    pending = incident.approval is not None and incident.approval.state == "pending"
    return incident.state is State.AWAITING_APPROVAL and pending
