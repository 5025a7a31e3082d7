"""MLC++ telecom churn (SGI, exported from the C50 package): a realistic simulation of US customers, without dates.

Layout: any CSV with the columns below. The four charges are constants times the four minutes (0.17, 0.085, 0.045 and
0.27 US$ per minute), so only their sum, the bill, is kept. State and area code are left out: neither improved a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd

from features.source import Batch, Source
from features.sources import _csv, _customers

PERIODS = {"day": "day", "eve": "evening", "night": "night", "intl": "international"}
COLUMNS = {
    "account_length": "tenure_days",
    "number_vmail_messages": "voicemail_messages",
    "number_customer_service_calls": "support_calls",
    **{f"total_{raw}_calls": f"{name}_calls" for raw, name in PERIODS.items()},
}
PLANS = {"international_plan": "international_plan", "voice_mail_plan": "voicemail_plan"}
_YES_NO = {"yes": True, "no": False}


class MlcChurn(Source):
    """Reads `churnTrain.csv` and files with the same header."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of customer events per file. Raises DataError naming file and column."""
        amounts = [f"total_{raw}_{what}" for raw in PERIODS for what in ("minutes", "charge")]
        for path, table in _csv.matching(Path(where), [*COLUMNS, *PLANS, *amounts, "churn"], "mlc_churn"):
            measured = pd.DataFrame({name: _csv.number(table, raw, path) for raw, name in COLUMNS.items()})
            for raw, name in PERIODS.items():
                measured[f"{name}_seconds"] = _csv.number(table, f"total_{raw}_minutes", path) * 60
            measured["voice_seconds"] = measured[[f"{name}_seconds" for name in PERIODS.values()]].sum(axis=1)
            measured["voice_calls"] = measured[[f"{name}_calls" for name in PERIODS.values()]].sum(axis=1)
            measured["charge_usd"] = sum(_csv.number(table, f"total_{raw}_charge", path) for raw in PERIODS)
            for raw, name in PLANS.items():
                measured[name] = _csv.choice(table, raw, path, _YES_NO)
            churned = _csv.choice(table, "churn", path, _YES_NO)
            yield _customers.batch("mlc_churn", measured, churned, timedelta(0))
