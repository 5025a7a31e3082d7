"""Logistic regression by Newton's method, in numpy alone: the learner of the contract's own tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from training.learner import Learner


class TinyLogit(Learner):
    """`columns`: the inputs; `strength`: inverse of the regularisation."""

    def __init__(self, columns: list[str], strength: float = 1.0) -> None:
        self.columns, self.strength = columns, strength
        self.center = self.weights = np.zeros(0)

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        """See Learner."""
        known = frame[frame[label].notna()]
        x, y = known[self.columns].to_numpy(float), known[label].to_numpy(float)
        self.center = x.mean(axis=0)
        design = self._design(x)
        self.weights = np.zeros(design.shape[1])
        for _ in range(20):
            p = 1 / (1 + np.exp(-design @ self.weights))
            hessian = (design * (p * (1 - p))[:, None]).T @ design + np.eye(design.shape[1]) / self.strength
            self.weights += np.linalg.solve(hessian, design.T @ (y - p) - self.weights / self.strength)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Column `probability`."""
        margin = self._design(frame[self.columns].to_numpy(float)) @ self.weights
        return pd.DataFrame({"probability": 1 / (1 + np.exp(-margin))}, index=frame.index)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Weight times the distance from the mean, in log odds."""
        effects = (frame[self.columns].to_numpy(float) - self.center) * self.weights[1:]
        return pd.DataFrame(effects, index=frame.index, columns=self.columns)

    def save(self, folder: Path) -> None:
        """One JSON file."""
        content = {"columns": self.columns, "strength": self.strength}
        content |= {"center": self.center.tolist(), "weights": self.weights.tolist()}
        (folder / "logit.json").write_text(json.dumps(content))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """See Learner."""
        content = json.loads((folder / "logit.json").read_text())
        learner = cls(content["columns"], content["strength"])
        learner.center, learner.weights = np.array(content["center"]), np.array(content["weights"])
        return learner

    def _design(self, x: np.ndarray) -> np.ndarray:
        return np.hstack([np.ones((len(x), 1)), x - self.center])
