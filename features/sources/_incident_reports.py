"""Incidents of public status pages → CloudEvents of `features.transforms.incident_reports`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from features.schema import TIME
from features.source import Batch
from features.transforms.incident_reports import CLASSIFIED, REPORTED


@dataclass(frozen=True)
class Incident:
    """One incident: what its first message says, and what became known afterwards (category, service, severity)."""

    key: tuple[str, ...]  # what makes it one incident
    opened: datetime  # of the first message, UTC
    provider: str
    taxonomy: str
    title: str | None
    description: str | None
    category: str | None
    service: str | None
    severity: str | None

    @property
    def name(self) -> str:
        """A stable id."""
        return hashlib.sha256("\n".join((self.provider, *self.key)).encode()).hexdigest()[:16]


def batch(dataset: str, incidents: Iterable[Incident]) -> Batch:
    """Two events for each incident: reported, with its first message; classified, with what was known later."""
    columns: dict[str, list[object]] = {name: [] for name in ("time", "id", "type", "subject", "data")}
    for incident in incidents:
        message = {name: getattr(incident, name) for name in ("taxonomy", "title", "description")}
        later = {name: getattr(incident, name) for name in ("category", "service", "severity", "provider")}
        for kind, data in ((REPORTED, message), (CLASSIFIED, later)):
            columns["time"].append(incident.opened)
            columns["id"].append(f"{incident.name}-{kind.rsplit('.', 1)[-1]}")
            columns["type"].append(kind)
            columns["subject"].append(incident.name)
            columns["data"].append(json.dumps(data))
    arrays = {name: pa.array(values, TIME if name == "time" else pa.string()) for name, values in columns.items()}
    count = len(columns["id"])
    for name, value in (("dataset", dataset), ("source", f"urn:dataset:{dataset}")):
        arrays[name] = pa.array([value] * count, pa.string())
    return Batch("events", pa.table(arrays))
