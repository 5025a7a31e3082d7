"""Iranian Churn (UCI Machine Learning Repository, data set 563, CC BY 4.0): one operator's customers over a year.

Layout: any CSV with the fourteen columns below. Usage is summed over months 1-9, churn is the state at month 12.
Age group and customer value are left out: both are formulas of other columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd

from features.source import Batch, Source
from features.sources import _csv, _customers

DAYS_PER_MONTH = 365.25 / 12
PLANNING_GAP = timedelta(days=91)
COPIES = 50
COLUMNS = {
    "seconds of use": "voice_seconds",
    "frequency of use": "voice_calls",
    "frequency of sms": "sms_messages",
    "distinct called numbers": "distinct_contacts",
    "call failure": "failed_calls",
    "complains": "complaints",
    "charge amount": "charge_level",
    "age": "age_years",
}
FLAGS = {
    "tariff plan": ("contract", {"1": False, "2": True}),
    "status": ("account_active", {"1": True, "2": False}),
}


class IranianChurn(Source):
    """Reads `Customer_Churn.csv` and files with the same header."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of customer events per file. Raises DataError naming file and column."""
        header = [*COLUMNS, *FLAGS, "subscription length", "churn"]
        for path, table in _csv.matching(Path(where), header, "iranian_churn"):
            measured = pd.DataFrame({name: _csv.number(table, raw, path) for raw, name in COLUMNS.items()})
            measured["tenure_days"] = _csv.number(table, "subscription length", path) * DAYS_PER_MONTH
            for raw, (name, meanings) in FLAGS.items():
                measured[name] = _csv.choice(table, raw, path, meanings)
            churned = _csv.choice(table, "churn", path, {"0": False, "1": True})
            yield _customers.batch("iranian_churn", measured, churned, PLANNING_GAP, lineage(measured))


def lineage(measured: pd.DataFrame) -> pd.Series | None:
    """The original record behind each row, where the file repeats its first 50 records; else None.

    The published file is 63 blocks of 50 rows: within a block nearly every row is its counterpart of the block before
    plus one shift common to the block (60 s, 3 calls, 5 messages...), cut off at zero. Such copies in the training and
    the test part make a split by rows a test of memory; a split by lineage asks about customers never seen.
    """
    usage = measured[["voice_seconds", "voice_calls"]]
    shift = usage.diff(COPIES).dropna().apply(tuple, axis=1)
    if len(shift) < COPIES:
        return None
    block = shift.groupby(shift.index // COPIES)
    common = block.agg(lambda part: part.value_counts(normalize=True).iloc[0])
    if common.mean() < 0.5:
        return None
    return pd.Series([f"original-{number % COPIES:02d}" for number in range(len(measured))], index=measured.index)
