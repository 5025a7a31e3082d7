"""Measured tables, searched: an environment for policies that choose how to search (gymnasium).

An episode is one training task with a limited number of trials. An action is a strategy; the strategy picks the next
configuration, whose measured outcome is revealed. The reward is how much the best so far rises, in shares of the best
the task has. The prior of a task is made from the other tasks only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np

from training.learners._surrogate import Floats
from training.learners.search import RandomSearch, State, pick

STRATEGIES = ("expected", "improvement", "optimistic", "plain_improvement", "explore")
INPUTS = 12


@dataclass(frozen=True)
class Task:
    """A table whose outcomes (log gains) are known."""

    state: State
    truth: Floats


def act(strategy: int, state: State, seed: int = 0) -> int:
    """The candidate that a strategy measures next; where nothing is known yet, any."""
    if state.cold():
        return RandomSearch(seed).choose(state)
    name = STRATEGIES[strategy]
    if name == "plain_improvement":
        return pick(state, state.belief(with_prior=False).improvement(state.best()))
    belief = state.belief(with_prior=True)
    if name == "expected":
        return pick(state, belief.mean)
    if name == "improvement":
        return pick(state, belief.improvement(state.best()))
    return pick(state, belief.mean + 2 * belief.spread if name == "optimistic" else belief.spread)


def observe(state: State, trials: int) -> Floats:
    """What a policy sees of a search: no name of a system, a task or a knob."""
    belief = state.belief(with_prior=True)
    best, open_ = state.best(), state.open()
    prior = state.prior if state.prior is not None else np.zeros(len(state.candidates))
    trusted = 0.0
    if len(state.tried) > 2 and prior[state.tried].std() > 0 and state.outcomes.std() > 0:
        trusted = float(np.corrcoef(prior[state.tried], state.outcomes)[0, 1])
    last = float(state.outcomes[-1]) if len(state.outcomes) else 0.0
    unit = max(state.noise, 0.01)
    seen = [
        state.left / max(trials, 1),
        len(state.tried) / 10,
        best / unit / 5,
        (last - best) / unit / 5,
        float(state.outcomes.std()) / unit / 5 if len(state.outcomes) > 1 else 0.0,
        float(belief.improvement(best)[open_].max(initial=0.0)) / unit,
        float(belief.mean[open_].max(initial=0.0) - best) / unit / 5,
        float(belief.spread.mean()) / unit / 5,
        float(prior.std()) / unit / 5,
        float(state.prior is not None),
        trusted,
        np.log(len(state.candidates)) / 8,
    ]
    return np.clip(np.array(seen, dtype=np.float32), -5, 5)


class SearchEnv(gymnasium.Env[Any, Any]):
    """Tasks in random order."""

    def __init__(self, tasks: Sequence[Task], trials: int, candidates: int, seed: int) -> None:
        self.tasks, self.trials, self.candidates = list(tasks), trials, candidates
        self.random = np.random.default_rng(seed)
        self.observation_space = gymnasium.spaces.Box(-5, 5, (INPUTS,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(len(STRATEGIES))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """A task with a random part of its candidates, its prior sometimes hidden: as with a system never seen."""
        task = self.tasks[int(self.random.integers(len(self.tasks)))]
        size = min(self.candidates, len(task.truth))
        rows = self.random.permutation(len(task.truth))[:size]
        state = task.state
        prior = state.prior[rows] if state.prior is not None and self.random.random() > 0.3 else None
        self.state = replace(state, candidates=state.candidates[rows], x=state.x[rows], prior=prior, left=self.trials)
        self.truth = task.truth[rows]
        return observe(self.state, self.trials), {}

    def step(self, action: int) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Measure what the strategy picks."""
        before = self.state.best()
        choice = act(int(action), self.state)
        self.state = self.state.after(choice, float(self.truth[choice]))
        size = max(float(self.truth.max()), self.state.noise)
        reward = (self.state.best() - before) / size
        return observe(self.state, self.trials), reward, self.state.left == 0, False, {}
