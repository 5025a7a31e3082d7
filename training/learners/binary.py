"""What binary learners share: inputs by name, calibration and the decision point on inner folds."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.errors import DataError
from training.learner import Learner
from training.learners._odds import log_odds, logistic
from training.metrics import best_f1_threshold

Floats = npt.NDArray[np.float64]


class BinaryLearner(Learner):
    """A learner of a 0/1 label with calibrated probabilities.

    `fit` scores every row by a model that has not seen it (`folds` inner folds; rows that share `group` stay together),
    fits Platt's sigmoid to these scores (Platt 1999) and takes the threshold with the best F1, then trains on all rows.
    With `folds=0` the scores are taken as they are and the threshold is 0.5. Subclasses write `train` and `margin`.

    `predict` gives `probability`, `threshold` (call positive from here on) and `lacking`: the inputs that are null in
    the row and never were in training, comma-separated.
    """

    FILE: ClassVar[str] = "learner.json"

    def __init__(self, features: Sequence[str], folds: int = 5, group: str | None = None, seed: int = 0) -> None:
        self.features, self.folds, self.group, self.seed = list(features), folds, group, seed
        self.state: dict[str, Any] = {"inputs": [], "always": [], "slope": 1.0, "intercept": 0.0, "threshold": 0.5}

    @abstractmethod
    def train(self, x: pd.DataFrame, y: Floats, final: bool) -> None:
        """Learn `y` from `x` (float columns, NaN for missing); `final` is False on inner folds."""

    @abstractmethod
    def margin(self, x: pd.DataFrame) -> Floats:
        """Uncalibrated log-odds of each row."""

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        rows = frame[frame[label].notna()]
        y: Floats = rows[label].to_numpy(dtype=np.float64)
        if len(np.unique(y)) != 2:
            raise DataError(f"{label}: rows of both classes are needed to learn, got {len(y)} rows of one or none")
        if absent := [name for name in self.features if name not in rows]:
            raise DataError(f"the training frame has no columns {absent}")
        x = _floats(rows, self.features)
        self.state["inputs"] = [name for name in self.features if x[name].notna().any()]
        self.state["always"] = [name for name in self.features if x[name].notna().all()]
        x = x[self.state["inputs"]]
        if self.folds:
            self._calibrate(self._out_of_fold(x, y, rows[self.group].to_numpy() if self.group else None), y)
        self.train(x, y, final=True)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        x = self.inputs(frame)
        probability = logistic(self.state["slope"] * self.margin(x) + self.state["intercept"])
        null = np.isnan(x.to_numpy()) & np.isin(self.state["inputs"], self.state["always"])
        lacking = [", ".join(x.columns[row]) for row in null]
        scores = {"probability": probability, "threshold": self.state["threshold"], "lacking": lacking}
        return pd.DataFrame(scores, index=frame.index)

    def inputs(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The columns of `frame` that this learner uses, as floats in the order of training."""
        return _floats(frame, self.state["inputs"])

    def save(self, folder: Path) -> None:
        content = {"config": self.config(), "state": self.state}
        (folder / self.FILE).write_text(json.dumps(content, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.state = content["state"]
        return learner

    def config(self) -> dict[str, Any]:
        """The keyword arguments that make this learner again."""
        return {"features": self.features, "folds": self.folds, "group": self.group, "seed": self.seed}

    def _out_of_fold(self, x: pd.DataFrame, y: Floats, groups: Any) -> Floats:
        from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

        count = min(self.folds, int(y.sum()), int((1 - y).sum()))
        if count < 2:
            raise DataError("at least two rows of each class are needed to calibrate; give more rows or folds=0")
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        margins = np.empty(len(y))
        for inner, held_out in kind(count, shuffle=True, random_state=self.seed).split(x, y, groups):
            self.train(x.iloc[inner], y[inner], final=False)
            margins[held_out] = self.margin(x.iloc[held_out])
        return margins

    def _calibrate(self, margins: Floats, y: Floats) -> None:
        self.state |= platt(margins, y)


def platt(margins: Floats, y: Floats) -> dict[str, float]:
    """`slope` and `intercept` of the sigmoid that makes probabilities of margins, and the `threshold` with the best F1.

    The margins must be of rows that were not learnt from.
    """
    from sklearn.linear_model import LogisticRegression

    sigmoid = LogisticRegression(C=1e6).fit(margins[:, None], y)
    # a negative slope would turn the ranking round: then the scores carry nothing, and only the rate is kept
    slope = max(float(sigmoid.coef_[0, 0]), 1e-6)
    intercept = float(sigmoid.intercept_[0]) if slope > 1e-6 else float(log_odds(y.mean()))
    threshold = best_f1_threshold(y, logistic(slope * margins + intercept))
    return {"slope": slope, "intercept": intercept, "threshold": threshold}


def _floats(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    values = frame[names].to_numpy(dtype="float64", na_value=np.nan)
    return pd.DataFrame(values, index=frame.index, columns=names)
