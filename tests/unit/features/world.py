"""A small world for the tests of this room: metrics of a few machines, and a view over two canonical tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow as pa

from features.view import Columns, Frames, View, column

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
MOVED = "io.iacdharma.test.moved"


class Load(Columns):
    host: str = column("the host", min_length=1)
    room: str | None = column("where it was last moved to", default=None)
    cpu: float = column("share of busy time", ge=0, le=1)
    recent: list[float] = column("the last shares, oldest first", min_length=1, max_length=3)
    busy: bool = column("more than half busy")
    rank: int = column("number of the row", ge=1)


class Outcome(Columns):
    host: str = column("the host", min_length=1)
    failed: bool = column("whether it failed an hour later")


def loads(frames: Frames) -> pd.DataFrame:
    metrics = frames["metrics"].sort_values(["instance_id", "time"], kind="stable").reset_index(drop=True)
    rows = metrics[["dataset", "time", "instance_id", "value"]].rename(columns={"instance_id": "host", "value": "cpu"})
    hosts = rows.groupby("host")
    rows["rank"] = hosts.cumcount() + 1
    rows["busy"] = rows["cpu"] > 0.5
    rows["recent"] = [list(rows["cpu"].iloc[max(i - min(n, 3) + 1, 0) : i + 1]) for i, n in enumerate(rows["rank"])]
    moves = frames["events"].assign(room=[json.loads(data)["room"] for data in frames["events"]["data"]])
    rows["room"] = rows["host"].map(moves.sort_values("time").groupby("subject")["room"].last()).astype(object)
    return rows


def outcomes(frames: Frames) -> pd.DataFrame:
    rows = frames["metrics"][["dataset", "time", "instance_id"]].rename(columns={"instance_id": "host"})
    return rows.assign(time=rows["time"] + timedelta(minutes=10), failed=frames["metrics"]["value"].to_numpy() > 0.9)


LOADS = View(
    name="loads",
    entity="host",
    columns=Load,
    reads={"metrics": {"metric_name": ("cpu",)}, "events": {"type": (MOVED,)}},
    keys={"metrics": "instance_id", "events": "subject"},
    transform=loads,
    ttl=timedelta(minutes=30),
)
OUTCOMES = View(
    name="load_outcomes",
    entity="host",
    columns=Outcome,
    reads={"metrics": {"metric_name": ("cpu",)}},
    keys={"metrics": "instance_id"},
    transform=outcomes,
    ttl=timedelta(minutes=30),
    online=False,
)


def metrics(dataset: str = "one", hosts: int = 4, rows: int = 6, name: str = "cpu") -> pa.Table:
    """`rows` points a host, 40 minutes apart; the values differ and stay within 0 and 1."""
    points = [
        {
            "dataset": dataset,
            "time": BEGIN + timedelta(minutes=40 * row),
            "instance_id": f"{dataset}-{host}",
            "service_name": "test",
            "metric_name": name,
            "value": ((7 * host + 3 * row) % 11) / 10.5,
        }
        for host in range(hosts)
        for row in range(rows)
    ]
    return pa.Table.from_pylist(points)


def moves(dataset: str = "one") -> pa.Table:
    """Two moves of the first host; the others were never moved."""
    told = [(0, "a"), (1, "b")]
    return pa.Table.from_pylist(
        [
            {
                "dataset": dataset,
                "time": BEGIN + timedelta(minutes=minute),
                "id": room,
                "type": MOVED,
                "subject": f"{dataset}-0",
                "data": json.dumps({"room": room}),
            }
            for minute, room in told
        ]
    )
