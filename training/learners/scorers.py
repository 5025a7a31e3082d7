"""Ways to score the nodes of graphs, so that a softmax over the nodes of a row says which one is looked for.

Every scorer is fitted on encoded rows and the position of the one node of each row (-1: none, not learnt from).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self

import numpy as np

from training.learners.graphs import Encoded, Encoder, Floats, Ints


class Scorer(ABC):
    """Scores nodes; what it has learnt is kept in files that begin with a prefix."""

    @abstractmethod
    def fit(self, rows: Encoded, roots: Ints, encoder: Encoder, seed: int) -> Self:
        """Learn; `encoder` says what the features are."""

    @abstractmethod
    def score(self, rows: Encoded) -> Floats:
        """One number per node: the higher, the likelier; comparable inside a row."""

    @abstractmethod
    def save(self, folder: Path, prefix: str) -> None:
        """Write what was learnt."""

    @abstractmethod
    def load(self, folder: Path, prefix: str) -> Self:
        """Read what `save` wrote."""


class MostMarks(Scorer):
    """The rule anybody would try first: the node with the most marks."""

    counted = 0

    def fit(self, rows: Encoded, roots: Ints, encoder: Encoder, seed: int) -> Self:
        self.counted = len(encoder.groups)
        return self

    def score(self, rows: Encoded) -> Floats:
        return np.log1p(np.expm1(rows.x[:, : self.counted].astype(float)).sum(axis=1))

    def save(self, folder: Path, prefix: str) -> None:
        (folder / f"{prefix}.txt").write_text(str(self.counted))

    def load(self, folder: Path, prefix: str) -> Self:
        self.counted = int((folder / f"{prefix}.txt").read_text())
        return self


class SoftmaxTrees(Scorer):
    """Gradient-boosted trees (LightGBM; Ke et al., NeurIPS 2017) on the softmax loss over the nodes of each row.

    A listwise loss, as in ListNet with one relevant item (Cao et al., ICML 2007). Each node is seen alone, with the
    means of its row; the graph enters by the degrees only. A population with many rows has trees of its own
    besides those learnt from all: where the same marks mean different things, either would blur the other.
    """

    ROUNDS = 200
    PARAMS: dict[str, Any] = {
        "learning_rate": 0.05,
        "num_leaves": 11,
        "min_data_in_leaf": 10,
        "feature_fraction": 0.4,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    OWN = 100  # rows from which a population gets trees of its own

    def __init__(self) -> None:
        self.boosters: dict[str, Any] = {}  # by population; "" is learnt from all rows

    def fit(self, rows: Encoded, roots: Ints, encoder: Encoder, seed: int) -> Self:
        known = roots >= 0
        names, counts = np.unique(rows.graphs.population[known].astype(str), return_counts=True)
        self.boosters = {"": self._boosted(rows.take(np.flatnonzero(known)), roots[known], seed)}
        for name in names[counts >= self.OWN]:
            if len(names) > 1:
                own = np.flatnonzero(known & (rows.graphs.population == name))
                self.boosters[str(name)] = self._boosted(rows.take(own), roots[own], seed)
        return self

    def score(self, rows: Encoded) -> Floats:
        found = np.zeros(len(rows.x))
        owner = np.repeat([str(p) if p in self.boosters else "" for p in rows.graphs.population], np.diff(rows.starts))
        for name, booster in self.boosters.items():
            if (own := owner == name).any():
                found[own] = booster.predict(rows.x[own], num_threads=1)
        return found

    def save(self, folder: Path, prefix: str) -> None:
        (folder / f"{prefix}.json").write_text(json.dumps(list(self.boosters)))
        for number, booster in enumerate(self.boosters.values()):
            booster.save_model(folder / f"{prefix}-{number}.lgb")

    def load(self, folder: Path, prefix: str) -> Self:
        import lightgbm

        names = json.loads((folder / f"{prefix}.json").read_text())
        files = (folder / f"{prefix}-{number}.lgb" for number in range(len(names)))
        self.boosters = {name: lightgbm.Booster(model_file=file) for name, file in zip(names, files, strict=True)}
        return self

    def _boosted(self, rows: Encoded, roots: Ints, seed: int) -> Any:
        return _boosted(rows.x, rows.starts, roots, self.PARAMS | {"seed": seed}, self.ROUNDS)


class GeneralTrees(Scorer):
    """Boosted trees for systems that nothing was learnt from: more that is unusual never makes a node less suspect.

    They see only what means the same everywhere (`Encoder.growing`): shares and rarity, no degrees, no lifts. Without
    these bounds, trees learnt on one system rank another one's nodes worse than chance.
    """

    ROUNDS = 100

    def __init__(self) -> None:
        self.places: Ints = np.empty(0, dtype=np.int64)
        self.booster: Any = None

    def fit(self, rows: Encoded, roots: Ints, encoder: Encoder, seed: int) -> Self:
        self.places = encoder.growing
        rows, roots = rows.take(np.flatnonzero(roots >= 0)), roots[roots >= 0]
        bound = {"monotone_constraints": [1] * len(self.places), "seed": seed}
        params = SoftmaxTrees.PARAMS | bound
        self.booster = _boosted(rows.x[:, self.places], rows.starts, roots, params, self.ROUNDS)
        return self

    def score(self, rows: Encoded) -> Floats:
        if not len(rows.x):
            return np.empty(0)
        return np.asarray(self.booster.predict(rows.x[:, self.places], num_threads=1), dtype=float)

    def save(self, folder: Path, prefix: str) -> None:
        (folder / f"{prefix}.json").write_text(json.dumps(self.places.tolist()))
        self.booster.save_model(folder / f"{prefix}.lgb")

    def load(self, folder: Path, prefix: str) -> Self:
        import lightgbm

        self.places = np.array(json.loads((folder / f"{prefix}.json").read_text()))
        self.booster = lightgbm.Booster(model_file=folder / f"{prefix}.lgb")
        return self


class GraphNetwork(Scorer):
    """Messages along and against the calls (see `_gnn`), trained on the same loss as the trees."""

    network: Any = None

    def fit(self, rows: Encoded, roots: Ints, encoder: Encoder, seed: int) -> Self:
        from training.learners import _gnn

        known = np.flatnonzero(roots >= 0)
        self.network = _gnn.train(rows.take(known), roots[known], seed)
        return self

    def score(self, rows: Encoded) -> Floats:
        from training.learners import _gnn

        return _gnn.scores(self.network, rows)

    def save(self, folder: Path, prefix: str) -> None:
        from safetensors.torch import save_file

        save_file(self.network.state_dict(), folder / f"{prefix}.safetensors")

    def load(self, folder: Path, prefix: str) -> Self:
        from safetensors.torch import load_file

        from training.learners import _gnn

        self.network = _gnn.empty(load_file(folder / f"{prefix}.safetensors"))
        return self


SCORERS: dict[str, type[Scorer]] = {
    "most": MostMarks,
    "trees": SoftmaxTrees,
    "general": GeneralTrees,
    "gnn": GraphNetwork,
}


def _boosted(x: Any, starts: Ints, roots: Ints, params: dict[str, Any], rounds: int) -> Any:
    """A booster of the softmax loss: `roots` is the position of the one node of each row."""
    import lightgbm

    y = np.zeros(len(x))
    y[starts[:-1] + roots] = 1.0

    def loss(margin: Floats, _: Any) -> tuple[Floats, Floats]:
        p = softmax(margin, starts)
        return p - y, np.maximum(2 * p * (1 - p), 1e-3)

    return lightgbm.train(params | {"objective": loss}, lightgbm.Dataset(x, y, params={"verbose": -1}), rounds)


def softmax(scores: Floats, starts: Ints) -> Floats:
    """Probabilities that sum to 1 over the nodes of each row."""
    sizes = np.diff(starts)
    first = starts[:-1][sizes > 0]
    if not len(first):
        return np.empty(0)
    sizes = sizes[sizes > 0]
    e = np.exp(scores - np.repeat(np.maximum.reduceat(scores, first), sizes))
    return e / np.repeat(np.add.reduceat(e, first), sizes)
