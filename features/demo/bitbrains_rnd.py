"""Machines with a daily rhythm, slow growth and bursts that begin without notice, far below what is provisioned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

_MACHINES, _DAYS, _PER_DAY = 24, 14, 288
_BEGIN = 1375315200  # 2013-08-01 UTC
_CLOCK = 2600.0  # MHz a core


def write(target: Path, random: np.random.Generator) -> None:
    time = np.arange(_DAYS * _PER_DAY)
    (target / "2013-8").mkdir()
    for number in range(_MACHINES):
        cores, memory = int(random.choice([1, 2, 4, 8])), 2.0 ** int(random.integers(20, 25))
        rows = pd.DataFrame({"Timestamp [ms]": _BEGIN + 300 * time, "CPU cores": cores})
        rows["CPU capacity provisioned [MHZ]"] = cores * _CLOCK
        rows["CPU usage [MHZ]"] = _use(random, time) * cores * _CLOCK
        rows["CPU usage [%]"] = 100 * rows["CPU usage [MHZ]"] / (cores * _CLOCK)
        rows["Memory capacity provisioned [KB]"] = memory
        rows["Memory usage [KB]"] = _use(random, time) * memory
        rows.to_csv(target / "2013-8" / f"{5 * (number + 1)}.csv.gz", sep=";", index=False)


def _use(random: np.random.Generator, time: np.ndarray) -> np.ndarray:
    """Share of the capacity in use."""
    phase, level = random.uniform(0, 2 * np.pi), random.uniform(0.03, 0.15)
    rhythm = 1 + 0.5 * np.sin(2 * np.pi * time / _PER_DAY + phase) + random.uniform(-0.2, 0.6) * time / len(time)
    burst = np.zeros(len(time))
    for begin in random.choice(len(time), size=6, replace=False):
        burst[begin : begin + int(random.integers(6, 150))] = random.uniform(0.5, 3)
    return np.asarray((level * (rhythm + burst) * random.lognormal(0, 0.12, len(time))).clip(0.001, 1.0))
