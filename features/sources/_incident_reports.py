"""Incidents of public status pages → CloudEvents of `features.transforms.incident_reports`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from features.source import Batch
from features.sources import _events
from features.sources._events import Event
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
    return _events.batch(dataset, (event for incident in incidents for event in _told(incident)))


def _told(incident: Incident) -> Iterator[Event]:
    message = {name: getattr(incident, name) for name in ("taxonomy", "title", "description")}
    later = {name: getattr(incident, name) for name in ("category", "service", "severity", "provider")}
    for kind, data in ((REPORTED, message), (CLASSIFIED, later)):
        yield _events.about(incident.name, incident.opened, kind, data)
