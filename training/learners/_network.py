"""Small dense networks: trained by torch, kept as arrays, evaluated by numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Layers = list[tuple[Floats, Floats]]  # weights (in × out), bias; ReLU between

BATCH, RATE, DECAY, DROPOUT = 512, 4e-3, 1e-3, 0.1
STEPS = 300  # at least: few rows are shown more often


def train(x: Floats, classes: Any, sizes: Sequence[int], epochs: int, seed: int, weight: Floats) -> Layers:
    """Layers of `sizes` (the last: one output a class) on `x`, for the least cross-entropy of rows that weigh `weight`.

    AdamW (Loshchilov & Hutter, ICLR 2019) with dropout.
    """
    import torch

    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        widths = [x.shape[1], *sizes]
        linear = [torch.nn.Linear(a, b) for a, b in zip(widths, widths[1:], strict=False)]
        drop = torch.nn.Dropout(DROPOUT)
        optimizer = torch.optim.AdamW([p for layer in linear for p in layer.parameters()], RATE, weight_decay=DECAY)
        data = torch.tensor(x, dtype=torch.float32)
        wanted = torch.tensor(np.asarray(classes), dtype=torch.long)
        weights = torch.tensor(weight, dtype=torch.float32)
        for _ in range(max(epochs, STEPS * BATCH // len(x))):
            for rows in torch.randperm(len(x)).split(BATCH):
                out = data[rows]
                for number, layer in enumerate(linear):
                    out = layer(out if number == 0 else drop(torch.relu(out)))
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(out, wanted[rows], reduction="none")
                ((loss * weights[rows]).sum() / weights[rows].sum()).backward()
                optimizer.step()
    # in the order of memory that they have when read back: sums come out the same to the last bit
    return [(_array(layer.weight.T), _array(layer.bias)) for layer in linear]


def outputs(layers: Layers, x: Floats) -> Floats:
    """What the network gives: rows × outputs."""
    for number, (weights, bias) in enumerate(layers):
        x = (x if number == 0 else np.maximum(x, 0)) @ weights + bias
    return x


def gradient(layers: Layers, x: Floats, direction: Floats) -> Floats:
    """Derivative of `direction` · outputs (rows × outputs) by each input: rows × inputs."""
    held = []
    for number, (weights, bias) in enumerate(layers):
        x = (x if number == 0 else np.maximum(x, 0)) @ weights + bias
        held.append(x)
    back = direction
    for number in reversed(range(len(layers))):
        back = back @ layers[number][0].T
        if number:
            back = back * (held[number - 1] > 0)
    return np.asarray(back)


def _array(values: Any) -> Floats:
    return np.ascontiguousarray(values.detach().numpy(), dtype=float)
