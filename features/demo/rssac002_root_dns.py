"""Root servers whose load grows, rests on weekends, dips at the end of the year, and jumps now and then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

_DAYS, _FIRST = 1500, "2015-10-01"


def write(target: Path, random: np.random.Generator) -> None:
    days = pd.date_range(_FIRST, periods=_DAYS)
    for letter in "acj":
        jumps = np.zeros(_DAYS)
        jumps[random.choice(_DAYS, 5, replace=False)] = random.normal(0, 0.1, 5)
        trend = random.uniform(0.1, 0.3) * np.arange(_DAYS) / 365 + jumps.cumsum()
        weekend = -0.08 * (days.dayofweek >= 5)
        holidays = -0.1 * ((days.dayofyear > 355) | (days.dayofyear < 4))
        noise = pd.Series(random.normal(0, 0.012, _DAYS)).ewm(alpha=0.5).mean().to_numpy()
        queries = 3e9 * np.exp(trend + weekend + holidays + noise)
        queries[random.choice(_DAYS, 6, replace=False)] *= 0.1  # partial days
        rows: dict[str, object] = {"#date": days.strftime("%Y%m%d")}
        for version, share in (("4", 0.9), ("6", 0.1)):
            total = (queries * share).astype(np.int64)
            rows |= {f"queriesUDP_IPV{version}": total, f"queriesTCP_IPv{version}": 0}
            rows |= {f"queriesTOTAL_IPv{version}": total, f"ratioTCP_IPv{version}": 0.0}
        pd.DataFrame(rows).to_csv(target / f"{letter}.csv", index=False)
