"""Zones with a daily, weekly and yearly rhythm; weather that lasts some days moves all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

_DAYS, _FIRST = 1300, "2015-01-01"


def write(target: Path, random: np.random.Generator) -> None:
    hours = pd.date_range(_FIRST, periods=24 * _DAYS, freq="h")
    weather = np.repeat(pd.Series(random.normal(0, 0.05, _DAYS)).ewm(alpha=0.3).mean().to_numpy(), 24)
    year = 2 * np.pi * hours.dayofyear.to_numpy() / 365.25
    table = {"Datetime": hours.strftime("%Y-%m-%d %H:%M:%S")}
    for zone, size in (("AEP", 15000.0), ("DAYTON", 2000.0), ("PJME", 32000.0)):
        season = random.uniform(0.1, 0.15) * np.cos(2 * year) + random.uniform(0.02, 0.06) * np.sin(year)
        day = 0.15 * np.sin(2 * np.pi * (hours.hour.to_numpy() - 9) / 24) - 0.08 * (hours.dayofweek.to_numpy() >= 5)
        load = size * np.exp(season + day + weather + random.normal(0, 0.01, len(hours)))
        table[zone] = load.round(1)
    pd.DataFrame(table).to_csv(target / "est_hourly.csv.gz", index=False, compression={"method": "gzip", "mtime": 0})
