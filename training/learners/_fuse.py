"""Scores of several opinions → a calibrated probability, a suspicion that also sees the new, a threshold of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from training.learners._odds import logistic

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

POINTS = 400  # kept of each opinion's distribution over benign rows
PENALTY = 1e-3  # of the weights' squares: they stay finite when the classes separate
UNSEEN = 0.5  # share of the evidence for the suspicion's weights that is about attacks never seen
EARLIER = 0.2  # what a benign row counts there that did not come last
FAR = 10.0  # standard deviations; no opinion counts for more


class Fuse:
    """Two weighted sums of the same scores; see `training.learners.fusion`.

    `arrays`: `spread`, `known` (weights of the probability, then its intercept), `tails` (quantiles over benign rows,
    one column an opinion), `weights` (of the suspicion). `threshold` of the probability, `watch` of the suspicion.
    """

    def __init__(self, arrays: Mapping[str, Any] | None = None, threshold: float = 0.5, watch: float = 0.0) -> None:
        self.arrays = {name: np.asarray(array, dtype=float) for name, array in (arrays or {}).items()}
        self.threshold, self.watch = threshold, watch

    def state(self) -> dict[str, Any]:
        """The keyword arguments that make this again."""
        arrays = {name: array.tolist() for name, array in self.arrays.items()}
        return {"arrays": arrays, "threshold": self.threshold, "watch": self.watch}

    def fit(self, scores: Floats, attack: Bools, new: Bools, names: Any, last: Bools) -> None:
        """Learn both sums from held-out rows; `new`: attacks of which nothing was learnt; `names`: which attack."""
        self.arrays = {"spread": scores.std(axis=0) + 1e-9}
        evidence, known = self._standard(scores)[~new], attack[~new]
        self.arrays["known"] = _logistic(evidence, known, np.ones(len(known)))
        self.arrays["tails"] = np.quantile(scores[~attack], np.linspace(0, 1, POINTS), axis=0)
        importance = _importance(attack, new, names, last)
        self.arrays["weights"] = _logistic(self._surprise(scores), attack, importance)[:-1]

    def decide(self, scores: Floats, attack: Bools, new: Bools, last: Bools, budget: float) -> None:
        """The threshold with the fewest errors, and the watch that spends what it leaves of the budget.

        `budget`: the share of benign rows that may reach either of them, of all and of the last ones alone.
        """
        probability, suspicion = self.probability(scores), self.suspicion(scores)
        benign = [~attack & part for part in (np.ones_like(last), last)]
        floor = max(_exceeded(probability[part], budget) for part in benign)
        self.threshold = max(floor, _fewest_errors(probability[~new], attack[~new]))
        # who reaches the threshold alarms in any case: as if endlessly suspicious
        spent = np.where(probability >= self.threshold, np.inf, suspicion)
        self.watch = max(_exceeded(spent[part], budget) for part in benign)

    def probability(self, scores: Floats) -> Floats:
        """Of an attack of a kind that was learnt; calibrated on held-out rows."""
        margin = self._standard(scores) @ self.arrays["known"][:-1] + self.arrays["known"][-1]
        return logistic(margin)

    def suspicion(self, scores: Floats) -> Floats:
        """How unlike benign rows, in the eyes of all opinions together."""
        return np.asarray(self.weighted(scores).sum(axis=1))

    def weighted(self, scores: Floats) -> Floats:
        """Rows × opinions: each one's part of the suspicion."""
        return self._surprise(scores) * self.arrays["weights"]

    def _standard(self, scores: Floats) -> Floats:
        return np.clip(scores / self.arrays["spread"], -FAR, FAR)

    def _surprise(self, scores: Floats) -> Floats:
        """-log of the share of benign rows at least as suspicious; beyond all of them it grows with the distance."""
        tails, found = self.arrays["tails"], np.empty_like(scores)
        for number in range(scores.shape[1]):
            tail, score = tails[:, number], scores[:, number]
            # the mean of both sides: where benign rows are tied, a row like them is in the middle of the tie
            below = (np.searchsorted(tail, score, "left") + np.searchsorted(tail, score, "right")) / 2
            beyond = np.log1p(np.maximum(score - tail[-1], 0) / self.arrays["spread"][number])
            found[:, number] = np.log((POINTS + 1) / (POINTS + 1 - below)) + beyond
        return found


def _importance(attack: Bools, new: Bools, names: Any, last: Bools) -> Floats:
    """Benign and attacks in balance; of the attacks `UNSEEN` never seen, and each named attack the same."""
    importance = np.where(last, 1.0, EARLIER) * ~attack
    importance /= importance.sum()
    shares = ((new, UNSEEN), (~new, 1 - UNSEEN)) if new.any() else ((~new, 1.0),)
    for part, share in shares:
        chosen = attack & part
        _, which, counts = np.unique(names[chosen], return_inverse=True, return_counts=True)
        importance[chosen] = share / len(counts) / counts[which]
    return importance


def _logistic(x: Floats, y: Bools, importance: Floats) -> Floats:
    """Weights ≥ 0, then the intercept, of the logistic regression with the least loss."""
    from scipy.optimize import minimize

    sign, share = np.where(y, -1.0, 1.0), importance / importance.sum()

    def loss(parameters: Floats) -> tuple[float, Floats]:
        margin = sign * (x @ parameters[:-1] + parameters[-1])
        slope = share * sign * logistic(margin)
        gradient = np.append(x.T @ slope + 2 * PENALTY * parameters[:-1], slope.sum())
        return float(share @ np.logaddexp(0, margin) + PENALTY * (parameters[:-1] ** 2).sum()), gradient

    bounds = [(0, None)] * x.shape[1] + [(None, None)]
    return np.asarray(minimize(loss, np.zeros(x.shape[1] + 1), jac=True, bounds=bounds, method="L-BFGS-B").x)


def _exceeded(scores: Floats, share: float) -> float:
    """The lowest threshold that at most `share` of `scores` reach."""
    ranked = np.sort(scores)[::-1]
    return float(np.nextafter(ranked[min(int(share * len(ranked)), len(ranked) - 1)], np.inf))


def _fewest_errors(probability: Floats, attack: Bools) -> float:
    """The threshold with the fewest errors, halfway to the next lower probability."""
    order = np.argsort(-probability, kind="stable")
    p, hit = probability[order], attack[order]
    last = np.flatnonzero(np.append(np.diff(p) != 0, True))
    errors = np.cumsum(~hit)[last] + attack.sum() - np.cumsum(hit)[last]
    best = int(np.argmin(errors))
    return float((p[last[best]] + p[last[min(best + 1, len(last) - 1)]]) / 2)
