"""The parts of a panel forecast: what may be proposed. How much of each is believed is decided in `_group`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from training.learners import _panel
from training.learners._panel import Floats, Plan, Samples

if TYPE_CHECKING:
    from training.learners._attention import PanelAttention


class Part(ABC):
    """A proposal: N × horizons, as `Group.path`."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan, self.seed = plan, seed
        self.state: dict[str, Any] = {}

    @abstractmethod
    def fit(self, samples: Samples, truth: Floats, base: Floats) -> Self:
        """Learn; `truth` as `_panel.truth`, `base` what persistence says of each."""

    @abstractmethod
    def path(self, samples: Samples, base: Floats) -> Floats:
        """What is proposed."""

    @abstractmethod
    def save(self, stem: Path) -> None:
        """Write files whose names begin with `stem`, beside `state`."""

    @abstractmethod
    def load(self, stem: Path) -> None:
        """Read what `save` wrote."""


class Median(Part):
    """Every price returns to the median of its past: price lists that mix two tenancies flip between their prices."""

    def fit(self, samples: Samples, truth: Floats, base: Floats) -> Self:
        return self

    def path(self, samples: Samples, base: Floats) -> Floats:
        return base + samples.features[:, [_panel.names(self.plan).index("median")]]

    def save(self, stem: Path) -> None:
        """Nothing was learnt."""

    def load(self, stem: Path) -> None:
        """Nothing was learnt."""


class Boosted(Part):
    """LightGBM (Ke et al., NeurIPS 2017) on lags, one for each horizon; of prices the departure's median is learnt."""

    ROUNDS = 120

    def fit(self, samples: Samples, truth: Floats, base: Floats) -> Self:
        import lightgbm

        own = {"objective": "binary", "num_leaves": 7} if self.plan.chance else {"objective": "l1", "num_leaves": 15}
        params = {
            **own,
            "learning_rate": 0.05,
            "min_data_in_leaf": 200,
            "lambda_l2": 10.0,
            "feature_fraction": 0.7,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "num_threads": 1,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
            "seed": self.seed,
        }
        self.boosters = []
        for horizon in range(truth.shape[1]):
            known = ~np.isnan(truth[:, horizon])
            x, y = samples.features[known], truth[known, horizon]
            offset = _logit(base[known, horizon]) if self.plan.chance else None
            y = y if self.plan.chance else y - base[known, horizon]
            data = lightgbm.Dataset(x, y, feature_name=_panel.names(self.plan), init_score=offset)
            self.boosters.append(lightgbm.train(params, data, self.ROUNDS))
        return self

    def path(self, samples: Samples, base: Floats) -> Floats:
        if not len(samples.row):
            return base
        raw = [booster.predict(samples.features, raw_score=True, num_threads=1) for booster in self.boosters]
        return _moved(base, np.stack(raw, axis=1), self.plan.chance)

    def save(self, stem: Path) -> None:
        for number, booster in enumerate(self.boosters):
            booster.save_model(stem.with_name(f"{stem.name}-boosted-{number}.txt"))

    def load(self, stem: Path) -> None:
        import lightgbm

        files = (stem.with_name(f"{stem.name}-boosted-{number}.txt") for number in range(len(self.plan.ahead)))
        self.boosters = [lightgbm.Booster(model_file=file) for file in files]


class Attention(Part):
    """See `_attention`."""

    network: PanelAttention

    def fit(self, samples: Samples, truth: Floats, base: Floats) -> Self:
        from training.learners import _attention

        scaling = _attention.Scaling.of(samples, self.plan.chance)
        self.state = scaling.state
        if self.plan.chance:
            self.network = _attention.train(samples, truth, _logit(base), scaling, self.seed)
        else:
            self.network = _attention.train(samples, truth - base, np.zeros_like(base), scaling, self.seed)
        return self

    def path(self, samples: Samples, base: Floats) -> Floats:
        from training.learners import _attention

        if not len(samples.row):
            return base
        out = _attention.outputs(self.network, samples, _attention.Scaling(self.state))
        return _moved(base, out, self.plan.chance)

    def save(self, stem: Path) -> None:
        from safetensors.torch import save_file

        save_file(self.network.state_dict(), stem.with_name(f"{stem.name}-attention.safetensors"))

    def load(self, stem: Path) -> None:
        from safetensors.torch import load_file

        from training.learners import _attention

        static = len(self.state["mean"])
        self.network = _attention.PanelAttention(self.plan.steps, static, len(self.plan.ahead)).eval()
        self.network.load_state_dict(load_file(stem.with_name(f"{stem.name}-attention.safetensors")))


PARTS: dict[str, type[Part]] = {"median": Median, "boosted": Boosted, "attention": Attention}


def _logit(chance: Floats) -> Floats:
    return np.asarray(np.log(chance) - np.log1p(-chance))


def _moved(base: Floats, by: Floats, chance: bool) -> Floats:
    """Persistence and a departure from it; of chances in log-odds."""
    return np.asarray(1 / (1 + np.exp(-(_logit(base) + by)))) if chance else base + by
