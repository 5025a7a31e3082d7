"""Incidents as their first message tells them, and how they were classified afterwards.

An incident arrives as a CloudEvent of type `REPORTED` whose `data` holds `taxonomy`, `title`, `description` and, where
somebody attached them, `logs` and `metrics`; what is known later as type `CLASSIFIED` of the same subject, whose `data`
holds `category`, `service`, `severity` and `provider`, each of them null where nobody said. Later messages of an open
incident are hindsight and no part of it: of several `REPORTED` events of one subject the first counts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
from pydantic import ConfigDict
from pydantic.config import JsonDict

from features.transforms import _events
from features.view import Columns, Frames, View, column
from infra.errors import DataError

REPORTED = "io.iacdharma.incident.reported"
CLASSIFIED = "io.iacdharma.incident.classified"
LATER = ("category", "service", "severity", "provider")
_EXAMPLE: JsonDict = {
    "time": "2026-01-01T00:00:00Z",
    "incident_id": "42",
    "taxonomy": "cloud_services",
    "title": "Elevated error rates",
    "description": "We are investigating increased error rates when new Kubernetes Engine clusters are created.",
    "logs": ["ERROR kube-apiserver: etcd request timed out"],
    "metrics": ["apiserver_request_duration_seconds"],
}


class IncidentReport(Columns):
    """What is known of an incident when it is opened."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    incident_id: str = column("the incident", min_length=1)
    taxonomy: str = column("the set of categories to choose from: cloud_services or github_components", min_length=1)
    title: str | None = column("headline as it was when the incident was opened", default=None)
    description: str | None = column("text of the first message", default=None)
    logs: list[str] = column("log lines that somebody attached, oldest first; read as text", default=[])
    metrics: list[str] = column("names of metrics that are out of the ordinary; read as text", default=[])


class IncidentOutcome(Columns):
    """How the incident that was opened at `time` was classified afterwards."""

    incident_id: str = column("the incident", min_length=1)
    category: str | None = column("its category in the taxonomy; null: none, several, or nobody said", default=None)
    service: str | None = column("the service on whose status page it was posted", default=None)
    severity: str | None = column("critical, high, medium or low, as its provider graded it at the end", default=None)
    provider: str | None = column("who reported it", default=None)


def reports(frames: Frames) -> pd.DataFrame:
    """Reported events → one row per incident with the columns of `IncidentReport` and `dataset`.

    Raises DataError naming the event whose data is no JSON object or lacks the taxonomy.
    """
    events, data = _first(frames, REPORTED)
    rows = pd.DataFrame({"dataset": events["dataset"], "time": events["time"], "incident_id": events["subject"]})
    if lacking := [event for event, content in zip(events["id"], data, strict=True) if not content.get("taxonomy")]:
        raise DataError(f"event {lacking[0]!r}: data must name the taxonomy")
    for name in ("taxonomy", "title", "description"):
        rows[name] = pd.Series([content.get(name) for content in data], index=rows.index, dtype=object)
    for name in ("logs", "metrics"):
        lists = [[str(item) for item in content.get(name) or []] for content in data]
        rows[name] = pd.Series(lists, index=rows.index, dtype=object)
    return rows.reset_index(drop=True)


def outcomes(frames: Frames) -> pd.DataFrame:
    """Classified events → one row per incident; `time` is when it was opened, which is when the question is asked."""
    events, data = _first(frames, CLASSIFIED)
    rows = pd.DataFrame({"dataset": events["dataset"], "time": events["time"], "incident_id": events["subject"]})
    for name in LATER:
        rows[name] = pd.Series([content.get(name) for content in data], index=rows.index, dtype=object)
    return rows.reset_index(drop=True)


def _first(frames: Frames, kind: str) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    events = frames["events"].loc[lambda rows: rows["type"] == kind].sort_values(["subject", "time", "id"])
    events = events.drop_duplicates("subject", keep="first")
    return events, [_events.content(event) for event in events.itertuples()]


INCIDENT_REPORTS = View(
    name="incident_reports",
    entity="incident_id",
    columns=IncidentReport,
    reads={"events": {"type": (REPORTED,)}},
    keys={"events": "subject"},
    transform=reports,
    ttl=timedelta(days=1),
    description="First messages of incidents.",
)

INCIDENT_CLASSES = View(
    name="incident_classes",
    entity="incident_id",
    columns=IncidentOutcome,
    reads={"events": {"type": (CLASSIFIED,)}},
    keys={"events": "subject"},
    transform=outcomes,
    ttl=timedelta(days=1),
    online=False,
    description="Labels: how incidents were classified.",
)
