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

import pandas as pd

LIVE = "live"
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
