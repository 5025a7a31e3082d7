"""Sequences as numbers: what every learner over array features shares.

A frame holds, per row, arrays of one length (the age of each report and the measured sequences, oldest first), a
category, an entity and a time. `Encoder` turns it into a tensor; `time_to_event` turns a label of "the event comes
soon" into days.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Tensor = npt.NDArray[np.float32]
FEW = 20  # rows of a category below which it counts as unknown
DAY = pd.Timedelta(days=1)


class Encoded(NamedTuple):
    """`x`: rows × `length` × channels, newest last, 0 = typical or padding; `category`: 0 = unknown; `weekday`: 0-6."""

    x: Tensor
    category: npt.NDArray[np.int64]
    weekday: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.int64]) -> Encoded:
        return Encoded(self.x[rows], self.category[rows], self.weekday[rows])


class Encoder:
    """Three channels per sequence, each zero where the value is typical of the training rows, and two for the reports.

    - level: sign(v)·log(1+|v|), less the median of the category (vendors count differently), by the spread of all;
    - change since the report before, on the same scale: a counter that grows or, if it always grows, one that stops;
    - still: whether the value is exactly that of the report before;
    - reported: 1, and 0 for padding before the first report; gap: log of the days since the report before.
    """

    def __init__(self, sequences: Sequence[str], age: str, category: str, length: int) -> None:
        self.sequences, self.age, self.category, self.length = list(sequences), age, category, length
        self.state: dict[str, Any] = {}

    @property
    def channels(self) -> int:
        return 3 * len(self.sequences) + 2

    def owned(self, name: str) -> slice:
        """The channels that belong to sequence `name`."""
        first = 3 * self.sequences.index(name)
        return slice(first, first + 3)

    def fit(self, frame: pd.DataFrame) -> Encoder:
        """Learn the categories, and what is typical, from the newest values of `frame`."""
        categories = frame[self.category].astype(str)
        counts = categories.value_counts()
        known = sorted(counts.index[counts >= FEW])
        self.state = {"categories": known, "median": {}, "spread": {}, "change": {}, "still": {}}
        for name in self.sequences:
            newest = squash(np.array([cell[-1] for cell in frame[name]], dtype=float))
            pairs = np.array([cell[-2:] for cell in frame[name] if len(cell) > 1], dtype=float).reshape(-1, 2)
            change = squash(pairs[:, 1] - pairs[:, 0])
            medians = pd.Series(newest).groupby(categories.to_numpy()).median()
            self.state["median"][name] = {"": float(np.median(newest)), **medians[known].astype(float).to_dict()}
            self.state["spread"][name] = float(newest.std()) or 1.0
            middle = float(np.median(change)) if len(change) else 0.0
            self.state["change"][name] = (middle, (float(change.std()) if len(change) else 0.0) or 1.0)
            self.state["still"][name] = float(np.median(change == 0)) if len(change) else 0.0
        return self

    def encode(self, frame: pd.DataFrame) -> Encoded:
        """The tensor of `frame`; rows longer than `length` keep their newest values."""
        lengths = np.array([min(len(cell), self.length) for cell in frame[self.age]], dtype=np.int64)
        row = np.repeat(np.arange(len(frame)), lengths)
        within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        place = self.length - lengths[row] + within
        x = np.zeros((len(frame), self.length, self.channels), dtype=np.float32)
        names = frame[self.category].astype(str).to_numpy()
        later = within > 0  # has a report before it
        for name in self.sequences:
            values = self._flat(frame[name])
            x[row, place, self.owned(name)] = self._channels(name, values, later, names[row])
        age = self._flat(frame[self.age])
        x[row, place, -2] = 1.0
        x[row, place, -1] = np.where(later, np.log(np.maximum(np.roll(age, 1) - age, 1e-2)), 0.0)
        index = {name: number for number, name in enumerate(self.state["categories"], start=1)}
        category = np.array([index.get(name, 0) for name in names], dtype=np.int64)
        weekday = pd.to_datetime(frame["time"], utc=True).dt.dayofweek.to_numpy().astype(np.int64)
        return Encoded(x, category, weekday)

    def _flat(self, cells: pd.Series) -> Floats:
        parts = [np.asarray(cell, dtype=np.float64)[-self.length :] for cell in cells]
        return np.concatenate(parts) if parts else np.empty(0)

    def _channels(self, name: str, values: Floats, later: npt.NDArray[np.bool_], categories: Any) -> Floats:
        medians = self.state["median"][name]
        centre = pd.Series(categories).map(medians).fillna(medians[""]).to_numpy(float)
        level = np.clip((squash(values) - centre) / self.state["spread"][name], -5, 5)
        difference = np.where(later, values - np.roll(values, 1), 0.0)
        middle, spread = self.state["change"][name]
        change = np.where(later, np.clip((squash(difference) - middle) / spread, -8, 8) / 2, 0.0)
        still = np.where(later, (difference == 0) - self.state["still"][name], 0.0)
        return np.column_stack([level, change, still])


def squash(values: Floats) -> Floats:
    """sign(v)·log(1+|v|): counters span six orders of magnitude."""
    return np.sign(values) * np.log1p(np.abs(values))


def summaries(x: Tensor) -> Tensor:
    """Rows × (6·channels): newest; mean of the last 3, of the last 7, of all; highest; lowest."""
    parts = [x[:, -1], x[:, -3:].mean(1), x[:, -7:].mean(1), x.mean(1), x.max(1), x.min(1)]
    return np.concatenate(parts, axis=1)


def time_to_event(frame: pd.DataFrame, label: str, entity: str, within: int) -> tuple[Floats, Floats]:
    """Days from each row to its entity's event (NaN: none seen) and days the entity was followed without one.

    `label` says whether the event comes 1…`within` days after the row. The last positive row of an entity is therefore
    the day before its event, rows labelled False are followed `within` days, and rows without a label only themselves.
    """
    day = ((frame["time"] - pd.Timestamp(0, tz="UTC")) // DAY).astype("float64")
    known = frame[label].astype("float64")
    positive, negative = known.eq(1).to_numpy(), known.eq(0).to_numpy()
    by = frame[entity]
    event = (day + 1).where(positive).groupby(by).transform("max")
    seen = (day + np.where(negative, within, 0)).groupby(by).transform("max")
    ahead = (event - day).where(event > day)
    return ahead.to_numpy(float), (seen - day).where(ahead.isna(), ahead - 1).to_numpy(float)
