"""Incidents of GitHub's status page from 2022-03 on (mrshu/github-statuses, MIT).

Layout: `*.jsonl` with one incident a line and the fields `FIELDS`. Taken are the title and the first message; later
messages, durations and windows are hindsight. The category is the affected component, where there is exactly one; null
where a text model guessed it (`components_source`), for maintenance, and where the page begins with the outcome.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from features.source import Batch, Source
from features.sources._incident_reports import Incident, batch
from infra.errors import DataError

DATASET = "github_incidents"
FIELDS = ("id", "title", "started_at", "updates", "impact")
SEVERITY = {"critical": "critical", "major": "high", "minor": "medium", "none": "low"}


class GithubIncidents(Source):
    """Reads the incidents of every file."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of incident events per file. Raises DataError naming file, line and field."""
        for path in sorted(Path(where).rglob("*.jsonl")):
            yield batch(DATASET, (_incident(record) for record in _records(path)))


def _records(path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is not JSON: {error}") from None
        if lacking := [name for name in FIELDS if not isinstance(record, dict) or name not in record]:
            raise DataError(f"{path}, line {number}: no field {lacking[0]!r}; needed: {', '.join(FIELDS)}")
        yield record


def _incident(record: dict[str, Any]) -> Incident:
    first: dict[str, Any] = min(record["updates"], key=lambda update: str(update["at"]), default={})
    components = record.get("components") or []
    told = first.get("status") not in (None, "Resolved", "Scheduled", "Completed")
    known = told and len(components) == 1 and not record.get("components_source") and record["impact"] != "maintenance"
    return Incident(
        key=(str(record["id"]),),
        opened=pd.Timestamp(record["started_at"]).tz_convert("UTC").to_pydatetime(),
        provider="github",
        taxonomy="github_components",
        title=record["title"] or None,
        description=(first.get("message") or None) if told else None,
        category=components[0] if known else None,
        service=components[0] if len(components) == 1 and not record.get("components_source") else None,
        severity=SEVERITY.get(record["impact"]),
    )
