"""The network of `sequence.SequenceHazard` and its training in Lightning; imported only when it is fitted or scored."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from training.learners.sequences import Encoded

BATCH = 512
LEAST_STEPS = 150
CHUNK = 20_000  # rows scored at once


@dataclass(frozen=True)
class Survival:
    """Rows × days ahead: `at_risk` 1 on days survived, `event` 1 on the day of the event; `weight` per row."""

    at_risk: Tensor
    event: Tensor
    weight: Tensor


class HazardLSTM(nn.Module):
    """Encoded rows → log-odds of the event on each of the next `horizon` days, given that it has not come before.

    An LSTM reads the sequence; a small head gives one score for the level of the risk and one for a risk that fades
    with the days ahead (time constant 5 d). What is common to all rows is learnt apart: a base rate for each day ahead
    and an offset for each weekday on which the event would fall (repairs, and their records, keep working hours).
    """

    def __init__(self, channels: int, categories: int, horizon: int, hidden: int, dropout: float, base: float) -> None:
        super().__init__()
        self.horizon = horizon
        self.lstm = nn.LSTM(channels, hidden, batch_first=True)
        self.embedding = nn.Embedding(categories + 1, 4)
        nn.init.normal_(self.embedding.weight, std=0.1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(
            nn.Linear(hidden + 4 + channels, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2)
        )
        self.by_day = nn.Parameter(torch.zeros(horizon))
        self.by_weekday = nn.Parameter(torch.zeros(7))
        self.base = nn.Parameter(torch.tensor(base))
        self.register_buffer("fading", torch.exp(-torch.arange(horizon) / 5.0))

    def forward(self, x: Tensor, category: Tensor, weekday: Tensor) -> Tensor:
        """Rows × length × channels, category (0: unknown) and weekday (0: Monday) of each row → rows × horizon."""
        read, _ = self.lstm(x)
        seen = [self.dropout(read[:, -1]), self.dropout(self.embedding(category)), x[:, -1]]
        level, fading = self.head(torch.cat(seen, dim=1)).split(1, dim=1)
        ahead = torch.arange(1, self.horizon + 1, device=x.device)
        calendar = self.by_weekday[(weekday[:, None] + ahead) % 7]
        return self.base + self.by_day + calendar + level + fading * self.fading


class _Batches(torch.utils.data.IterableDataset[tuple[Tensor, ...]]):
    """`steps` batches, an eighth of each from rows that end in the event; weights undo the uneven drawing."""

    def __init__(self, rows: Encoded, truth: Survival, steps: int, batch: int, forget: float, seed: int) -> None:
        self.rows, self.truth, self.steps, self.batch, self.forget = rows, truth, steps, batch, forget
        self.random = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        ends = self.truth.event.any(dim=1).numpy()
        kinds = [(np.flatnonzero(ends), self.batch // 8), (np.flatnonzero(~ends), self.batch - self.batch // 8)]
        weight, events = self.truth.weight, max(int(ends.sum()), 1)
        for _ in range(self.steps):
            drawn = [self.random.choice(rows, size) for rows, size in kinds]
            factor = np.concatenate([np.full(size, len(rows) / size / events) for rows, size in kinds])
            pick = np.concatenate(drawn)
            known = self.random.random(len(pick)) >= self.forget  # an unknown category must be scored well, too
            yield (
                torch.from_numpy(self.rows.x[pick]),
                torch.from_numpy(self.rows.category[pick] * known),
                torch.from_numpy(self.rows.weekday[pick]),
                self.truth.at_risk[pick],
                self.truth.event[pick],
                weight[pick] * torch.from_numpy(factor).float(),
            )


def losses(logits: Tensor, at_risk: Tensor, event: Tensor) -> Tensor:
    """Negative log-likelihood of each row: survived days, and the day of the event (Gensheimer & Narasimhan 2019)."""
    return (at_risk * softplus(logits) + event * softplus(-logits)).sum(dim=1)


def train(
    network: HazardLSTM, rows: Encoded, truth: Survival, epochs: int, rate: float, forget: float, seed: int
) -> HazardLSTM:
    """Fit `network` in place and return it, on the CPU and in evaluation mode; a GPU is used when there is one."""
    import pytorch_lightning as lightning

    steps = max(LEAST_STEPS, epochs * len(rows.x) // BATCH)

    class Fitting(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
            x, category, weekday, at_risk, event, weight = batch
            return (weight * losses(self.network(x, category, weekday), at_risk, event)).sum()

        def configure_optimizers(self) -> Any:
            kept = [p for name, p in self.network.named_parameters() if name != "base"]
            groups = [{"params": kept, "weight_decay": 1e-2}, {"params": [self.network.base], "weight_decay": 0.0}]
            optimizer = torch.optim.AdamW(groups, lr=rate)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    batches = _Batches(rows, truth, steps, BATCH, forget, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # hints on loader workers and logging that do not apply to ready-made batches
        logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
        trainer = lightning.Trainer(
            max_epochs=1, accelerator="auto", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, gradient_clip_val=1.0,
        )  # fmt: skip
        trainer.fit(Fitting(), torch.utils.data.DataLoader(batches, batch_size=None))
    return network.cpu().eval()


@torch.no_grad()
def logits(network: HazardLSTM, rows: Encoded) -> np.ndarray:
    """Rows × horizon."""
    parts = [
        network(*(torch.from_numpy(part[start : start + CHUNK]) for part in rows)).numpy()
        for start in range(0, len(rows.x), CHUNK)
    ]
    return np.concatenate(parts) if parts else np.empty((0, network.horizon), dtype=np.float32)
