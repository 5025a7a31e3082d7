"""An incident as people read it: what happened, seconds after it was detected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from remediation.records import Incident, Step

Data = Mapping[str, Any]

_TEXT: dict[str, Callable[[Data], str]] = {
    "detected": lambda d: f"{d['model']} on {d['instance']}, score {d['score']:.2f}",
    "diagnosed": lambda d: (
        f"{d['cause']} of {d['instance']}, confidence {d['confidence']:.2f}: {'; '.join(d['evidence'])}"
    ),
    "decided": lambda d: d["reason"],
    "admitted": lambda d: f"{d['plan']['action']} on {d['plan']['target']['instance']}",
    "refused": lambda d: f"{d['name']}: {d['reason']}",
    "outcome": lambda d: f"{d['action']} {d['verdict']}" + (f": {d['reason']}" if d["reason"] else ""),
}


def rows(incident: Incident) -> list[tuple[float, str, str]]:
    """(seconds since detection, step, what it was) in order."""
    start = incident.detection.observed_at
    return [((step.time - start).total_seconds(), _name(step), _text(step)) for step in incident.steps]


def markdown(incident: Incident) -> str:
    """The timeline as a Markdown page; a plan that waits for approval is shown in full."""
    lines = [f"# {incident.id}", "", f"**{incident.state}** {incident.reason}", "", "| s | step | |", "|---:|---|---|"]
    lines += [f"| {seconds:.2f} | {name} | {text.replace('|', '/')} |" for seconds, name, text in rows(incident)]
    if incident.approval and incident.approval.state == "pending" and incident.decision and incident.decision.plan:
        plan = incident.decision.plan
        lines += ["", f"## Approve `{plan.action}` on `{plan.target.instance}`?", ""]
        lines += [f"{number}. {change}" for number, change in enumerate(plan.changes, 1)]
        lines += ["", f"Resume this run to answer, or `aiops approve {incident.approval.id}`."]
    return "\n".join(lines)


def _name(step: Step) -> str:
    return step.type.rsplit(".", 1)[-1]


def _text(step: Step) -> str:
    tell = _TEXT.get(_name(step))
    return tell(step.data) if tell else str(step.data.get("reason", ""))
