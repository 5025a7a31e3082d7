"""What a forecast of one metric is made of, for `windows` (batch) and `running_windows` (one row after the other).

The forecasts are seasonal exponential smoothing (Holt, 1957; Winters, 1960) without a trend: with the seasonal value
`s[t]`, the offset `d[t] = x[t] - s[t]` and a memory of `m` rows,

    forecast[t] = s[t] + EWMA(d; 1/m)[t-1]        off_m[t] = EWMA(x; 1/2)[t] - forecast[t]

`s` is made once a minute, and what was measured within one minute counts once, as its mean. It is the median of the
same time of day on up to `DAYS` earlier days, each smoothed over an hour: what happens within minutes, even daily, is
no season. Before there is an earlier day it is the median of the last day's minutes. Where a minute has many rows, they
go from the last minute's value to this one's in equal steps: a jump of `s` would look like one of the metric.
A short memory sees jumps, a long one shifts that last, the season alone what moves slower than any memory. Everything
is made from the past only, so drift is followed without labels.
"""

from __future__ import annotations

import re
from functools import lru_cache

import numpy as np
import pandas as pd

MINUTE = 60_000_000  # in microseconds; the steps of the season
HOUR, DAY = 60, 1440  # in minutes
DAYS = 7
MEMORIES = {"off_50": 50.0, "off_17": 50 / 3, "off_5": 5.0, "off_2": 5 / 3}  # rows; evenly spaced on a log scale
DEVIATIONS = ("off_season", *MEMORIES)
SMOOTHING = 0.5  # of the newest values: half of what one row adds is noise
HELD = 10  # rows for which a metric that is not reported keeps its last value
STEPS = 100  # first rows of an instance, whose median gap is its usual step: later rows must not change earlier ones
# which process it is, what it may take, how its runtime tidies up: a restart moves them, and that is no trouble
TELLS_NOTHING = r"_(?:info|generation|start_time_seconds|max_fds|virtual_memory_bytes)$|^(?:python|go|jvm)_gc_"


@lru_cache(maxsize=65536)
def tells(metric: str) -> bool:
    """Whether a metric says anything about trouble."""
    return not re.search(TELLS_NOTHING, metric)


def step(times: np.ndarray) -> float:
    """The usual seconds between two rows, from their times in microseconds, ascending."""
    gaps = np.diff(times[:STEPS])
    return float(np.median(gaps)) / 1e6 if len(gaps) else 1.0


def seasonal(known: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """The seasonal value of each metric (columns) at each time (index), and of how many earlier days it is the median.

    An earlier day counts when it has a row within half an hour of the same time of day.
    """
    minutes, place = np.unique(pd.DatetimeIndex(known.index).as_unit("us").asi8 // MINUTE, return_inverse=True)
    steps = known if len(minutes) == len(known) else known.groupby(place).mean()
    steps = steps.set_index(pd.to_datetime(minutes * MINUTE, unit="us", utc=True))
    lagged = _lagged(minutes, steps.rolling(pd.Timedelta(minutes=HOUR), center=True, min_periods=1).mean().to_numpy())
    values, count = median(lagged)
    season = pd.DataFrame(values, steps.index, known.columns)
    new = np.flatnonzero((count == 0).any(axis=1))
    if len(new):
        span = slice(0, new[-1] + 1)
        level = steps.iloc[span].rolling(pd.Timedelta(minutes=DAY), closed="left", min_periods=1).median()
        season.iloc[span] = season.iloc[span].fillna(level)
    rows = np.bincount(place)
    before = np.maximum(place - 1, 0)
    number = np.arange(1, len(place) + 1) - (np.cumsum(rows) - rows)[place]
    by_row = between(season.to_numpy()[before], season.to_numpy()[place], number / rows[before])
    return pd.DataFrame(by_row, known.index, known.columns), count.max(axis=1)[place].astype("int64")


def between(last: np.ndarray, now: np.ndarray, share: np.ndarray) -> np.ndarray:
    """The seasonal values (rows × metrics) of rows that are `share` of the way from `last` to `now`; from 1, there."""
    share = share[:, None]
    return np.where((share >= 1) | np.isnan(last), now, last + share * (now - last))


def _lagged(minutes: np.ndarray, smooth: np.ndarray) -> np.ndarray:
    """What `smooth` was on each earlier day; days × minutes × metrics, missing days NaN."""
    lagged = np.full((DAYS, *smooth.shape), np.nan)
    for back in range(1, DAYS + 1):
        wanted = minutes - back * DAY
        place = np.clip(np.searchsorted(minutes, wanted), 1, max(len(minutes) - 1, 1)) - 1
        after = np.minimum(place + 1, len(minutes) - 1)
        place += np.abs(minutes[after] - wanted) < np.abs(minutes[place] - wanted)
        there = np.abs(minutes[place] - wanted) <= HOUR // 2
        lagged[back - 1, there] = smooth[place[there]]
    return lagged


def median(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Over the first axis, which it sorts in place: the median of what is no NaN, and the number of such values."""
    stack.sort(axis=0)  # NaN comes last
    count = np.isfinite(stack).sum(axis=0)
    low, high = (np.take_along_axis(stack, np.maximum(k, 0)[None], 0)[0] for k in ((count - 1) // 2, count // 2))
    return np.where(count > 0, (low + high) / 2, np.nan), count
