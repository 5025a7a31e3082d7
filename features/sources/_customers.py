"""Customer records without ids and dates → CloudEvents of `features.transforms.customers`."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pandas as pd
import pyarrow as pa

from features.source import NOMINAL, Batch
from features.transforms.customers import OUTCOME, SNAPSHOT


def batch(
    dataset: str, measured: pd.DataFrame, churned: pd.Series, gap: timedelta, lineage: pd.Series | None = None
) -> Batch:
    """One snapshot and one outcome event per record; `measured` holds columns of `Customer`, NaN for unmeasured.

    The publisher gives no customer id, so a record is its own identity: exact duplicates become one customer, while
    two records that differ only in the outcome stay two.
    """
    events: dict[str, list[object]] = {name: [] for name in ("time", "id", "type", "subject", "data")}
    origins = [None] * len(measured) if lineage is None else lineage.tolist()
    for record, left, origin in zip(measured.to_dict("records"), churned, origins, strict=True):
        data = {"operator": dataset, **{name: value for name, value in record.items() if not pd.isna(value)}}
        customer = hashlib.sha256(json.dumps([data, bool(left)], sort_keys=True).encode()).hexdigest()[:16]
        outcome = {"snapshot_time": NOMINAL.isoformat(), "churned": bool(left), "lineage": origin}
        for kind, time, content in ((SNAPSHOT, NOMINAL, data), (OUTCOME, NOMINAL + gap, outcome)):
            events["time"].append(time)
            events["id"].append(f"{customer}-{kind.rsplit('.', 1)[-1]}")
            events["type"].append(kind)
            events["subject"].append(customer)
            events["data"].append(json.dumps(content))
    rows = pa.table(events)
    constant = {"dataset": dataset, "source": f"urn:dataset:{dataset}"}
    for name, value in constant.items():
        rows = rows.append_column(name, pa.array([value] * len(rows), pa.string()))
    return Batch("events", rows)
