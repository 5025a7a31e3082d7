"""Answer a waiting plan from outside Prefect, and release the run that shows the question."""

from __future__ import annotations

import logging

import httpx

from infra.settings import settings
from remediation.engine import engine
from remediation.records import Incident

logger = logging.getLogger("aiops.flows")


def answer(approval: str, approve: bool, by: str) -> Incident:
    """Decide in the kernel, carry the plan out if it was approved, then release the run. Works without Prefect."""
    incident = engine().approve(approval, by) if approve else engine().deny(approval, by)
    try:
        _release(incident, approve, by)
    except httpx.HTTPError as error:
        logger.warning("the waiting run of %s could not be released: %s", incident.id, error)
    return incident


def _release(incident: Incident, approve: bool, by: str) -> None:
    """Resume the paused run of the incident's detection; Prefect answers 200 with REJECT for what it does not take."""
    wanted = {
        "flow_runs": {
            "name": {"like_": incident.detection.id},
            "state": {"type": {"any_": ["PAUSED"]}},
        }
    }
    with httpx.Client(base_url=f"{settings().url('prefect')}/api", timeout=10) as client:
        found = client.post("/flow_runs/filter", json=wanted).raise_for_status().json()
        for run in found:
            reply = client.post(f"/flow_runs/{run['id']}/resume", json={"run_input": {"approve": approve, "by": by}})
            if reply.raise_for_status().json().get("status") != "ACCEPT":
                logger.warning("Prefect did not resume %s: %s", run["name"], reply.text)
