"""The rows of `windows.states` for one live instance, a few points at a time, without a look back at the points.

Of the past it keeps each counter's last point, each metric's last value, its smoothed offsets, and its mean in each
minute of the last week: about 10,000 numbers a metric, however often the instance is scraped.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Any, Self

import numpy as np
import pyarrow as pa

from features.rates import LIVE, RunningRates
from features.transforms.seasonal import (
    DAY,
    DAYS,
    DEVIATIONS,
    HELD,
    HOUR,
    MEMORIES,
    MINUTE,
    SMOOTHING,
    STEPS,
    between,
    median,
    step,
    tells,
)

REMEMBERED = DAYS * DAY + 2 * HOUR  # minutes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WEIGHTS = np.array([SMOOTHING, *(1 / memory for memory in MEMORIES.values())])[:, None]  # in the order of DEVIATIONS


class RunningWindows:
    """State of one instance; arrays have a column a metric, in the order in which the metrics appeared."""

    def __init__(self) -> None:
        self._rates = RunningRates(tells)
        self._instance, self._service = "", ""
        self._place: dict[str, int] = {}  # metric → its column
        self._told: tuple[str, ...] = ()  # metrics of the newest points, and
        self._columns: list[int] = []  # their columns
        self._names, self._order = np.empty(0, dtype=object), np.empty(0, dtype="int64")  # of the columns; alphabetical
        self._first: list[int] = []  # times of the first rows
        self._last = np.empty(0)  # value
        self._age = np.empty(0)  # rows since then
        self._smooth = np.empty((len(DEVIATIONS), 0))  # exponentially smoothed offsets
        self._minute = 0  # that of the newest row, whose sum and number of values are:
        self._total, self._number = np.empty(0), np.empty(0)
        self._past: dict[int, np.ndarray] = {}  # minute → means; arrays as long as there were metrics then
        self._season, self._days = np.empty(0), 0  # of this minute
        self._rows = 0  # in this minute; those of the minute before, and its season:
        self._rows_before, self._season_before = 0, np.empty(0)

    def copy(self) -> Self:
        """An independent copy; what is in an array is never changed, so arrays are shared."""
        twin = copy.copy(self)
        twin._rates, twin._place = self._rates.copy(), dict(self._place)
        twin._first, twin._past = list(self._first), dict(self._past)
        return twin

    def add(self, rows: Mapping[str, pa.Table]) -> dict[str, Any] | None:
        """Take points of the instance, all later than those before; returns its newest row."""
        told = self._rates.add(rows["metrics"])
        times = told.times
        if not len(times):
            return None
        self._instance = rows["metrics"]["instance_id"][0].as_py()
        self._service = min([*told.services, *filter(None, [self._service])], default="")
        self._first += times[: STEPS - len(self._first)].tolist()
        self._find(told.metrics)
        known = self._held(told.values)
        minutes = times // MINUTE
        edges = [0, *(np.flatnonzero(np.diff(minutes)) + 1), len(minutes)]
        for begin, end in zip(edges, edges[1:], strict=False):
            self._turn(int(minutes[begin]))
            newest = self._follow(known[begin:end])
        return self._row(int(times[-1]), known[-1], newest)

    def _find(self, metrics: tuple[str, ...]) -> None:
        """Find the columns of the metrics; new ones get a column."""
        if metrics != self._told:
            for metric in metrics:
                self._place.setdefault(metric, len(self._place))
            self._told, self._columns = metrics, [self._place[metric] for metric in metrics]
            self._widen(len(self._place) - len(self._last))

    def _held(self, values: np.ndarray) -> np.ndarray:
        """Values (times × metrics told) → times × all metrics; what is not there keeps its last value for a while."""
        wide = np.full((len(values), len(self._place)), np.nan)
        wide[:, self._columns] = values
        row = np.arange(len(wide) + 1)[:, None]
        seen = np.vstack([-self._age, np.where(np.isfinite(wide), row[1:], -np.inf)])
        seen = np.maximum.accumulate(seen, axis=0)[1:]
        source = np.vstack([self._last, wide])
        held = source[np.maximum(seen, 0).astype("int64"), np.arange(wide.shape[1])]
        self._last, self._age = held[-1], len(wide) - seen[-1]
        return np.where(row[1:] - seen <= HELD, held, np.nan)

    def _widen(self, more: int) -> None:
        """Make room for new metrics."""
        if more:
            self._names = np.array(list(self._place), dtype=object)
            self._order = np.argsort(self._names)
            for name in ("_last", "_season", "_season_before", "_smooth"):
                setattr(self, name, _wider(getattr(self, name), more, np.nan))
            self._age = _wider(self._age, more, np.inf)
            self._total, self._number = (_wider(array, more, 0.0) for array in (self._total, self._number))

    def _turn(self, minute: int) -> None:
        """Begin a minute, unless it is the same: close the last one and look for the season of the new one."""
        if minute == self._minute:
            return
        if self._minute:
            with np.errstate(invalid="ignore"):
                self._past[self._minute] = self._total / self._number
        while self._past and (oldest := next(iter(self._past))) < minute - REMEMBERED:
            del self._past[oldest]
        self._minute = minute
        self._rows_before, self._season_before, self._rows = self._rows or 1, self._season, 0
        self._total, self._number = np.zeros(len(self._place)), np.zeros(len(self._place))
        days = np.full((DAYS, len(self._place)), np.nan)
        for back in range(DAYS):
            if (place := self._near(minute - (back + 1) * DAY)) is not None:
                days[back] = self._around(place)
        self._season, count = median(days)
        self._days = int(count.max())
        if not count.all():
            self._season = np.where(count > 0, self._season, self._level())

    def _near(self, minute: int) -> int | None:
        """The remembered minute that is nearest, within half an hour; of two the earlier."""
        around = (minute + sign * distance for distance in range(HOUR // 2 + 1) for sign in (-1, 1))
        return next((place for place in around if place in self._past), None)

    def _around(self, minute: int) -> np.ndarray:
        """Means of the hour around `minute`."""
        hour = range(minute - HOUR // 2 + 1, minute + HOUR // 2 + 1)
        stack = self._stack(self._past[place] for place in hour if place in self._past)
        known = np.isfinite(stack)
        with np.errstate(invalid="ignore"):
            return np.where(known, stack, 0.0).sum(axis=0) / known.sum(axis=0)

    def _level(self) -> np.ndarray:
        """Medians of the last day."""
        day = takewhile(lambda place: place >= self._minute - DAY, reversed(self._past))
        return median(self._stack([np.empty(0), *(self._past[place] for place in day)]))[0]

    def _stack(self, means: Iterable[np.ndarray]) -> np.ndarray:
        """Minutes × metrics; metrics that were not there yet are NaN."""
        parts, width = list(means), len(self._place)
        return np.array([part if len(part) == width else _wider(part, width - len(part), np.nan) for part in parts])

    def _follow(self, known: np.ndarray) -> np.ndarray:
        """Rows of this minute → the deviations of the last of them; memories × metrics."""
        there = np.isfinite(known)
        self._total = self._total + np.where(there, known, 0.0).sum(axis=0)
        self._number = self._number + there.sum(axis=0)
        share = np.arange(self._rows + 1, self._rows + len(known) + 1) / self._rows_before
        self._rows += len(known)
        for offset in known - between(self._season_before, self._season, share):
            before = self._smooth
            changed = np.where(np.isnan(before), offset, before + _WEIGHTS * (offset - before))
            self._smooth = np.where(np.isnan(offset), before, changed)
        newest = self._smooth[0] - np.vstack([np.zeros((1, len(offset))), before[1:]])
        return np.where(np.isnan(self._season) | np.isnan(newest), 0.0, newest)

    def _row(self, time: int, known: np.ndarray, deviations: np.ndarray) -> dict[str, Any] | None:
        order = self._order[np.isfinite(known[self._order])]
        if not len(order):
            return None
        return {
            "dataset": LIVE,
            "time": _EPOCH + timedelta(microseconds=time),
            "instance": self._instance,
            "service": self._service or self._instance,
            "step": step(np.array(self._first)),
            "days": self._days,
            "metrics": self._names[order].tolist(),
            "values": known[order].tolist(),
            **{name: values[order].tolist() for name, values in zip(DEVIATIONS, deviations, strict=True)},
        }


def _wider(array: np.ndarray, more: int, value: float) -> np.ndarray:
    return np.concatenate([array, np.full((*array.shape[:-1], more), value)], axis=-1)
