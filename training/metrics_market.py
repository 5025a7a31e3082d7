"""Metrics of forecasts of places: prices against persistence, and availability."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MOVED = 1e-6  # of a logarithm


def prices(newest: Floats, truth: Floats, forecast: Floats, suffix: str) -> dict[str, float]:
    """Figures of one horizon; `skill` is the part of persistence's absolute log error that is saved.

    `direction`: share of changed prices whose move went as forecast; a forecast of no move counts half.
    """
    if not len(truth):
        names = ("skill", "skill_changed", "accuracy", "accuracy_changed", "direction", "changed")
        return {f"{name}_{suffix}": float("nan") for name in names}
    moved, told = np.log(truth / newest), np.log(forecast / newest)
    changed = np.abs(moved) > MOVED
    right = np.where(np.abs(told) <= MOVED, 0.5, np.sign(told) == np.sign(moved))
    relative = np.abs(forecast / truth - 1)
    return {
        f"skill_{suffix}": _skill(moved, told),
        f"skill_changed_{suffix}": _skill(moved[changed], told[changed]),
        f"accuracy_{suffix}": float(1 - relative.mean()),
        f"accuracy_changed_{suffix}": float(1 - relative[changed].mean()) if changed.any() else float("nan"),
        f"direction_{suffix}": float(right[changed].mean()) if changed.any() else float("nan"),
        f"changed_{suffix}": float(changed.mean()),
    }


def availability(truth: Floats, chance: Floats) -> dict[str, float]:
    """Accuracy, macro-F1 and Brier score of a chance of 1."""
    if not len(truth):
        return {name: float("nan") for name in ("accuracy", "macro_f1", "brier")}
    true, told = truth >= 0.5, chance >= 0.5
    f1 = [
        2 * (true & told).sum() / max((true.sum() + told.sum()), 1),
        2 * (~true & ~told).sum() / max((~true).sum() + (~told).sum(), 1),
    ]
    return {
        "accuracy": float((true == told).mean()),
        "macro_f1": float(np.mean(f1)),
        "brier": float(np.mean((chance - truth) ** 2)),
    }


def _skill(moved: Floats, told: Floats) -> float:
    total = np.abs(moved).sum()
    return float(1 - np.abs(moved - told).sum() / total) if total > 0 else float("nan")
