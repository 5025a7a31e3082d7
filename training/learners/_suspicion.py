"""What makes a row suspicious: four opinions, three that know attacks and one that knows only what is benign.

forest      a random forest (Breiman, Machine Learning 2001; XGBoost's `num_parallel_tree`) of attack against benign
boosting    gradient-boosted trees (LightGBM; Ke et al., NeurIPS 2017) of attack against benign
network     a deep classifier of the types
neighbours  distance to the nearest benign rows of a memory (Ramaswamy, Rastogi & Shim, SIGMOD 2000)

An autoencoder of benign rows was tried as a fifth; the weights found for it were zero beside `neighbours`.

Each takes a matrix (rows × columns), types (0: benign) and weights of the rows. `score` grows with suspicion; `effects`
gives rows × columns: which columns speak for it (positive) or against it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from training.learners import _network

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TREES, DEPTH = 100, 16
FOREST: dict[str, Any] = {
    "tree_method": "hist",
    "nthread": 1,
    "subsample": 0.63,  # distinct rows of a bootstrap sample
    "colsample_bynode": 0.4,
    "learning_rate": 1.0,
    "max_depth": DEPTH,
    "reg_lambda": 1e-3,
    "min_child_weight": 0.5,
    "base_score": 0.5,
}
ROUNDS = 200
BOOSTING: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 63,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}
HIDDEN, EPOCHS = (64, 32), 8
MEMORY, NEAREST = 2000, 3  # benign rows kept; of which the nearest count
BLOCK = 4096  # rows compared with the memory at once
FARTHEST = 8.0  # standard deviations; farther is no more suspicious
LEAST_SPREAD = 0.01  # a column that never moved in benign rows still has a scale


class Opinion(ABC):
    """One of the four. `arrays` holds what was learnt."""

    def __init__(self) -> None:
        self.arrays: dict[str, Floats] = {}

    @abstractmethod
    def fit(self, x: Floats, types: Ints, weight: Floats, seed: int) -> Self: ...

    @abstractmethod
    def score(self, x: Floats) -> Floats: ...

    @abstractmethod
    def effects(self, x: Floats) -> Floats: ...

    def save(self, path: Path) -> None:
        """Write `<path>.safetensors`."""
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(array) for name, array in self.arrays.items()}, f"{path}.safetensors")

    @classmethod
    def load(cls, path: Path) -> Self:
        from safetensors.numpy import load_file

        opinion = cls()
        opinion.arrays = load_file(f"{path}.safetensors")
        return opinion

    def _scale(self, x: Floats) -> None:
        self.arrays |= {"mean": x.mean(axis=0), "spread": x.std(axis=0) + LEAST_SPREAD}

    def _scaled(self, x: Floats) -> Floats:
        return np.clip((x - self.arrays["mean"]) / self.arrays["spread"], -FARTHEST, FARTHEST)


class Forest(Opinion):
    """Log-odds of the mean vote of the trees."""

    def fit(self, x: Floats, types: Ints, weight: Floats, seed: int) -> Self:
        import xgboost

        data = xgboost.DMatrix(x, types > 0, weight=weight, nthread=1)
        options = {**FOREST, "objective": "binary:logistic", "num_parallel_tree": TREES, "seed": seed}
        self.booster = xgboost.train(options, data, 1)
        return self

    def score(self, x: Floats) -> Floats:
        import xgboost

        # one Newton step from even odds gives each leaf four times its vote, less two
        step = np.asarray(self.booster.predict(xgboost.DMatrix(x, nthread=1), output_margin=True), dtype=float)
        vote = (np.clip(step, -2, 2) + 2) / 4 * TREES
        return np.asarray(np.log((vote + 0.5) / (TREES - vote + 0.5)))

    def effects(self, x: Floats) -> Floats:
        import xgboost

        return np.asarray(self.booster.predict(xgboost.DMatrix(x, nthread=1), pred_contribs=True)[:, :-1], dtype=float)

    def save(self, path: Path) -> None:
        self.booster.save_model(f"{path}.ubj")

    @classmethod
    def load(cls, path: Path) -> Self:
        import xgboost

        opinion = cls()
        opinion.booster = xgboost.Booster(model_file=f"{path}.ubj")
        return opinion


class Boosting(Opinion):
    """Log-odds of an attack."""

    PARAMS: ClassVar[dict[str, Any]] = BOOSTING
    TREES: ClassVar[int] = ROUNDS

    def fit(self, x: Floats, types: Ints, weight: Floats, seed: int) -> Self:
        import lightgbm

        data = lightgbm.Dataset(x, types > 0, weight=weight)
        self.booster = lightgbm.train({**self.PARAMS, "seed": seed}, data, self.TREES)
        return self

    def score(self, x: Floats) -> Floats:
        return np.asarray(self.booster.predict(x, raw_score=True, num_threads=1), dtype=float)

    def effects(self, x: Floats) -> Floats:
        return np.asarray(self.booster.predict(x, pred_contrib=True, num_threads=1), dtype=float)[:, :-1]

    def save(self, path: Path) -> None:
        self.booster.save_model(f"{path}.txt")

    @classmethod
    def load(cls, path: Path) -> Self:
        import lightgbm

        opinion = cls()
        opinion.booster = lightgbm.Booster(model_file=f"{path}.txt")
        return opinion


class Stump(Boosting):
    """One question about one input, the best in training (1R; Holte, Machine Learning 1993)."""

    PARAMS: ClassVar[dict[str, Any]] = {**BOOSTING, "num_leaves": 2, "learning_rate": 1.0}
    TREES: ClassVar[int] = 1


class Network(Opinion):
    """Log-odds of any attack, from one output per type."""

    def fit(self, x: Floats, types: Ints, weight: Floats, seed: int) -> Self:
        self._scale(x)
        sizes = (*HIDDEN, int(types.max()) + 1)
        layers = _network.train(self._scaled(x), types, sizes, EPOCHS, seed, weight)
        for number, (weights, bias) in enumerate(layers):
            self.arrays |= {f"weights{number}": weights, f"bias{number}": bias}
        return self

    def score(self, x: Floats) -> Floats:
        found = self.types(x)
        return np.asarray(np.log(found[:, 1:].sum(axis=1) + 1e-12) - np.log(found[:, 0] + 1e-12))

    def types(self, x: Floats) -> Floats:
        """Probability of each type, benign first."""
        raw = _network.outputs(self._layers(), self._scaled(x))
        powers = np.exp(raw - raw.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def effects(self, x: Floats) -> Floats:
        z, attack = self._scaled(x), self.types(x)
        attack[:, 0] = 0
        direction = attack / np.maximum(attack.sum(axis=1, keepdims=True), 1e-12)
        direction[:, 0] = -1
        return _network.gradient(self._layers(), z, direction) * z  # the mean row is the reference

    def _layers(self) -> _network.Layers:
        count = sum(name.startswith("bias") for name in self.arrays)
        return [(self.arrays[f"weights{n}"], self.arrays[f"bias{n}"]) for n in range(count)]


class Neighbours(Opinion):
    """Log of the mean distance to the nearest benign rows."""

    def fit(self, x: Floats, types: Ints, weight: Floats, seed: int) -> Self:
        benign = _drawn(x, types, weight, seed)
        self._scale(benign)
        self.arrays["memory"] = self._scaled(benign)
        return self

    def score(self, x: Floats) -> Floats:
        return np.log(np.concatenate([self._nearest(part)[1] for part in _blocks(self._scaled(x))]) + 1e-3)

    def effects(self, x: Floats) -> Floats:
        z = self._scaled(x)
        nearest = np.concatenate([self._nearest(part)[0] for part in _blocks(z)])
        return np.asarray((z - self.arrays["memory"][nearest]) ** 2)

    def _nearest(self, z: Floats) -> tuple[Ints, Floats]:
        """The nearest row of the memory, and the mean distance to the `NEAREST`."""
        z, memory = z.astype(np.float32), self.arrays["memory"].astype(np.float32)
        squares = (z**2).sum(axis=1)[:, None] - 2 * z @ memory.T + (memory**2).sum(axis=1)
        count = min(NEAREST, len(memory))
        nearest = np.asarray(np.partition(squares, count - 1, axis=1))[:, :count]
        return squares.argmin(axis=1), np.sqrt(np.maximum(nearest, 0)).mean(axis=1).astype(float)


OPINIONS: dict[str, type[Opinion]] = {
    "forest": Forest,
    "boosting": Boosting,
    "network": Network,
    "neighbours": Neighbours,
}


def _blocks(z: Floats) -> list[Floats]:
    return [z[begin : begin + BLOCK] for begin in range(0, len(z), BLOCK)] or [z]


def _drawn(x: Floats, types: Ints, weight: Floats, seed: int) -> Floats:
    """Benign rows, at most `MEMORY` of them, drawn in proportion to their weight."""
    benign = np.flatnonzero(types == 0)
    if len(benign) <= MEMORY:
        return x[benign]
    share = weight[benign] / weight[benign].sum()
    return x[np.sort(np.random.default_rng(seed).choice(benign, MEMORY, replace=False, p=share))]
