"""Measured use, replayed: an environment for policies that set requests (gymnasium, one environment a workload).

Use is open loop: demand that a smaller request would have throttled is not replayed, so savings count only together
with violations. An episode is the whole record. An action is the log of the wished request over the present `p99`; NaN
keeps the request. The reward of an hour is the share of the capacity that is not reserved (the mean over resources),
less what a change costs, less what violations cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pandas as pd

from training.learners.sizing import SMALLEST, exploded, held

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Record:
    """Arrays over hours × workloads × resources; rows that are missing have `there` False."""

    seen: Floats  # … × features
    p99: Floats
    floor: Floats
    capacity: Floats
    use: Floats  # … × samples, NaN where not measured
    there: npt.NDArray[np.bool_]  # hours × workloads
    midnight: npt.NDArray[np.bool_]  # hours


def record(rows: pd.DataFrame, seen: Floats, label: pd.Series, resources: list[str], every: int) -> Record:
    """Rows (`time`, `workload`, statistics) in their hours, every `every`-th of them; `seen`: rows × resources × …"""
    times, hour = np.unique(rows["time"].to_numpy(), return_inverse=True)
    names, place = np.unique(rows["workload"].astype(str).to_numpy(), return_inverse=True)
    kept = hour % every == 0
    size = ((len(times) + every - 1) // every, len(names), len(resources))
    at = (hour[kept] // every, place[kept])
    there = np.zeros(size[:2], dtype=bool)
    there[at] = True

    def cube(values: Floats, fill: float) -> Floats:
        found = np.full((*size, *values.shape[2:]), fill, dtype="float32")
        found[at] = values[kept]
        return found

    def column(name: str) -> Floats:
        return rows[[f"{resource}_{name}" for resource in resources]].to_numpy("float64")

    capacity = column("capacity")
    p99, floor = np.maximum(column("p99"), SMALLEST * capacity), np.maximum(column("p50"), SMALLEST * capacity)
    use = _samples(label, len(resources))
    clock = pd.to_datetime(pd.Series(times[::every]), utc=True).dt.hour.to_numpy()
    return Record(
        cube(seen, 0.0), cube(p99, 1.0), cube(floor, 1.0), cube(capacity, 1.0), cube(use, np.nan), there,
        clock < every,
    )  # fmt: skip


def _samples(label: pd.Series, parts: int) -> Floats:
    """Rows × resources × samples, NaN where a row has fewer."""
    uses, row = exploded(label, parts)
    lengths = np.bincount(row, minlength=len(label))
    within = np.arange(len(row)) - (np.cumsum(lengths) - lengths)[row]
    found = np.full((len(label), parts, lengths.max(initial=0)), np.nan)
    found[row, :, within] = uses.T
    return found


class Replay(gymnasium.vector.VectorEnv):
    """`copies` of all workloads at once, so that as many policies are tried in one pass: copies × workloads × …"""

    def __init__(self, record: Record, copies: int, band: float, change_cost: float, violation_cost: float) -> None:
        self.record, self.copies, self.band = record, copies, band
        self.change_cost, self.violation_cost = change_cost, violation_cost
        _, workloads, resources, features = record.seen.shape
        self.num_envs = copies * workloads
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (resources, features), np.float32)
        self.single_action_space = gymnasium.spaces.Box(-np.inf, np.inf, (resources,), np.float32)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, self.num_envs)
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, self.num_envs)
        self._shape = (copies, workloads, resources)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Back to the first hour, nothing set."""
        self.hour, self.current = 0, np.full(self._shape, np.nan)
        return self._seen(), {}

    def step(self, actions: Floats) -> tuple[Floats, Floats, Floats, Floats, dict[str, Any]]:
        """Set the requests and watch one hour. `info`: reserved share, violated and measured samples, changes."""
        now, hour = self.record, self.hour
        there = now.there[hour]
        wish = now.p99[hour] * np.exp(actions.reshape(self._shape))
        wish = np.where(np.isnan(wish), self.current, wish)
        wish = np.where(np.isnan(wish), now.capacity[hour], np.clip(wish, now.floor[hour], now.capacity[hour]))
        new = np.where(
            there[:, None], held(wish, np.minimum(self.current, now.capacity[hour]), self.band), self.current
        )
        changed = (new != self.current).any(axis=-1) & there
        self.current = new
        use = now.use[hour]
        violated = (use > (new * (1 + 1e-6))[..., None]).sum(axis=-1)
        measured = (~np.isnan(use)).sum(axis=-1)
        reserved = np.where(there[:, None], new / now.capacity[hour], 0.0)
        bad = (violated / np.maximum(measured, 1)).mean(axis=-1)
        reward = there * (1 - reserved.mean(axis=-1)) - self.change_cost * changed - self.violation_cost * bad
        info = {"reserved": reserved, "violated": violated, "measured": measured, "changed": changed, "there": there}
        self.hour += 1
        ended = np.full(self.num_envs, self.hour == len(now.seen))
        return self._seen(), reward.reshape(-1), ended, np.zeros_like(ended), info

    def _seen(self) -> Floats:
        hour = min(self.hour, len(self.record.seen) - 1)
        seen = self.record.seen[hour]
        return np.broadcast_to(seen, (self.copies, *seen.shape)).reshape(self.num_envs, *seen.shape[1:])
