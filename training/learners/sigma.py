"""The rule anybody would try first: some metric is many standard deviations from its mean."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from training.learners.detector import Detector, Floats, Inputs


class LargestSigma(Detector):
    """The score is the largest |value - mean| in standard deviations of training; only that metric is blamed."""

    def estimate(self, inputs: Inputs) -> dict[str, Floats]:
        values = inputs["values"]
        spread = np.nan_to_num(np.nanstd(values, axis=0))
        weight = np.where(spread > 1e-8, 1 / np.maximum(spread, 1e-8), 0.0)
        return {"mean": np.nan_to_num(np.nanmean(values, axis=0)), "weight": weight}

    def effects(self, arrays: Mapping[str, Floats], inputs: Inputs) -> Floats:
        z = np.abs(np.nan_to_num((inputs["values"] - arrays["mean"]) * arrays["weight"]))
        return np.where(z == z.max(axis=1, keepdims=True), z, 0.0) if z.size else z
