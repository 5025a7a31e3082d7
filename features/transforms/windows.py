"""Watched instances: how far each metric is from what its own past lets expect, over a bank of memories.

`seasonal` says how a forecast is made; `running_windows` makes the same rows one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Self

import numpy as np
import pandas as pd
from pydantic import model_validator

from features.transforms.running_windows import RunningWindows
from features.transforms.seasonal import DAYS, DEVIATIONS, HELD, MEMORIES, SMOOTHING, seasonal, step, tells
from features.view import Columns, Frames, View, column

REVIEWED = "io.iacdharma.anomaly.reviewed"  # operators went through this period; data: begin, end
ANOMALY = "io.iacdharma.anomaly.occurred"  # data: begin, end
BLAMED = "io.iacdharma.anomaly.explained"  # data: begin, end, metrics
EXPERIENCED = "io.iacdharma.users.experienced"  # what users of the instance felt; data: begin, end, latency, failed


def _list(description: str) -> list[float]:
    return column(f"{description}, one value a metric, in the metric's own unit", min_length=1, max_length=1000)


class InstanceState(Columns):
    """The metrics of one instance at `time`; all lists have one length, and a metric without a value is in none."""

    instance: str = column("the instance (OpenTelemetry service.instance.id): a host, a process", min_length=1)
    service: str = column("the service that it belongs to (service.name)", min_length=1)
    step: float = column("usual time between two rows of this instance", "s", gt=0)
    days: int = column("earlier days that the seasonal value is made from; 0: none yet", "d", ge=0, le=DAYS)
    metrics: list[str] = column("names of the metrics", min_length=1, max_length=1000)
    values: list[float] = _list("newest value")
    off_season: list[float] = _list("newest value, less the seasonal value")
    off_50: list[float] = _list("newest value, less the forecast with a memory of 50 rows")
    off_17: list[float] = _list("newest value, less the forecast with a memory of 16.7 rows")
    off_5: list[float] = _list("newest value, less the forecast with a memory of 5 rows")
    off_2: list[float] = _list("newest value, less the forecast with a memory of 1.7 rows")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        lengths = {name: len(getattr(self, name)) for name in ("metrics", "values", *DEVIATIONS)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"every list needs one value for each metric; lengths are {lengths}")
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError("metrics names a metric twice")
        return self


class InstanceHealth(Columns):
    """What operators found out about one instance at `time`."""

    instance: str = column("the instance", min_length=1)
    anomalous: bool | None = column("whether operators call it anomalous; null: nobody looked", default=None)
    blamed: list[str] = column("the metrics that they blame; empty: none named", max_length=1000)
    user_latency: float | None = column("how long its users waited; null: not measured", "s", ge=0, default=None)
    user_failures: float | None = column("share of its users' requests that failed", ge=0, le=1, default=None)


def states(frames: Frames) -> pd.DataFrame:
    """Metric points → one row per (instance, time) with the columns of `InstanceState` and `dataset`."""
    parts = [_states(key, part) for key, part in _instances(_telling(frames["metrics"]))]
    return pd.concat(parts, ignore_index=True) if parts else _empty(InstanceState)


def health(frames: Frames) -> pd.DataFrame:
    """Metric points and operators' findings → one row per (instance, time) with the columns of `InstanceHealth`."""
    findings = {key: part for key, part in frames["events"].groupby(["dataset", "subject"], sort=False)}
    parts = []
    for (dataset, instance), points in _instances(frames["metrics"]):
        times = np.unique(_microseconds(points["time"]))
        rows = pd.DataFrame({"dataset": dataset, "time": _times(times), "instance": instance})
        parts.append(rows.assign(**_found(times, findings.get((dataset, instance)))))
    return pd.concat(parts, ignore_index=True) if parts else _empty(InstanceHealth)


def _telling(points: pd.DataFrame) -> pd.DataFrame:
    """Without the metrics that `TELLS_NOTHING` matches."""
    names = points["metric_name"].astype("category")
    idle = [name for name in names.cat.categories if not tells(str(name))]
    return points[~names.isin(idle).to_numpy()] if idle else points


def _instances(points: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """((dataset, instance), its points); grouping by codes is an order faster than by text."""
    keys = [points[name].astype("category") for name in ("dataset", "instance_id")]
    for (dataset, instance), part in points.groupby(keys, sort=True, observed=True):
        yield (str(dataset), str(instance)), part


def _states(key: tuple[str, str], points: pd.DataFrame) -> pd.DataFrame:
    wide = _wide(points)
    known = wide.ffill(limit=HELD)
    season, days = seasonal(known)
    offset = known - season
    newest = offset.ewm(alpha=SMOOTHING, adjust=False, ignore_na=True).mean()
    off = {"off_season": newest}
    for name, memory in MEMORIES.items():
        off[name] = newest - offset.ewm(alpha=1 / memory, adjust=False, ignore_na=True).mean().shift(1)
    there = known.notna().to_numpy()
    rows = pd.DataFrame({"dataset": key[0], "time": wide.index, "instance": key[1]})
    rows["service"] = min((str(name) for name in points["service_name"].unique() if pd.notna(name)), default=key[1])
    rows["step"], rows["days"] = step(pd.DatetimeIndex(wide.index).as_unit("us").asi8), days
    rows["metrics"] = _names(np.array(wide.columns, dtype=object), there)
    rows["values"] = _cells(known.to_numpy(), there)
    for name, deviation in off.items():  # a metric's first value has no past to deviate from
        rows[name] = _cells(deviation.where(season.notna(), 0.0).fillna(0.0).to_numpy(), there)
    return rows.iloc[np.flatnonzero(there.any(axis=1))]


def _wide(points: pd.DataFrame) -> pd.DataFrame:
    """Points → times × metrics in alphabetical order; of doubles the largest counts."""
    times, row = np.unique(_microseconds(points["time"]), return_inverse=True)
    metric = points["metric_name"].astype("category")
    value = points["value"].to_numpy("float64")
    cell = row * len(metric.cat.categories) + metric.cat.codes.to_numpy("int64")
    if np.bincount(cell).max() > 1:  # whatever the order of the points
        order = np.argsort(np.where(np.isfinite(value), value, -np.inf), kind="stable")
        cell, value = cell[order], value[order]
    flat = np.full(len(times) * len(metric.cat.categories), np.nan)
    flat[cell] = np.where(np.isfinite(value), value, np.nan)
    matrix = flat.reshape(len(times), -1)
    return pd.DataFrame(matrix, index=_times(times), columns=list(metric.cat.categories))


def _found(times: np.ndarray, findings: pd.DataFrame | None) -> dict[str, np.ndarray]:
    """The columns of `InstanceHealth` at `times` (sorted)."""
    anomalous = np.full(len(times), None, dtype=object)
    blamed = np.empty(len(times), dtype=object)
    blamed[:] = [[]] * len(times)
    latency, failures = np.full((2, len(times)), np.nan)
    for kind in (REVIEWED, ANOMALY, BLAMED, EXPERIENCED):
        for content in [] if findings is None else findings.loc[findings["type"] == kind, "data"]:
            data = json.loads(content)
            begin, end = (pd.Timestamp(data[name]).value // 1000 for name in ("begin", "end"))
            rows = slice(np.searchsorted(times, begin), np.searchsorted(times, end, side="right"))
            if kind == BLAMED:
                blamed[rows] = [sorted({*known, *data["metrics"]}) for known in blamed[rows]]
            elif kind == EXPERIENCED:
                latency[rows], failures[rows] = data["latency"], data["failed"]
            else:
                anomalous[rows] = kind == ANOMALY
    return {"anomalous": anomalous, "blamed": blamed, "user_latency": latency, "user_failures": failures}


def _cells(matrix: np.ndarray, there: np.ndarray) -> np.ndarray:
    """A column whose cells are the known values of each row of `matrix`."""
    cells = np.empty(len(matrix), dtype=object)
    cells[:] = list(matrix) if there.all() else [row[known] for row, known in zip(matrix, there, strict=True)]
    return cells


def _names(names: np.ndarray, there: np.ndarray) -> np.ndarray:
    """The names that go with `_cells`; rows with the same metrics share one array."""
    cells = np.empty(len(there), dtype=object)
    kinds: dict[bytes, np.ndarray] = {}
    cells[:] = [kinds.setdefault(known.tobytes(), names[known]) for known in there]
    return cells


def _microseconds(times: pd.Series) -> np.ndarray:
    return times.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]").astype("int64")


def _times(microseconds: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(microseconds.astype("datetime64[us]")).tz_localize("UTC")


def _empty(columns: type[Columns]) -> pd.DataFrame:
    return pd.DataFrame(columns=["dataset", *columns.model_fields])


SERVICE_WINDOWS = View(
    name="service_windows",
    entity="instance",
    columns=InstanceState,
    reads={"metrics": {}},
    keys={"metrics": "instance_id"},
    transform=states,
    incremental=RunningWindows,
    ttl=timedelta(minutes=15),  # three rows of a system that reports every five minutes
    description="How far the metrics of an instance are from what their past lets expect.",
)

ANOMALIES = View(
    name="anomalies",
    entity="instance",
    columns=InstanceHealth,
    reads={"metrics": {}, "events": {"type": (REVIEWED, ANOMALY, BLAMED, EXPERIENCED)}},
    keys={"metrics": "instance_id", "events": "subject"},
    transform=health,
    ttl=timedelta(minutes=15),
    online=False,
    description="Labels: when operators called an instance anomalous, which metrics they blame, what users felt.",
)
