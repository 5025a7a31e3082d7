"""Incidents of published collections → CloudEvents of `features.transforms.incidents`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from features.schema import TABLES
from features.source import Batch
from features.sources import _events
from features.sources._events import Event
from features.transforms.incidents import CAUSE, INCIDENT

FOUND = timedelta(hours=1)  # from the analysis to the known cause; no publisher tells it


@dataclass(frozen=True)
class Case:
    """One incident: `data` as `INCIDENT` events hold it, and its cause (`root_cause`, `fault`, `part`)."""

    id: str
    time: datetime
    data: Mapping[str, Any]
    cause: Mapping[str, str | None]


def batch(dataset: str, cases: Iterable[Case]) -> Batch:
    """An incident event and, an hour later, a cause event for each case."""
    return _events.batch(dataset, (event for case in cases for event in _told(case)))


def _told(case: Case) -> Iterator[Event]:
    cause = {"incident_time": case.time.isoformat(), **case.cause}
    yield _events.about(case.id, case.time, INCIDENT, case.data)
    yield _events.about(case.id, case.time + FOUND, CAUSE, cause)


def nothing(*tables: str) -> list[Batch]:
    """Empty batches, for tables that the incidents' view reads and the publisher has nothing for."""
    return [Batch(name, TABLES[name].empty_table()) for name in tables]
