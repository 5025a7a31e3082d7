"""Incidents of a few components."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import numpy as np

from features.demo import _incident_reports

_COMPONENTS = ("Actions", "Codespaces", "Pull Requests", "Webhooks")
_COUNT = 120


def write(target: Path, random: np.random.Generator) -> None:
    lines = []
    for number, time in enumerate(_incident_reports.opened(random, _COUNT)):
        component = str(random.choice(_COMPONENTS))
        first = {
            "at": time.isoformat(),
            "status": "Investigating",
            "message": _incident_reports.message(random, component),
        }
        last = {"at": (time + timedelta(hours=2)).isoformat(), "status": "Resolved", "message": "Resolved."}
        record = {
            "id": str(number),
            "title": f"Incident with {component}",
            "started_at": time.isoformat(),
            "updates": [first, last],
            "impact": str(random.choice(["minor", "major", "critical"])),
            "components": [component],
        }
        lines.append(json.dumps(record))
    (target / "incidents.jsonl").write_text("\n".join(lines) + "\n")
