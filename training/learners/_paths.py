"""Paths that are learnt: how a series goes on from its present level, by Prophet and by boosted trees.

As in `_series`, a path is rows × days in logarithms, added to level and rhythm; 0 where nothing is known.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.learners import _series
from training.learners._series import MONTH, WEEK, Floats, Past

History = Mapping[str, tuple[int, Floats]]  # series → (its first day, logarithms a day, NaN where unknown)
STRIDE = 8  # of the rows, one a week, every eighth teaches the trees: their futures overlap


class LearntPath(ABC):
    """A path with a state. `fit` sees nothing later than day `now`."""

    @abstractmethod
    def fit(self, given: Past, truth: Floats, history: History, now: int, seed: int) -> None:
        """Learn from rows whose `truth` (rows × days, the true path) was known on day `now`."""

    @abstractmethod
    def path(self, given: Past, names: Sequence[str], ahead: int) -> Floats:
        """The paths of rows of the series `names`."""

    @abstractmethod
    def save(self, stem: Path) -> None:
        """Write files whose names begin with `stem`."""

    @abstractmethod
    def load(self, stem: Path) -> None:
        """Read what `save` wrote."""


class ProphetCurves(LearntPath):
    """Prophet (Taylor & Letham, "Forecasting at scale", The American Statistician 2018) on weekly levels.

    The fitted curve, trend and season of the year, is kept as a table of days, so that a forecast needs no Prophet. It
    is moved to the level of the row's last month: where it lay too low then, it would go on to. A series that was not
    learnt, or whose curve has run out, gets no path.
    """

    YEARS, BEYOND = 3, 500  # learnt; days of the curve after the last one learnt

    def __init__(self) -> None:
        self.curves: dict[str, tuple[int, Floats]] = {}

    def fit(self, given: Past, truth: Floats, history: History, now: int, seed: int) -> None:
        begun = {name: (first, logs) for name, (first, logs) in history.items() if first <= now}
        found = {name: _curve(first, logs[: now - first + 1].tobytes(), now) for name, (first, logs) in begun.items()}
        self.curves = {name: curve for name, curve in found.items() if curve is not None}

    def path(self, given: Past, names: Sequence[str], ahead: int) -> Floats:
        found = np.zeros((len(given.days), ahead))
        of = pd.Series(range(len(names))).groupby(np.asarray(names, dtype=object)).indices
        for name in self.curves.keys() & of.keys():
            first, curve = self.curves[name]
            rows = np.asarray(of[name])
            places = given.days[rows][:, None] - first + np.arange(1 - MONTH, ahead + 1)
            inside = (places[:, 0] >= 0) & (places[:, -1] < len(curve))
            drawn = curve[places[inside]]
            rows = rows[inside]
            shift = np.median(given.smooth[rows, -MONTH:] - drawn[:, :MONTH], axis=1) - given.level[rows]
            found[rows] = np.nan_to_num(drawn[:, MONTH:] + shift[:, None])
        return found

    def save(self, stem: Path) -> None:
        from safetensors.numpy import save_file

        tables = {f"{first}/{name}": curve for name, (first, curve) in self.curves.items()}
        save_file(tables, stem.with_name(stem.name + "-prophet.safetensors"))

    def load(self, stem: Path) -> None:
        from safetensors.numpy import load_file

        for key, curve in load_file(stem.with_name(stem.name + "-prophet.safetensors")).items():
            first, _, name = key.partition("/")
            self.curves[name] = (int(first), curve)


@lru_cache(maxsize=2048)  # the origins of one evaluation share most of their past
def _curve(first: int, logs: bytes, now: int) -> tuple[int, Floats] | None:
    """(first day, curve) of one series whose logarithms from day `first` to `now` are `logs`; None when too short."""
    values = np.frombuffer(logs)[-365 * ProphetCurves.YEARS :]
    first = now + 1 - len(values)
    weeks = _series.known_median(values[len(values) % WEEK :].reshape(-1, WEEK))
    middles = first + len(values) % WEEK + WEEK // 2 + WEEK * np.arange(len(weeks))
    known = ~np.isnan(weeks)
    if known.sum() < 20 or not known[-13:].any():  # a series that has ended needs no curve
        return None
    begin, end = max(first, now - 2 * 365), now + ProphetCurves.BEYOND
    asked = np.arange(begin, end + WEEK, WEEK)  # the curve is smooth: between the weeks it is read off a line
    return begin, np.interp(np.arange(begin, end), asked, _prophet(middles[known], weeks[known], asked))


def _prophet(learnt: npt.NDArray[np.int64], levels: Floats, asked: npt.NDArray[np.int64]) -> Floats:
    for name in ("cmdstanpy", "prophet", "prophet.plot"):  # before the import, which tells what it lacks
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("cmdstanpy").addHandler(logging.NullHandler())  # without one it would set its own level
    from prophet import Prophet

    model = Prophet(weekly_seasonality=False, daily_seasonality=False, uncertainty_samples=0)
    model.fit(pd.DataFrame({"ds": pd.to_datetime(learnt, unit="D"), "y": levels}))
    forecast = model.predict(pd.DataFrame({"ds": pd.to_datetime(asked, unit="D")}))
    return np.ascontiguousarray(forecast["yhat"].to_numpy(dtype=float))


class BoostedPath(LearntPath):
    """Boosted trees on the lags of all series of a service together; they learn the median of the weekly path."""

    def fit(self, given: Past, truth: Floats, history: History, now: int, seed: int) -> None:
        rows = np.flatnonzero((given.days // WEEK) % STRIDE == 0)
        x, names = _series.lags(given.only(rows), truth.shape[1])
        y = _series.weekly(truth[rows]).T.ravel()
        known = ~np.isnan(y)
        self.train(x[known], y[known], names, seed)

    def path(self, given: Past, names: Sequence[str], ahead: int) -> Floats:
        x, _ = _series.lags(given, ahead)
        return _series.daily(self.weeks(x).reshape(-1, len(given.days)).T.astype(float), ahead)

    @abstractmethod
    def train(self, x: Floats, y: Floats, names: list[str], seed: int) -> None:
        """Learn `y` from `x`, columns `names`."""

    @abstractmethod
    def weeks(self, x: Floats) -> npt.NDArray[Any]:
        """The learnt value of each row of `x`."""


class XgboostPath(BoostedPath):
    """XGBoost (Chen & Guestrin, KDD 2016); few rows that are much alike ask for shallow, shrunk trees."""

    PARAMS: Mapping[str, Any] = {
        "objective": "reg:absoluteerror",
        "max_depth": 3,
        "eta": 0.05,
        "min_child_weight": 50,
        "subsample": 0.7,
        "colsample_bytree": 0.7,
        "lambda": 10.0,
        "nthread": 1,
    }
    ROUNDS = 100

    def train(self, x: Floats, y: Floats, names: list[str], seed: int) -> None:
        import xgboost

        params = {**self.PARAMS, "seed": seed, "base_score": float(np.median(y))}
        self.booster = xgboost.train(params, xgboost.DMatrix(x, label=y, feature_names=names), self.ROUNDS)

    def weeks(self, x: Floats) -> npt.NDArray[Any]:
        import xgboost

        return np.asarray(self.booster.predict(xgboost.DMatrix(x, feature_names=self.booster.feature_names)))

    def save(self, stem: Path) -> None:
        self.booster.save_model(stem.with_name(stem.name + "-xgboost.ubj"))

    def load(self, stem: Path) -> None:
        import xgboost

        self.booster = xgboost.Booster({"nthread": 1}, model_file=stem.with_name(stem.name + "-xgboost.ubj"))


class LightgbmPath(BoostedPath):
    """LightGBM (Ke et al., NeurIPS 2017) with the library's own settings."""

    def train(self, x: Floats, y: Floats, names: list[str], seed: int) -> None:
        import lightgbm

        params = {"objective": "l1", "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbose": -1}
        self.booster = lightgbm.train(params | {"seed": seed}, lightgbm.Dataset(x, y, feature_name=names), 100)

    def weeks(self, x: Floats) -> npt.NDArray[Any]:
        return np.asarray(self.booster.predict(x, num_threads=1))

    def save(self, stem: Path) -> None:
        self.booster.save_model(stem.with_name(stem.name + "-lightgbm.txt"))

    def load(self, stem: Path) -> None:
        import lightgbm

        self.booster = lightgbm.Booster(model_file=stem.with_name(stem.name + "-lightgbm.txt"))


LEARNT: dict[str, type[LearntPath]] = {"prophet": ProphetCurves, "xgboost": XgboostPath, "lightgbm": LightgbmPath}
