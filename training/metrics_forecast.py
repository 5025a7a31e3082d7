"""Metrics of forecasts of daily series: rows × days ahead, NaN where the truth is not known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def futures(values: Sequence[Any], days: Sequence[Any], ahead: int) -> Floats:
    """Lists of values and of the days ahead on which they were measured (or None) → rows × days."""
    found = np.full((len(values), ahead), np.nan)
    for row, (known, when) in enumerate(zip(values, days, strict=True)):
        if known is not None:
            found[row, np.asarray(when, dtype=int) - 1] = known
    return found


def daily_accuracy(truth: Floats, forecast: Floats) -> float:
    """1 - MAPE of the days."""
    return float(1 - np.nanmean(np.abs(forecast - truth) / truth))


def total_accuracy(truth: Floats, forecast: Floats) -> float:
    """1 - MAPE of the sums of each row's known days; rows without any are left out."""
    total, told = totals(truth, forecast)
    return float(1 - np.mean(np.abs(told - total) / total))


def totals(truth: Floats, forecast: Floats) -> tuple[Floats, Floats]:
    """The sums of each row's known days, true and forecast; rows without any are left out."""
    known = ~np.isnan(truth)
    some = known.any(axis=1)
    return np.nansum(truth[some], axis=1), np.where(known, forecast, 0.0)[some].sum(axis=1)


def coverage(truth: Floats, low: Floats, high: Floats) -> float:
    """The share of known values inside of their interval."""
    known = ~np.isnan(truth)
    return float(((truth >= low) & (truth <= high))[known].mean())


def scaled_error(series: Sequence[str], error: Floats, *naive: Floats) -> float:
    """Mean over series of the absolute error over that of the best naive rule for the series (below 1: better).

    Hyndman & Koehler's MASE (2006) with the naive errors taken at the same origins and horizons, so that 90 days are
    not held against one. `error`, `naive`: mean absolute error of each row; NaN where a rule could not be applied.
    """
    names = np.asarray(series, dtype=object)
    ratios = []
    for name in np.unique(names):
        rows = names == name
        sums = [rule[rows].sum() for rule in naive]  # NaN where the rule lacks a row
        if not np.isnan(sums).all() and np.nanmin(sums) > 0:
            ratios.append(error[rows].sum() / np.nanmin(sums))
    return float(np.mean(ratios)) if ratios else float("nan")
