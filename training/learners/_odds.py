"""Probabilities and their log-odds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def logistic(x: Any) -> Floats:
    """The probability of log-odds `x`; by the hyperbolic tangent, which overflows nowhere."""
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def log_odds(p: Any) -> Floats:
    """The log-odds of probability `p`, 0 < p < 1."""
    return np.asarray(np.log(p / (1 - p)))
