"""Two servers with a row a minute."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from features.demo._servers import machine


def write(target: Path, random: np.random.Generator) -> None:
    for name in ("machine-1-6", "machine-3-3"):
        machine(target, name, random, rows=4320, metrics=38, per_day=1440, end_counts=False)
