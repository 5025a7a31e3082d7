"""Deviations over a bank of memories, each weighed by its own spread and by the correlation of the metrics.

For each memory, `z` are the deviations over their spread in training. Correlated metrics deviate together, so `z` is
also whitened: `w = z · C^(-1/2)`, with the correlation `C` shrunk towards the identity (Ledoit & Wolf, "Honey, I shrunk
the sample covariance matrix", 2004). Of all whitenings this symmetric one keeps each `w` closest to its own metric
(Kessy, Lewin & Strimmer, "Optimal whitening and decorrelation", 2018), which is why its parts can be blamed on metrics.

    score = Σ over memories of  Σ|z|^p / q_z + Σ|w|^p / q_w

Squares of `w` summed are the Mahalanobis distance. The power is lower because the tails are heavy: one spike of one
metric must not hide that ten moved. `q` is the sum's own 99 % quantile in training, so that no memory outweighs others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from training.learners.detector import Detector, Floats, Inputs

if TYPE_CHECKING:
    from torch import Tensor

POWER = 1.25
SHRINKAGE = 0.2
LIMIT = 100.0  # spreads; further away says nothing more
TRIMMED = 10.0  # spreads; further away does not count for the correlation
# the smallest spread, so that a tick of a metric that hardly ever moved is no catastrophe: the larger of
SHARE = 0.01  # of the range in training, and
LEVEL = 0.02  # of the level: one thread more of eight is little, `up` at zero is much;
ALWAYS_ZERO = 1e-3  # for a metric that was always zero: it has no scale at all
USUAL = 0.99


class MultiscaleMahalanobis(Detector):
    """See the head of the file. Closed form: no random number is drawn, so a seed changes nothing."""

    inputs = ("values", "off_season", "off_50", "off_17", "off_5", "off_2")

    def estimate(self, inputs: Inputs) -> dict[str, Floats]:
        import torch

        values, deviations = _tensors(inputs)
        seen = ~values.isnan()
        low, high = (torch.where(seen, values, torch.full_like(values, v)) for v in (torch.inf, -torch.inf))
        level = values.nanmedian(dim=0).values.abs().nan_to_num()
        extent = (high.amax(dim=0) - low.amin(dim=0)).clamp_min(0)
        floor = torch.maximum(SHARE * extent, LEVEL * level)
        floor = torch.where(floor > 0, floor, torch.full_like(floor, ALWAYS_ZERO))
        mean = deviations.nanmean(dim=1, keepdim=True)
        spread = torch.maximum(((deviations - mean) ** 2).nanmean(dim=1).sqrt().nan_to_num(), floor)
        z = _scaled(deviations, spread)
        white = torch.stack([_whitening(part) for part in z.clamp(-TRIMMED, TRIMMED)])
        sums = torch.stack([(part.abs() ** POWER).sum(dim=2) for part in (z, z @ white)])
        usual = sums.quantile(USUAL, dim=2).clamp_min(1e-9)
        return {name: t.numpy() for name, t in {"spread": spread, "white": white, "usual": usual}.items()}

    def effects(self, arrays: Mapping[str, Floats], inputs: Inputs) -> Floats:
        import torch

        spread, white, usual = (torch.from_numpy(arrays[name]) for name in ("spread", "white", "usual"))
        z = _scaled(_tensors(inputs)[1], spread)
        parts = torch.stack([z, z @ white]).abs() ** POWER / usual[:, :, None, None]
        return np.asarray(parts.sum(dim=(0, 1)).numpy())


def _tensors(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """values: rows × metrics; deviations: memories × rows × metrics."""
    import torch

    values, *deviations = (torch.from_numpy(inputs[name]) for name in MultiscaleMahalanobis.inputs)
    return values, torch.stack(deviations)


def _scaled(deviations: Tensor, spread: Tensor) -> Tensor:
    """In spreads; a missing value deviates by nothing."""
    return (deviations / spread[:, None, :]).nan_to_num(0.0).clamp(-LIMIT, LIMIT)


def _whitening(z: Tensor) -> Tensor:
    """C^(-1/2) of the covariance of `z` (rows × metrics), shrunk towards the identity times its mean variance."""
    import torch

    values, vectors = torch.linalg.eigh(z.T.cov().reshape(z.shape[1], z.shape[1]))
    shrunk = (1 - SHRINKAGE) * values.clamp_min(0) + SHRINKAGE * values.mean().clamp_min(1e-6)
    return (vectors / shrunk.sqrt()) @ vectors.T
