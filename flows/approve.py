"""Answer a waiting plan from outside Prefect, and settle the runs that show its question.

A run is paused while it waits. Killed with its process, it stays so in Prefect for ever, and an answer given there
reaches nobody: such a form is closed, and the watcher opens another.
"""

from __future__ import annotations

import logging
from typing import Any

import httpx

from infra.settings import settings
from remediation.engine import engine
from remediation.records import Incident

logger = logging.getLogger("aiops.flows")


def answer(approval: str, approve: bool, by: str) -> Incident:
    """Decide in the kernel, carry the plan out if it was approved, then release the run. Works without Prefect."""
    incident = engine().approve(approval, by) if approve else engine().deny(approval, by)
    _settle(incident, {"approve": approve, "by": by})
    return incident


def close_forms(incident: Incident, keep: str) -> None:
    """Cancel the runs about this incident other than `keep`, which shows its question now; the others are dead."""
    _settle(incident, None, keep)


def _settle(incident: Incident, given: dict[str, Any] | None, keep: str = "") -> None:
    """Resume the paused run of the incident's detection with the answer `given`; cancel a run that nobody is behind."""
    alive = given is not None and engine().kernel.incidents.is_shown(incident.id)
    wanted = {
        "flow_runs": {
            "name": {"like_": incident.detection.id},
            "state": {"type": {"any_": ["PAUSED"] if alive else ["PAUSED", "RUNNING"]}},
        }
    }
    dead = {
        "state": {"type": "CANCELLED", "message": "its process is gone; the kernel has the incident"},
        "force": True,
    }
    try:
        with httpx.Client(base_url=f"{settings().url('prefect')}/api", timeout=10) as client:
            for run in client.post("/flow_runs/filter", json=wanted).raise_for_status().json():
                if run["id"] == keep:
                    continue
                step, body = ("resume", {"run_input": given}) if alive else ("set_state", dead)
                reply = client.post(f"/flow_runs/{run['id']}/{step}", json=body).raise_for_status().json()
                if reply.get("status") != "ACCEPT":  # Prefect answers 200 with REJECT for what it does not take
                    logger.warning("Prefect does not %s %s: %s", step, run["name"], reply)
    except httpx.HTTPError as error:
        logger.warning("the runs of %s could not be settled: %s", incident.id, error)
