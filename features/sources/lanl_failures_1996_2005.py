"""Failures of the nodes of 23 clusters (Los Alamos National Laboratory, LA-UR-05-7318), one CSV of all failures.

Layout: any number of `*.csv` or `*.csv.xz` with a header that holds `COLUMNS`; other columns are passed over. A row
becomes a CloudEvent `NODE_FAILED` at its begin and `REPAIRED` at its end; the cause is the text in whichever of the
columns `CAUSES` is filled. Each node gets an `OBSERVED` at the last failure of its system: a system that was taken away
is no longer watched.

Times are the site's wall clock, taken for UTC: only differences have a meaning, and operators enter them by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.schema import TIME
from features.source import Batch, Source
from features.sources import _csv
from features.transforms.node_failures import NODE_FAILED, OBSERVED, REPAIRED
from infra.errors import DataError

DATASET = "lanl_failures_1996_2005"
CAUSES = ("facilities", "hardware", "human error", "network", "undetermined", "software")
COLUMNS = ("system", "nodenumz", "node install", "prob started", "prob fixed", *CAUSES)


class LanlFailures(Source):
    """Reads failures; records without a node are left out, of a repair before the failure the begin is taken."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of events a file. Raises DataError naming the file, the line and the column."""
        for path, table in _csv.matching(Path(where), COLUMNS, DATASET, ("*.csv", "*.csv.xz")):
            yield Batch("events", _events(_failures(path, table)))
        yield Batch("metrics", pa.table({"dataset": pa.array([], pa.string())}))  # nodes report no metrics


def _failures(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    """time, fixed, system, subject, installed, cause; one row a failure."""
    table = table[table["nodenumz"].str.strip() != ""]
    cause = table[list(CAUSES)].apply(lambda column: column.str.strip()).replace("", None).bfill(axis=1).iloc[:, 0]
    begin, end = _times(path, table, "prob started"), _times(path, table, "prob fixed")
    rows = pd.DataFrame({"time": begin, "fixed": end.where(end >= begin, begin), "cause": cause.astype(object)})
    rows["system"] = table["system"].str.strip()
    rows["subject"] = rows["system"] + "-" + table["nodenumz"].str.strip()
    rows["installed"] = table["node install"].map(_month)
    return rows


def _times(path: Path, table: pd.DataFrame, name: str) -> pd.Series:
    times = pd.to_datetime(table[name], format="%m/%d/%Y %H:%M", errors="coerce", utc=True)
    if times.isna().any():
        line = int(times.index[times.isna()][0])
        raise DataError(
            f"{path}, line {line}, column {name!r}: {table.loc[line, name]!r} is not a time (m/d/yyyy h:mm)"
        )
    return times


def _month(text: str) -> str | None:
    """`Nov-96` and `2-Mar` (a spreadsheet's idea of March 2002) as a date; None: not told."""
    first, _, second = text.strip().partition("-")
    month, year = (second, first.zfill(2)) if first.isdigit() else (first, second)
    when = pd.to_datetime(f"{month}-{year}", format="%b-%y", errors="coerce")
    return None if pd.isna(when) else when.date().isoformat()


def _events(rows: pd.DataFrame) -> pa.Table:
    told = rows[["system", "installed", "cause"]].astype(object).to_dict("records")
    texts = [json.dumps({key: value for key, value in fact.items() if not pd.isna(value)}) for fact in told]
    last = rows.groupby("system")["time"].transform("max")
    nodes = rows.assign(last=last).drop_duplicates("subject")
    parts = [
        _cloud_events(NODE_FAILED, rows["time"], rows["subject"], texts),
        _cloud_events(REPAIRED, rows["fixed"], rows["subject"], texts),
        _cloud_events(OBSERVED, nodes["last"], nodes["subject"], ["{}"] * len(nodes)),
    ]
    return pa.Table.from_pandas(pd.concat(parts, ignore_index=True), preserve_index=False)


def _cloud_events(kind: str, times: pd.Series, nodes: pd.Series, data: list[str]) -> pd.DataFrame:
    word = kind.rsplit(".", 1)[-1]
    frame = pd.DataFrame({"time": times.to_numpy(), "subject": nodes.to_numpy(), "data": data})
    frame["time"] = pd.to_datetime(frame["time"], utc=True).astype(pd.ArrowDtype(TIME))
    again = frame.groupby(["subject", "time"]).cumcount().astype(str)  # several at the same minute
    frame["id"] = frame["subject"] + f"-{word}-" + frame["time"].astype(str) + "-" + again
    return frame.assign(dataset=DATASET, source=f"urn:dataset:{DATASET}", type=kind)
