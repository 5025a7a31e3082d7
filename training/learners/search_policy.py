"""A policy over search strategies, learnt by PPO (Schulman et al. 2017; stable-baselines3) on measured tables.

It sees how a search goes, never what is searched, so what it learns carries over to systems it has not met; what
carries over between releases of one system is the prior of `Search`. Each trial it picks the strategy whose candidate
is measured next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from training.learners._surrogate import Floats
from training.learners.search import Search, State, gains, pool, spaces

LAYERS = 2
ENVS = 8


class PolicySearch(Search):
    """`steps` environment steps of PPO; `trials` and `candidates` of an episode."""

    PRIOR = True

    def __init__(self, steps: int = 5120, trials: int = 10, candidates: int = 150, seed: int = 0) -> None:
        super().__init__(seed)
        self.steps, self.trials, self.candidates = steps, trials, candidates
        self.weights: dict[str, Floats] = {}

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        import torch
        from stable_baselines3 import PPO
        from stable_baselines3.common.logger import Logger
        from stable_baselines3.common.vec_env import DummyVecEnv

        from training.learners._search_env import SearchEnv

        super().fit(frame, label)
        tasks = list(self._tasks(frame[frame[label].notna()], label))
        torch.set_num_threads(1)
        seeds = range(ENVS * self.seed, ENVS * (self.seed + 1))
        makers: list[Callable[[], Any]] = [
            partial(SearchEnv, tasks, self.trials, self.candidates, seed) for seed in seeds
        ]
        learnt = PPO(
            "MlpPolicy", DummyVecEnv(makers), n_steps=64, batch_size=128, n_epochs=8, gamma=0.98, learning_rate=1e-3,
            ent_coef=0.01, policy_kwargs={"net_arch": [32, 32]}, seed=self.seed, device="cpu",
        )  # fmt: skip
        learnt.set_logger(Logger(folder=None, output_formats=[]))  # its own leaves a folder in /tmp
        learnt.learn(self.steps)
        named = learnt.policy.state_dict()
        layers = [f"mlp_extractor.policy_net.{2 * n}" for n in range(LAYERS)] + ["action_net"]
        for number, layer in enumerate(layers):
            self.weights[f"weight_{number}"] = named[f"{layer}.weight"].numpy().astype("float64")
            self.weights[f"bias_{number}"] = named[f"{layer}.bias"].numpy().astype("float64")
        return self

    def choose(self, state: State) -> int:
        from training.learners._search_env import act

        return act(self.strategy(state), state, self.seed)

    def strategy(self, state: State) -> int:
        """The likeliest strategy: the two hidden layers of PPO's policy, and the head.

        Without a prior it is expected improvement: on systems held out, the policy without one found less than that.
        """
        from training.learners._search_env import STRATEGIES, observe

        if state.prior is None:
            return STRATEGIES.index("improvement")
        hidden = observe(state, self.trials).astype("float64")
        for number in range(LAYERS):
            hidden = np.tanh(self.weights[f"weight_{number}"] @ hidden + self.weights[f"bias_{number}"])
        return int((self.weights[f"weight_{LAYERS}"] @ hidden + self.weights[f"bias_{LAYERS}"]).argmax())

    def _tasks(self, frame: pd.DataFrame, label: str) -> Iterator[Any]:
        """Every training task, with the prior of the others that have the same knobs."""
        from training.learners._search_env import Task

        frame = frame.assign(space=spaces(frame))
        whole = self.pools
        for space, group in frame.groupby("space", sort=True):
            for task, rows in group.groupby("task", sort=True):
                others = group[group["task"] != task]
                self.pools = {str(space): pool(others, gains(others, label))} if len(others) else {}
                yield Task(self.start(rows, self.trials), gains(rows, label))
        self.pools = whole

    def config(self) -> dict[str, Any]:
        return {"steps": self.steps, "trials": self.trials, "candidates": self.candidates, "seed": self.seed}

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        super().save(folder)
        save_file(self.weights, folder / "policy.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.numpy import load_file

        learner = super().load(folder)
        learner.weights = load_file(folder / "policy.safetensors")
        return learner
