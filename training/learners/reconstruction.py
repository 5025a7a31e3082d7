"""Principal component reconstruction: what the main components of normal operation cannot express.

Shyu, Chen, Sarinnapakorn & Chang, "A novel anomaly detection scheme based on principal component classifier", 2003.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from training.learners.detector import Detector, Floats, Inputs

EXPLAINED = 0.9  # share of the variance that the kept components explain


class PcaReconstruction(Detector):
    """Squared reconstruction error of the standardised values; metrics that never moved in training are left out."""

    def estimate(self, inputs: Inputs) -> dict[str, Floats]:
        values = inputs["values"]
        mean = np.nan_to_num(np.nanmean(values, axis=0))
        spread = np.nan_to_num(np.nanstd(values, axis=0))
        weight = np.where(spread > 1e-8, 1 / np.maximum(spread, 1e-8), 0.0)
        z = np.nan_to_num((values - mean) * weight)
        variance, components = np.linalg.eigh(z.T @ z)
        variance, components = np.maximum(variance[::-1], 0), components[:, ::-1]
        share = np.cumsum(variance) / max(float(variance.sum()), 1e-12)
        kept = components[:, : int(np.searchsorted(share, EXPLAINED)) + 1]
        return {"mean": mean, "weight": weight, "components": np.ascontiguousarray(kept)}

    def effects(self, arrays: Mapping[str, Floats], inputs: Inputs) -> Floats:
        z = np.nan_to_num((inputs["values"] - arrays["mean"]) * arrays["weight"])
        kept = arrays["components"]
        return np.asarray((z - (z @ kept) @ kept.T) ** 2)
