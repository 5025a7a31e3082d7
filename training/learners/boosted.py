"""Gradient-boosted trees with leaf-wise growth (LightGBM; Ke et al., NeurIPS 2017) for a binary label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from training.learners.binary import BinaryLearner, Floats

# small trees, shrunk: chosen for rare positives; every key can be overridden by `params`
PARAMS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 7,
    "min_data_in_leaf": 20,
    "lambda_l2": 10.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}


class LightTrees(BinaryLearner):
    """`rounds` trees; inputs named in `categorical` are split by sets of values. Contributions are tree SHAP values."""

    def __init__(
        self,
        features: Sequence[str],
        rounds: int = 150,
        params: Mapping[str, Any] | None = None,
        categorical: Sequence[str] = (),
        folds: int = 5,
        group: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(features, folds, group, seed)
        self.rounds, self.params, self.categorical = rounds, dict(params or {}), list(categorical)
        self.booster: Any = None

    def train(self, x: pd.DataFrame, y: Floats, final: bool) -> None:
        import lightgbm

        columns = [name for name in self.categorical if name in x.columns]
        data = lightgbm.Dataset(x, y, categorical_feature=columns, free_raw_data=True)
        self.booster = lightgbm.train(PARAMS | {"seed": self.seed} | self.params, data, self.rounds)

    def margin(self, x: pd.DataFrame) -> Floats:
        return np.asarray(self.booster.predict(x, raw_score=True), dtype=float)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        effects = self.state["slope"] * self.booster.predict(self.inputs(frame), pred_contrib=True)[:, :-1]
        return pd.DataFrame(effects, index=frame.index, columns=self.state["inputs"])

    def config(self) -> dict[str, Any]:
        own = {"rounds": self.rounds, "params": self.params, "categorical": self.categorical}
        return super().config() | own

    def save(self, folder: Path) -> None:
        super().save(folder)
        self.booster.save_model(folder / "booster.txt")

    @classmethod
    def load(cls, folder: Path) -> Self:
        import lightgbm

        learner = super().load(folder)
        learner.booster = lightgbm.Booster(model_file=folder / "booster.txt")
        return learner
