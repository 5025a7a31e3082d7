"""Gaussian processes over a table of configurations: what is expected of those not measured yet (numpy only).

Matérn 5/2 on knobs scaled to their ranks among the candidates; the length scale is the likeliest of a few. With a
prior mean (what other tasks with the same knobs gave) the process explains only what differs from it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from training.learners._odds import logistic

Floats = npt.NDArray[np.float64]
SCALES = (0.3, 0.7, 1.5)


@dataclass(frozen=True)
class Belief:
    """Mean and standard deviation at each candidate."""

    mean: Floats
    spread: Floats

    def improvement(self, best: float) -> Floats:
        """Expected improvement over `best` (Jones, Schonlau & Welch 1998)."""
        gap = self.mean - best
        ratio = gap / self.spread
        density = np.exp(-(ratio**2) / 2) / np.sqrt(2 * np.pi)
        return gap * _cumulative(ratio) + self.spread * density


def scaled(candidates: Floats, points: Floats) -> Floats:
    """`points` (rows × knobs) on the scale of the candidates: 0 the lowest value of a knob, 1 the highest, by rank."""
    columns = []
    for candidate, point in zip(candidates.T, points.T, strict=True):
        levels = np.unique(candidate)
        columns.append(np.interp(point, levels, np.linspace(0, 1, len(levels))) if len(levels) > 1 else 0 * point)
    return np.stack(columns, axis=1) / np.sqrt(max(1, len(columns)) / 3)  # as far apart with many knobs as with three


def believe(
    x: Floats, tried: npt.NDArray[np.int64], outcomes: Floats, noise: float, prior: Floats, spread: float
) -> Belief:
    """Posterior at `x`; `tried` are rows of it; `prior`: mean at each row of `x`; `spread`: deviation from it."""
    if not len(tried):
        return Belief(prior.copy(), np.full(len(x), spread))
    rest = outcomes - prior[tried]
    size = max(spread, float(rest.std()) if len(rest) > 2 else 0.0)
    best: tuple[float, Belief] | None = None
    for scale in SCALES:
        found = _posterior(x, tried, rest, noise, prior, size, scale)
        if best is None or found[0] > best[0]:
            best = found
    assert best is not None  # noqa: S101 - there is more than one scale
    return best[1]


def _posterior(
    x: Floats, index: npt.NDArray[np.int64], rest: Floats, noise: float, prior: Floats, size: float, scale: float
) -> tuple[float, Belief]:
    cross = size**2 * _matern(x, x[index], scale)
    inner = cross[index] + (noise**2 + 1e-8) * np.eye(len(index))
    lower = np.linalg.cholesky(inner)
    weights = np.linalg.solve(lower.T, np.linalg.solve(lower, rest))
    half = np.linalg.solve(lower, cross.T)
    variance = np.maximum(size**2 - (half**2).sum(axis=0), 1e-10)
    likelihood = -0.5 * rest @ weights - np.log(np.diag(lower)).sum()
    return float(likelihood), Belief(prior + cross @ weights, np.sqrt(variance))


def _matern(a: Floats, b: Floats, scale: float) -> Floats:
    squared = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    distance = np.sqrt(5 * np.maximum(squared, 0)) / scale
    return np.asarray((1 + distance + distance**2 / 3) * np.exp(-distance))


def _cumulative(x: Floats) -> Floats:
    """The normal distribution, to 1e-4 (a logistic curve, Bowling et al. 2009)."""
    return logistic(0.07056 * x**3 + 1.5976 * x)
