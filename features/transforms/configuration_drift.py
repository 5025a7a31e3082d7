"""Drift of watched resources: at each look, what is known of a resource from before it, and whether it drifts after.

State changes arrive as CloudEvents of type `STATE`, whose `source` is the provider: one who polls says when something
changed, and that nothing did only by what comes later. So a provider's records are taken together, and each of its
resources is looked at every 30 days, on the same dates for all, as long as the provider has records. A row knows only
states before the look; its label is known when the provider's records reach a horizon further.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict
from pydantic.config import JsonDict

from features.transforms import _events
from features.view import Columns, Frames, View, column

STATE = "io.iacdharma.configuration.state"
HORIZON = timedelta(days=30)
WINDOWS = (30, 90, 180, 365)  # days
DAY = 86_400
EPOCH = pd.Timestamp(0, tz="UTC")
WORDS = ("provider", "made", "drift", "changed", "deleted")
NEEDED = ("provider", "drift", "changed", "deleted")
# what the newest state says of the resource; null: this provider does not say
FACTS = ("actions", "services", "bytes", "version", "statements", "wildcards", "conditions", "added", "removed")
_EXAMPLE: JsonDict = {
    "time": "2024-01-01T00:00:00Z",
    "resource": "aws_managed_policy/SupportUser",
    "provider": "aws_managed_policy",
    "known_days": 1700.0,
    "drifts": 12,
    "drifts_30d": 1,
    "drifts_90d": 2,
    "drifts_180d": 3,
    "drifts_365d": 5,
    "changes": 12,
    "days_since_drift": 14.5,
    "days_since_change": 14.5,
    "days_between_drifts": 130.0,
    "actions": 900,
    "bytes": 40000,
}


class WatchedResource(Columns):
    """What is known of a resource when it is looked at; null: never happened, or this provider does not say."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    resource: str = column("the resource: provider/name", min_length=1)
    provider: str = column("who may change it; names the population", min_length=1)
    known_days: float = column("since it was first seen", "d", ge=0)
    age_days: float | None = column("since the provider made it", "d", ge=0, default=None)
    drifts: float = column("drifts so far", "{drift}", ge=0)
    drifts_30d: float = column("drifts in the last 30 days", "{drift}", ge=0)
    drifts_90d: float = column("drifts in the last 90 days", "{drift}", ge=0)
    drifts_180d: float = column("drifts in the last 180 days", "{drift}", ge=0)
    drifts_365d: float = column("drifts in the last 365 days", "{drift}", ge=0)
    changes: float = column("changes of content so far, those that were undone included", "{change}", ge=0)
    days_since_drift: float | None = column("since the last drift", "d", ge=0, default=None)
    days_since_change: float | None = column("since the last change of content", "d", ge=0, default=None)
    days_between_drifts: float | None = column("mean time between drifts", "d", ge=0, default=None)
    actions: float | None = column("actions that it allows", "{action}", ge=0, default=None)
    services: float | None = column("services that its actions belong to", "{service}", ge=0, default=None)
    bytes: float | None = column("size of its document", "By", ge=0, default=None)
    version: float | None = column("the provider's version number", ge=0, default=None)
    statements: float | None = column("statements", "{statement}", ge=0, default=None)
    wildcards: float | None = column("actions with a wildcard", "{action}", ge=0, default=None)
    conditions: float | None = column("conditions", "{condition}", ge=0, default=None)
    added: float | None = column("actions that the newest state added", "{action}", ge=0, default=None)
    removed: float | None = column("actions that the newest state removed", "{action}", ge=0, default=None)


class DriftOutcome(Columns):
    """Whether the resource drifts within the horizon after the look at `time`; null: those 30 days are not over."""

    resource: str = column("the resource: provider/name", min_length=1)
    drifted: bool | None = column("a drift within 30 days after the look")


def looks(frames: Frames) -> pd.DataFrame:
    """Looks → rows with the columns of `WatchedResource` and `dataset`; none before a resource's first state."""
    looked, states = _split(frames)
    looked = looked[_seen(looked, states)]
    at = np.searchsorted(states["key"], looked["key"])  # how many states, of all resources, come before the look
    first = np.searchsorted(states["key"], _key(looked["code"], 0))
    now = looked["second"].to_numpy()
    rows = looked[["dataset", "time"]].assign(resource=looked["subject"])
    newest, seconds = states.iloc[at - 1], states["second"].to_numpy()
    rows["provider"] = newest["provider"].to_numpy()
    rows["known_days"] = (now - seconds[first]) / DAY
    made = newest["made"].to_numpy(dtype=float)
    rows["age_days"] = np.maximum(now - made, 0) / DAY
    for name, kind in (("drifts", "drift"), ("changes", "changed")):
        rows[name] = _counted(states, kind, at) - _counted(states, kind, first)
    for days in WINDOWS:
        since = np.maximum(np.searchsorted(states["key"], _key(looked["code"], now - days * DAY)), first)
        rows[f"drifts_{days}d"] = _counted(states, "drift", at) - _counted(states, "drift", since)
    for name, kind in (("days_since_drift", "drift"), ("days_since_change", "changed")):
        last = np.maximum.accumulate(np.where(states[kind], np.arange(len(states)), -1))[at - 1]
        rows[name] = np.where(last >= first, (now - seconds[last]) / DAY, np.nan)
    known = rows["known_days"] - rows["days_since_drift"].fillna(rows["known_days"])
    rows["days_between_drifts"] = known / rows["drifts"].where(rows["drifts"] > 0)
    for name in FACTS:
        rows[name] = newest[name].to_numpy(dtype=float)
    return rows.reset_index(drop=True)


def outcomes(frames: Frames) -> pd.DataFrame:
    """Looks → rows with the columns of `DriftOutcome` and `dataset`."""
    looked, states = _split(frames)
    looked = looked[_seen(looked, states)]
    end = looked["second"].to_numpy() + int(HORIZON.total_seconds())
    begin, until = (np.searchsorted(states["key"], _key(looked["code"], at)) for at in (looked["second"], end))
    drifted = _counted(states, "drift", until) > _counted(states, "drift", begin)
    rows = looked[["dataset", "time"]].assign(resource=looked["subject"])
    # of looks that the archive does not follow to the end, only the positive ones could be told: none is
    rows["drifted"] = pd.Series(drifted, rows.index, dtype=object).where(looked["last"] >= end, None)
    return rows.reset_index(drop=True)


def _split(frames: Frames) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Looks (with `last`, the second of the provider's newest record) and states, in the order of `key`."""
    states = frames["events"].sort_values(["time", "id"]).drop_duplicates(["subject", "time"], keep="last")
    states = states.reset_index(drop=True)
    data = pd.DataFrame([_events.content(event, NEEDED) for event in states.itertuples()], columns=[*FACTS, *WORDS])
    made = pd.to_datetime(data["made"], utc=True, errors="coerce")
    data["made"] = (made - EPOCH).dt.total_seconds()
    data[list(FACTS)] = data[list(FACTS)].apply(pd.to_numeric).astype("float64")
    states = pd.concat([states, data], axis=1)
    states["second"] = (states["time"] - EPOCH).dt.total_seconds().astype("int64")
    states["code"] = np.unique(states["subject"].to_numpy(dtype=object), return_inverse=True)[1]
    states["key"] = _key(states["code"], states["second"])
    states = states.sort_values("key", kind="stable").reset_index(drop=True)
    parts = [_grid(part) for _, part in states.groupby("source", sort=True)]
    return pd.concat(parts).sort_values("key", kind="stable") if parts else states.assign(last=0), states


def _grid(states: pd.DataFrame) -> pd.DataFrame:
    """Each resource of one provider on every date of the 30-day calendar, unless it is deleted then."""
    step = int(HORIZON.total_seconds())
    first, last = int(states["second"].min()), int(states["second"].max())
    dates = np.arange(-(-first // step) * step, last + 1, step)
    known = states.drop_duplicates("code")[["dataset", "subject", "code"]]
    grid = known.loc[known.index.repeat(len(dates))].assign(second=np.tile(dates, len(known)), last=last)
    grid["time"] = pd.to_datetime(grid["second"], unit="s", utc=True).astype(states["time"].dtype)
    grid["key"] = _key(grid["code"], grid["second"])
    at = np.searchsorted(states["key"], grid["key"])
    return grid[(at > 0) & ~states["deleted"].to_numpy(dtype=bool)[at - 1]]


def _seen(looked: pd.DataFrame, states: pd.DataFrame) -> np.ndarray:
    """Whether a state of the resource comes before the look."""
    at, first = (np.searchsorted(states["key"], key) for key in (looked["key"], _key(looked["code"], 0)))
    return np.asarray(at > first)


def _key(code: Any, second: Any) -> np.ndarray:
    return np.asarray(code, dtype=np.int64) * 2**36 + np.asarray(second, dtype=np.int64)


def _counted(states: pd.DataFrame, kind: str, at: np.ndarray) -> np.ndarray:
    """How many of the first `at` states are of `kind`."""
    return np.append(0.0, np.cumsum(states[kind].to_numpy(dtype=float)))[at]


READS = {"events": {"type": (STATE,)}}
WATCHED = View(
    name="watched_resources",
    entity="resource",
    columns=WatchedResource,
    reads=READS,
    keys={"events": "source"},
    transform=looks,
    ttl=timedelta(days=1),
    description="What is known of a watched resource from before a look at it.",
)

DRIFTS = View(
    name="resource_drifts",
    entity="resource",
    columns=DriftOutcome,
    reads=READS,
    keys={"events": "source"},
    transform=outcomes,
    ttl=timedelta(days=1),
    online=False,
    description="Labels: which resources drift within 30 days.",
)
