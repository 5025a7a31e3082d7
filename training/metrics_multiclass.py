"""Metrics of a label of several classes. `truth` holds class names; `probability` is rows × classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from training.metrics import ece

Floats = npt.NDArray[np.float64]
Names = npt.NDArray[np.object_]


def classification(truth: Sequence[str], probability: npt.ArrayLike, classes: Sequence[str]) -> dict[str, float]:
    """`accuracy`, `macro_f1` and `ece` of the most probable class.

    `macro_f1`: mean F1 over the classes that truth holds (a class never called has 0). `ece`: of the probability of
    the called class (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017), 10 bins of equal width.
    """
    y, p = np.asarray(truth, dtype=object), np.asarray(probability, dtype=float)
    if p.shape != (len(y), len(classes)):
        raise ValueError(f"probability must be {len(y)} rows × {len(classes)} classes, got {p.shape}")
    if not len(y):
        return {name: float("nan") for name in ("accuracy", "macro_f1", "ece")}
    called = np.asarray(classes, dtype=object)[p.argmax(axis=1)]
    right = called == y
    return {
        "accuracy": float(right.mean()),
        "macro_f1": macro_f1(y, called),
        "ece": ece(right, p.max(axis=1)),
    }


def macro_f1(truth: Names, called: Names) -> float:
    """The mean F1 over the classes that truth holds."""
    return float(np.mean([_f1(truth == name, called == name) for name in sorted(set(truth))]))


def _f1(truth: npt.NDArray[np.bool_], called: npt.NDArray[np.bool_]) -> float:
    return float(2 * (truth & called).sum() / (truth.sum() + called.sum()))
