"""Logistic regression: the strong simple model beside every classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from training.learners.binary import BinaryLearner, Floats


class Logistic(BinaryLearner):
    """L2-regularised logistic regression on standardised inputs; a missing value counts as the training median.

    `strength` is the inverse of the penalty. Saved as JSON and scored without scikit-learn.
    """

    def __init__(
        self, features: Sequence[str], strength: float = 1.0, folds: int = 5, group: str | None = None, seed: int = 0
    ) -> None:
        super().__init__(features, folds, group, seed)
        self.strength = strength

    def train(self, x: pd.DataFrame, y: Floats, final: bool) -> None:
        from sklearn.linear_model import LogisticRegression

        median = x.median().fillna(0.0)
        filled = x.fillna(median)
        scale = filled.std(ddof=0).where(lambda deviation: deviation > 0, 1.0)
        fitted = LogisticRegression(C=self.strength, max_iter=2000).fit((filled - filled.mean()) / scale, y)
        self.state |= {
            "median": median.to_list(),
            "mean": filled.mean().to_list(),
            "scale": scale.to_list(),
            "weights": fitted.coef_[0].tolist(),
            "bias": float(fitted.intercept_[0]),
        }

    def margin(self, x: pd.DataFrame) -> Floats:
        return np.asarray(self._standard(x) @ np.array(self.state["weights"]) + self.state["bias"])

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        effects = self.state["slope"] * self._standard(self.inputs(frame)) * np.array(self.state["weights"])
        return pd.DataFrame(effects, index=frame.index, columns=self.state["inputs"])

    def config(self) -> dict[str, Any]:
        return super().config() | {"strength": self.strength}

    def _standard(self, x: pd.DataFrame) -> Floats:
        median, mean, scale = (np.array(self.state[name]) for name in ("median", "mean", "scale"))
        values = x.to_numpy()
        return np.asarray((np.where(np.isnan(values), median, values) - mean) / scale)
