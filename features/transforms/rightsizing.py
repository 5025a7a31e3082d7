"""What a workload used in the last seven days, as few figures, each hour: what its requests can be set from.

Points are put on a grid of five minutes (the largest value of a slot counts, so that doubled or denser points are no
trouble), a missing slot keeps the last value for an hour, and use above what is provisioned counts as all of it. Rows
come at full hours, for hours with at least one point and after a day of history. Nothing later than the row is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.config import JsonDict

from features.view import Columns, Frames, View, column

CPU_USAGE, CPU_CAPACITY = "container.cpu.usage", "container.cpu.capacity"
MEMORY_USAGE, MEMORY_CAPACITY = "container.memory.usage", "container.memory.capacity"
USAGE = {"cpu": CPU_USAGE, "memory": MEMORY_USAGE}
CAPACITY = {"cpu": CPU_CAPACITY, "memory": MEMORY_CAPACITY}

SLOT = pd.Timedelta(minutes=5)
HOUR = pd.Timedelta(hours=1)
PER_HOUR, PER_DAY = 12, 288
DAYS = 7
WINDOW = DAYS * PER_DAY  # slots
HELD = PER_HOUR  # slots for which a missing value keeps the last one
MIN_HOURS = 24

QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p98": 0.98, "p99": 0.99, "peak": 1.0}
PEAKS = {"peak_1h": 1, "peak_4h": 4, "peak_24h": 24, "peak_48h": 48}  # hours
RHYTHM = ("peak_same_hour", "peak_same_hour_last_week", "peak_same_hour_7d")
STATISTICS = (*QUANTILES, *PEAKS, *RHYTHM)

_EXAMPLE: JsonDict = {
    "time": "2013-08-20T06:00:00Z",
    "workload": "checkout",
    "history_hours": 168,
    **{
        f"{resource}_{name}": unit * share
        for resource, unit in (("cpu", 4.0), ("memory", 2.0**33))
        for name, share in (
            ("capacity", 1.0), ("request", 0.5), ("p50", 0.1), ("p90", 0.2), ("p95", 0.25), ("p98", 0.3), ("p99", 0.33),
            ("peak", 0.45), ("peak_1h", 0.15), ("peak_4h", 0.2), ("peak_24h", 0.35), ("peak_48h", 0.4),
            ("peak_same_hour", 0.2), ("peak_same_hour_last_week", 0.25), ("peak_same_hour_7d", 0.3),
        )
    },
}  # fmt: skip


def _cpu(what: str) -> float:
    return column(f"CPU: {what}", "{cpu}", ge=0)


def _memory(what: str) -> float:
    return column(f"memory: {what}", "By", ge=0)


_P = "quantile of use over 7 days: {}"
_H = "largest use of the last {}"
_SAME = "largest use within an hour of this time of day, {}"


class Usage(Columns):
    """Use of one workload up to `time`, and what it may use."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    workload: str = column("the workload: a container, a machine", min_length=1)
    history_hours: float | None = column(
        "hours of the last 7 days with data; null: not known", "h", ge=0, le=24 * DAYS, default=None
    )
    cpu_capacity: float = column("CPU: the most that can be given", "{cpu}", gt=0)
    cpu_request: float | None = column("CPU: present request; null: none set", "{cpu}", gt=0, default=None)
    cpu_p50: float = _cpu(_P.format("0.5"))
    cpu_p90: float = _cpu(_P.format("0.9"))
    cpu_p95: float = _cpu(_P.format("0.95"))
    cpu_p98: float = _cpu(_P.format("0.98"))
    cpu_p99: float = _cpu(_P.format("0.99"))
    cpu_peak: float = _cpu("largest use of 7 days")
    cpu_peak_1h: float = _cpu(_H.format("hour"))
    cpu_peak_4h: float = _cpu(_H.format("4 hours"))
    cpu_peak_24h: float = _cpu(_H.format("24 hours"))
    cpu_peak_48h: float = _cpu(_H.format("48 hours"))
    cpu_peak_same_hour: float = _cpu(_SAME.format("yesterday"))
    cpu_peak_same_hour_last_week: float = _cpu(_SAME.format("7 days ago"))
    cpu_peak_same_hour_7d: float = _cpu(_SAME.format("of the last 7 days"))
    memory_capacity: float = column("memory: the most that can be given", "By", gt=0)
    memory_request: float | None = column("memory: present request; null: none set", "By", gt=0, default=None)
    memory_p50: float = _memory(_P.format("0.5"))
    memory_p90: float = _memory(_P.format("0.9"))
    memory_p95: float = _memory(_P.format("0.95"))
    memory_p98: float = _memory(_P.format("0.98"))
    memory_p99: float = _memory(_P.format("0.99"))
    memory_peak: float = _memory("largest use of 7 days")
    memory_peak_1h: float = _memory(_H.format("hour"))
    memory_peak_4h: float = _memory(_H.format("4 hours"))
    memory_peak_24h: float = _memory(_H.format("24 hours"))
    memory_peak_48h: float = _memory(_H.format("48 hours"))
    memory_peak_same_hour: float = _memory(_SAME.format("yesterday"))
    memory_peak_same_hour_last_week: float = _memory(_SAME.format("7 days ago"))
    memory_peak_same_hour_7d: float = _memory(_SAME.format("of the last 7 days"))


class Ahead(Columns):
    """Use of one workload in the hour that begins at `time`."""

    workload: str = column("the workload", min_length=1)
    ahead: list[float] | None = column(
        "measured use, 5 minutes each: first all of CPU (cores), then as many of memory (bytes); null: not measured",
        default=None,
    )


def usage(frames: Frames) -> pd.DataFrame:
    """Metric points → one row per (workload, full hour) with the columns of `Usage` and `dataset`."""
    parts = [_rows(key, *grid) for key, grid in _grids(frames["metrics"]) if len(_ends(grid[1]))]
    return pd.concat(parts, ignore_index=True) if parts else _empty(Usage)


def ahead(frames: Frames) -> pd.DataFrame:
    """Metric points → one row per (workload, full hour) with the columns of `Ahead`: the hours that `usage` has."""
    parts = []
    for (dataset, workload), (begin, used, _) in _grids(frames["metrics"]):
        ends = _ends(used)
        if not len(ends):
            continue
        coming = np.full((2, len(ends), PER_HOUR), np.nan)
        for row, end in enumerate(ends):
            slots = used[:, end : end + PER_HOUR]
            coming[:, row, : slots.shape[1]] = slots
        rows = pd.DataFrame({"dataset": dataset, "time": begin + ends * SLOT, "workload": workload})
        rows["ahead"] = pd.Series([_known(coming[:, row]) for row in range(len(ends))], index=rows.index, dtype=object)
        parts.append(rows)
    return pd.concat(parts, ignore_index=True) if parts else _empty(Ahead)


def _grids(points: pd.DataFrame) -> Iterator[tuple[tuple[str, str], tuple[pd.Timestamp, np.ndarray, np.ndarray]]]:
    """((dataset, workload), (begin, use, capacity)) where all four are reported; both 2 × slots, NaN: no point."""
    keys = [points[name].astype("category") for name in ("dataset", "instance_id")]
    for (dataset, workload), part in points.groupby(keys, sort=True, observed=True):
        series = {name: rows for name, rows in part.groupby(part["metric_name"].astype(str))}
        if not {*USAGE.values(), *CAPACITY.values()} <= set(series):
            continue
        times = part["time"].dt.as_unit("us")
        begin = times.min().floor("1h")
        slots = int((times.max() - begin) // SLOT) + 1
        used = np.stack([_gridded(series[name], begin, slots) for name in USAGE.values()])
        capacity = np.stack([_gridded(series[name], begin, slots) for name in CAPACITY.values()])
        capacity = pd.DataFrame(capacity.T).ffill().to_numpy().T
        capped = np.where(np.isnan(used), np.nan, np.fmin(used, capacity))
        yield (str(dataset), str(workload)), (begin, capped, capacity)


def _gridded(rows: pd.DataFrame, begin: pd.Timestamp, slots: int) -> np.ndarray:
    """The largest finite value of each slot."""
    grid = np.full(slots, np.nan)
    values = rows["value"].to_numpy("float64")
    slot = ((rows["time"].dt.as_unit("us") - begin) // SLOT).to_numpy()
    finite = np.isfinite(values) & (values >= 0)
    np.fmax.at(grid, slot[finite], values[finite])
    return grid


def _ends(used: np.ndarray) -> np.ndarray:
    """Slots at which a row is made: full hours with a point in the hour before, after a day of hours with points."""
    hours = used.shape[1] // PER_HOUR
    there = ~np.isnan(used[:, : hours * PER_HOUR].reshape(2, hours, PER_HOUR)).all(axis=2).any(axis=0)
    enough = np.cumsum(there) >= MIN_HOURS
    return (np.flatnonzero(there & enough) + 1) * PER_HOUR


def _rows(key: tuple[str, str], begin: pd.Timestamp, used: np.ndarray, capacity: np.ndarray) -> pd.DataFrame:
    ends = _ends(used)
    rows = pd.DataFrame({"dataset": key[0], "time": begin + ends * SLOT, "workload": key[1]})
    hours = used.shape[1] // PER_HOUR
    there = ~np.isnan(used[:, : hours * PER_HOUR].reshape(2, hours, PER_HOUR)).all(axis=(0, 2))
    rows["history_hours"] = _trailing(there.astype(float), 24 * DAYS, np.sum)[ends // PER_HOUR - 1]
    for number, resource in enumerate(USAGE):
        rows[f"{resource}_capacity"] = capacity[number, ends - 1]
        rows[f"{resource}_request"] = np.nan  # no request is recorded in metrics: the caller knows it
        for name, values in _statistics(used[number], ends).items():
            rows[f"{resource}_{name}"] = values
    return rows


def _statistics(used: np.ndarray, ends: np.ndarray) -> dict[str, np.ndarray]:
    """Name in `STATISTICS` → its value at each of `ends`, from the slots before it."""
    known = pd.Series(used).ffill(limit=HELD).to_numpy()
    padded = np.concatenate([np.full(WINDOW, np.nan), known]).astype("float32")
    windows = np.sort(np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[ends], axis=1)  # NaN last
    count = (~np.isnan(windows)).sum(axis=1)
    found = {name: _quantile(windows, count, level) for name, level in QUANTILES.items()}
    hourly = np.fmax.reduce(known[: len(known) // PER_HOUR * PER_HOUR].reshape(-1, PER_HOUR), axis=1)
    hour = ends // PER_HOUR - 1
    for name, span in PEAKS.items():
        found[name] = _trailing(hourly, span, np.fmax.reduce)[hour]
    around = np.stack([_before(hourly, 24 * day - 2) for day in range(1, DAYS + 1)])[:, hour]
    found["peak_same_hour"], found["peak_same_hour_last_week"] = around[0], around[-1]
    found["peak_same_hour_7d"] = np.fmax.reduce(around, axis=0)
    # what was not measured that long ago is taken to be as all of the past
    return {name: np.where(np.isnan(values), found["peak"], values).astype("float64") for name, values in found.items()}


def _quantile(ordered: np.ndarray, count: np.ndarray, level: float) -> np.ndarray:
    """Linear interpolation between order statistics of the first `count` values of each row."""
    place = (np.maximum(count, 1) - 1) * level
    low, row = np.floor(place).astype(int), np.arange(len(ordered))
    high = np.minimum(low + 1, np.maximum(count, 1) - 1)
    share = place - low
    return np.asarray(ordered[row, low] * (1 - share) + ordered[row, high] * share)


def _trailing(values: np.ndarray, span: int, reduce: object) -> np.ndarray:
    """`reduce` of the last `span` values at each place."""
    padded = np.concatenate([np.full(span - 1, 0.0 if reduce is np.sum else np.nan), values])
    return np.asarray(reduce(np.lib.stride_tricks.sliding_window_view(padded, span), axis=1))  # type: ignore[operator]


def _before(hourly: np.ndarray, back: int) -> np.ndarray:
    """The largest of the three hours that end `back - 1` hours before each place."""
    three = _trailing(hourly, 3, np.fmax.reduce)
    return np.concatenate([np.full(back - 1, np.nan), three])[: len(hourly)]


def _known(coming: np.ndarray) -> list[float] | None:
    """The slots measured for both resources, CPU first; None when there are none."""
    there = ~np.isnan(coming).any(axis=0)
    return [*coming[0, there], *coming[1, there]] if there.any() else None


def _empty(columns: type[Columns]) -> pd.DataFrame:
    return pd.DataFrame(columns=["dataset", "time", *columns.kinds()])


_READS = {"metrics": {"metric_name": (*USAGE.values(), *CAPACITY.values())}}

USAGE_HISTORY = View(
    name="usage_history",
    entity="workload",
    columns=Usage,
    reads=_READS,
    keys={"metrics": "instance_id"},
    transform=usage,
    ttl=timedelta(hours=2),
    description="What a workload used in the last seven days, by quantiles, recent peaks and time of day.",
)

USAGE_AHEAD = View(
    name="usage_ahead",
    entity="workload",
    columns=Ahead,
    reads=_READS,
    keys={"metrics": "instance_id"},
    transform=ahead,
    ttl=timedelta(hours=2),
    online=False,
    description="Labels: what a workload used in the hour that followed.",
)
