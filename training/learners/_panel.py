"""Rows of many places → one sample a place: where it stood, how it moved, and how the other places of the row did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
CALM = 1e-9  # below it nothing moved
PEERS = ("peers_moved", "above_peers", "peers_mean")


class Plan(NamedTuple):
    """How one kind of series is read. Times in hours."""

    step: float  # between the steps of the recent past
    steps: int
    windows: tuple[float, ...]  # over which means are taken
    ahead: tuple[float, ...]
    late: float  # how much later than a horizon its value may be measured
    chance: bool  # values are 0 or 1 and the forecast is a probability; else values are positive and read as logarithms
    parts: tuple[str, ...]  # what is blended


class Samples(NamedTuple):
    """N samples. `row`: position in the frame; `hours`: when it was known, since 1970."""

    row: Ints
    hours: Floats
    newest: Floats
    grid: Floats  # N × steps, newest first, less the newest; NaN before the first known value
    features: Floats  # N × names
    restless: Floats  # mean absolute step; 0: it never moved

    def only(self, picked: Any) -> Samples:
        """The picked samples; whole rows, so that places keep their neighbours."""
        return Samples(*(part[picked] for part in self))


def names(plan: Plan) -> list[str]:
    """The columns of `Samples.features`."""
    lags = [f"lag_{step}" for step in range(1, plan.steps)]
    windows = [f"mean_{window:g}h" for window in plan.windows]
    return [*lags, *windows, "median", "restless", "moves", "unmoved", "known", "newest", *PEERS]


def read(frame: pd.DataFrame, plan: Plan) -> Samples:
    """Every place of every row whose newest value is known; the others are left out (see `kept`)."""
    parts = [
        _row(values, ago, plan)
        for values, ago in zip(frame["values"], frame["hours_ago"], strict=True)
        if len(ago) and len(values)
    ]
    filled = [n for n, (v, a) in enumerate(zip(frame["values"], frame["hours_ago"], strict=True)) if len(a) and len(v)]
    if not parts:
        width = len(names(plan))
        none: Floats = np.empty(0)
        rows: Ints = np.empty(0, dtype=np.intp)
        return Samples(rows, none, none, np.empty((0, plan.steps)), np.empty((0, width)), none)
    times = (pd.to_datetime(frame["time"], utc=True) - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(hours=1)
    row = np.repeat(filled, [len(part[0]) for part in parts]).astype(np.intp)
    newest, grid, features, restless = (np.concatenate([part[n] for part in parts]) for n in range(4))
    hours: Floats = np.asarray(times, dtype=np.float64)
    return Samples(row, hours[row], newest, grid, features, restless)


def kept(values: Sequence[float], ago: Sequence[float]) -> npt.NDArray[np.bool_]:
    """Which places of a row have a sample: those whose newest value is known."""
    if not len(ago):
        return np.zeros(0, dtype=bool)
    return np.asarray(np.asarray(values, dtype=float).reshape(-1, len(ago))[:, -1] >= 0)


def truth(frame: pd.DataFrame, label: str, plan: Plan) -> Floats:
    """N × horizons: what came, as logarithm unless it is a chance; NaN where it is not known."""
    found = []
    for future, values, ago in zip(frame[label], frame["values"], frame["hours_ago"], strict=True):
        keep = kept(values, ago)
        if future is None or not isinstance(future, (list, np.ndarray)):
            found.append(np.full((int(keep.sum()), len(plan.ahead)), np.nan))
        else:
            found.append(_scaled(np.asarray(future, dtype=float).reshape(len(keep), -1)[keep], plan))
    return np.concatenate(found) if found else np.empty((0, len(plan.ahead)))


def alone(samples: Samples, plan: Plan) -> Samples:
    """The same samples with nothing known of the other places."""
    features = samples.features.copy()
    features[:, [names(plan).index(name) for name in PEERS]] = np.nan
    return samples._replace(features=features)


def _scaled(values: Floats, plan: Plan) -> Floats:
    known = values >= 0 if plan.chance else values > 0
    return np.where(known, values if plan.chance else np.log(np.where(known, values, 1.0)), np.nan)


def _row(values: Any, ago: Any, plan: Plan) -> tuple[Floats, Floats, Floats, Floats]:
    """newest, grid, features and restlessness of the places of one row"""
    ago = np.asarray(ago, dtype=float)
    past = _scaled(np.asarray(values, dtype=float).reshape(-1, len(ago)), plan)[kept(values, ago)]
    past = pd.DataFrame(past).ffill(axis=1).to_numpy(dtype=float)
    if not len(past):
        return np.empty(0), np.empty((0, plan.steps)), np.empty((0, len(names(plan)))), np.empty(0)
    newest = past[:, -1]
    at = np.searchsorted(-ago, -plan.step * np.arange(plan.steps) + 1e-6, side="right") - 1
    grid = np.where(at >= 0, past[:, np.maximum(at, 0)], np.nan) - newest[:, None]
    median = _median(past) - newest
    restless, moves, unmoved = _moves(past, ago)
    # of a price the level is left out: what a machine costs says little about where its price goes
    level = newest if plan.chance else np.zeros(len(past))
    peers = (
        np.full(len(past), -_mean(grid[:, min(4, plan.steps - 1)])),
        newest - newest.mean(),
        np.full(len(past), newest.mean() if plan.chance else _mean(median)),
    )
    known = np.log1p((~np.isnan(past)).sum(axis=1))
    own = (grid[:, 1:], _means(past, ago, plan) - newest[:, None], median, restless, moves, unmoved, known, level)
    return newest, grid, np.column_stack([*own, *peers]), restless


def _means(past: Floats, ago: Floats, plan: Plan) -> Floats:
    """Places × windows: means of what is known in each."""
    inside = (ago <= np.asarray(plan.windows)[:, None]).T.astype(float)
    sums, counts = np.nan_to_num(past) @ inside, (~np.isnan(past)).astype(float) @ inside
    return np.asarray(sums / np.maximum(counts, 1))


def _moves(past: Floats, ago: Floats) -> tuple[Floats, Floats, Floats]:
    """For each place its mean absolute step, the share of steps that moved, and log hours since the last that did."""
    steps = np.nan_to_num(np.abs(np.diff(past, axis=1)))
    count = np.maximum((~np.isnan(past[:, :-1])).sum(axis=1), 1)
    moved = steps > CALM
    since = np.full(len(past), ago[0])
    some = moved.any(axis=1)
    if some.any():
        since[some] = ago[-1 - np.argmax(moved[some][:, ::-1], axis=1)]
    return steps.sum(axis=1) / count, moved.sum(axis=1) / count, np.log1p(since)


def _median(past: Floats) -> Floats:
    return np.array([np.median(line[~np.isnan(line)]) for line in past])


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else 0.0
