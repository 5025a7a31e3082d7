"""Incidents on a service graph: which components call which, what is unusual at each, and which one was the cause.

An incident arrives as a CloudEvent of type `INCIDENT` whose `data` holds `system` and, as far as they are known,
`nodes`, `calls` (pairs of positions in `nodes`) and `alerts` (pairs of node and kind, see `_alerts`). Raw telemetry of
the incident, where there is some, is recorded with the incident's id as `service_name`; `since` in the event's data
says from when on it is no longer normal, and what lies between `since` and the event is searched for alerts.
Causes arrive as type `CAUSE` whose `data` holds `incident_time`, `root_cause`, and optionally `fault` and `part`.

The nodes of a row are in an order that means nothing: sorted by a hash of incident and name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Self

import pandas as pd
from pydantic import ConfigDict, model_validator
from pydantic.config import JsonDict

from features.transforms import _alerts, _events
from features.transforms._alerts import Alert
from features.view import Columns, Frames, View, column

INCIDENT = "io.iacdharma.incident.opened"
CAUSE = "io.iacdharma.incident.cause"
_EXAMPLE: JsonDict = {
    "time": "2021-07-04T00:48:14Z",
    "incident_id": "shop-17",
    "system": "shop",
    "nodes": ["cart", "orders", "payment"],
    "callers": [1, 1],
    "callees": [0, 2],
    "alerts": ["memory_up:rss", "serving_latency_up:p95", "slow_in:/pay", "slow_out:/pay", "log:out of memory"],
    "alerts_at": [2, 2, 2, 1, 2],
}


class Incident(Columns):
    """One incident when it is analysed. Positions count from 0 and refer to `nodes`."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})
    incident_id: str = column("the incident", min_length=1)
    system: str = column("the application that the components belong to", min_length=1)
    nodes: list[str] = column("the components, in any order; the names are only used in the answer")
    callers: list[float] = column("for each call of the dependency graph, the position of the one that calls")
    callees: list[float] = column("for each call of the dependency graph, the position of the one that is called")
    alerts: list[str] = column("what is unusual: `<family>:<detail>`, once for each time it was seen")
    alerts_at: list[float] = column("for each alert, the position of its component")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.nodes)) < len(self.nodes):
            raise ValueError("nodes: each component must be named once")
        for one, other in (("callers", "callees"), ("alerts", "alerts_at")):
            if len(getattr(self, one)) != len(getattr(self, other)):
                raise ValueError(f"{one} and {other} must be of the same length")
        for name in ("callers", "callees", "alerts_at"):
            if any(place != int(place) or not 0 <= place < len(self.nodes) for place in getattr(self, name)):
                raise ValueError(f"{name}: each must be a position in nodes, 0 to {len(self.nodes) - 1}")
        return self


class Cause(Columns):
    """What the cause of the incident turned out to be; `time` is the incident's."""

    incident_id: str = column("the incident", min_length=1)
    root_cause: str = column("the component that was the cause", min_length=1)
    fault: str | None = column("what was wrong with it, in the publisher's words", default=None)
    part: str | None = column("the published part: train or test; null: none is published", default=None)


def incidents(frames: Frames) -> pd.DataFrame:
    """Incident events and their telemetry → one row per incident with the columns of `Incident` and `dataset`.

    Of several events of one incident the last counts. Raises DataError naming the event whose data is not right.
    """
    events = frames["events"].sort_values(["time", "id"]).drop_duplicates("subject", keep="last")
    tables = ("metrics", "logs", "spans")
    parts = {name: {str(key): rows for key, rows in frames[name].groupby("service_name")} for name in tables}
    rows = [
        _row(event, {name: part[str(event.subject)] for name, part in parts.items() if str(event.subject) in part})
        for event in events.itertuples()
    ]
    columns = ["dataset", "time", *Incident.kinds()]
    found = pd.DataFrame(rows, columns=columns)
    found["time"] = pd.to_datetime(found["time"], utc=True).astype(events["time"].dtype)
    return found


def causes(frames: Frames) -> pd.DataFrame:
    """Cause events → one row per incident: `time` is when it was analysed, not when the cause was found."""
    events = frames["events"].sort_values(["time", "id"]).drop_duplicates("subject", keep="last")
    data = [_events.content(event, ("incident_time", "root_cause")) for event in events.itertuples()]
    rows = pd.DataFrame({"dataset": events["dataset"], "incident_id": events["subject"]}).reset_index(drop=True)
    times = pd.Series([each["incident_time"] for each in data], dtype=object)
    rows["time"] = pd.to_datetime(times, utc=True, format="ISO8601").astype(events["time"].dtype)
    for name in ("root_cause", "fault", "part"):
        rows[name] = pd.Series([each.get(name) for each in data], dtype=object)
    return rows


def _row(event: Any, telemetry: dict[str, pd.DataFrame]) -> dict[str, Any]:
    data = _events.content(event, ("system",))
    told = [str(node) for node in data.get("nodes", [])]
    calls = {(told[int(a)], told[int(b)]) for a, b in data.get("calls", []) if a != b}
    alerts = [Alert(str(node), str(kind)) for node, kind in data.get("alerts", [])]
    if "since" in data:
        seen = {name: rows[rows["time"] <= event.time] for name, rows in telemetry.items()}
        spans = _alerts.calls(seen["spans"]) if "spans" in seen else None
        alerts += _from_telemetry(seen, spans, pd.Timestamp(data["since"]))
        if spans is not None:
            known = spans[(spans["caller"] != "") & (spans["caller"] != spans["callee"])]
            calls |= set(zip(known["caller"], known["callee"], strict=True))
        told += [str(node) for rows in seen.values() for node in rows["instance_id"].unique()]
    place = {node: n for n, node in enumerate(sorted(set(told), key=lambda node: _shuffled(event.subject, node)))}
    pairs = sorted((place[a], place[b]) for a, b in calls if a in place and b in place)
    kinds = sorted((place[alert.node], alert.kind) for alert in alerts if alert.node in place)
    return {
        "dataset": event.dataset,
        "time": event.time,
        "incident_id": event.subject,
        "system": str(data["system"]),
        "nodes": list(place),
        "callers": [float(a) for a, _ in pairs],
        "callees": [float(b) for _, b in pairs],
        "alerts": [kind for _, kind in kinds],
        "alerts_at": [float(at) for at, _ in kinds],
    }


def _from_telemetry(seen: dict[str, pd.DataFrame], spans: pd.DataFrame | None, since: pd.Timestamp) -> Iterator[Alert]:
    if "metrics" in seen:
        yield from _alerts.from_metrics(seen["metrics"], since)
    if "logs" in seen:
        yield from _alerts.from_logs(seen["logs"], since)
    if spans is not None:
        yield from _alerts.from_spans(spans, since)


def _shuffled(incident: str, node: str) -> str:
    return hashlib.sha256(f"{incident}/{node}".encode()).hexdigest()


_TELEMETRY = ("metrics", "logs", "spans")

INCIDENTS = View(
    name="incidents",
    entity="incident_id",
    columns=Incident,
    reads={"events": {"type": (INCIDENT,)}, **{table: {} for table in _TELEMETRY}},
    keys={"events": "subject", **{table: "service_name" for table in _TELEMETRY}},
    transform=incidents,
    ttl=timedelta(days=1),
    description="Service graphs of incidents, with what was unusual at each component.",
)

CAUSES = View(
    name="incident_causes",
    entity="incident_id",
    columns=Cause,
    reads={"events": {"type": (CAUSE,)}},
    keys={"events": "subject"},
    transform=causes,
    ttl=timedelta(days=1),
    online=False,
    description="Labels: which component was the cause.",
)
