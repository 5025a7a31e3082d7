"""Nodes of a cluster: the failures of each node that are known on a day, and when and of what it fails next.

A failure arrives twice: as a CloudEvent `NODE_FAILED` when it begins, and as `REPAIRED` when it is over and its cause
was found (`cause`, absent where none was written down), with the node as subject, its `system` and month of
installation (`installed`). Inputs come from repairs alone: before the repair nobody knew the cause. `OBSERVED` says
until when a node's failures would have been written down. Time is counted in calendar days (UTC).
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

KEPT = 20  # failures of a row, the newest
NODE_FAILED = "io.iacdharma.node.failed"
REPAIRED = "io.iacdharma.node.repaired"
OBSERVED = "io.iacdharma.node.observed"
UNRECORDED = "unrecorded"
_DAY = pd.Timedelta(days=1)
_NODE = ["dataset", "subject"]


def node_histories(events: pd.DataFrame) -> pd.DataFrame:
    """Repairs → one row per (node, day with a repair), at the day's last one.

    Columns: dataset, time, drive (the node), drive_model (its system), node_age_days, failures_days_ago and
    failure_causes (oldest first).
    """
    repairs = _sorted(events, REPAIRED)
    facts = [json.loads(text) for text in repairs["data"]]
    causes = np.array([fact.get("cause") or UNRECORDED for fact in facts], dtype=object)
    end = np.flatnonzero(_last_of_day(repairs))
    first = np.arange(len(repairs)) - repairs.groupby(_NODE).cumcount().to_numpy()
    begin = np.maximum(first[end], end - KEPT + 1)
    clock = repairs["time"].dt.tz_convert(None).to_numpy("datetime64[us]")
    ago = [
        (clock[stop] - clock[start : stop + 1]) / _DAY.to_timedelta64() for start, stop in zip(begin, end, strict=True)
    ]
    rows = repairs.iloc[end]
    installed = pd.to_datetime(pd.Series([facts[row].get("installed") for row in end], dtype=object), utc=True)
    age = (rows["time"].reset_index(drop=True) - installed) / _DAY
    return pd.DataFrame(
        {
            "dataset": rows["dataset"].to_numpy(),
            "time": rows["time"].reset_index(drop=True),
            "drive": rows["subject"].to_numpy(),
            "drive_model": [str(facts[row].get("system") or "unknown") for row in end],
            "node_age_days": age.clip(lower=0).astype("float64"),
            "failures_days_ago": _cells(ago),
            "failure_causes": _cells([causes[start : stop + 1] for start, stop in zip(begin, end, strict=True)]),
        }
    )


def node_outcomes(events: pd.DataFrame) -> pd.DataFrame:
    """Failures → for each row of `node_histories`: the days to the first failure of a later day, and its cause.

    Columns: dataset, time, drive, failed_after_days, followed_days, failed_component (null: not seen, not recorded).
    """
    repairs = _sorted(events, REPAIRED)
    rows = repairs[_last_of_day(repairs)][[*_NODE, "time"]].reset_index(drop=True)
    rows["day"] = rows["time"].dt.floor("D")
    failed = _sorted(events, NODE_FAILED).drop_duplicates([*_NODE, "time"])
    failed = failed.assign(failure=failed["time"].dt.floor("D")).drop_duplicates([*_NODE, "failure"])
    failed["failed_component"] = [json.loads(text).get("cause") for text in failed["data"]]
    following = failed[[*_NODE, "failure", "failed_component"]].assign(day=failed["failure"]).sort_values("day")
    ordered = rows.reset_index().sort_values("day", kind="stable")
    found = pd.merge_asof(ordered, following, on="day", by=_NODE, direction="forward", allow_exact_matches=False)
    found = found.sort_values("index").reset_index(drop=True)
    seen = events[events["type"] == OBSERVED].groupby(_NODE)["time"].max().dt.floor("D").rename("until")
    after = (found["failure"] - found["day"]).dt.days
    until = (found.join(seen, on=_NODE)["until"] - found["day"]).dt.days
    return pd.DataFrame(
        {
            "dataset": found["dataset"],
            "time": found["time"],
            "drive": found["subject"],
            "failed_after_days": after.astype("float64"),
            "followed_days": after.fillna(until.clip(lower=0)).fillna(0.0).astype("float64"),
            "failed_component": found["failed_component"].astype(object).where(found["failed_component"].notna(), None),
        }
    )


def _sorted(events: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Events of one kind by node and time; of equal ones one."""
    part = events[events["type"] == kind].sort_values([*_NODE, "time", "id"], kind="stable")
    return part.drop_duplicates([*_NODE, "time", "data"]).reset_index(drop=True)


def _last_of_day(repairs: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.bool_]]:
    keys = repairs[_NODE].assign(day=repairs["time"].dt.floor("D"))
    return np.asarray(~keys.duplicated(keep="last"))


def _cells(values: list[Any]) -> np.ndarray[Any, Any]:
    """A column of arrays (given a list, numpy would make a matrix of equally long ones)."""
    return np.fromiter(values, dtype=object, count=len(values))
