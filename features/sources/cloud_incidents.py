"""Incident reports of the status pages of Google Cloud and AWS, 2016-11 to 2022-12 (AtLarge, CC0-1.0).

Layout: `*.parquet` with the columns of `GOOGLE` or of `AWS`; other files are passed over. The publisher's hand labels
are the table of `_cloud_taxonomy`.

Only what the first message said is taken: later updates, durations and final texts are hindsight. Google's headline is
rewritten with later messages (it equals the last summary in three of four incidents whose summary changed), so that it
is taken only where it is still an opening one ("We've received a report of an issue with …"); of AWS none is, as all
summaries are final. Google's file repeats incidents in yearly snapshots and on several service pages: the same headline
and start are one incident, and its category is null when the services' categories differ.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features.source import Batch, Source
from features.sources._cloud_taxonomy import CATEGORIES
from features.sources._incident_reports import Incident, batch
from infra.errors import DataError

DATASET = "cloud_incidents"
TAXONOMY = "cloud_services"
GOOGLE = ("event_start_time", "external_desc", "updates", "service_name", "severity")
AWS = ("service_name", "description", "date", "status")
AWS_SEVERITY = {"1": "low", "2": "medium", "3": "high"}  # informational, degraded, disrupted
_OPENING = re.compile(
    r"we(?:'ve| have| are|'re)?\s+(?:currently )?(?:received a report|investigating|experiencing)", re.I
)
_OUTCOME = re.compile(r"\b(?:resolved|mitigated|ended|was|were)\b", re.I)
_SPLIT, _TAG = re.compile(r"</div>\s*<div>"), re.compile(r"<[^>]+>")
_CLOCK = re.compile(r"^\s*(?:[A-Z][a-z]{2} \d{1,2},\s*)?\d{1,2}:\d\d [AP]M P[SD]T\s*")


class CloudIncidents(Source):
    """Reads the two providers' files."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of incident events per file. Raises DataError naming the file and what would be right."""
        for path in sorted(Path(where).rglob("*.parquet")):
            table = _read(path)
            if set(GOOGLE) <= set(table):
                yield batch(DATASET, _google(table, path))
            elif set(AWS) <= set(table):
                yield batch(DATASET, _aws(table))
            else:
                raise DataError(f"{path}: needs the columns {', '.join(GOOGLE)} or {', '.join(AWS)}")


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from None


def _google(table: pd.DataFrame, path: Path) -> Iterator[Incident]:
    start = pd.to_datetime(table["event_start_time"], utc=True, format="ISO8601", errors="coerce")
    if start.isna().any():
        raise DataError(f"{path}, row {int(start.isna().to_numpy().argmax())}: event_start_time is no time")
    rows = table.assign(start=start, headline=table["external_desc"].fillna("").str.strip())
    for _, copies in rows.groupby(["headline", "start"], sort=True):
        yield _google_incident(copies)


def _google_incident(copies: pd.DataFrame) -> Incident:
    headline, begin = str(copies["headline"].iloc[0]), copies["start"].iloc[0].to_pydatetime()
    services = sorted(set(copies["service_name"]))
    categories = {CATEGORIES.get(service) for service in services}
    first = min((update for updates in copies["updates"] for update in _listed(updates)), key=_when, default=None)
    said = first["text"].strip() if first and first.get("text") else None
    title = headline if _OPENING.match(headline) and not _OUTCOME.search(headline) else None
    return Incident(
        key=(headline, begin.isoformat()),
        opened=max(begin, _when(first)) if first else begin,
        provider="google",
        taxonomy=TAXONOMY,
        title=title,
        description=said,
        category=categories.pop() if len(categories) == 1 and (said or title) else None,
        service=services[0] if len(services) == 1 else "Multiple Products",
        severity=copies["severity"].iloc[0],
    )


def _aws(table: pd.DataFrame) -> Iterator[Incident]:
    rows = table.sort_values(["date", "service_name"]).assign(opened=lambda t: pd.to_datetime(t["date"], utc=True))
    for row in rows.to_dict("records"):
        service = re.sub(r" \(.*", "", str(row["service_name"]))
        said = _first_said(str(row["description"]))
        yield Incident(
            key=(str(row["service_name"]), row["opened"].isoformat()),
            opened=row["opened"],
            provider="aws",
            taxonomy=TAXONOMY,
            title=None,
            description=said or None,
            category=CATEGORIES.get(service) if said else None,
            service=service,
            severity=AWS_SEVERITY.get(str(row["status"])),
        )


def _first_said(description: str) -> str:
    """The first message of an HTML description, without its clock."""
    plain = html.unescape(_TAG.sub(" ", _SPLIT.split(description)[0])).replace("\xa0", " ")
    return _CLOCK.sub("", " ".join(plain.split()))


def _listed(updates: Any) -> list[dict[str, Any]]:
    return [] if updates is None else [update for update in updates if update.get("when")]


def _when(update: dict[str, Any]) -> datetime:
    return pd.Timestamp(update["when"]).tz_convert("UTC").to_pydatetime()
