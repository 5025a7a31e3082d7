"""Incidents of published collections → CloudEvents of `features.transforms.incidents`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from features.schema import TABLES
from features.source import Batch
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
    rows: list[dict[str, Any]] = []
    for case in cases:
        cause = {"incident_time": case.time.isoformat(), **case.cause}
        for kind, time, data in ((INCIDENT, case.time, case.data), (CAUSE, case.time + FOUND, cause)):
            rows.append(
                {
                    "dataset": dataset,
                    "time": time,
                    "id": f"{case.id}-{kind.rsplit('.', 1)[-1]}",
                    "source": f"urn:dataset:{dataset}",
                    "type": kind,
                    "subject": case.id,
                    "data": json.dumps(data),
                }
            )
    return Batch("events", pa.Table.from_pylist(rows, schema=TABLES["events"]))


def nothing(*tables: str) -> list[Batch]:
    """Empty batches, for tables that the incidents' view reads and the publisher has nothing for."""
    return [Batch(name, TABLES[name].empty_table()) for name in tables]
