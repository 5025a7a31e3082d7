"""Incidents from events and from raw telemetry."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.transforms import _alerts
from features.transforms._alerts import FAMILIES, call_alerts, log_alert, metric_alert
from features.transforms.incidents import CAUSE, CAUSES, INCIDENT, INCIDENTS
from infra.errors import DataError
from training import probes

END = pd.Timestamp("2026-01-01T01:00:00Z")
SINCE = END - pd.Timedelta(minutes=3)


def _event(data: Any, kind: str = INCIDENT, subject: str = "shop-1", time: pd.Timestamp = END) -> dict[str, Any]:
    text = data if isinstance(data, str) else json.dumps(data)
    return {"dataset": "test", "time": time, "id": f"{subject}-{time}", "type": kind, "subject": subject, "data": text}


def _frames(*events: dict[str, Any], **telemetry: pd.DataFrame) -> dict[str, pd.DataFrame]:
    columns = {
        "metrics": ["time", "service_name", "instance_id", "metric_name", "value"],
        "logs": ["time", "service_name", "instance_id", "body"],
        "spans": [
            "time",
            "service_name",
            "instance_id",
            "span_id",
            "parent_span_id",
            "name",
            "duration_ns",
            "status_code",
        ],
    }
    empty = {name: pd.DataFrame(columns=each).astype({"time": "datetime64[ns, UTC]"}) for name, each in columns.items()}
    frames = {"events": pd.DataFrame(events), **empty, **telemetry}
    frames["events"]["time"] = pd.to_datetime(frames["events"]["time"], utc=True)
    return frames


def _minutes(count: int = 20) -> pd.DatetimeIndex:
    return pd.date_range(SINCE - pd.Timedelta(minutes=count), END, freq="min")


def _points(node: str, metric: str, jump: float, incident: str = "shop-1") -> pd.DataFrame:
    times = _minutes()
    values = 10 + 0.5 * np.sin(np.arange(len(times))) + jump * (times >= SINCE)
    return pd.DataFrame(
        {"time": times, "service_name": incident, "instance_id": node, "metric_name": metric, "value": values}
    )


# -- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("docker_cpu_core_9_pct", "cpu_up:docker_cpu_core_#_pct"),
        ("docker_memory_rss_total", "memory_up:docker_memory_rss_total"),
        ("docker_diskio_reads", "disk_up:docker_diskio_reads"),
        ("src_p90", "calling_latency_up:src_p#"),
        ("PodServerLatencyP95(s)", "serving_latency_up:podserverlatencyp#(s)"),
        ("dest_success_rate", "serving_success_up:dest_success_rate"),
        ("NetworkTransmitBytes", "sent_up:networktransmitbytes"),
        ("net_receive", "received_up:net_receive"),
        ("something", "other_up:something"),
    ],
)
def test_metrics_of_any_system_get_a_common_family(metric: str, kind: str) -> None:
    alert = metric_alert("cart", metric, "up")
    assert (alert.node, alert.kind) == ("cart", kind)
    assert kind.partition(":")[0] in FAMILIES


def test_calls_alert_both_ends_without_hosts() -> None:
    found = call_alerts("web", "db", "http://10.0.0.4:9388/get", slow=False, outcome="500")
    assert [tuple(each) for each in found] == [("web", "failed_out:500 /get"), ("db", "failed_in:500 /get")]
    assert [each.kind for each in call_alerts("db", "db", "find", slow=True)] == ["slow_self:find"]
    assert [each.node for each in call_alerts("", "db", "find", slow=True)] == ["db"]


def test_a_template_loses_the_name_of_its_component() -> None:
    assert log_alert("orders-0", "orders-0-29").kind == "log:29"
    assert log_alert("orders-0", "29").kind == "log:29"


# -- events -----------------------------------------------------------------------------------------------------------


def test_an_event_becomes_a_row_whose_order_means_nothing() -> None:
    data = {
        "system": "shop",
        "nodes": ["web", "cart", "db"],
        "calls": [[0, 1], [1, 2], [1, 1]],
        "alerts": [["db", "memory_up:rss"], ["web", "slow_out:/"], ["host-7", "cpu_up:x"]],
    }
    row = INCIDENTS.transform(_frames(_event(data))).iloc[0]
    name = {float(n): node for n, node in enumerate(row["nodes"])}
    calls = {(name[a], name[b]) for a, b in zip(row["callers"], row["callees"], strict=True)}
    alerts = {(name[at], kind) for at, kind in zip(row["alerts_at"], row["alerts"], strict=True)}
    assert calls == {("web", "cart"), ("cart", "db")}
    assert alerts == {("db", "memory_up:rss"), ("web", "slow_out:/")}
    turned = {**data, "nodes": ["db", "cart", "web"], "calls": [[2, 1], [1, 0]], "alerts": data["alerts"][::-1]}
    other = INCIDENTS.transform(_frames(_event(turned))).iloc[0]
    assert other.to_dict() == row.to_dict()
    orders = {
        tuple(INCIDENTS.transform(_frames(_event(data, subject=f"shop-{n}"))).iloc[0]["nodes"]) for n in range(20)
    }
    assert len(orders) > 2


def test_the_last_event_of_an_incident_counts() -> None:
    later = _event({"system": "shop", "nodes": ["b"]}, time=END + pd.Timedelta(minutes=1))
    rows = INCIDENTS.transform(_frames(later, _event({"system": "shop", "nodes": ["a"]})))
    assert [list(nodes) for nodes in rows["nodes"]] == [["b"]]


@pytest.mark.parametrize("data", ["not json", "[]", "{}"])
def test_bad_data_is_named(data: str) -> None:
    with pytest.raises(DataError, match="shop-1"):
        INCIDENTS.transform(_frames(_event(data)))


def test_causes_carry_the_time_of_the_incident() -> None:
    cause = {"incident_time": END.isoformat(), "root_cause": "db", "fault": "memory", "part": "test"}
    rows = CAUSES.transform({"events": _frames(_event(cause, CAUSE, time=END + pd.Timedelta(hours=1)))["events"]})
    assert rows.iloc[0][["root_cause", "fault", "part"]].tolist() == ["db", "memory", "test"]
    assert rows["time"].iloc[0] == END


# -- raw telemetry ----------------------------------------------------------------------------------------------------


def test_raw_metrics_alert_by_their_own_normal_and_repeat_when_far_off() -> None:
    points = pd.concat([_points("db", "cpu", 3.0), _points("db", "memory", 500.0), _points("web", "cpu", 0.0)])
    kinds = [(alert.node, alert.kind.partition(":")[0]) for alert in _alerts.from_metrics(points, SINCE)]
    assert kinds.count(("db", "cpu_up")) == 1
    assert kinds.count(("db", "memory_up")) == 3
    assert not [kind for kind in kinds if kind[0] == "web"]


def test_a_constant_metric_that_ticks_is_no_alert() -> None:
    points = _points("db", "threads", 0.0).assign(value=8.0)
    points.loc[points["time"] >= SINCE, "value"] = 8.2
    assert not list(_alerts.from_metrics(points, SINCE))


def test_raw_logs_alert_when_lines_are_new_or_gone() -> None:
    times = _minutes()
    usual = pd.DataFrame({"time": times, "instance_id": "db", "body": "INFO Pool#12 took 123456 ms"})
    beat = pd.DataFrame({"time": times[times < SINCE], "instance_id": "db", "body": "INFO Beat#3 alive"})
    fresh = pd.DataFrame({"time": [END], "instance_id": "db", "body": "ERROR Pool#99 exhausted"})
    stranger = fresh.assign(instance_id="web")
    found = {tuple(alert) for alert in _alerts.from_logs(pd.concat([usual, beat, fresh, stranger]), SINCE)}
    assert found == {("db", "log:ERROR Pool#99 exhausted"), ("db", "log_gone:INFO Beat#3 alive")}


def test_raw_spans_give_calls_and_alerts() -> None:
    rows = []
    for n, at in enumerate(_minutes()):
        slow = 8 if at >= SINCE else 1
        rows += [
            [at, "web", f"{n}-a", None, "/", 1000, None],
            [at, "db", f"{n}-b", f"{n}-a", "/get", 100 * slow, "ERROR" if at == END else None],
        ]
    names = ["time", "instance_id", "span_id", "parent_span_id", "name", "duration_ns", "status_code"]
    spans = pd.DataFrame(rows, columns=names).assign(service_name="shop-1")
    event = _event({"system": "shop", "since": SINCE.isoformat()})
    row = INCIDENTS.transform(_frames(event, spans=spans)).iloc[0]
    name = {float(n): node for n, node in enumerate(row["nodes"])}
    assert [(name[row["callers"][0]], name[row["callees"][0]])] == [("web", "db")]
    alerts = sorted((name[at], kind) for at, kind in zip(row["alerts_at"], row["alerts"], strict=True))
    assert set(alerts) == {
        ("db", "slow_in:/get"), ("web", "slow_out:/get"), ("db", "failed_in:/get"), ("web", "failed_out:/get")
    }  # fmt: skip
    assert alerts.count(("db", "slow_in:/get")) == 2


def test_it_knows_no_future() -> None:
    data = {"system": "shop", "since": SINCE.isoformat()}
    later = _event(data, subject="shop-2", time=END + pd.Timedelta(hours=2))
    points = pd.concat([_points("db", "cpu", 9.0), _points("db", "cpu", 9.0, "shop-2")])
    after = _points("db", "cpu", 0.0).assign(value=-900.0, time=lambda rows: rows["time"] + pd.Timedelta(hours=1))
    frames = _frames(_event(data), later, metrics=pd.concat([points, after]))
    probes.causal(INCIDENTS, frames, END)
    row = INCIDENTS.transform(frames).set_index("incident_id").loc["shop-1"]
    assert {kind.partition(":")[0] for kind in row["alerts"]} == {"cpu_up"}


def test_telemetry_without_an_event_and_no_records_at_all_give_no_rows() -> None:
    nothing = _frames(_event({"system": "shop"}), metrics=_points("db", "cpu", 9.0))
    nothing["events"] = nothing["events"].head(0)
    for view in (INCIDENTS, CAUSES):
        rows = view.transform({name: nothing[name] for name in view.reads})
        assert len(rows) == 0
        assert set(rows) == {"dataset", "time", *view.columns.kinds()}
