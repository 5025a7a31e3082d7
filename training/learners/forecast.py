"""Forecasts of daily series: a robust level and weekly rhythm, and paths blended by what they were worth so far.

The newest `origins` quarters are forecast from what was known before each. On these out-of-sample errors the weights of
the paths are chosen, a share of each path from 0 to 1 and the rest staying at the level, and the intervals are made:
split conformal prediction, for each day ahead, of the error over the restlessness of the series (Papadopoulos et al.,
"Inductive confidence machines for regression", ECML 2002).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.errors import DataError, nearest
from training.learner import Learner
from training.learners import _series
from training.learners._paths import LEARNT, History, LearntPath
from training.learners._series import PATHS, Floats, Past

QUARTER = 91  # days between origins, counted from 1970 so that every training has the same
CHUNK = 2000  # rows forecast at once
CALM = 0.005  # weekly change below which all series are alike
KINDS = ("forecast", "low", "high", "mean_low", "mean_high")


class BlendedForecast(Learner):
    """Forecasts `ahead` days of rows with `values`, `days_ago` and `time`, one blend for each value of column `group`.

    `paths`: what is blended (`_series.PATHS` and `_paths.LEARNT`); `step`: grid of the weights; `whole`: the weights
    must sum to 1, so that one path alone is that path. Labels are not read: what came after a row stands in the later
    rows of its `entity`.

    `predict` gives, for each day d from 1, `forecast_d`, `low_d` and `high_d` (interval of that day at `level`),
    `mean_low_d` and `mean_high_d` (interval of the mean of the days 1…d); `known` and `stale`, the days of the history
    with a value and since the newest one; `learnt`, the rows of the group learnt from (NaN forecasts where none).
    """

    FILE = "forecast.json"

    def __init__(
        self,
        paths: Sequence[str],
        group: str,
        entity: str,
        ahead: int = 90,
        length: int = 760,
        level: float = 0.95,
        step: float = 0.25,
        whole: bool = False,
        origins: int = 6,
        seed: int = 0,
    ) -> None:
        if unknown := [name for name in paths if name not in {**PATHS, **LEARNT}]:
            raise DataError(f"no path {unknown[0]!r}{nearest(unknown[0], {**PATHS, **LEARNT})}")
        self.config = {name: value for name, value in locals().items() if name not in ("self", "__class__", "unknown")}
        self.config["paths"] = list(paths)
        self.paths, self.group, self.entity = list(paths), group, entity
        self.ahead, self.length, self.seed = ahead, length, seed
        self.blends: dict[str, Blend] = {}

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        self.blends = {}
        for name, rows in frame.groupby(self.group, sort=True):
            self.blends[str(name)] = Blend(self.config).fit(*self._read(rows.sort_values("time", kind="stable")))
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        names = [f"{kind}_{day}" for kind in KINDS for day in range(1, self.ahead + 1)]
        found = np.full((len(frame), len(names)), np.nan)
        facts = np.zeros((len(frame), 3))
        for rows, blend, names_of, given in self._parts(frame):
            found[rows] = np.exp(np.concatenate(blend.intervals(given, names_of), axis=1))
            facts[rows] = np.column_stack([given.known, given.stale, np.full(len(rows), blend.state["rows"])])
        scores = pd.DataFrame(found, index=frame.index, columns=names)
        return pd.concat([scores, pd.DataFrame(facts, frame.index, ["known", "stale", "learnt"])], axis=1)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """What moves the mean of all days ahead away from the level of the last quarter, in parts (0.1: 10 % more)."""
        found = np.zeros((len(frame), len(self.paths) + 1))
        for rows, blend, names, given in self._parts(frame):
            before = _series.known_median(given.smooth[:, -QUARTER:])
            parts = [blend.weights[path] * blend.path(path, given, names).mean(axis=1) for path in self.paths]
            found[rows] = np.nan_to_num(np.column_stack([given.level - before, *parts]))
        return pd.DataFrame(found, index=frame.index, columns=["recent_level", *self.paths])

    def save(self, folder: Path) -> None:
        groups = list(self.blends)
        states = [self.blends[name].state for name in groups]
        (folder / self.FILE).write_text(json.dumps({"config": self.config, "groups": groups, "states": states}))
        for number, blend in enumerate(self.blends.values()):
            for path in blend.learnt.values():
                path.save(folder / f"group-{number}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        for number, (name, state) in enumerate(zip(content["groups"], content["states"], strict=True)):
            learner.blends[name] = blend = Blend(content["config"])
            blend.state = state
            for path in blend.learnt.values():
                path.load(folder / f"group-{number}")
        return learner

    def _parts(self, frame: pd.DataFrame) -> Iterator[tuple[npt.NDArray[np.intp], Blend, list[str], Past]]:
        """(positions, blend, series, past) of the rows of each group, some at a time."""
        for name, places in frame.reset_index(drop=True).groupby(self.group, sort=True).indices.items():
            for start in range(0, len(places), CHUNK):
                rows = np.asarray(places[start : start + CHUNK])
                if str(name) in self.blends:
                    names, given = self._read(frame.iloc[rows])
                    yield rows, self.blends[str(name)], names, given

    def _read(self, rows: pd.DataFrame) -> tuple[list[str], Past]:
        days = (pd.to_datetime(rows["time"], utc=True) - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(days=1)
        given = _series.past(
            rows["values"].tolist(), rows["days_ago"].tolist(), np.asarray(days, dtype=np.int64), self.length
        )
        return rows[self.entity].astype(str).tolist(), given


class Blend:
    """The paths of one group of series, their weights, and the quantiles of the errors."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config, self.ahead = config, int(config["ahead"])
        self.learnt: dict[str, LearntPath] = {name: LEARNT[name]() for name in config["paths"] if name in LEARNT}
        self.state: dict[str, Any] = {}

    @property
    def weights(self) -> dict[str, float]:
        """Path → its share."""
        return dict(zip(self.config["paths"], self.state["weights"], strict=True))

    def fit(self, names: list[str], given: Past) -> Self:
        """Learn from rows in order of time."""
        history = _joined(names, given)
        truth = _after(names, given, history, self.ahead)
        now = int(given.days.max())
        tries = list(self._tried(names, given, truth, history, now))
        if not tries:
            raise DataError(
                f"{len(set(names))} series of at most {np.ptp(given.days)} days; a year and a half is needed"
            )
        asked = np.concatenate([rows for rows, _ in tries])
        paths = np.concatenate([paths for _, paths in tries], axis=1)
        true = truth[asked] - given.baseline(self.ahead)[asked]
        self.state = {"weights": _weights(paths, true, self.config["step"], self.config["whole"]), "rows": len(names)}
        mixed = np.tensordot(self.state["weights"], paths, axes=1)
        self._conform(given.baseline(self.ahead)[asked] + mixed, truth[asked], _restless(given.only(asked)))
        self._learn(given, truth, history, now)
        return self

    def path(self, name: str, given: Past, names: Sequence[str]) -> Floats:
        """The path `name`, rows × days."""
        if name in self.learnt:
            return self.learnt[name].path(given, names, self.ahead)
        return PATHS[name](given, self.ahead)

    def intervals(self, given: Past, names: Sequence[str]) -> tuple[Floats, ...]:
        """In the order of `KINDS`, logarithms, each rows × days."""
        forecast = given.baseline(self.ahead)
        for name, share in self.weights.items():
            if share:
                forecast = forecast + share * self.path(name, given, names)
        mean = _running_mean(forecast)
        reach = _restless(given)[:, None]
        low, high, mean_low, mean_high = (reach * np.asarray(self.state[kind]) for kind in KINDS[1:])
        return forecast, forecast + low, forecast + high, mean + mean_low, mean + mean_high

    def _learn(self, given: Past, truth: Floats, history: History, now: int) -> None:
        known = np.flatnonzero(given.days + self.ahead <= now)
        for path in self.learnt.values():
            path.fit(given.only(known), (truth - given.baseline(self.ahead))[known], history, now, self.config["seed"])

    def _tried(
        self, names: list[str], given: Past, truth: Floats, history: History, now: int
    ) -> Iterator[tuple[npt.NDArray[np.intp], Floats]]:
        """For each past origin the rows of the quarter after it, and their paths (paths × rows × days)."""
        last = now // QUARTER
        for origin in range(last - self.config["origins"], last):
            then, rows = origin * QUARTER, np.flatnonzero(given.days // QUARTER == origin)
            if not len(rows) or not ((given.days + self.ahead <= then) & ~np.isnan(truth[:, 0])).any():
                continue
            self._learn(given, truth, history, then)
            part, series = given.only(rows), [names[row] for row in rows]
            paths = [self.path(name, part, series) for name in self.config["paths"]]
            yield rows, np.stack(paths) if paths else np.empty((0, len(rows), self.ahead))

    def _conform(self, forecast: Floats, truth: Floats, reach: Floats) -> None:
        day = (truth - forecast) / reach[:, None]
        known = ~np.isnan(truth)
        sums = [np.cumsum(np.where(known, np.exp(values), 0.0), axis=1) for values in (truth, forecast)]
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(known, np.log(sums[0] / sums[1]), np.nan) / reach[:, None]
        outside = (1 - self.config["level"]) / 2
        for name, errors in (("", day), ("mean_", mean)):
            for kind, share in (("low", outside), ("high", 1 - outside)):
                quantiles = [_quantile(errors[:, max(0, d - 3) : d + 4], share) for d in range(self.ahead)]
                self.state[name + kind] = quantiles


def _joined(names: Sequence[str], given: Past) -> History:
    """The whole of each series, from rows that overlap."""
    found: dict[str, tuple[int, Floats]] = {}
    length = given.raw.shape[1]
    for name, places in pd.Series(range(len(names))).groupby(np.asarray(names, dtype=object)).indices.items():
        rows = np.asarray(places)
        first = int(given.days[rows].min()) - length + 1
        logs = np.full(int(given.days[rows].max()) - first + 1, np.nan)
        for row in rows:
            end = int(given.days[row]) - first + 1
            logs[end - length : end] = given.raw[row]
        begin = int((~np.isnan(logs)).argmax())
        found[str(name)] = (first + begin, logs[begin:])
    return found


def _after(names: Sequence[str], given: Past, history: History, ahead: int) -> Floats:
    """Rows × days: what came after each row, as far as later rows tell."""
    found = np.full((len(names), ahead), np.nan)
    for row, (name, day) in enumerate(zip(names, given.days, strict=True)):
        first, logs = history[name]
        future = logs[day + 1 - first : day + 1 - first + ahead]
        found[row, : len(future)] = future
    return found


def _weights(paths: Floats, truth: Floats, step: float, whole: bool) -> list[float]:
    """The shares on a grid with the least absolute error of the weekly path."""
    if not len(paths):
        return []
    count = round(1 / step)
    weekly, true = np.stack([_series.weekly(path) for path in paths]), _series.weekly(truth)
    shares = [np.array(share) / count for share in product(range(count + 1), repeat=len(paths)) if sum(share) <= count]
    shares = [share for share in shares if not whole or share.sum() == 1]
    errors = [np.nanmean(np.abs(true - np.tensordot(share, weekly, axes=1))) for share in shares]
    return [float(share) for share in shares[int(np.argmin(errors))]]


def _quantile(errors: Floats, share: float) -> float:
    """The conformal quantile: the share is moved outwards by one error more."""
    known = errors[~np.isnan(errors)]
    rows = max(1, len(known) // max(1, errors.shape[1]))
    outward = share + (share - 0.5) / rows
    return float(np.quantile(known, np.clip(outward, 0, 1))) if len(known) else float("nan")


def _restless(given: Past) -> Floats:
    return np.maximum(given.spread, CALM)


def _running_mean(forecast: Floats) -> Floats:
    """Logarithm of the mean of the days up to each day."""
    return np.asarray(np.log(np.cumsum(np.exp(forecast), axis=1) / np.arange(1, forecast.shape[1] + 1)))
