"""Counters to rates, for live metrics in Prometheus's conventions; the one step that batch and stream share.

A counter only says something by its growth. Names tell what is one: `_total`, and `_sum` with `_count` of a histogram
or summary. Series of one name (they differ by labels) are added up: those of one process start at zero together.

| series              | becomes                                                     |
|---------------------|-------------------------------------------------------------|
| `x_total`           | `x_per_second`                                              |
| `x_count`           | `x_per_second`                                              |
| `x_sum`             | `x_mean`: growth of the sum by growth of the count          |
| `x_bucket`, `x_created` | nothing: what they tell is in the others                |
| a gauge, many labels | the mean of its series                                     |

Rows of published sets are left as they are: their publishers prepared them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa

LIVE = "live"
Series = tuple[str | None, str]  # service, name of the metric
_SERIES = ["dataset", "service_name", "instance_id", "metric_name"]


def per_second(points: pd.DataFrame) -> pd.DataFrame:
    """Metric points (columns of the canonical table, any order) with live counters turned into rates per second.

    The first point of a counter gives no row. After a restart a counter begins at zero, so its value is its growth.
    """
    live = points["dataset"] == LIVE
    if not live.any():
        return points
    rows = points[live]
    name = rows["metric_name"].astype(str)
    counter = name.str.endswith(("_total", "_sum", "_count"))
    left_out = name.str.endswith(("_bucket", "_created"))
    gauges = _merged(rows[~counter & ~left_out], "mean")
    return pd.concat([points[~live], gauges, *_rates(_merged(rows[counter], "sum"))], ignore_index=True)[points.columns]


def _merged(rows: pd.DataFrame, how: str) -> pd.DataFrame:
    """One row a series name and time."""
    return rows.groupby([*_SERIES, "time"], as_index=False, dropna=False).agg({"unit": "first", "value": how})


def _rates(counters: pd.DataFrame) -> list[pd.DataFrame]:
    ordered = counters.sort_values([*_SERIES, "time"], kind="stable")
    series = ordered.groupby(_SERIES, sort=False, dropna=False)
    growth = series["value"].diff()
    ordered["growth"] = growth.where(growth >= 0, ordered["value"]).where(growth.notna())
    ordered["seconds"] = series["time"].diff().dt.total_seconds()
    ordered = ordered[ordered["seconds"] > 0].astype({"metric_name": object})
    is_sum, is_count = (ordered["metric_name"].str.endswith(end) for end in ("_sum", "_count"))
    ordered["metric_name"] = ordered["metric_name"].str.replace(r"_(?:total|sum|count)$", "", regex=True)
    rates = ordered[~is_sum]
    rates = rates.assign(value=rates["growth"] / rates["seconds"], unit="/s")
    rates["metric_name"] += "_per_second"
    keys = [*_SERIES, "time"]
    means = ordered[is_sum].merge(ordered.loc[is_count, [*keys, "growth"]], on=keys, suffixes=("", "_n"))
    means = means[means["growth_n"] > 0]
    means = means.assign(value=means["growth"] / means["growth_n"], metric_name=means["metric_name"] + "_mean")
    return [rates, means]


@dataclass(frozen=True)
class Matrix:
    """Values (times × metrics; NaN: none, or none that is finite); at each time there is a point."""

    times: np.ndarray  # in microseconds, ascending
    metrics: tuple[str, ...]
    services: tuple[str, ...]  # those of the points
    values: np.ndarray


class RunningRates:
    """`per_second` for one live instance, a few points at a time: it remembers each counter's last point.

    `wanted` chooses among the metrics that the points become.
    """

    def __init__(self, wanted: Callable[[str], bool] = bool) -> None:
        self._wanted = wanted
        self._last: dict[Series, tuple[float, float]] = {}  # time, value

    def copy(self) -> Self:
        """An independent copy."""
        twin = copy.copy(self)
        twin._last = dict(self._last)
        return twin

    def add(self, points: pa.Table) -> Matrix:
        """Take points (any order, all later than those before); of several points of a metric the largest counts."""
        series, times, (total, number, valid) = _cells(points)
        plan = _plan(series, self._wanted)
        growth, seconds = self._growth(plan.counters, times, total[:, plan.counted], number[:, plan.counted])
        late, calls = seconds > 0, growth[:, plan.calls]
        with np.errstate(divide="ignore", invalid="ignore"):
            made = [
                total[:, plan.gauges] / valid[:, plan.gauges],
                growth[:, plan.rates] / seconds[:, plan.rates],
                growth[:, plan.sums] / calls,
            ]
        told = [number[:, plan.gauges] > 0, late[:, plan.rates], late[:, plan.sums] & late[:, plan.calls] & (calls > 0)]
        values, there = np.hstack(made), np.hstack(told)
        values[~(there & np.isfinite(values))] = np.nan
        for place, double in plan.doubles:
            values[:, place] = np.fmax(values[:, place], values[:, double])
            there[:, place] |= there[:, double]
        rows = there[:, plan.order].any(axis=1)
        return Matrix(times[rows], plan.metrics, plan.services, values[rows][:, plan.order])

    def _growth(
        self, series: list[Series], times: np.ndarray, total: np.ndarray, number: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Growth since the counter's point before, and the seconds since; NaN where one of the two is not there."""
        last = np.array([self._last.get(one, (np.nan, np.nan)) for one in series]).reshape(-1, 2).T
        value = np.vstack([last[1], total])
        time = np.vstack([last[0], np.repeat(times[:, None].astype("float64"), len(series), axis=1)])
        row = np.arange(len(value))[:, None]
        place = np.maximum.accumulate(np.where(np.vstack([~np.isnan(last[:1]), number > 0]), row, 0), axis=0)
        column = np.arange(len(series))
        self._last |= zip(series, zip(time[place[-1], column], value[place[-1], column], strict=True), strict=True)
        there, before = place[1:] == row[1:], place[:-1]
        growth = value[1:] - value[before, column]
        growth = np.where(growth >= 0, growth, np.where(np.isnan(growth), np.nan, value[1:]))
        seconds = (time[1:] - time[before, column]) / 1e6
        return growth, np.where(there, seconds, np.nan)


@dataclass(frozen=True)
class _Plan:
    """What a set of series becomes: gauges, rates and means, side by side. The same set comes at every scrape."""

    gauges: list[int]  # columns of the series
    counted: list[int]  # columns of the counters
    counters: list[Series]
    rates: list[int]  # places among the counters
    sums: list[int]  # those that become a mean, and
    calls: list[int]  # the counts that they are divided by
    order: list[int]  # of what is made, one column a metric, in the order of `metrics`
    doubles: list[tuple[int, int]]  # (column in `order`, another column of the same metric)
    metrics: tuple[str, ...]
    services: tuple[str, ...]


@lru_cache(maxsize=4096)
def _plan(series: tuple[Series, ...], wanted: Callable[[str], bool]) -> _Plan:
    roles = [_role(name) for _, name in series]
    gauges = [place for place, (kind, name) in enumerate(roles) if kind == "gauge" and wanted(name)]
    counted = [place for place, (kind, _) in enumerate(roles) if kind in ("rate", "sum")]
    counters, kinds = [series[place] for place in counted], [roles[place] for place in counted]
    rates = [place for place, (kind, base) in enumerate(kinds) if kind == "rate" and wanted(f"{base}_per_second")]
    pairs = [
        (place, counters.index((service, f"{base}_count")))
        for place, ((service, _), (kind, base)) in enumerate(zip(counters, kinds, strict=True))
        if kind == "sum" and (service, f"{base}_count") in counters and wanted(f"{base}_mean")
    ]
    sums, calls = [place for place, _ in pairs], [place for _, place in pairs]
    made = [roles[place][1] for place in gauges] + [f"{kinds[place][1]}_per_second" for place in rates]
    made += [f"{kinds[place][1]}_mean" for place in sums]
    first = {name: place for place, name in reversed(list(enumerate(made)))}
    doubles = [(first[name], place) for place, name in enumerate(made) if place != first[name]]
    services = tuple(sorted({service for service, _ in series if service is not None}))
    order = [first[name] for name in sorted(first)]
    return _Plan(gauges, counted, counters, rates, sums, calls, order, doubles, tuple(sorted(first)), services)


def _role(name: str) -> tuple[str, str]:
    """What a series is (gauge, rate, sum, nothing), and its name without the ending."""
    if name.endswith(("_bucket", "_created")):
        return "nothing", name
    if name.endswith(("_total", "_count", "_sum")):
        base, _, end = name.rpartition("_")
        return ("sum" if end == "sum" else "rate"), base
    return "gauge", name


def _cells(points: pa.Table) -> tuple[tuple[Series, ...], np.ndarray, list[np.ndarray]]:
    """Series, times, and (times × series) the sum of the values, how many there are, and how many are no NaN."""
    names, services = (
        points[column].combine_chunks().dictionary_encode(null_encoding="encode")
        for column in ("metric_name", "service_name")
    )
    words, kinds = [str(name) for name in names.dictionary.to_pylist()], services.dictionary.to_pylist()
    code = services.indices.to_numpy().astype("int64") * len(words) + names.indices.to_numpy()
    times, row = np.unique(points["time"].to_numpy().astype("int64"), return_inverse=True)
    codes, column = np.unique(code, return_inverse=True)
    value, cells = points["value"].to_numpy(), len(times) * len(codes)
    cell, known = row * len(codes) + column, ~np.isnan(value)
    found = [
        np.bincount(cell[known], value[known], minlength=cells),
        np.bincount(cell, minlength=cells),
        np.bincount(cell[known], minlength=cells),
    ]
    series = tuple((kinds[one // len(words)], words[one % len(words)]) for one in codes.tolist())
    return series, times, [one.reshape(len(times), len(codes)) for one in found]
