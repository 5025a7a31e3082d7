"""Customer records without ids and dates → CloudEvents of `features.transforms.customers`."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pandas as pd

from features.source import NOMINAL, Batch
from features.sources import _events
from features.sources._events import Event
from features.transforms.customers import OUTCOME, SNAPSHOT


def batch(
    dataset: str, measured: pd.DataFrame, churned: pd.Series, gap: timedelta, lineage: pd.Series | None = None
) -> Batch:
    """One snapshot and one outcome event per record; `measured` holds columns of `Customer`, NaN for unmeasured.

    The publisher gives no customer id, so a record is its own identity: exact duplicates become one customer, while
    two records that differ only in the outcome stay two.
    """
    events: list[Event] = []
    origins = [None] * len(measured) if lineage is None else lineage.tolist()
    for record, left, origin in zip(measured.to_dict("records"), churned, origins, strict=True):
        data = {"operator": dataset, **{str(name): value for name, value in record.items() if not pd.isna(value)}}
        customer = hashlib.sha256(json.dumps([data, bool(left)], sort_keys=True).encode()).hexdigest()[:16]
        outcome = {"snapshot_time": NOMINAL.isoformat(), "churned": bool(left), "lineage": origin}
        events += [
            _events.about(customer, NOMINAL, SNAPSHOT, data),
            _events.about(customer, NOMINAL + gap, OUTCOME, outcome),
        ]
    return _events.batch(dataset, events)
