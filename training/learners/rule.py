"""The rule anybody would try first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from training.learners._odds import log_odds
from training.learners.binary import BinaryLearner, Floats


class Rule(BinaryLearner):
    """Alarm when any input is at or above its limit; the probability is the rate seen in training on either side."""

    def __init__(self, limits: Mapping[str, float], folds: int = 5, group: str | None = None, seed: int = 0) -> None:
        super().__init__(list(limits), folds, group, seed)
        self.limits = dict(limits)

    def train(self, x: pd.DataFrame, y: Floats, final: bool) -> None:
        hit = self._hit(x)
        rates = [(y[hit == side].sum() + 1) / ((hit == side).sum() + 2) for side in (False, True)]  # Laplace's rule
        self.state["log_odds"] = [float(log_odds(rate)) for rate in rates]

    def margin(self, x: pd.DataFrame) -> Floats:
        return np.array(self.state["log_odds"])[self._hit(x).astype(int)]

    def config(self) -> dict[str, Any]:
        return {"limits": self.limits, "folds": self.folds, "group": self.group, "seed": self.seed}

    def _hit(self, x: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
        limits = np.array([self.limits[name] for name in x.columns])
        return np.asarray((x.to_numpy() >= limits).any(axis=1))
