"""Bitbrains GWA-T-12 "Rnd" (Shen et al., CCGrid 2015): virtual machines of a hosting provider, a row in five minutes.

Layout: any `<vm>.csv` or `<vm>.csv.gz` with the columns below, separated by ";" and a tab. The column "Timestamp [ms]"
holds seconds. A row without provisioned capacity is a machine that is switched off, and gives no point.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from features.schema import TIME
from features.source import Batch, Source
from features.transforms.rightsizing import CPU_CAPACITY, CPU_USAGE, MEMORY_CAPACITY, MEMORY_USAGE
from infra.errors import DataError, nearest

NAME = "bitbrains_rnd"
SECONDS, CORES, CPU_MHZ = "Timestamp [ms]", "CPU cores", "CPU capacity provisioned [MHZ]"
USED_MHZ, MEMORY_KB, USED_KB = "CPU usage [MHZ]", "Memory capacity provisioned [KB]", "Memory usage [KB]"
COLUMNS = (SECONDS, CORES, CPU_MHZ, USED_MHZ, MEMORY_KB, USED_KB)
UNITS = {CPU_CAPACITY: "{cpu}", CPU_USAGE: "{cpu}", MEMORY_CAPACITY: "By", MEMORY_USAGE: "By"}


class BitbrainsRnd(Source):
    """Reads the trace's files; capacities are reported when they change."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of metric points a machine. Raises DataError naming file, column and line."""
        folder = Path(where)
        files = sorted(path for path in folder.rglob("*.csv*") if path.name.endswith((".csv", ".csv.gz")))
        if not files:
            raise DataError(f"{folder}: no <vm>.csv or <vm>.csv.gz of {NAME} in it")
        for path in files:
            yield _points(path.name.partition(".")[0], _read(path))


def _read(path: Path) -> pd.DataFrame:
    """The rows of one file in which the machine was on, as numbers, in time order."""
    try:
        table = pd.read_csv(path, sep=";", skipinitialspace=True)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} is not a readable CSV file: {error}") from None
    table.columns = [" ".join(str(name).split()) for name in table.columns]
    if lacking := [name for name in COLUMNS if name not in table]:
        raise DataError(f"{path}: missing column {lacking[0]!r}{nearest(lacking[0], table.columns)}")
    numbers = table[list(COLUMNS)].apply(pd.to_numeric, errors="coerce").astype("float64")
    bad = ~np.isfinite(numbers.to_numpy()) | (numbers.to_numpy() < 0)
    if bad.any():
        line, column = np.argwhere(bad)[0]
        raise DataError(
            f"{path}, line {line + 2}, column {COLUMNS[column]!r}: {table[COLUMNS[column]].iloc[line]!r} "
            "is not a number of zero or more"
        )
    on = numbers[(numbers[CPU_MHZ] > 0) & (numbers[MEMORY_KB] > 0) & (numbers[CORES] > 0)]
    return on.sort_values(SECONDS, kind="stable").reset_index(drop=True)


def _points(vm: str, rows: pd.DataFrame) -> Batch:
    """Cores and bytes; the clock speed of a core is what is provisioned per core."""
    series = {
        CPU_CAPACITY: _changes(rows[CORES]),
        CPU_USAGE: rows[USED_MHZ] / rows[CPU_MHZ] * rows[CORES],
        MEMORY_CAPACITY: _changes(rows[MEMORY_KB] * 1024),
        MEMORY_USAGE: rows[USED_KB] * 1024,
    }
    tables = []
    for name, values in series.items():
        times = pd.to_datetime(rows.loc[values.index, SECONDS], unit="s", utc=True)
        columns = {"time": pa.array(times, TIME), "value": pa.array(values)}
        constant = {
            "dataset": NAME, "service_name": NAME, "instance_id": vm, "metric_name": name, "unit": UNITS[name],
        }  # fmt: skip
        columns |= {key: pa.array([value] * len(values), pa.string()) for key, value in constant.items()}
        tables.append(pa.table(columns))
    return Batch("metrics", pa.concat_tables(tables))


def _changes(values: pd.Series) -> pd.Series:
    return values[values != values.shift()]
