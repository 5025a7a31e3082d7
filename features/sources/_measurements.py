"""Tables of measured configurations → CloudEvents of `features.transforms.configurations`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from features.schema import TIME
from features.source import NOMINAL, Batch
from features.sources import _events
from features.transforms.configurations import MEASURED


def batch(
    dataset: str,
    task: str,
    system: str,
    knobs: pd.DataFrame,
    performance: pd.Series,
    default: pd.Series,
    higher_is_better: bool,
    noise: float,
) -> Batch:
    """One task: a measurement a row, in order; those of the default (where `default`) are told once more, first."""
    order = np.concatenate([np.flatnonzero(default), np.arange(len(knobs))])
    first = np.arange(len(order)) < int(default.sum())
    data = (
        {
            "system": system,
            "knobs": {str(name): float(value) for name, value in knobs.iloc[row].items()},
            "performance": float(performance.iloc[row]),
            "higher_is_better": higher_is_better,
            "noise": noise,
            "default": bool(early),
        }
        for row, early in zip(order, first, strict=True)
    )
    # a minute a row keeps the publisher's order
    times = pa.array(pd.Timestamp(NOMINAL) + pd.to_timedelta(np.arange(len(order)), unit="min"), TIME)
    ids = [f"{task}#{number:06d}" for number in range(len(order))]
    return Batch("events", _events.table(dataset, times, ids, MEASURED, task, data))
