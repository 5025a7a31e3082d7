"""Customers with a large daytime bill, many support calls or an international plan leave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

_CUSTOMERS = 3000


def write(target: Path, random: np.random.Generator) -> None:
    rows: dict[str, object] = {
        "state": random.choice(["KS", "OH", "NJ", "OK", "AL"], _CUSTOMERS),
        "account_length": random.integers(1, 240, _CUSTOMERS),
        "area_code": random.choice(["area_code_408", "area_code_415", "area_code_510"], _CUSTOMERS),
    }
    international = random.random(_CUSTOMERS) < 0.1
    voicemail = random.random(_CUSTOMERS) < 0.28
    rows["international_plan"] = np.where(international, "yes", "no")
    rows["voice_mail_plan"] = np.where(voicemail, "yes", "no")
    rows["number_vmail_messages"] = voicemail * random.integers(10, 45, _CUSTOMERS)
    minutes = {}
    for part, mean, price in (("day", 180, 0.17), ("eve", 200, 0.085), ("night", 200, 0.045), ("intl", 10, 0.27)):
        minutes[part] = random.normal(mean, mean * 0.28, _CUSTOMERS).clip(0).round(1)
        rows[f"total_{part}_minutes"] = minutes[part]
        rows[f"total_{part}_calls"] = random.poisson(100 if part != "intl" else 4, _CUSTOMERS)
        rows[f"total_{part}_charge"] = (minutes[part] * price).round(2)
    support = random.poisson(1.5, _CUSTOMERS)
    rows["number_customer_service_calls"] = support
    risk = -4.5 + 0.04 * (minutes["day"] - 180) + 1.3 * (support - 1.5) + 2.5 * international - 1.2 * voicemail
    rows["churn"] = np.where(random.random(_CUSTOMERS) < 1 / (1 + np.exp(-risk)), "yes", "no")
    pd.DataFrame(rows).to_csv(target / "churnTrain.csv", index=False)
