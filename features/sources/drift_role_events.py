"""Changes that a cloud provider made to its managed policies and roles, as found by polling (MAMIP, Darkbit).

Layout: any number of `*.csv.gz` or `*.csv`, one row a changed document, with the columns of `COLUMNS`; columns that one
provider has alone may be absent. A row becomes a `STATE` event of its provider.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.schema import TIME
from features.source import Batch, Source
from features.sources import _events
from features.transforms.configuration_drift import STATE
from infra.errors import DataError

DATASET = "drift_role_events"
NEEDED = ("provider", "resource", "detected_utc", "event", "drift", "content_changed")
FACTS = {
    "n_actions": "actions",
    "n_services": "services",
    "bytes": "bytes",
    "version": "version",
    "n_statements": "statements",
    "n_wild_actions": "wildcards",
    "n_conditions": "conditions",
    "actions_added": "added",
    "actions_removed": "removed",
    "create_date": "made",
}
COLUMNS = (*NEEDED, *FACTS)


class DriftRoleEvents(Source):
    """Reads the event tables of both providers and files with the same columns."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of states per file. Raises DataError naming the file and the column."""
        for path in sorted(p for p in Path(where).rglob("*.csv*") if p.name.endswith((".csv", ".csv.gz"))):
            rows = _read(path)
            yield Batch("events", _told(rows))


def _read(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a readable CSV file: {error}") from None
    if missing := [name for name in NEEDED if name not in rows]:
        raise DataError(f"{path}: missing columns {missing}; a table of drift events has {', '.join(COLUMNS)}")
    rows["time"] = pd.to_datetime(rows["detected_utc"], utc=True, errors="coerce")
    wrong = rows["time"].isna() | rows["resource"].isna() | rows["provider"].isna()
    if wrong.any():
        raise DataError(f"{path}, line {int(wrong.to_numpy().argmax()) + 2}: no provider, resource or time (UTC)")
    rows["subject"] = rows["provider"] + "/" + rows["resource"]
    return rows.sort_values(["time", "subject"], kind="stable")


def _states(rows: pd.DataFrame) -> Iterator[dict[str, object]]:
    known = {raw: name for raw, name in FACTS.items() if raw in rows}
    facts = rows[list(known)].rename(columns=known).astype(object)
    facts = facts.where(facts.notna(), None)
    flags = rows[["provider", "drift", "content_changed"]].rename(columns={"content_changed": "changed"})
    flags["deleted"] = rows["event"].eq("deleted")
    flags[["drift", "changed"]] = flags[["drift", "changed"]].eq(True)
    if "made" in facts:
        facts["made"] = facts["made"].astype(str)
    for state, told in zip(flags.to_dict("records"), facts.to_dict("records"), strict=True):
        yield {str(key): value for key, value in (state | told).items()}


def _told(rows: pd.DataFrame) -> pa.Table:
    stamps = rows["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    ids = (rows["subject"] + "-state-" + stamps).to_list()
    providers = ("urn:provider:" + rows["provider"]).to_list()
    times = pa.array(rows["time"]).cast(TIME)
    return _events.table(DATASET, times, ids, STATE, rows["subject"].to_list(), _states(rows), providers)
