"""An attention network over a series' own past and over the related series of its row (Vaswani et al., NeurIPS 2017).

Each place's past is read by attention from its newest moment over all moments; the places of a row then attend to each
other. The output is a deviation from persistence: it begins at zero, and for prices it is scaled by how restless the
series was, so that it stays zero where nothing ever moved.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from training.learners._panel import CALM, Floats, Ints, Samples

WIDTH, HEADS, BATCH, RATE, STEPS, CHUNK = 16, 2, 16, 4e-3, 100, 256
CLIP = 8.0  # a move of so many usual steps counts as no more


class PanelAttention(nn.Module):
    """Rows × places × moments (and a mask of places that are there) → rows × places × horizons."""

    def __init__(self, steps: int, static: int, ahead: int) -> None:
        super().__init__()
        self.ahead = ahead
        self.embed = nn.Linear(2, WIDTH)
        self.position = nn.Parameter(0.1 * torch.randn(steps, WIDTH))
        self.static = nn.Linear(static, WIDTH)
        self.time = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.places = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.head = nn.Sequential(
            nn.Linear(3 * WIDTH, 2 * WIDTH), nn.ReLU(), nn.Dropout(0.1), nn.Linear(2 * WIDTH, ahead)
        )
        for parameter in self.head[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, grid: Tensor, static: Tensor, there: Tensor) -> Tensor:
        rows, places, steps = grid.shape[:3]
        tokens = (self.embed(grid) + self.position).reshape(rows * places, steps, WIDTH)
        still = self.static(static)
        query = tokens[:, :1] + still.reshape(rows * places, 1, WIDTH)
        past, _ = self.time(query, tokens, tokens, need_weights=False)
        own = past.reshape(rows, places, WIDTH) + still
        others, _ = self.places(own, own, own, key_padding_mask=~there, need_weights=False)
        return self.head(torch.cat([own, others, still], dim=-1))


class Scaling:
    """Samples → inputs of the network; means and deviations are those of the training samples."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    @classmethod
    def of(cls, samples: Samples, chance: bool) -> Scaling:
        known = ~np.isnan(samples.features)
        filled, count = np.nan_to_num(samples.features), np.maximum(known.sum(axis=0), 1)
        mean = filled.sum(axis=0) / count
        scale = np.sqrt((np.where(known, filled - mean, 0.0) ** 2).sum(axis=0) / count)
        return cls({"chance": chance, "mean": mean.tolist(), "scale": np.where(scale > CALM, scale, 1.0).tolist()})

    def reach(self, samples: Samples) -> Floats:
        """By what the output is multiplied."""
        return np.ones(len(samples.row)) if self.state["chance"] else samples.restless

    def __call__(self, samples: Samples) -> tuple[Floats, Floats]:
        usual = self.reach(samples)[:, None]
        grid = np.clip(samples.grid / np.maximum(usual, CALM), -CLIP, CLIP)
        known = ~np.isnan(grid)
        static = (samples.features - self.state["mean"]) / self.state["scale"]
        return np.stack([np.nan_to_num(grid), known], axis=-1), np.clip(np.nan_to_num(static), -CLIP, CLIP)


def padded(row: Ints, *parts: Floats) -> tuple[Tensor, list[Tensor], tuple[Ints, Ints]]:
    """Samples, in order of their rows → rows × places (mask), the parts so arranged, and where each sample went."""
    _, first, which, counts = np.unique(row, return_index=True, return_inverse=True, return_counts=True)
    place = np.arange(len(row)) - first[which]
    shape = (len(counts), int(counts.max()))
    there = np.zeros(shape, dtype=bool)
    there[which, place] = True
    arranged = []
    for part in parts:
        whole = np.zeros((*shape, *part.shape[1:]), dtype=np.float32)
        whole[which, place] = part
        arranged.append(torch.from_numpy(whole))
    return torch.from_numpy(there), arranged, (which, place)


def train(samples: Samples, truth: Floats, base: Floats, scaling: Scaling, seed: int) -> PanelAttention:
    """Fit to `truth` (N × horizons, NaN unknown).

    Deviations are fitted for the least absolute error; chances, 0 and 1, for the least cross-entropy of the log-odds
    `base` + output.
    """
    torch.set_num_threads(1)
    chance = scaling.state["chance"]
    usual = scaling.reach(samples)
    known = ~np.isnan(truth) & (usual > CALM)[:, None]
    unit = 1.0 if chance or not known.any() else float(np.mean(np.abs(truth[known]))) or 1.0
    grid, static = scaling(samples)
    parts = (grid, static, np.nan_to_num(truth) / unit, known, base, usual / unit)
    rows = np.unique(samples.row[known.any(axis=1)])
    order = {value: np.flatnonzero(samples.row == value) for value in rows}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random = np.random.default_rng(seed)
        network = PanelAttention(grid.shape[1], static.shape[1], truth.shape[1])
        if not len(rows):
            return network.eval()  # nothing moved: persistence, as it begins
        optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        for _ in range(STEPS):
            drawn = np.sort(random.choice(rows, min(BATCH, len(rows)), replace=False))
            picked = np.concatenate([order[value] for value in drawn])
            there, (x, still, wanted, known_, offset, reach), _ = padded(
                samples.row[picked], *(np.asarray(part[picked], dtype=float) for part in parts)
            )
            out = offset + network(x, still, there) * reach[..., None]
            if chance:
                losses = nn.functional.binary_cross_entropy_with_logits(out, wanted, reduction="none")
            else:
                losses = (out - wanted).abs()
            optimizer.zero_grad()
            ((losses * known_).sum() / known_.sum().clamp(min=1)).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def outputs(network: PanelAttention, samples: Samples, scaling: Scaling) -> Floats:
    """N × horizons, scaled back: deviations, or log-odds to be added to the base."""
    grid, static = scaling(samples)
    found = np.zeros((len(samples.row), network.ahead))
    rows = np.unique(samples.row)
    for start in range(0, len(rows), CHUNK):
        part = np.flatnonzero((samples.row >= rows[start]) & (samples.row <= rows[min(start + CHUNK, len(rows)) - 1]))
        there, (x, still), places = padded(samples.row[part], grid[part], static[part])
        found[part] = network(x, still, there).numpy()[places]
    return found * scaling.reach(samples)[:, None]
