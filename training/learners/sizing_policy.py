"""A policy that sets requests, found by reinforcement learning: the cross-entropy method on replayed use.

The policy is safe by construction: whatever its parameters, the request is the largest of several multiples of past
use, lies between the median use and the capacity, and rises at once when use comes near it. With the statistics s of
one resource and four features f of its behaviour,

    log request = max over s of (log s + b[s]) + w · f

Parameters (b, w, both resources together) are searched by the cross-entropy method (Rubinstein 1999; for policies:
Mannor, Rubinstein & Gat, ICML 2003), a population at a time. Candidates that violate more than `budget` times what the
reference rule (p99 of seven days × 1.15, set at midnight) does on the same record are marked down. A last step shifts
b by one number a resource, so that the policy spends on all training rows just the violations it is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.errors import DataError
from training.learners.sizing import SMALLEST, Sizing

Floats = npt.NDArray[np.float64]
# where the search begins: most of the last day's peak, a little of everything else
START = {"p90": -0.8, "p95": -0.5, "p98": -0.4, "p99": -0.4, "peak": -0.7, "peak_1h": -0.1, "peak_4h": -0.4,
         "peak_24h": -0.1, "peak_48h": -0.4, "peak_same_hour": -0.5, "peak_same_hour_last_week": -0.4,
         "peak_same_hour_7d": -0.7}  # fmt: skip
FEATURES = 4
RULE = 1.15
OVERSTEP = 0.5  # what twice the allowed violations cost, in shares of the capacity
UNEVEN = 0.1  # what it costs when every workload is violated in more than `OFTEN` of its samples
OFTEN = 0.01
ELITE = 0.2
SHIFTS = np.linspace(-0.3, 0.6, 46)


class SizingPolicy(Sizing):
    """`generations` of `population` policies on at most `hours` hours of the record, drawn evenly."""

    def __init__(
        self,
        budget: float = 0.5,
        band: float = 0.1,
        change_cost: float = 0.05,
        violation_cost: float = 1.0,
        generations: int = 30,
        population: int = 32,
        hours: int = 96,
        resources: Sequence[str] = ("cpu", "memory"),
        seed: int = 0,
    ) -> None:
        super().__init__(dict.fromkeys(START, 1.0), band, None, resources)
        self.budget, self.change_cost, self.violation_cost = budget, change_cost, violation_cost
        self.generations, self.population, self.hours, self.seed = generations, population, hours, seed
        self.weights: Floats = np.tile([*START.values(), *np.zeros(FEATURES)], (len(self.resources), 1))

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        known = frame[frame[label].notna()]
        if known.empty:
            raise DataError(f"{label}: no row has a measured use to learn from")
        every = max(1, round(known["time"].nunique() / self.hours))
        coarse, fine = (self._record(known, label, step) for step in (every, max(1, every // 2)))
        allowed = self.budget * _rates(self._play(coarse, None))
        self.weights = self._search(coarse, allowed)
        shifted = np.repeat(self.weights[None], len(SHIFTS), axis=0)
        shifted[:, :, : len(START)] += SHIFTS[:, None, None]
        allowed = self.budget * _rates(self._play(fine, None))[0]
        within = _rates(self._play(fine, shifted)) <= allowed  # shifts × resources
        first = np.where(within.any(axis=0), within.argmax(axis=0), len(SHIFTS) - 1)
        self.weights = shifted[first, np.arange(len(self.resources))]
        return super().fit(frame, label)

    def wish(self, frame: pd.DataFrame) -> Floats:
        seen = self._seen(frame)
        capacity = self.columns(frame, "capacity")
        return np.maximum(self.columns(frame, "p99"), SMALLEST * capacity) * np.exp(_act(seen, self.weights))

    def _search(self, record: Any, allowed: Floats) -> Floats:
        """The mean of the last elite: resources × parameters."""
        random = np.random.default_rng(self.seed)
        mean, spread = self.weights.copy(), np.full_like(self.weights, 0.3)
        spread[:, len(START) :] = 0.1
        for generation in range(self.generations):
            tried = mean + spread * random.normal(size=(self.population, *mean.shape))
            tried[0] = mean
            worth = self._worth(self._play(record, tried), allowed)
            best = tried[np.argsort(-worth, kind="stable")[: max(2, round(ELITE * self.population))]]
            mean = 0.3 * mean + 0.7 * best.mean(axis=0)
            spread = 0.3 * spread + 0.7 * best.std(axis=0) + 0.01 * 0.9**generation
        return mean

    def _worth(self, played: dict[str, Floats], allowed: Floats) -> Floats:
        over = np.maximum(0.0, _rates(played) / np.maximum(allowed, 1e-6) - 1).sum(axis=-1)
        often = played["violated"] / np.maximum(played["measured"], 1) > OFTEN
        return np.asarray(played["reward"] - OVERSTEP * over - UNEVEN * often.mean(axis=1).sum(axis=-1))

    def _play(self, record: Any, policies: Floats | None) -> dict[str, Floats]:
        """One episode of each policy, or of the reference rule: reward, and samples per workload and resource."""
        from training.learners._sizing_env import Replay

        copies, band = (1, 0.0) if policies is None else (len(policies), self.band)
        env = Replay(record, copies, band, self.change_cost, self.violation_cost)
        seen, _ = env.reset()
        shape = (copies, *record.seen.shape[1:3])
        totals = {name: np.zeros(shape) for name in ("violated", "measured")}
        reward, big = np.zeros(shape[:2]), record.capacity.mean(axis=(0, 2))
        for hour in range(len(record.seen)):
            if policies is None:
                action = np.full(shape, np.log(RULE) if record.midnight[hour] or hour == 0 else np.nan)
            else:
                action = _act(seen.reshape(*shape, -1)[0], policies)
            seen, gained, _, _, info = env.step(action)
            reward += gained.reshape(shape[:2])
            for name in totals:
                totals[name] += info[name]
        hours = np.maximum(record.there.sum(axis=0), 1)
        weight = 0.7 * big / big.mean() + 0.3  # money saved, and every workload a little
        return {**totals, "reward": (reward / hours * weight).mean(axis=1)}

    def _record(self, rows: pd.DataFrame, label: str, every: int) -> Any:
        from training.learners._sizing_env import record

        return record(rows, self._seen(rows), rows[label], self.resources, every)

    def _seen(self, frame: pd.DataFrame) -> Floats:
        """Rows × resources × (statistics as logs over p99, then features)."""
        return np.stack([self._seen_of(frame, resource) for resource in self.resources], axis=1)

    def _seen_of(self, frame: pd.DataFrame, resource: str) -> Floats:
        logs = {name: np.log(self.statistic(frame, resource, name)) for name in START}
        p99 = logs["p99"]
        utilised = p99 - np.log(frame[f"{resource}_capacity"].to_numpy("float64"))
        features = [
            np.clip(utilised, -4, 0) / 2 + 1,
            np.clip(logs["peak"] - p99, 0, 2) - 0.5,  # rare peaks
            np.clip(p99 - logs["p90"], 0, 2) - 0.5,  # bursts
            np.clip(logs["peak_1h"] - p99, -2, 0) + 0.7,  # how quiet it is now
        ]
        return np.stack([*(values - p99 for values in logs.values()), *features], axis=-1)

    def config(self) -> dict[str, Any]:
        names = ("budget", "band", "change_cost", "violation_cost", "generations", "population", "hours", "resources")
        return {name: getattr(self, name) for name in names} | {"seed": self.seed}

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        super().save(folder)
        save_file({"weights": self.weights}, folder / "policy.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.numpy import load_file

        learner = super().load(folder)
        learner.weights = load_file(folder / "policy.safetensors")["weights"]
        return learner


def _act(seen: Floats, weights: Floats) -> Floats:
    """Log of the wish over p99; `seen` rows × resources × inputs, `weights` (policies ×) resources × parameters."""
    count = len(START)
    statistics, features = seen[..., :count], seen[..., count:]
    weights = weights[..., None, :, :]
    return np.asarray((statistics + weights[..., :count]).max(axis=-1) + (features * weights[..., count:]).sum(axis=-1))


def _rates(played: dict[str, Floats]) -> Floats:
    """Policies × resources: violated share of the samples of all workloads."""
    return np.asarray(played["violated"].sum(axis=1) / np.maximum(played["measured"].sum(axis=1), 1))
