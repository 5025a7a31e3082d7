"""Customers who use little and complain leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

_CUSTOMERS = 3000


def write(target: Path, random: np.random.Generator) -> None:
    calls = random.negative_binomial(2, 0.03, _CUSTOMERS)
    complains = (random.random(_CUSTOMERS) < 0.08).astype(int)
    months = random.integers(3, 48, _CUSTOMERS)
    failures = random.poisson(7, _CUSTOMERS)
    seconds = (calls * random.gamma(6, 11, _CUSTOMERS)).round().astype(int)
    group = random.integers(1, 6, _CUSTOMERS)
    risk = -2.2 - 0.045 * (calls - 40) + 3.5 * complains + 0.08 * (failures - 7) - 0.02 * (months - 25)
    churn = (random.random(_CUSTOMERS) < 1 / (1 + np.exp(-risk))).astype(int)
    rows = {
        "Call  Failure": failures,
        "Complains": complains,
        "Subscription  Length": months,
        "Charge  Amount": random.integers(0, 6, _CUSTOMERS),
        "Seconds of Use": seconds,
        "Frequency of use": calls,
        "Frequency of SMS": random.negative_binomial(1, 0.02, _CUSTOMERS),
        "Distinct Called Numbers": np.minimum(calls, random.poisson(20, _CUSTOMERS)),
        "Age Group": group,
        "Tariff Plan": 1 + (random.random(_CUSTOMERS) < 0.08),
        "Status": 1 + (calls < 12),
        "Age": np.array([15, 25, 30, 45, 55])[group - 1],
        "Customer Value": (0.04 * seconds).round(2),
        "Churn": churn,
    }
    pd.DataFrame(rows).to_csv(target / "Customer_Churn.csv", index=False)
