"""A few charges of two providers with the columns of FOCUS 1.0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

_ROWS = 50


def write(target: Path, random: np.random.Generator) -> None:
    begin = pd.Timestamp("2024-09-01") + pd.to_timedelta(random.integers(0, 700, _ROWS), unit="h")
    quantity, price = random.integers(1, 20, _ROWS), random.choice([0.1, 0.4], _ROWS)
    columns = {
        "BilledCost": quantity * price,
        "BillingCurrency": "USD",
        "ChargeCategory": "Usage",
        "ChargePeriodEnd": (begin + pd.Timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S"),
        "ChargePeriodStart": begin.strftime("%Y-%m-%d %H:%M:%S"),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": "Hours",
        "EffectiveCost": quantity * price,
        "ListUnitPrice": price,
        "PricingCategory": random.choice(["Standard", "Dynamic"], _ROWS),
        "ProviderName": random.choice(["AWS", "Microsoft"], _ROWS),
        "RegionId": "us-east-1",
        "ResourceId": "NULL",
        "ServiceName": "compute",
        "SkuId": "sku-1",
    }
    pd.DataFrame(columns).to_csv(target / "focus_sample.csv", index=False)
