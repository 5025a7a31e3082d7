"""Drives of three models; from some days before its failure a drive loses sectors and runs warm."""

from __future__ import annotations

import gzip
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

_DRIVES, _DAYS, _FIRST_DAY = 3000, 26, date(2013, 4, 10)


def write(target: Path, random: np.random.Generator) -> None:
    models = np.array(["ST3000DM001", "HGST HMS5C4040ALE640", "WDC WD30EFRX"])
    kind = random.choice(3, _DRIVES, p=[0.5, 0.3, 0.2])
    age = random.uniform(500, 30000, _DRIVES)
    fails = np.full(_DRIVES, 10**6)
    odds = np.array([3.0, 1.0, 1.5])[kind]
    doomed = random.choice(_DRIVES, 150, replace=False, p=odds / odds.sum())
    fails[doomed] = random.integers(3, _DAYS, len(doomed))
    warning = np.where(random.random(_DRIVES) < 0.8, random.integers(2, 9, _DRIVES), 0)
    read_errors = random.integers(0, 2**28, _DRIVES)
    worn = random.poisson(0.15, _DRIVES) * random.integers(1, 20, _DRIVES)
    reallocated, pending = worn.copy(), np.zeros(_DRIVES, dtype=np.int64)
    for day in range(_DAYS):
        sick = (fails - day <= warning) & (day <= fails)
        reallocated += np.where(sick, random.poisson(9, _DRIVES), random.random(_DRIVES) < 0.002)
        pending = np.where(sick, pending + random.poisson(5, _DRIVES), pending // 2)
        alive = day <= fails
        rows = pd.DataFrame(
            {
                "date": (_FIRST_DAY + timedelta(days=day)).isoformat(),
                "serial_number": [f"DEMO{number:05d}" for number in range(_DRIVES)],
                "model": models[kind],
                "capacity_bytes": 3000592982016,
                "failure": (fails == day).astype(int),
                "smart_1_raw": (read_errors + random.integers(0, 2**20, _DRIVES)) * (kind == 0),
                "smart_5_raw": reallocated,
                "smart_9_raw": (age + 24 * day).astype(int),
                "smart_194_raw": (24 + 3 * kind + 3 * sick + random.normal(0, 1.5, _DRIVES)).round().astype(int),
                "smart_197_raw": pending,
            }
        )
        content = rows[alive].to_csv(index=False).encode()
        file = target / f"{rows['date'].iloc[0]}.csv.gz"
        file.write_bytes(gzip.compress(content, 6, mtime=0))
