"""Labelled security records without identities → OCSF records of `features.transforms.activities` and verdicts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa

from features.source import NOMINAL, Batch
from features.sources import _events
from features.transforms.activities import VERDICT

CLASSES = {"flow": 4001, "connection": 4001, "session": 3002, "parameter": 4002}  # network, authentication, HTTP
_COUNTS = ("bytes_in", "bytes_out", "packets_in", "packets_out")  # whole numbers that OCSF names as we do


def batches(
    dataset: str,
    kind: str,
    measured: pd.DataFrame,
    threat: pd.Series,
    lineage: pd.Series | None = None,
    order: pd.Series | None = None,
) -> list[Batch]:
    """One OCSF record and one verdict per row of `measured` (columns of `Activity`, null for unmeasured).

    A record is its own identity: rows with the same content carry one id. `order`: position in the publisher's order,
    kept as seconds after the nominal moment; it is an order, not a clock.
    """
    seconds = np.zeros(len(measured)) if order is None else order.to_numpy(dtype=float)
    times = pa.array(pd.Timestamp(NOMINAL) + pd.to_timedelta(seconds, unit="s"), pa.timestamp("us", tz="UTC"))
    names = [f"{dataset}-{kind}-{content:016x}" for content in pd.util.hash_pandas_object(measured, index=False)]
    return [_records(dataset, kind, measured, names, times), _verdicts(dataset, threat, lineage, names, times)]


def _records(dataset: str, kind: str, measured: pd.DataFrame, names: list[str], times: pa.Array) -> Batch:
    other = measured.drop(columns=[*_COUNTS, "protocol"], errors="ignore").to_dict("records")
    unmapped = [json.dumps({"kind": kind, **{k: v for k, v in row.items() if not pd.isna(v)}}) for row in other]
    columns = {
        "dataset": pa.array([dataset] * len(names), pa.string()),
        "time": times,
        "metadata_uid": pa.array(names, pa.string()),
        "class_uid": pa.array([CLASSES[kind]] * len(names), pa.int32()),
        "unmapped": pa.array(unmapped, pa.string()),
    }
    counts = [name for name in _COUNTS if name in measured]
    columns |= {name: pa.array(measured[name].round(), pa.int64(), from_pandas=True) for name in counts}
    if "protocol" in measured:
        columns["protocol_name"] = pa.array(measured["protocol"], pa.string())
    if "duration_s" in measured:  # whole milliseconds are the standard's; the exact value stays in `unmapped`
        columns["duration_ms"] = pa.array((measured["duration_s"] * 1000).round(), pa.int64(), from_pandas=True)
    return Batch("network", pa.table(columns))


def _verdicts(dataset: str, threat: pd.Series, lineage: pd.Series | None, names: list[str], times: pa.Array) -> Batch:
    origins = [None] * len(names) if lineage is None else lineage.tolist()
    data = (
        {"observed": time.isoformat(), "threat": what, "lineage": origin}
        for time, what, origin in zip(times.to_pylist(), threat, origins, strict=True)
    )
    ids = [f"{name}-{what}" for name, what in zip(names, threat, strict=True)]
    return Batch("events", _events.table(dataset, times, ids, VERDICT, names, data))
