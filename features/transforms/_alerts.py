"""The kinds of alert that every system has in common, and how raw telemetry becomes such alerts.

A kind is `<family>:<detail>`. The family is what operators of any system understand (`cpu_up`, `slow_in`, `log`); the
detail is the system's own word for it (metric, operation, log template) without hosts, instances and numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

# the first pattern that is found in a metric's name gives its family
_METRICS: tuple[tuple[str, str], ...] = (
    (r"disk|fs_|filesystem|volume", "disk"),
    (r"restart", "restarts"),
    (r"cpu|load", "cpu"),
    (r"mem|heap|rss", "memory"),
    (r"net.*(rec|in_|rx)", "received"),
    (r"net.*(tra|out_|tx)", "sent"),
    (r"latency|duration|response_time|_p\d\d", "latency"),
    (r"success|availab|error", "success"),
    (r"qps|request|workload|throughput", "traffic"),
)
_SIDED = ("latency", "success", "traffic")  # told apart by who measures: the caller or the one that answers
_CALLER = re.compile(r"^src|source|client|outbound")
METRIC_FAMILIES = (
    *("cpu", "memory", "disk", "received", "sent", "restarts", "other"),
    *(f"{side}_{what}" for side in ("calling", "serving") for what in _SIDED),
)
CALL_FAMILIES = tuple(f"{how}_{role}" for how in ("slow", "failed") for role in ("in", "out", "self"))
FAMILIES = (*(f"{name}_{way}" for name in METRIC_FAMILIES for way in ("up", "down")), *CALL_FAMILIES, "log", "log_gone")

LEVELS = (4.0, 16.0, 64.0)  # spreads from normal; an alert is repeated for each level that is passed
SLOWER = (1.5, 4.0, 16.0)  # times the normal median duration of the operation
LEAST_NORMAL = 3  # points or spans of a normal period that can be compared with
TEMPLATE = 60  # characters of a log line, numbers apart, that tell what it is
FREQUENT = 10  # lines of a template in the normal period whose absence is unusual
_NOISE = 0.05  # of the normal level: the smallest spread, so that a tick of a constant metric is no alert
_TINY = 1e-3


class Alert(NamedTuple):
    """Something unusual at a component."""

    node: str
    kind: str


def metric_alert(node: str, metric: str, way: str) -> Alert:
    """A metric that is above (`up`) or below (`down`) normal."""
    name = re.sub(r"\d+", "#", metric.lower())
    family = next((found for pattern, found in _METRICS if re.search(pattern, metric.lower())), "other")
    if family in _SIDED:
        family = f"{'calling' if _CALLER.search(metric.lower()) else 'serving'}_{family}"
    return Alert(node, f"{family}_{way}:{name}")


def call_alerts(caller: str, callee: str, operation: str, slow: bool, outcome: str = "") -> list[Alert]:
    """A slow or failing call: one alert at each end that is known, one in all for work inside one component."""
    how, detail = "slow" if slow else "failed", f"{outcome} {re.sub(r'^[a-z]+://[^/]+', '', operation)}".strip()
    if caller == callee:
        return [Alert(caller, f"{how}_self:{detail}")] if caller else []
    ends = ((caller, "out"), (callee, "in"))
    return [Alert(node, f"{how}_{role}:{detail}") for node, role in ends if node]


def log_alert(node: str, template: str) -> Alert:
    """A rare log line; a template that is named after its component loses that name."""
    return Alert(node, f"log:{template.removeprefix(node).lstrip('-_ ')}")


def from_metrics(points: pd.DataFrame, since: pd.Timestamp) -> Iterator[Alert]:
    """Alerts of one incident's points (instance_id, metric_name, time, value): from `since` on against before.

    A metric's spread is the median absolute deviation of its normal points (times 1.4826), and at least a share of
    its normal level.
    """
    key = ["instance_id", "metric_name"]
    before = points["time"] < since
    normal = points[before].groupby(key)["value"]
    level, count = normal.median(), normal.count()
    off = (points.loc[before, "value"] - normal.transform("median")).abs()
    spread = 1.4826 * off.groupby([points.loc[before, name] for name in key]).median()
    spread = spread.clip(lower=_NOISE * level.abs() + _TINY)
    now = points[~before].groupby(key)["value"].agg(["min", "max"])
    now = now[now.index.isin(count.index[count >= LEAST_NORMAL])]
    for way, column, sign in (("up", "max", 1), ("down", "min", -1)):
        z = sign * (now[column] - level.reindex(now.index)) / spread.reindex(now.index)
        far = z[z >= LEVELS[0]].rename("z").reset_index()
        for node, metric, value in zip(far["instance_id"], far["metric_name"], far["z"], strict=True):
            yield from [metric_alert(node, metric, way)] * sum(value >= level for level in LEVELS)


def from_logs(logs: pd.DataFrame, since: pd.Timestamp) -> Iterator[Alert]:
    """Templates that a component did not log before `since`, and frequent ones that it logs no more.

    Nothing is said of a component that logged nothing before, or nothing since.
    """
    text = logs["body"].str.replace(r"[0-9a-f]{8,}|\d{4,}", "#", regex=True).str.slice(0, TEMPLATE)
    lines = pd.DataFrame({"node": logs["instance_id"], "template": text, "new": logs["time"] >= since})
    counts = lines.groupby(["node", "template", "new"]).size().unstack("new", fill_value=0)
    counts = counts.reindex(columns=[False, True], fill_value=0)
    counts = counts[(counts.groupby("node").transform("sum") > 0).all(axis=1)]
    for node, template in counts.index[counts[False] == 0]:
        yield log_alert(str(node), str(template))
    for node, template in counts.index[(counts[True] == 0) & (counts[False] >= FREQUENT)]:
        yield Alert(str(node), f"log_gone:{template}")


def from_spans(calls: pd.DataFrame, since: pd.Timestamp) -> Iterator[Alert]:
    """Calls (caller, callee, name, time, duration_ns, status_code) that fail, or are slower than before `since`."""
    key = ["caller", "callee", "name"]
    now = calls[calls["time"] >= since]
    before = calls[calls["time"] < since].groupby(key)["duration_ns"].agg(["median", "size"])
    normal = before.loc[before["size"] >= LEAST_NORMAL, "median"]
    ratio = (now.groupby(key)["duration_ns"].median() / normal).dropna()
    slow = ratio[ratio >= SLOWER[0]].rename("ratio").reset_index()
    for caller, callee, name, value in zip(slow["caller"], slow["callee"], slow["name"], slow["ratio"], strict=True):
        yield from call_alerts(caller, callee, name, slow=True) * sum(value >= level for level in SLOWER)
    failed = now[now["status_code"].eq("ERROR")][key].drop_duplicates()
    for caller, callee, name in zip(failed["caller"], failed["callee"], failed["name"], strict=True):
        yield from call_alerts(caller, callee, name, slow=False)


def calls(spans: pd.DataFrame) -> pd.DataFrame:
    """Spans with the component of their parent: `caller` (empty at the root of a trace) and `callee`."""
    owner = spans.drop_duplicates("span_id").set_index("span_id")["instance_id"]
    return spans.assign(caller=spans["parent_span_id"].map(owner).fillna(""), callee=spans["instance_id"])
