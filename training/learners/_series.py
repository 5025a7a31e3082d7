"""Daily series as arrays: level, weekly rhythm, and simple ways to go on from them. Numbers only, numpy only.

Everything is in logarithms, so that effects are relative, and for many rows at once: arrays are rows × days, oldest
first, NaN where nothing is known. A forecast is `level + rhythm + path`; each function below gives one path.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
WEEK, YEAR = 7, 364  # a year of whole weeks keeps the weekday
RHYTHM_WEEKS = 8
MONTH = 28
SLOPE_DAYS, STEEPEST = 182, 0.003  # a trend is read over half a year, and is at most a doubling in 230 days
DAMPING = (
    0.985  # of the trend, a day (Gardner & McKenzie, "Forecasting trends in time series", Management Science 1985)
)


@dataclass(frozen=True)
class Past:
    """What is known of each row at its day. `days` counts calendar days; the last column is the row's day."""

    raw: Floats  # rows × length, logarithms
    logs: Floats  # `raw`, gaps carried forward from the same weekday
    smooth: Floats  # `logs` without the weekly rhythm
    rhythm: Floats  # rows × 7, of the days after the row's
    level: Floats  # rows
    spread: Floats  # rows: how much the level moves in a week, robust
    days: npt.NDArray[np.int64]
    known: npt.NDArray[np.int64]  # days with a value
    stale: npt.NDArray[np.int64]  # days since the newest value

    def only(self, rows: npt.NDArray[np.intp]) -> Past:
        """These rows."""
        return Past(**{name: values[rows] for name, values in vars(self).items()})

    def baseline(self, ahead: int) -> Floats:
        """The level and the rhythm of the next `ahead` days."""
        return np.asarray(self.level[:, None] + self.rhythm[:, np.arange(ahead) % WEEK])


def past(values: Sequence[Any], days_ago: Sequence[Any], days: npt.NDArray[np.int64], length: int) -> Past:
    """Read rows of values (usage) and their ages; a value that is not positive counts as unknown."""
    raw = matrix(values, days_ago, length)
    known = ~np.isnan(raw)
    logs = _carried(raw)
    weeks = logs[:, -WEEK * RHYTHM_WEEKS :].reshape(len(logs), -1, WEEK)
    rhythm = _median(weeks - _median(weeks, axis=2)[:, :, None], axis=1)
    rhythm = np.nan_to_num(rhythm - rhythm.mean(axis=1, keepdims=True))
    smooth = logs - rhythm[:, np.arange(-length, 0) % WEEK]
    stale = np.where(known.any(axis=1), known[:, ::-1].argmax(axis=1), length)
    return Past(
        raw,
        logs,
        smooth,
        rhythm,
        typical(smooth, WEEK),
        _spread(smooth),
        days,
        known.sum(axis=1),
        stale.astype(np.int64),
    )


def matrix(values: Sequence[Any], days_ago: Sequence[Any], length: int) -> Floats:
    """Rows × length, logarithms; the last column is day 0."""
    found = np.full((len(values), length), np.nan)
    sizes = [len(row) for row in values]
    if not sum(sizes):
        return found
    flat = np.concatenate([np.asarray(row, dtype=float) for row in values])
    places = length - 1 - np.concatenate([np.asarray(row, dtype=float) for row in days_ago]).astype(int)
    rows, good = np.repeat(np.arange(len(sizes)), sizes), (flat > 0) & (places >= 0)
    found[rows[good], places[good]] = np.log(flat[good])
    return found


def typical(smooth: Floats, width: int, before: int = 0) -> Floats:
    """The median of the `width` days that end `before` days ago; NaN where one of them is unknown."""
    end = smooth.shape[1] - before
    return _median(smooth[:, end - width : end], axis=1)


def trend(given: Past, ahead: int) -> Floats:
    """The change of the monthly level over half a year goes on, damped; none where half a year is not known."""
    slope = (typical(given.smooth, MONTH) - typical(given.smooth, MONTH, SLOPE_DAYS)) / SLOPE_DAYS
    slope = np.nan_to_num(np.clip(slope, -STEEPEST, STEEPEST))
    return np.asarray(slope[:, None] * np.cumsum(DAMPING ** np.arange(ahead)))


def season(given: Past, ahead: int) -> Floats:
    """What the same weeks did in the years before, on average; none where no year is known."""
    years = np.stack([_year(given.smooth, ahead, YEAR * back) for back in (1, 2)])
    count = (~np.isnan(years)).sum(axis=0)
    return np.asarray(np.nansum(years, axis=0) / np.maximum(count, 1))


def last_week(given: Past, ahead: int) -> Floats:
    """The last seven days again and again."""
    week = given.logs[:, -WEEK:][:, np.arange(ahead) % WEEK]
    return np.nan_to_num(week - given.baseline(ahead))


def last_year(given: Past, ahead: int) -> Floats:
    """The same weekday 52 weeks before; the last week where no year is known."""
    begin = given.logs.shape[1] - YEAR
    path = given.logs[:, begin : begin + ahead] - given.baseline(ahead)
    return np.where(np.isnan(path), last_week(given, ahead), path)


PATHS = {"trend": trend, "season": season, "last_week": last_week, "last_year": last_year}


def lags(given: Past, ahead: int) -> tuple[Floats, list[str]]:
    """(rows × weeks ahead) × inputs of a regression on the path, rows of one week together, and the inputs' names.

    Levels of earlier weeks and months against the present one, what the same week did in the years before, how restless
    the series is, how far ahead, and the time of the year.
    """
    weeks = -(-ahead // WEEK)
    windows = [
        (1, 0),
        (3, 0),
        (14, 0),
        (28, 0),
        (91, 0),
        (364, 0),
        *((MONTH, gap) for gap in (28, 63, 91, 182, 273, 364)),
    ]
    own = {f"level_{width}_{before}": typical(given.smooth, width, before) - given.level for width, before in windows}
    own["spread"] = given.spread
    years = {f"year_{back}": _year(given.smooth, weeks * WEEK, YEAR * back) for back in (1, 2)}
    parts = []
    for week in range(weeks):
        angle = 2 * np.pi * (given.days + WEEK * week + 4) / 365.25
        clock = [wave(times * angle) for times in (1, 2) for wave in (np.sin, np.cos)]
        past_years = [path[:, WEEK * week : WEEK * week + WEEK].mean(axis=1) for path in years.values()]
        parts.append(np.column_stack([*own.values(), *past_years, np.full(len(given.days), week), *clock]))
    return np.concatenate(parts), [*own, *years, "week", "sin_1", "cos_1", "sin_2", "cos_2"]


def daily(weekly: Floats, ahead: int) -> Floats:
    """Rows × weeks → rows × days, linear between the middles of the weeks."""
    place = np.clip((np.arange(ahead) - WEEK // 2) / WEEK, 0, weekly.shape[1] - 1)
    low = np.floor(place).astype(int)
    high, share = np.minimum(low + 1, weekly.shape[1] - 1), place - low
    return np.asarray(weekly[:, low] * (1 - share) + weekly[:, high] * share)


def weekly(path: Floats) -> Floats:
    """Rows × days → rows × weeks: the median of the days that are known."""
    weeks = -(-path.shape[1] // WEEK)
    padded = np.full((len(path), weeks * WEEK), np.nan)
    padded[:, : path.shape[1]] = path
    return known_median(padded.reshape(len(path), weeks, WEEK))


def known_median(values: Floats) -> Floats:
    """The median along the last axis of what is known; NaN where nothing is (numpy's own is slow and warns)."""
    ordered = np.sort(values, axis=-1)  # NaN last
    count = (~np.isnan(ordered)).sum(axis=-1, keepdims=True)
    last = np.maximum(count - 1, 0)
    middle = [np.take_along_axis(ordered, at, axis=-1) for at in (last // 2, np.minimum(count // 2, last))]
    return np.asarray((middle[0] + middle[1])[..., 0] / 2)


def _year(smooth: Floats, ahead: int, back: int) -> Floats:
    """How the smooth series went on from `back` days ago, in windows of eleven days; NaN where unknown."""
    end = smooth.shape[1] - back
    if end < 2 * WEEK:
        return np.full((len(smooth), ahead), np.nan)
    reach = np.lib.stride_tricks.sliding_window_view(smooth[:, end - 5 : end + ahead + 5], 11, axis=1)
    return np.asarray(reach[:, :ahead].mean(axis=2) - _median(smooth[:, end - 2 * WEEK : end], axis=1)[:, None])


def _spread(smooth: Floats) -> Floats:
    """1.48 × the median absolute change of the weekly level over a year, as far as it is known."""
    levels = _median(smooth[:, -52 * WEEK :].reshape(len(smooth), -1, WEEK), axis=2)
    return 1.4826 * np.nan_to_num(known_median(np.abs(np.diff(levels, axis=1))))


def _carried(raw: Floats) -> Floats:
    filled = raw.copy()
    for day in range(WEEK, raw.shape[1]):
        filled[:, day] = np.where(np.isnan(filled[:, day]), filled[:, day - WEEK], filled[:, day])
    return filled


def _median(values: Floats, axis: int) -> Floats:
    """NaN where anything is unknown."""
    return np.asarray(np.median(values, axis=axis))
