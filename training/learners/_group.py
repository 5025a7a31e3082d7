"""One group of series of a panel forecast: how much of each part is believed, and how wide intervals are."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from training.learners._panel import CALM, Floats, Plan, Samples
from training.learners._parts import PARTS

STEP = 0.25  # grid of the shares
FEW = 200  # samples below which nothing is learnt or tried
NEWEST = 1 / 3  # of the training time, on which shares are chosen
MOVES = 0.02  # share of moved values below which a horizon is left to persistence
GAIN = 0.01  # less than this part of the error saved is no reason to leave persistence
DOUBT = 0.5  # of a part is believed where it could not be tried


class Group:
    """The parts of one group of series, their shares for each horizon, and the quantiles of the errors."""

    def __init__(self, plan: Plan, level: float, seed: int) -> None:
        self.plan, self.level = plan, level
        self.parts = {name: PARTS[name](plan, seed) for name in plan.parts}
        self.state: dict[str, Any] = {"samples": 0}

    def fit(self, samples: Samples, truth: Floats) -> Self:
        """Learn from samples in order of time."""
        ahead, labelled = len(self.plan.ahead), ~np.isnan(truth)
        self.state |= {"samples": len(samples.row), "stay": self._stay(samples, truth)}
        self.state |= {"shares": [[0.0] * len(self.parts)] * ahead, "width": [0.0] * ahead}
        base = self.persistence(samples)
        moves = [self._moves(base[:, h], truth[:, h]) for h in range(ahead)]
        tried = [self._tried(samples, truth, h) if moves[h] else None for h in range(ahead)]
        self.state["shares"] = [self._shares(trial, h, moves[h]) for h, trial in enumerate(tried)]
        self._believe_neighbours(tried, moves)
        for horizon, trial in enumerate(tried):
            errors = self._errors(samples, truth, base, horizon, trial)
            self.state["width"][horizon] = float(np.quantile(errors, self.level)) if len(errors) else 0.0
        for name in self._unused():  # what nobody follows is not learnt
            del self.parts[name]
        self._learn(samples, truth, np.asarray(labelled.any(axis=1)))
        self.state["parts"] = {name: part.state for name, part in self.parts.items()}
        return self

    def persistence(self, samples: Samples) -> Floats:
        """N × horizons: the newest value, or how often such a state was found again."""
        if not self.plan.chance:
            return np.repeat(samples.newest[:, None], len(self.plan.ahead), axis=1)
        stay = np.asarray(self.state["stay"])  # horizons × (was 0, was 1)
        return np.asarray(stay[:, (samples.newest >= 0.5).astype(int)].T)

    def path(self, samples: Samples) -> Floats:
        """N × horizons: logarithms, or chances."""
        base = self.persistence(samples)
        shares = np.asarray(self.state["shares"]).reshape(len(self.plan.ahead), -1)
        found = base.copy()
        for name, part in self.parts.items():
            found += shares[:, self.plan.parts.index(name)] * (part.path(samples, base) - base)
        return found

    def intervals(self, samples: Samples) -> tuple[Floats, Floats, Floats]:
        """Forecast, low and high, N × horizons, in the unit of the values."""
        path = self.path(samples)
        if self.plan.chance:
            return path, np.empty((len(path), 0)), np.empty((len(path), 0))
        reach = samples.restless[:, None] * np.asarray(self.state["width"])
        return np.exp(path), np.exp(path - reach), np.exp(path + reach)

    def save(self, stem: Path) -> None:
        for part in self.parts.values():
            part.save(stem)

    def load(self, stem: Path, state: dict[str, Any]) -> Self:
        """Read what `save` wrote; `state` as it was."""
        self.state = state
        self.parts = {name: part for name, part in self.parts.items() if name in state["parts"]}
        for name, part in self.parts.items():
            part.state = state["parts"][name]
            part.load(stem)
        return self

    def _unused(self) -> list[str]:
        shares = np.asarray(self.state["shares"]).reshape(len(self.plan.ahead), -1)
        return [name for name, share in zip(self.plan.parts, shares.T, strict=True) if not share.any()]

    def _stay(self, samples: Samples, truth: Floats) -> list[list[float]]:
        """For each horizon the chance of 1 after 0 and after 1 (Laplace's rule)."""
        if not self.plan.chance:
            return []
        was = samples.newest >= 0.5
        return [
            [float((np.nansum(y[was == side]) + 1) / ((~np.isnan(y[was == side])).sum() + 2)) for side in (False, True)]
            for y in truth.T
        ]

    def _moves(self, base: Floats, truth: Floats) -> bool:
        known = ~np.isnan(truth)
        moved = np.abs(truth - base)[known] > 1e-6
        return bool(self.parts) and known.sum() >= FEW and float(moved.mean()) >= MOVES

    def _learn(self, samples: Samples, truth: Floats, rows: npt.NDArray[np.bool_]) -> None:
        given = samples.only(rows)
        for part in self.parts.values():
            part.fit(given, truth[rows], self.persistence(given))

    def _tried(self, samples: Samples, truth: Floats, horizon: int) -> tuple[npt.NDArray[np.intp], Floats] | None:
        """The judged samples and each part's path of one horizon (parts × N); None where training is too short."""
        known, hours = ~np.isnan(truth[:, horizon]), samples.hours
        if not known.any():
            return None
        begin, end = hours[known].min(), hours[known].max()
        cut = end - (end - begin) * NEWEST
        learnt = known & (hours + self.plan.ahead[horizon] + self.plan.late <= cut)
        judged = np.flatnonzero(known & (hours > cut))
        if learnt.sum() < FEW or len(judged) < FEW:
            return None
        only = np.full_like(truth, np.nan)
        only[:, horizon] = truth[:, horizon]
        one = self.plan._replace(ahead=(self.plan.ahead[horizon],))
        trial = Group(one, self.level, 0)
        trial.state["stay"] = trial._stay(samples.only(learnt), truth[learnt][:, [horizon]])
        trial._learn(samples.only(learnt), truth[learnt][:, [horizon]], np.ones(int(learnt.sum()), dtype=bool))
        asked = samples.only(judged)
        base = trial.persistence(asked)
        return judged, np.stack(
            [base[:, 0], truth[judged, horizon], *(p.path(asked, base)[:, 0] for p in trial.parts.values())]
        )

    def _shares(self, trial: tuple[npt.NDArray[np.intp], Floats] | None, horizon: int, moves: bool) -> list[float]:
        if trial is None or not moves:
            return [0.0] * len(self.parts)
        base, true, *paths = trial[1]
        count = round(1 / STEP)
        grid = [np.array(s) / count for s in product(range(count + 1), repeat=len(paths)) if sum(s) <= count]
        power = 2 if self.plan.chance else 1
        errors = [float(np.mean(np.abs(true - base - share @ (np.stack(paths) - base)) ** power)) for share in grid]
        best = int(np.argmin(errors))
        return [float(s) for s in (grid[best] if errors[best] < (1 - GAIN) * errors[0] else grid[0])]

    def _believe_neighbours(self, tried: list[Any], moves: list[bool]) -> None:
        """A horizon that could not be tried takes part of the shares of the one before it."""
        for horizon in range(1, len(tried)):
            if tried[horizon] is None and moves[horizon]:
                self.state["shares"][horizon] = [DOUBT * share for share in self.state["shares"][horizon - 1]]

    def _errors(self, samples: Samples, truth: Floats, base: Floats, horizon: int, trial: Any) -> Floats:
        """Absolute errors over restlessness: of the trial, else of persistence; of series that had moved."""
        if trial is None:
            judged, error = np.arange(len(truth)), np.abs(truth[:, horizon] - base[:, horizon])
        else:
            judged, (start, true, *paths) = trial
            shares = np.asarray(self.state["shares"][horizon])
            error = np.abs(true - start - (shares @ (np.stack(paths) - start) if paths else 0.0))
        reach = samples.restless[judged]
        fine = (reach > CALM) & ~np.isnan(error)
        return np.asarray(error[fine] / reach[fine])
