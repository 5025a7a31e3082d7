"""Drives: the SMART reports of the last days of each drive, and whether and when it failed afterwards.

Reports arrive as metric points named in `METRICS`, one series per drive (`instance_id`); the model of a drive as a
CloudEvent of type `DISCOVERED`, its failure as one of type `FAILED`, both with the drive as subject. Time is counted in
calendar days (UTC): of several reports of one day the last counts.

Nodes of clusters report only failures (see `node_failures`); they have rows here, of kind `node`, because one model
answers for both.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field, model_validator

from features.transforms.node_failures import (
    KEPT,
    NODE_FAILED,
    OBSERVED,
    REPAIRED,
    node_histories,
    node_outcomes,
)
from features.view import Columns, Frames, View, column

DAYS = 14
_FAR = 10_000_000  # days; more than any calendar holds
DISCOVERED = "io.iacdharma.drive.discovered"
FAILED = "io.iacdharma.drive.failed"
_SMART = "hw.physical_disk.smart."  # OpenTelemetry semantic conventions, hardware metrics

# column of `DriveHistory` → (metric name, unit); numbers are SMART attribute ids
METRICS: dict[str, tuple[str, str]] = {
    "read_errors": (_SMART + "read_errors", "1"),  # 1, in the vendor's own encoding
    "reallocated_sectors": (_SMART + "reallocated_sectors", "{sector}"),  # 5
    "power_on_hours": (_SMART + "power_on_hours", "h"),  # 9
    "temperature": (_SMART + "temperature", "Cel"),  # 194
    "pending_sectors": (_SMART + "pending_sectors", "{sector}"),  # 197
}
HORIZON = "fails_in_24_48h"
DRIVE, NODE = "drive", "node"
NODE_ONLY = ("failures_days_ago", "failure_causes")


def _series(description: str, unit: str) -> list[float] | None:
    told = f"{description}, one value a report, oldest first; null for a node"
    return column(told, unit, min_length=1, max_length=DAYS, default=None)


EXAMPLE: dict[
    str, Any
] = {  # a drive that begins to lose sectors; lists depend on each other, so that none can be generated
    "time": "2013-04-25T00:00:00Z",
    "drive": "Z3001",
    "drive_model": "ST3000DM001",
    "days_ago": [3, 2, 1, 0],
    "read_errors": [117225152, 93827928, 215349560, 168209416],
    "reallocated_sectors": [0, 0, 8, 24],
    "power_on_hours": [8034, 8058, 8082, 8106],
    "temperature": [24, 24, 25, 25],
    "pending_sectors": [0, 0, 16, 48],
}


class DriveHistory(Columns):
    """The reports of one drive in the `DAYS` days that end with the day of `time`; all lists have one length.

    Of a node the row holds its newest failures instead, as far as they are repaired.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    drive: str = column("the drive's serial number, or the node's name", min_length=1)
    drive_model: str = column("the drive's model or the node's system, or `unknown`", min_length=1)
    kind: str = column(f"`{DRIVE}` or `{NODE}`", default=DRIVE)
    days_ago: list[float] | None = _series("how long before this row each report was made", "d")
    read_errors: list[float] | None = _series("SMART 1, raw: read errors in the vendor's encoding", "1")
    reallocated_sectors: list[float] | None = _series("SMART 5, raw: sectors given up and replaced", "{sector}")
    power_on_hours: list[float] | None = _series(
        "SMART 9, raw: hours in operation; stands still when a drive hangs", "h"
    )
    temperature: list[float] | None = _series("SMART 194, raw: temperature of the drive", "Cel")
    pending_sectors: list[float] | None = _series("SMART 197, raw: sectors that could not be read", "{sector}")

    node_age_days: float | None = column("days since a node was installed, or null", "d", ge=0, default=None)
    failures_days_ago: list[float] | None = column(
        "how long before this row each failure of a node was repaired, oldest first",
        "d",
        min_length=1,
        max_length=KEPT,
        default=None,
    )
    failure_causes: list[str] | None = column(
        "the cause that was found for each of these failures, or `unrecorded`",
        min_length=1,
        max_length=KEPT,
        default=None,
    )

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        names = NODE_ONLY if self.kind == NODE else ("days_ago", *METRICS)
        if missing := [name for name in names if getattr(self, name) is None]:
            raise ValueError(f"a {self.kind} needs {', '.join(missing)}")
        lengths = {name: len(getattr(self, name)) for name in names}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"every list needs one value for each report; lengths are {lengths}")
        self._in_order()
        return self

    def _in_order(self) -> None:
        if self.kind == NODE:
            ages = self.failures_days_ago or []
            if ages[-1] < 0 or any(a < b for a, b in zip(ages, ages[1:], strict=False)):
                raise ValueError(f"failures_days_ago must be oldest first, none in the future; it is {ages}")
            return
        days = self.days_ago or []
        if days[-1] != 0 or any(a <= b for a, b in zip(days, days[1:], strict=False)):
            raise ValueError(f"days_ago must fall strictly to 0, the report of this row; it is {days}")
        if negative := [name for name in METRICS if name != "temperature" and min(getattr(self, name)) < 0]:
            raise ValueError(f"counters cannot be negative: {', '.join(negative)}")


class DriveOutcome(Columns):
    """What became of a drive after its report at `time`. Reports of the day of a failure and later have no row.

    A node goes on after a failure: each of its rows looks to the first failure of a later day.
    """

    drive: str = column("the drive's serial number, or the node's name", min_length=1)
    fails_in_24_48h: bool | None = column(
        "failed one or two days later; null: the drive was not followed for two days", default=None
    )
    failed_after_days: float | None = Field(
        None, gt=0, description="days until it failed; null: not seen to fail", json_schema_extra={"unit": "d"}
    )
    followed_days: float = column("days until its failure or its last report", "d", ge=0)
    failed_component: str | None = column("cause of that failure of a node; null: not known", default=None)


def histories(frames: Frames) -> pd.DataFrame:
    """Rows of drives, then of nodes, with the columns of `DriveHistory` and `dataset`."""
    drives = _drive_histories(frames).assign(kind=DRIVE, node_age_days=np.nan, **dict.fromkeys(NODE_ONLY))
    nodes = node_histories(frames["events"])
    return _joined(drives, nodes.assign(kind=NODE, **dict.fromkeys(("days_ago", *METRICS))))


def outcomes(frames: Frames) -> pd.DataFrame:
    """Rows of drives, then of nodes, as `DriveOutcome`."""
    nodes = node_outcomes(frames["events"])
    soon = nodes["failed_after_days"] <= 2
    nodes[HORIZON] = soon.astype(object).where(soon | (nodes["followed_days"] >= 2), None)
    return _joined(_drive_outcomes(frames).assign(failed_component=None), nodes)


def _joined(drives: pd.DataFrame, nodes: pd.DataFrame) -> pd.DataFrame:
    """The rows of both in the columns of the first; a kind without rows leaves no trace in the types."""
    parts = [part for part in (drives, nodes[drives.columns]) if len(part)]
    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else (parts or [drives])[0]


def _drive_histories(frames: Frames) -> pd.DataFrame:
    """Metric points and discoveries → one row per (drive, day).

    A value that a report lacks is carried forward from the drive's last report; a drive has rows from the first day on
    which every attribute is known, because an unknown counter is not a zero.
    """
    wide = _daily(frames["metrics"])
    wide[list(METRICS)] = wide.groupby("number")[list(METRICS)].ffill()
    wide = wide.dropna().reset_index(drop=True)
    rows = wide[["dataset", "time", "drive"]].assign(drive_model=_models(frames["events"], wide))
    windows = list(_windows(wide))
    days = _cells(wide["day"].to_numpy("float64"), windows)
    rows["days_ago"] = np.fromiter((cell[-1] - cell for cell in days), dtype=object, count=len(days))
    for name in METRICS:
        rows[name] = _cells(wide[name].to_numpy("float64"), windows)
    return rows


def _drive_outcomes(frames: Frames) -> pd.DataFrame:
    """Points of one series and failures → one row per (drive, day) before its failure.

    A drive that stops reporting without a failure is censored: healthy as long as it was seen, unknown afterwards.
    """
    rows = _daily(frames["metrics"])[["dataset", "time", "drive", "day"]]
    events = frames["events"]
    events = events[events["type"] == FAILED]
    failed = _day(events["time"]).groupby([events["dataset"], events["subject"]]).min().rename("failure")
    rows = rows.join(failed, on=["dataset", "drive"])
    rows = rows[~(rows["day"] >= rows["failure"])]
    after = rows["failure"] - rows["day"]
    seen = rows.groupby(["dataset", "drive"])["day"].transform("max") - rows["day"]
    rows["failed_after_days"] = after.astype("float64")
    rows["followed_days"] = after.fillna(seen).astype("float64")
    decided = (after <= 2) | (rows["followed_days"] >= 2)
    rows[HORIZON] = (after <= 2).astype(object).where(decided, None)
    return rows.drop(columns=["day", "failure"]).reset_index(drop=True)


def _daily(points: pd.DataFrame) -> pd.DataFrame:
    """One row per (dataset, drive, day), sorted: number of the drive, `time` of the day's last point, last values.

    Written with arrays, because millions of points come in and grouping by text is ten times as slow.
    """
    clock = points["time"].dt.tz_convert(None).to_numpy("datetime64[us]")
    order = np.argsort(clock, kind="stable")
    points, clock = points.iloc[order], clock[order]
    datasets, drives = (pd.factorize(points[name], sort=True) for name in ("dataset", "instance_id"))
    metric = pd.Index([name for name, _ in METRICS.values()]).get_indexer(pd.Index(points["metric_name"]))
    entity = datasets[0].astype("int64") * len(drives[1]) + drives[0]
    keys, row = np.unique(entity * _FAR + _day(points["time"]).to_numpy("int64"), return_inverse=True)
    values, times = np.full((len(keys), len(METRICS)), np.nan), np.empty(len(keys), dtype="datetime64[us]")
    values[row, metric] = points["value"].to_numpy("float64")  # in order of time: the last one stays
    times[row] = clock
    number = keys // _FAR
    wide = pd.DataFrame(values, columns=list(METRICS))
    wide.insert(0, "time", pd.DatetimeIndex(times).tz_localize("UTC"))
    wide.insert(1, "day", keys % _FAR)
    wide.insert(2, "number", number)
    wide.insert(3, "dataset", np.asarray(datasets[1], dtype=object)[number // max(len(drives[1]), 1)])
    wide.insert(4, "drive", np.asarray(drives[1], dtype=object)[number % max(len(drives[1]), 1)])
    return wide


def _windows(wide: pd.DataFrame) -> zip[tuple[int, int]]:
    """For each row, the half-open range of rows that are its drive's last `DAYS` days, itself included."""
    place = (wide["number"] * _FAR + wide["day"]).to_numpy("int64")  # rises with every row; drives lie far apart
    return zip(np.searchsorted(place, place - DAYS + 1).tolist(), range(1, len(wide) + 1), strict=True)


def _models(events: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """The model that the drive's first discovery names, for each of `rows`."""
    events = events[events["type"] == DISCOVERED]
    first = events.sort_values(["time", "id"]).drop_duplicates(["dataset", "subject"])
    subjects = zip(first["dataset"], first["subject"], strict=True)
    known = {who: json.loads(data).get("model") for who, data in zip(subjects, first["data"], strict=True)}
    drives = rows.drop_duplicates("number")
    pairs = zip(drives["dataset"], drives["drive"], strict=True)
    names = pd.Series([known.get(pair) or "unknown" for pair in pairs], index=drives["number"], dtype=object)
    return rows["number"].map(names)


def _cells(values: np.ndarray[Any, Any], windows: list[tuple[int, int]]) -> np.ndarray[Any, Any]:
    """A column whose cells are stretches of `values` (given a list, numpy would make a matrix of equally long ones)."""
    return np.fromiter((values[start:end] for start, end in windows), dtype=object, count=len(windows))


def _day(time: pd.Series) -> pd.Series:
    """Calendar days (UTC) since 1970."""
    return (time.dt.tz_convert("UTC").dt.floor("D") - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(days=1)


DRIVE_HEALTH = View(
    name="drive_health",
    entity="drive",
    columns=DriveHistory,
    reads={
        "metrics": {"metric_name": tuple(metric for metric, _ in METRICS.values())},
        "events": {"type": (DISCOVERED, REPAIRED)},
    },
    keys={"metrics": "instance_id", "events": "subject"},
    transform=histories,
    ttl=timedelta(days=2),  # a daily report, and one that is late
    description="The SMART reports of a drive's last two weeks, or the newest failures of a node.",
)

DRIVE_OUTCOMES = View(
    name="drive_outcomes",
    entity="drive",
    columns=DriveOutcome,
    reads={
        "metrics": {"metric_name": (METRICS["power_on_hours"][0],)},
        "events": {"type": (FAILED, NODE_FAILED, REPAIRED, OBSERVED)},
    },
    keys={"metrics": "instance_id", "events": "subject"},
    transform=outcomes,
    ttl=timedelta(days=2),
    online=False,
    description="Labels: which drives and nodes failed, when, and of what a node did.",
)
