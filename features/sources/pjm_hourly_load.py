"""Hourly metered electricity load of the zones of PJM Interconnection, as Merlion redistributes it.

Layout: `*.csv` or `*.csv.gz` with a column `Datetime` and one column a zone, MW, blank where the zone does not report.
Hours are local prevailing time and taken as UTC: only days are compared, and a day stays the same 24 hours. Hours that
a clock change repeats, or that the file gives out of order, need no care: a day's usage is the mean of its points.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.source import Batch, Source
from infra.errors import DataError

DATASET = "pjm_hourly_load"
TIME = "Datetime"


class PjmHourlyLoad(Source):
    """Reads `est_hourly.csv.gz` and files with the same header."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of metrics per file and zone. Raises DataError naming file and column."""
        paths = sorted(path for path in Path(where).rglob("*.csv*") if path.name.endswith((".csv", ".csv.gz")))
        for path in paths:
            table = _read(path)
            times = _times(table[TIME], path)
            for zone in table.columns.drop(TIME):
                yield _batch(str(zone), times, _load(table[zone], path))


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError, EOFError) as error:
        raise DataError(f"{path} is not a readable CSV file: {error}") from None
    if TIME not in table or len(table.columns) < 2:
        raise DataError(f"{path}: columns {', '.join(table.columns)}; needed are {TIME} and one column a zone")
    return table


def _times(texts: pd.Series, path: Path) -> pd.Series:
    times = pd.to_datetime(texts, errors="coerce", utc=True)
    if times.isna().any():
        row = int(times.isna().to_numpy().argmax())
        raise DataError(f"{path}, line {row + 2}, column {TIME!r}: {texts.iloc[row]!r} is not a time")
    return times


def _load(texts: pd.Series, path: Path) -> pd.Series:
    load = pd.to_numeric(texts, errors="coerce")
    if (wrong := load.isna() & texts.notna()).any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(f"{path}, line {row + 2}, column {texts.name!r}: {texts.iloc[row]!r} is not a number")
    return load


def _batch(zone: str, times: pd.Series, load: pd.Series) -> Batch:
    known = load.notna()
    columns = {
        "time": pa.array(times[known], pa.timestamp("us", tz="UTC")),
        "value": pa.array(load[known].to_numpy("float64")),
    }
    constant = {"dataset": DATASET, "service_name": "pjm", "instance_id": zone, "unit": "MW"}
    constant["metric_name"] = "electricity.load"
    columns |= {name: pa.repeat(pa.scalar(value), int(known.sum())) for name, value in constant.items()}
    return Batch("metrics", pa.table(columns))
