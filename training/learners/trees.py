"""Gradient-boosted trees (XGBoost; Chen & Guestrin, KDD 2016) for a binary label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from training.learners.binary import BinaryLearner, Floats


class BoostedTrees(BinaryLearner):
    """`bags` boosters that differ in their seed, averaged on the log-odds; missing values are handled natively.

    `monotone` maps an input to +1 or -1: more of it never lowers (raises) the probability, all else equal. `params`
    are XGBoost's own. Contributions are exact tree SHAP values of the calibrated log-odds (Lundberg et al. 2020).
    """

    def __init__(
        self,
        features: Sequence[str],
        rounds: int = 300,
        bags: int = 3,
        params: Mapping[str, Any] | None = None,
        monotone: Mapping[str, int] | None = None,
        folds: int = 5,
        group: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(features, folds, group, seed)
        self.rounds, self.bags, self.params, self.monotone = rounds, bags, dict(params or {}), dict(monotone or {})
        self.boosters: list[Any] = []

    def train(self, x: pd.DataFrame, y: Floats, final: bool) -> None:
        import xgboost

        data = xgboost.DMatrix(x.to_numpy(), label=y, feature_names=list(x), nthread=1)
        params = {"objective": "binary:logistic", "tree_method": "hist", "nthread": 1, **self.params}
        params["monotone_constraints"] = tuple(self.monotone.get(name, 0) for name in x.columns)
        seeds = range(self.seed, self.seed + (self.bags if final else 1))
        self.boosters = [xgboost.train({**params, "seed": seed}, data, self.rounds) for seed in seeds]

    def margin(self, x: pd.DataFrame) -> Floats:
        import xgboost

        data = xgboost.DMatrix(x.to_numpy(), feature_names=list(x), nthread=1)
        return np.mean([booster.predict(data, output_margin=True) for booster in self.boosters], axis=0, dtype=float)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        import xgboost

        x = self.inputs(frame)
        data = xgboost.DMatrix(x.to_numpy(), feature_names=list(x), nthread=1)
        parts = [booster.predict(data, pred_contribs=True)[:, :-1] for booster in self.boosters]
        effects = self.state["slope"] * np.mean(parts, axis=0, dtype=float)
        return pd.DataFrame(effects, index=frame.index, columns=self.state["inputs"])

    def config(self) -> dict[str, Any]:
        own = {"rounds": self.rounds, "bags": self.bags, "params": self.params, "monotone": self.monotone}
        return super().config() | own

    def save(self, folder: Path) -> None:
        super().save(folder)
        for number, booster in enumerate(self.boosters):
            booster.save_model(folder / f"bag-{number}.ubj")

    @classmethod
    def load(cls, folder: Path) -> Self:
        import xgboost

        learner = super().load(folder)
        learner.boosters = [xgboost.Booster(model_file=folder / f"bag-{n}.ubj") for n in range(learner.bags)]
        return learner
