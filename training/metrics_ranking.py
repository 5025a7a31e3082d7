"""Metrics of rankings in which exactly one item is the right one.

`rank` is the place of the right item (1 is the first; infinite: not ranked at all), `confidence` the probability that
the first item is right. AC@k and Avg@k as in Yu et al., "MicroRank" (WWW 2021) and the root-cause literature since.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.metrics import ece

Floats = npt.NDArray[np.float64]
COVERAGES = (0.9, 0.8, 0.5)  # shares of the rows that are answered, the most confident ones


def ranking(rank: npt.ArrayLike, confidence: npt.ArrayLike) -> dict[str, float]:
    """AC@1, AC@3, AC@5, Avg@5, the calibration error of the confidence, and the abstention curve at `COVERAGES`."""
    place, sure = np.asarray(rank, dtype=float), np.asarray(confidence, dtype=float)
    hits = {k: float((place <= k).mean()) for k in range(1, 6)}
    figures = {f"ac_{k}": hits[k] for k in (1, 3, 5)} | {"avg_5": float(np.mean(list(hits.values())))}
    figures["ece"] = ece(place == 1, sure)
    coverage, right = abstention(place == 1, sure)
    for share in COVERAGES:
        figures[f"ac_1_at_{share:.0%}".rstrip("%")] = float(np.interp(share, coverage, right))
    return figures


def abstention(right: npt.ArrayLike, confidence: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Share of rows answered, and share of those that are right, when only the most confident are answered.

    Rows of equal confidence are answered together, so that their order cannot flatter.
    """
    hit, sure = np.asarray(right, dtype=float), np.asarray(confidence, dtype=float)
    order = np.argsort(-sure, kind="stable")
    last = np.flatnonzero(np.append(np.diff(sure[order]) != 0, True))
    count = last + 1
    return count / len(hit), np.cumsum(hit[order])[last] / count
