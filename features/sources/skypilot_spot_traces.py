"""Whether a spot machine could be had (availability) or kept running (preemption), by zone (SkyPilot spot traces).

Layout: `<availability or preemption>/1-node/<cloud>-<month-day-year>/<zone>_<machine>_<count>.json` with
`metadata.gap_seconds` and `data`, a 0 or 1 for each probe. The clock starts at midnight UTC of the date in the folder:
the hour is not published, so that hours of the day are right only against each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from features.source import Batch, Source
from infra.errors import DataError

DATASET, METRICS = "skypilot_spot_traces", ("cloud.spot.available", "cloud.spot.running")
_FOLDERS = dict(zip(("availability", "preemption"), METRICS, strict=True))


class SpotTraces(Source):
    """Reads `us-east-1a_v100_1.json` and its like."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of metrics per file. Raises DataError naming the file and what would be right."""
        for path in sorted(Path(where).rglob("*.json")):
            metric = next((_FOLDERS[part] for part in path.parts[::-1] if part in _FOLDERS), None)
            cloud, _, date = path.parent.name.partition("-")
            begin = pd.to_datetime(date, format="%m-%d-%Y", errors="coerce", utc=True)
            zone, _, machine = path.stem.partition("_")
            if metric is None or not machine or pd.isna(begin):
                continue  # no trace by its name
            states, gap = _read(path)
            times = begin + pd.to_timedelta(np.arange(len(states)) * gap, unit="s")
            kind = metric.rpartition(".")[2]
            constant = {
                "dataset": DATASET,
                "service_name": f"{cloud}/{machine}/{kind}",
                "instance_id": zone,
                "metric_name": metric,
                "unit": "1",
            }
            columns = {name: pa.repeat(pa.scalar(value), len(states)) for name, value in constant.items()}
            yield Batch("metrics", pa.table({**columns, "time": pa.array(times.as_unit("us")), "value": states}))


def _read(path: Path) -> tuple[np.ndarray, float]:
    """The states, and the seconds between two of them."""
    try:
        content = json.loads(path.read_text())
        states, gap = np.asarray(content["data"], dtype=float), float(content["metadata"]["gap_seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no trace ({error}); it must hold metadata.gap_seconds and data") from None
    if states.ndim != 1 or not np.isin(states, (0, 1)).all() or not 0 < gap < np.inf:
        raise DataError(f"{path}: data must be a list of 0 and 1, and gap_seconds positive")
    return states, gap
