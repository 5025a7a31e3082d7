"""Backblaze Drive Stats: a snapshot of every drive of a storage fleet, one CSV a day (credit: Backblaze, Inc.).

Layout: any number of `*.csv` or `*.csv.gz`, each with a header that holds `COLUMNS`; other columns are passed over. The
publisher's files of later years have the same columns. A row becomes one data point per filled SMART attribute, its
`failure=1` a CloudEvent `FAILED`, and the first row of a drive a CloudEvent `DISCOVERED` with model and capacity.

Times are the midnight (UTC) that begins the dated day, for snapshots and failures alike: the publisher gives no hour,
so only differences of whole days have a meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from features.schema import TIME
from features.source import Batch, Source
from features.sources import _events
from features.transforms.drive_health import DISCOVERED, FAILED, METRICS
from infra.errors import DataError

DATASET = "backblaze_drive_stats_2013"
RAW = {
    "smart_1_raw": "read_errors",
    "smart_5_raw": "reallocated_sectors",
    "smart_9_raw": "power_on_hours",
    "smart_194_raw": "temperature",
    "smart_197_raw": "pending_sectors",
}
COLUMNS = {
    "date": pa.date32(),
    "serial_number": pa.string(),
    "model": pa.string(),
    "capacity_bytes": pa.float64(),
    "failure": pa.int8(),
    **dict.fromkeys(RAW, pa.float64()),
}


class BackblazeDriveStats(Source):
    """Reads daily snapshots, oldest file first."""

    def pull(self, where: str) -> Iterator[Batch]:
        """For each file, one batch of metrics and one of events. Raises DataError naming the file and the column."""
        known: set[str] = set()
        for path in sorted(p for p in Path(where).rglob("*.csv*") if p.name.endswith((".csv", ".csv.gz"))):
            rows = _read(path)
            yield from (Batch("metrics", _points(rows, raw)) for raw in RAW)
            yield Batch("events", _new_and_failed(rows, known))


def _read(path: Path) -> pa.Table:
    """The columns of `COLUMNS`, in order. Raises DataError."""
    try:
        rows = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=COLUMNS, include_columns=COLUMNS))
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, EOFError) as error:
        wanted = ", ".join(COLUMNS)
        raise DataError(f"{path}: {error}; a daily snapshot is a CSV with the columns {wanted}") from None
    for name in ("date", "serial_number", "failure"):
        if rows[name].null_count:
            raise DataError(f"{path}: {rows[name].null_count} rows have no {name}; every row needs one")
    if wrong := set(pc.unique(rows["failure"]).to_pylist()) - {0, 1}:
        raise DataError(f"{path}: column failure holds {sorted(wrong)}; it must be 0 or 1")
    return rows.append_column("time", rows["date"].cast(TIME))


def _points(rows: pa.Table, raw: str) -> pa.Table:
    filled = rows.filter(pc.is_valid(rows[raw]))
    name, unit = METRICS[RAW[raw]]
    columns = {"time": filled["time"], "instance_id": filled["serial_number"], "value": filled[raw]}
    return _constant(pa.table(columns), dataset=DATASET, service_name="backblaze", metric_name=name, unit=unit)


def _new_and_failed(rows: pa.Table, known: set[str]) -> pa.Table:
    """Failures, and drives that are not in `known` yet (they are added to it)."""
    new = [drive not in known for drive in rows["serial_number"].to_pylist()]
    known.update(rows["serial_number"].to_pylist())
    kinds = (DISCOVERED, rows.filter(pa.array(new, pa.bool_()))), (FAILED, rows.filter(pc.equal(rows["failure"], 1)))
    return pa.concat_tables([_cloud_events(kind, part) for kind, part in kinds])


def _cloud_events(kind: str, rows: pa.Table) -> pa.Table:
    days, drives = rows["date"].to_pylist(), rows["serial_number"].to_pylist()
    ids = [f"{drive}-{_events.word(kind)}-{day}" for day, drive in zip(days, drives, strict=True)]
    facts = zip(rows["model"].to_pylist(), rows["capacity_bytes"].to_pylist(), strict=True)
    data = ({"model": model, "capacity_bytes": capacity} for model, capacity in facts)
    return _events.table(DATASET, rows["time"].combine_chunks(), ids, kind, drives, data)


def _constant(rows: pa.Table, **values: str) -> pa.Table:
    for name, value in values.items():
        rows = rows.append_column(name, pa.repeat(pa.scalar(value), len(rows)))
    return rows
