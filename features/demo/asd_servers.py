"""Eight servers with a row every five minutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from features.demo._servers import machine


def write(target: Path, random: np.random.Generator) -> None:
    for number in range(1, 9):
        machine(target, f"omi-{number}", random, rows=2304, metrics=19, per_day=288, end_counts=True)
