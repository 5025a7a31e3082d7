"""Servers for the stand-ins of SMD and ASD, in the layout of `features.sources._servers`."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd


def machine(
    target: Path, name: str, random: np.random.Generator, rows: int, metrics: int, per_day: int, end_counts: bool
) -> None:
    """Metrics driven by three loads with a daily rhythm; in the second half some of them leave it for a while."""
    time = np.arange(2 * rows)
    phases = random.uniform(0, 2 * np.pi, 3)
    loads = np.stack([1 + np.sin(2 * np.pi * time / per_day + phase) for phase in phases], axis=1)
    noise = pd.DataFrame(random.normal(0, 1, (2 * rows, metrics))).ewm(alpha=0.3).mean().to_numpy()
    values = 0.25 + 0.08 * loads @ random.dirichlet(np.ones(3), metrics).T + 0.02 * noise
    labels, lines = np.zeros(rows, dtype=np.int64), []
    for start in np.sort(
        random.choice(np.arange(per_day // 4, rows - 80, 90), size=max(4, rows // 400), replace=False)
    ):
        length = int(random.integers(8, 60))
        blamed = np.sort(random.choice(metrics, size=int(random.integers(3, 7)), replace=False))
        values[rows + start : rows + start + length, blamed] += random.choice([-0.2, 0.25, 0.35], size=len(blamed))
        labels[start : start + length] = 1
        numbers = ",".join(str(metric + 1) for metric in blamed)
        lines.append(f"{start}-{start + length - end_counts}:{numbers}")
    values = values.clip(0, 1).astype(np.float32)
    for part, array in (("train", values[:rows]), ("test", values[rows:]), ("test_label", labels)):
        _write_array(target / "processed" / f"{name}_{part}.pkl", array)
    told = target / "interpretation_label" / f"{name}.txt"
    told.parent.mkdir(exist_ok=True)
    told.write_text("\n".join(lines) + "\n")


def _write_array(file: Path, array: np.ndarray) -> None:
    """As the publisher stores them; protocol 4, because 5 uses a constructor that the sources do not admit."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(pickle.dumps(array, protocol=4))
