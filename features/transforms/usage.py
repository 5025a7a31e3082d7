"""Daily usage of a capacity: its history as one row a week, and what came afterwards.

Usage arrives as metric points named in `METRICS`, one series per `instance_id`. A day's usage is the mean of its
points, so that a series may be measured daily, hourly or by the minute. Days are calendar days in UTC.

A day is *partial*, and left out as if it had not been reported, when collection failed in it. Only earlier days tell
that (`_partial`), so that a row is the same whatever comes later:

- it has fewer than 80 % of the points that a day had in the 15 days before, or
- its usage is not positive, below 60 % of the median of the 15 reported days before, or below 30 % of the upper
  quartile of the 120 days before.

A real fall by more than 40 % is therefore believed after eight days, one by more than 70 % after three months.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ConfigDict, Field, model_validator

from features.view import Columns, Frames, View, column

METRICS = ("dns.server.queries", "electricity.load")
DAYS = 760  # of history in a row: two years, and the weeks that compare with them
AHEAD = 90  # days that are forecast
STEP = 7  # days between the rows of a series
Floats = npt.NDArray[np.float64]

EXAMPLE: dict[str, Any] = {  # a year that grows by a third, with quiet weekends; ends on a Wednesday
    "time": "2019-10-30T23:59:59Z",
    "series": "a.root-servers.net",
    "service": "root_dns",
    "unit": "{query}/d",
    "values": [round((6e9 + 5e6 * day) * (0.92 if day % 7 in (3, 4) else 1.0), -5) for day in range(371)],
    "limit": 9e9,
}


class UsageHistory(Columns):
    """The days of one series up to `time` that were measured whole, oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    series: str = column("the series: a host, a zone, a volume", min_length=1)
    service: str = column("the service that the series belongs to; its series are learnt together", min_length=1)
    unit: str = column("the unit of the values, UCUM", default="1")
    values: list[float] = column(f"usage a day, at most {DAYS} days", "as `unit` says", max_length=DAYS)
    days_ago: list[float] = column(
        "how many days before `time` each value was measured; left out: one value a day, the last one today",
        "d",
        max_length=DAYS,
    )
    limit: float | None = column("capacity: usage that must not be reached", "as `unit` says", gt=0, default=None)

    @model_validator(mode="before")
    @classmethod
    def _daily(cls, row: Any) -> Any:
        """Fill in `days_ago` where it is left out."""
        if isinstance(row, dict) and "days_ago" not in row and isinstance(row.get("values"), list):
            return {**row, "days_ago": [float(ago) for ago in range(len(row["values"]) - 1, -1, -1)]}
        return row

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.values) != len(self.days_ago):
            raise ValueError(f"values has {len(self.values)} days and days_ago has {len(self.days_ago)}; give one each")
        ago = np.asarray(self.days_ago)
        if len(ago) and (ago[-1] < 0 or ago[0] >= DAYS or (np.diff(ago) > -1).any() or (ago % 1).any()):
            raise ValueError(f"days_ago must be whole days from below {DAYS} down to 0 or more, each of them once")
        if self.values and min(self.values) < 0:
            raise ValueError("values must not be negative")
        return self


class UsageOutcome(Columns):
    """What the series did in the `AHEAD` days after `time`, partial days left out."""

    series: str = column("the series", min_length=1)
    future: list[float] | None = column("usage a day; null: no later day is known", default=None)
    future_days: list[float] | None = column("how many days after `time` each value was measured", "d", default=None)
    followed_days: float = column(f"days to the end of the series, at most {AHEAD}", "d", ge=0, le=AHEAD)
    naive_week_error: float | None = Field(
        None, ge=0, description="mean absolute error of the last week repeated, on the days of `future`"
    )
    naive_year_error: float | None = Field(
        None, ge=0, description="mean absolute error of the same weekday 52 weeks before, on the days of `future`"
    )


def histories(frames: Frames) -> pd.DataFrame:
    """Points → one row per series and `STEP` days with the columns of `UsageHistory` and `dataset`."""
    columns = ["dataset", "time", "series", "service", "unit", "values", "days_ago", "limit"]
    rows = [row for part in _series(frames["metrics"]) for row in _rows(part)]
    found = pd.DataFrame(rows, columns=columns)
    return found.assign(
        time=pd.to_datetime(found["time"], utc=True).astype("datetime64[us, UTC]"), limit=found["limit"].astype(float)
    )


def outcomes(frames: Frames) -> pd.DataFrame:
    """Points → what came after each row of `histories`, with the columns of `UsageOutcome` and `dataset`."""
    rows = [row for part in _series(frames["metrics"]) for row in _futures(part)]
    found = pd.DataFrame(rows, columns=["dataset", *UsageOutcome.model_fields])
    errors = {name: found[name].astype(float) for name in ("naive_week_error", "naive_year_error")}
    return found.assign(time=pd.to_datetime(found["time"], utc=True).astype("datetime64[us, UTC]"), **errors)


def _series(points: pd.DataFrame) -> list[pd.DataFrame]:
    """For each series a frame with every calendar day as index: dataset, service, unit, time, usage (NaN: unknown)."""
    points = points.assign(day=_day(points["time"])).sort_values("time", kind="stable")
    keys = ["dataset", "instance_id", "day"]
    what = {"usage": ("value", "mean"), "points": ("value", "count"), "time": ("time", "last")}
    texts = {name: (name, "last") for name in ("service_name", "unit")}
    days = points.groupby(keys, sort=True).agg(**what, **texts).reset_index()
    return [_calendar(part) for _, part in days.groupby(["dataset", "instance_id"], sort=True)]


def _calendar(days: pd.DataFrame) -> pd.DataFrame:
    days = days.set_index("day")
    days = days.reindex(range(days.index[0], days.index[-1] + 1))
    return days.assign(usage=days["usage"].where(~_partial(days["usage"], days["points"])))


def _partial(usage: pd.Series, points: pd.Series) -> pd.Series:
    """Which days are partial (see the module); `usage` and `points` hold one value a calendar day."""
    before = usage.where(usage > 0).shift(1)
    usual = before.rolling(15, min_periods=5).median()
    high = before.rolling(120, min_periods=30).quantile(0.75)
    few = points < 0.8 * points.shift(1).rolling(15, min_periods=5).median()
    return few | (usage <= 0) | (usage < 0.6 * usual) | (usage < 0.3 * high)


def _rows(days: pd.DataFrame) -> list[list[Any]]:
    usage, index = days["usage"].to_numpy(), days.index.to_numpy()
    rows = []
    for place in _asked(days):
        begin = max(0, place + 1 - DAYS)
        known = np.flatnonzero(~np.isnan(usage[begin : place + 1])) + begin
        row = days.iloc[place]
        values, ago = usage[known], (index[place] - index[known]).astype(float)
        rows.append(
            [
                row["dataset"],
                row["time"],
                row["instance_id"],
                row["service_name"],
                row["unit"] or "1",
                values,
                ago,
                None,
            ]
        )
    return rows


def _futures(days: pd.DataFrame) -> list[list[Any]]:
    usage = days["usage"].to_numpy()
    carried = _carried(usage)
    rows = []
    for place in _asked(days):
        row, followed = days.iloc[place], min(AHEAD, len(usage) - 1 - place)
        ahead = np.flatnonzero(~np.isnan(usage[place + 1 : place + 1 + followed])) + 1
        future = usage[place + ahead]
        week = _error(future, carried, place - 6 + (ahead - 1) % 7)
        year = _error(future, carried, place + ahead - 364)
        given = (future, ahead.astype(float)) if len(ahead) else (None, None)
        rows.append([row["dataset"], row["time"], row["instance_id"], *given, float(followed), week, year])
    return rows


def _asked(days: pd.DataFrame) -> npt.NDArray[np.intp]:
    """Positions of the days that get a row: every `STEP` days of the calendar, where the series reported."""
    reported = days["time"].notna().to_numpy() & (days["usage"].notna().cumsum() > 0).to_numpy()
    return np.flatnonzero(reported & (days.index.to_numpy() % STEP == 0))


def _carried(usage: Floats) -> Floats:
    """Unknown days take the value of the same weekday a week before."""
    filled = usage.copy()
    for place in range(7, len(filled)):
        if np.isnan(filled[place]):
            filled[place] = filled[place - 7]
    return filled


def _error(future: Floats, carried: Floats, places: npt.NDArray[np.intp]) -> float | None:
    if not len(future) or places.min() < 0 or np.isnan(carried[places]).any():
        return None
    return float(np.abs(future - carried[places]).mean())


def _day(time: pd.Series) -> pd.Series:
    """Calendar days (UTC) since 1970."""
    return (time.dt.tz_convert("UTC").dt.floor("D") - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(days=1)


_READS = {"metrics": {"metric_name": METRICS}}

USAGE = View(
    name="capacity_usage",
    entity="series",
    columns=UsageHistory,
    reads=_READS,
    keys={"metrics": "instance_id"},
    transform=histories,
    ttl=timedelta(days=35),
    description="Two years of daily usage of a capacity, one row a week.",
)

USAGE_OUTCOMES = View(
    name="capacity_usage_outcomes",
    entity="series",
    columns=UsageOutcome,
    reads=_READS,
    keys={"metrics": "instance_id"},
    transform=outcomes,
    ttl=timedelta(days=35),
    online=False,
    description="Labels: the usage of the 90 days after each row.",
)
