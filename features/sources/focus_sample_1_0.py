"""Billing rows in the FinOps FOCUS 1.0 format: any provider's export, read into the canonical table `cost`.

Layout: CSV files with the columns of FOCUS; those of `TEXTS`, `NUMBERS` and `TIMES` are read, `NULL` and an empty cell
are null. The published sample of 1,000 rows serves the schema and says nothing about accuracy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.source import Batch, Source
from features.sources import _csv
from infra.errors import DataError

DATASET = "focus_sample_1_0"
TIMES = {"chargeperiodstart": "time", "chargeperiodend": "charge_period_end"}
TEXTS = {
    "providername": "provider_name",
    "regionid": "region_id",
    "servicename": "service_name",
    "resourceid": "resource_id",
    "skuid": "sku_id",
    "chargecategory": "charge_category",
    "pricingcategory": "pricing_category",
    "consumedunit": "consumed_unit",
    "billingcurrency": "billing_currency",
}
NUMBERS = {
    "consumedquantity": "consumed_quantity",
    "listunitprice": "list_unit_price",
    "billedcost": "billed_cost",
    "effectivecost": "effective_cost",
}


class Focus(Source):
    """Reads `focus_sample.csv` and any other FOCUS export in CSV."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of costs per file. Raises DataError naming file, line and column."""
        for path, raw in _csv.matching(Path(where), [*TIMES, *TEXTS, *NUMBERS], DATASET):
            table = raw.where(raw.apply(lambda cells: cells.str.strip().str.upper()) != "NULL", "")
            columns = {name: pa.array(_time(table, column, path)) for column, name in TIMES.items()}
            for column, name in TEXTS.items():
                columns[name] = pa.array(table[column].where(table[column] != "", None), pa.string())
            for column, name in NUMBERS.items():
                columns[name] = pa.array(_csv.number(table, column, path), from_pandas=True)
            yield Batch("cost", pa.table({"dataset": pa.repeat(pa.scalar(DATASET), len(table)), **columns}))


def _time(table: pd.DataFrame, column: str, path: Path) -> pd.Series:
    """The times of a column, UTC as FOCUS asks."""
    found = pd.to_datetime(table[column], format="ISO8601", errors="coerce", utc=True)
    if found.isna().any():
        row = int(found.isna().to_numpy().argmax())
        raise DataError(f"{path}, line {row + 2}, column {column!r}: {table[column].iloc[row]!r} is no ISO 8601 time")
    return found.dt.as_unit("us")
