"""Metrics of binary scores, and how sure we are of them.

`truth` is 0/1 (or bool), `score` grows with the positive class, `probability` is a score in [0, 1]. Tied scores are
treated as one step, so no order of rows can flatter a model. A metric that is undefined (only one class) is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Values = npt.ArrayLike
Floats = npt.NDArray[np.float64]


class Interval(NamedTuple):
    """A figure with the bounds of its confidence interval."""

    value: float
    low: float
    high: float


class Curve(NamedTuple):
    """True and false positives when everything scored `threshold` or higher is called positive, strictest first."""

    threshold: Floats
    hits: Floats
    false_alarms: Floats


def curve(truth: Values, score: Values) -> Curve:
    """The operating points of `score`, one per distinct value."""
    y, s = _pair(truth, score)
    order = np.argsort(-s, kind="stable")
    y, s = y[order], s[order]
    last = np.flatnonzero(np.append(np.diff(s) != 0, True)) if len(s) else np.array([], dtype=int)
    hits = np.cumsum(y)[last]
    return Curve(s[last], hits, last + 1 - hits)


def pr_auc(truth: Values, score: Values) -> float:
    """Average precision: the mean precision over the recalled positives (no interpolation)."""
    points = curve(truth, score)
    if not _both(points):
        return math.nan
    precision = points.hits / (points.hits + points.false_alarms)
    return float(np.sum(np.diff(points.hits, prepend=0.0) * precision) / points.hits[-1])


def roc_auc(truth: Values, score: Values) -> float:
    """The chance that a random positive is scored above a random negative, ties counting half."""
    points = curve(truth, score)
    if not _both(points):
        return math.nan
    hits = np.concatenate([[0.0], points.hits]) / points.hits[-1]
    alarms = np.concatenate([[0.0], points.false_alarms]) / points.false_alarms[-1]
    return float(np.trapezoid(hits, alarms))


def recall_at_false_alarms(truth: Values, score: Values, rate: float) -> float:
    """The best recall of any threshold whose false positive rate is at most `rate`."""
    points = curve(truth, score)
    if not _both(points):
        return math.nan
    allowed = points.false_alarms <= rate * points.false_alarms[-1]
    return float(points.hits[allowed].max(initial=0.0) / points.hits[-1])


def recall_in_top(truth: Values, score: Values, share: float = 0.1) -> float:
    """The share of positives among the `share` of rows scored highest; rows tied at the border count by their part."""
    points = curve(truth, score)
    if not len(points.hits) or not points.hits[-1]:
        return math.nan
    called = points.hits + points.false_alarms
    return float(np.interp(share * called[-1], np.append(0.0, called), np.append(0.0, points.hits)) / points.hits[-1])


def best_f1_threshold(truth: Values, score: Values) -> float:
    """The threshold with the highest F1, halfway to the next lower score so that small shifts do not flip rows."""
    points = curve(truth, score)
    if not _both(points):
        return math.nan
    best = int(np.argmax(points.hits / (points.hits + points.false_alarms + points.hits[-1])))
    below = points.threshold[min(best + 1, len(points.threshold) - 1)]
    return float((points.threshold[best] + below) / 2)


def f1(truth: Values, positive: Values) -> float:
    """Harmonic mean of precision and recall of the calls `positive`."""
    y, called = _pair(truth, positive)
    total = y.sum() + called.sum()
    return float(2 * (y * called).sum() / total) if total else math.nan


def balanced_accuracy(truth: Values, positive: Values) -> float:
    """Mean of the recall of both classes."""
    y, called = _pair(truth, positive)
    if y.min() == y.max():
        return math.nan
    return float((called[y == 1].mean() + 1 - called[y == 0].mean()) / 2)


def brier(truth: Values, probability: Values) -> float:
    """Mean squared error of the probability."""
    y, p = _pair(truth, probability)
    return float(np.mean((p - y) ** 2))


def ece(truth: Values, probability: Values, bins: int = 10) -> float:
    """Expected calibration error over `bins` bins of equal width: mean |observed rate - mean probability| by rows."""
    y, p = _pair(truth, probability)
    which = np.minimum((p * bins).astype(int), bins - 1)
    gaps = np.bincount(which, weights=y - p, minlength=bins)
    return float(np.abs(gaps).sum() / len(y))


def classification(truth: Values, probability: Values, threshold: float) -> dict[str, float]:
    """All metrics of a probability for a rare class; `accuracy_majority` is what "never" reaches."""
    y, p = _pair(truth, probability)
    called = (p >= threshold).astype(float)
    return {
        "pr_auc": pr_auc(y, p),
        "roc_auc": roc_auc(y, p),
        "f1": f1(y, called),
        "recall_top_decile": recall_in_top(y, p, 0.1),
        "brier": brier(y, p),
        "ece": ece(y, p),
        "accuracy": float(np.mean(called == y)),
        "accuracy_majority": float(max(y.mean(), 1 - y.mean())),
        "balanced_accuracy": balanced_accuracy(y, called),
        "base_rate": float(y.mean()),
    }


def mean_interval(values: Sequence[float], level: float = 0.95, overlap: float = 0.0) -> Interval:
    """Mean of repeated figures with Student's t interval.

    Repeats of cross-validation share training rows; `overlap`, the size of a test part over that of its training part,
    widens the interval for it (Nadeau & Bengio, Inference for the Generalization Error, Machine Learning 52, 2003).
    """
    from scipy.stats import t

    x = np.asarray(values, dtype=float)
    if len(x) < 2:
        return Interval(float(x.mean()), math.nan, math.nan)
    half = t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) * math.sqrt(1 / len(x) + overlap)
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half))


def bootstrap_interval(
    metric: Callable[[Any, Any], float],
    truth: Values,
    score: Values,
    level: float = 0.95,
    rounds: int = 1000,
    seed: int = 0,
    groups: Values | None = None,
) -> Interval:
    """`metric` of one test part with its percentile bootstrap interval (Efron 1979).

    With `groups` (one value per row), whole groups are drawn: rows of one drive or machine are not independent.
    """
    y, s = _pair(truth, score)
    names = np.arange(len(y)) if groups is None else np.asarray(groups)
    members = [np.flatnonzero(names == name) for name in np.unique(names)] if groups is not None else names[:, None]
    random = np.random.default_rng(seed)
    figures = []
    for _ in range(rounds):
        drawn = np.concatenate([members[i] for i in random.integers(0, len(members), len(members))])
        figures.append(metric(y[drawn], s[drawn]))
    low, high = np.nanquantile(figures, [(1 - level) / 2, (1 + level) / 2])
    return Interval(metric(y, s), float(low), float(high))


def _pair(truth: Values, score: Values) -> tuple[Floats, Floats]:
    y, s = np.asarray(truth, dtype=float), np.asarray(score, dtype=float)
    if y.shape != s.shape or y.ndim != 1:
        raise ValueError(f"truth and score must be two lists of one length, got {y.shape} and {s.shape}")
    if np.isnan(y).any() or np.isnan(s).any():
        raise ValueError("truth and score must have no missing values: drop the rows that a model abstained on first")
    return y, s


def _both(points: Curve) -> bool:
    return bool(len(points.hits)) and points.hits[-1] > 0 and points.false_alarms[-1] > 0
