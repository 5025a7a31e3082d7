"""Measured configurations of a system: what was set, what it gave, and what the vendor's default gives.

Measurements arrive as CloudEvents of type `MEASURED`: `subject` names the tuning task (one system, release and
workload), `data` holds `Measurement`; the default's come first, with `default` true. Knobs that trade durability or
security are frozen: a configuration in which one of them differs from the default is no candidate and gives no row,
and the knob itself is not shown. What is frozen is `FROZEN`, a policy and no result of learning.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Self

import numpy as np
import pandas as pd
from pydantic import ConfigDict, model_validator
from pydantic.config import JsonDict

from features.transforms import _events
from features.view import Columns, Frames, View, column

MEASURED = "io.iacdharma.configuration.measured"
# durability: what may be lost or torn in a crash; audit: what is no longer recorded; trackCounts: autovacuum needs it
FROZEN = frozenset(
    {
        "delayedInnodbLogFlush", "delayedInnodbLogWrite", "innodbDoubleWrite", "binaryLog", "innodb_doublewrite",
        "general_log", "innodb_flush_log_at_trx_commit", "sync_binlog", "log_bin",
        "fsync", "synchronousCommit", "synchronous_commit", "fullPageWrites", "full_page_writes", "trackCounts",
        "track_counts", "autovacuum", "ssl", "wal_level", "data_checksums", "synchronous", "journal_mode",
    }
)  # fmt: skip
MOST = 20_000  # numbers in a list
NEEDED = ("system", "knobs", "performance", "higher_is_better", "noise")  # of a measurement

_EXAMPLE: JsonDict = {
    "time": "2000-01-01T00:10:00Z",
    "task": "MySQL 8.0.17",
    "system": "MySQL",
    "knobs": ["innodbBufferPoolSize", "innodbLogBufferSize"],
    "values": [8, 1],
    "baseline": 248.9,
    "higher_is_better": False,
    "noise": 0.06,
    "trials_left": 8,
    "tried": [64, 1, 512, 8],
    "outcomes": [231.0, 219.5],
    "candidates": [8, 1, 8, 8, 8, 64, 64, 1, 64, 8, 64, 64, 512, 1, 512, 8, 512, 64],
}


class Configuration(Columns):
    """A configuration of one tuning task at `time`, and what has been measured so far."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    task: str = column("what is tuned: one system, release and workload", min_length=1)
    system: str = column("the system; names knobs that mean the same", min_length=1)
    knobs: list[str] = column("names of the knobs that may be turned", max_length=100)
    values: list[float] = column("their present values, in the order of `knobs`", max_length=100)
    baseline: float = column("measured performance of the configuration to improve on", gt=0)
    higher_is_better: bool = column("true for throughput, false for run time")
    noise: float = column("relative standard deviation of a repeated measurement", ge=0, le=1)
    trials_left: int = column("further configurations that may be measured", "{trial}", ge=0, le=1000, default=10)
    tried: list[float] = column("configurations measured so far, one after another", max_length=MOST, default=[])
    outcomes: list[float] = column("their performance, oldest first", max_length=1000, default=[])
    candidates: list[float] = column(
        "configurations to choose from, one after another; empty: those that training knows of these knobs",
        max_length=MOST,
        default=[],
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        width = len(self.knobs)
        if len(self.values) != width:
            raise ValueError(f"values needs one number for each of {width} knobs, got {len(self.values)}")
        if len(self.tried) != width * len(self.outcomes):
            raise ValueError(f"tried needs {width} numbers for each of {len(self.outcomes)} outcomes")
        if len(self.candidates) % max(width, 1):
            raise ValueError(f"candidates needs {width} numbers for each configuration, got {len(self.candidates)}")
        if min(self.outcomes, default=1.0) <= 0:
            raise ValueError("outcomes must be greater than zero")
        if frozen := sorted(FROZEN & set(self.knobs)):
            raise ValueError(f"knobs names {frozen[0]!r}, which trades durability or security and is never tuned")
        return self


class Outcome(Columns):
    """What a configuration gave."""

    task: str = column("what is tuned", min_length=1)
    performance: float = column("measured performance, in the unit of `baseline`", gt=0)


def configurations(frames: Frames) -> pd.DataFrame:
    """Measurements → one row per (task, time) with the columns of `Configuration`, nothing tried yet."""
    return _rows(frames, outcomes=False)


def outcomes(frames: Frames) -> pd.DataFrame:
    """Measurements → one row per (task, time) with the columns of `Outcome`."""
    return _rows(frames, outcomes=True)


def _rows(frames: Frames, outcomes: bool) -> pd.DataFrame:
    events = frames["events"].sort_values(["subject", "time", "id"], kind="stable")
    columns = list((Outcome if outcomes else Configuration).kinds())
    rows = [
        {"dataset": event.dataset, "time": event.time, **row}
        for _, part in events.groupby(["dataset", "subject"], sort=True)
        for event, row in _task(part, outcomes)
    ]
    return pd.DataFrame(rows, columns=["dataset", "time", *columns])


def _task(part: pd.DataFrame, outcomes: bool) -> list[tuple[Any, dict[str, Any]]]:
    """The candidates of one task; the mean of the default's measurements is the baseline."""
    measured = [(event, _events.content(event, NEEDED)) for event in part.itertuples()]
    defaults = [data for _, data in measured if data.get("default")]
    if not defaults:
        return []
    kept = {name: value for name, value in defaults[0]["knobs"].items() if name in FROZEN}
    free = [name for name in defaults[0]["knobs"] if name not in FROZEN]
    baseline = float(np.mean([data["performance"] for data in defaults]))
    rows = []
    for event, data in measured:
        if data.get("default") or any(data["knobs"][name] != value for name, value in kept.items()):
            continue
        row: dict[str, Any] = {"task": event.subject, "performance": float(data["performance"])}
        if not outcomes:
            row = {
                "task": event.subject,
                "system": data["system"],
                "knobs": free,
                "values": [float(data["knobs"][name]) for name in free],
                "baseline": baseline,
                "higher_is_better": bool(data["higher_is_better"]),
                "noise": float(data["noise"]),
                "trials_left": 10,
                "tried": [],
                "outcomes": [],
                "candidates": [],
            }
        rows.append((event, row))
    return rows


CONFIGURATIONS = View(
    name="configurations",
    entity="task",
    columns=Configuration,
    reads={"events": {"type": (MEASURED,)}},
    keys={"events": "subject"},
    transform=configurations,
    ttl=timedelta(days=365),
    description="Configurations of a system that may be measured, without the knobs that are frozen.",
)

OUTCOMES = View(
    name="configuration_outcomes",
    entity="task",
    columns=Outcome,
    reads={"events": {"type": (MEASURED,)}},
    keys={"events": "subject"},
    transform=outcomes,
    ttl=timedelta(days=365),
    online=False,
    description="Labels: what each configuration gave.",
)
