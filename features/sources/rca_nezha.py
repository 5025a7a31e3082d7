"""Injected faults with raw metrics, traces and logs (Yu et al., "Nezha", ESEC/FSE 2023): OnlineBoutique, TrainTicket.

Layout below a folder: `<date>-fault_list.json` (hour → faults with inject_time, inject_pod, inject_type), and files
`<date>/metric/<pod>_metric.csv`, `<date>/metric/dependency.csv`, `<date>/trace/HH_MM_trace.csv` and
`<date>/log/HH_MM_log.csv`, unpacked or inside `*.tar.gz`; `<date>_faultfree_HH_MM_{trace,log}.csv` at the end of a name
holds a minute without a fault. All but the list and the metrics may be absent.

Of each fault the source gives the metrics from `NORMAL` before the injection to `LASTS` after it, without what another
fault may have touched; of traces and logs the minutes of the fault, and fault-free minutes of the day that lie before
(a later one was not known yet). Traces are sampled whole, one in `SAMPLED`, by a hash of their id.
`inject_timestamp` is hours wrong for some: never read.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa

from features.schema import TABLES
from features.source import Batch, Source
from features.sources import _incidents, _nezha
from features.sources._incidents import Case
from features.sources._nezha import LASTS, METRIC, Fault

NAME = "rca_nezha"
NORMAL, MINUTE = timedelta(minutes=30), timedelta(minutes=1)
SAMPLED = 4
_EDGES = re.compile(r"(\d{4}-\d\d-\d\d)/metric/dependency\.csv$")
_MINUTE = re.compile(r"(\d{4}-\d\d-\d\d)(?:/trace/|/log/|_faultfree_)(\d\d)_(\d\d)_(trace|log)\.csv$")
_LINE = re.compile(
    r"\d\d:\d\d:\d\d\.\d+ +(\w+ +\S+) TraceID: \S* SpanID: \S* ?(.*?)(?:\\n)?\""
)  # level and place; text


class RcaNezha(Source):
    """Reads days of both applications."""

    def pull(self, where: str) -> Iterator[Batch]:
        """Events, metrics, spans and logs, file by file. Raises DataError naming the file and column."""
        days = _nezha.days(Path(where), NAME)
        calls: dict[str, list[tuple[str, str]]] = {date: [] for date in days}
        pods: dict[str, list[str]] = {date: [] for date in days}
        yield from _incidents.nothing("metrics", "logs", "spans")
        for name, stream in _nezha.files(Path(where)):
            if (found := METRIC.search(name)) and found[1] in days:
                pods[found[1]].append(found[2])
                yield from _metrics(days[found[1]], found[2], _nezha.table(name, stream, ["TimeStamp"]))
            elif (found := _EDGES.search(name)) and found[1] in days:
                table = _nezha.table(name, stream, ["Source", "Target"])
                calls[found[1]] = list(zip(table["Source"], table["Target"], strict=True))
            elif (found := _MINUTE.search(name)) and found[1] in days:
                begin = datetime.fromisoformat(f"{found[1]}T{found[2]}:{found[3]}").replace(tzinfo=UTC)
                wanted = _belongs(days[found[1]], begin, "faultfree" in name)
                if wanted:
                    yield from (_spans if found[4] == "trace" else _logs)(wanted, name, stream)
        for date, faults in days.items():
            yield _incidents.batch(NAME, (_case(fault, pods[date], calls[date]) for fault in faults))


def _case(fault: Fault, pods: list[str], calls: list[tuple[str, str]]) -> Case:
    """Services of the dependency file are named without the suffix of their pod."""
    of_service = {_nezha.service(pod): n for n, pod in enumerate(pods)}
    known = [(of_service[a], of_service[b]) for a, b in calls if a in of_service and b in of_service]
    system = "train_ticket" if any(pod.startswith("ts-") for pod in pods) else "online_boutique"
    data = {"system": system, "since": fault.time.isoformat(), "nodes": pods, "calls": known}
    return Case(fault.incident, fault.time + LASTS, data, {"root_cause": fault.pod, "fault": fault.kind, "part": None})


def _metrics(faults: list[Fault], pod: str, table: pd.DataFrame) -> Iterator[Batch]:
    values = _nezha.values(table)
    times = values["time"]
    touched = pd.Series(False, times.index)
    for fault in faults:
        during = times.between(fault.time, fault.time + LASTS)
        normal = times.between(fault.time - NORMAL, fault.time - MINUTE) & ~touched
        yield _batch("metrics", _nezha.points(values[during | normal]).assign(instance_id=pod), fault)
        touched |= times.between(fault.time - MINUTE, fault.time + LASTS + MINUTE)


def _belongs(faults: list[Fault], begin: datetime, free: bool) -> list[Fault]:
    """The faults that the minute from `begin` on tells something of."""
    if free:
        return [fault for fault in faults if begin + MINUTE <= fault.time]
    return [fault for fault in faults if fault.time - MINUTE < begin <= fault.time + LASTS - MINUTE]


def _spans(faults: list[Fault], name: str, stream: IO[bytes]) -> Iterator[Batch]:
    needed = ["TraceID", "SpanID", "ParentID", "PodName", "OperationName", "StartTimeUnixNano", "Duration"]
    table = _nezha.table(name, stream, needed)
    ids = table["TraceID"].astype(str)
    kept = {each for each in ids.unique() if zlib.crc32(each.encode()) % SAMPLED == 0}
    table = table[ids.isin(kept)]
    rows = pd.DataFrame(
        {
            "time": pd.to_datetime(table["StartTimeUnixNano"], unit="ns", utc=True),
            "duration_ns": table["Duration"].astype("int64") * 1000,
            "trace_id": table["TraceID"],
            "span_id": table["SpanID"],
            "parent_span_id": table["ParentID"].where(table["ParentID"] != "root"),
            "name": table["OperationName"],
            "instance_id": table["PodName"],
        }
    )
    for fault in faults:
        yield _batch("spans", rows[rows["time"] <= fault.time + LASTS], fault)


def _logs(faults: list[Fault], name: str, stream: IO[bytes]) -> Iterator[Batch]:
    # some lines hold quotes that the publisher did not escape
    table = _nezha.table(name, stream, ["TimeUnixNano", "PodName", "Log"], damaged="skip")
    rows = pd.DataFrame(
        {
            "time": pd.to_datetime(table["TimeUnixNano"], unit="ns", utc=True),
            "body": table["Log"].str.extract(_LINE).agg(" ".join, axis=1),
            "instance_id": table["PodName"],
        }
    ).dropna()
    for fault in faults:
        yield _batch("logs", rows[rows["time"] <= fault.time + LASTS], fault)


def _batch(table: str, rows: pd.DataFrame, fault: Fault) -> Batch:
    rows = rows.assign(dataset=NAME, service_name=fault.incident)
    fields = [TABLES[table].field(name) for name in rows]
    rows["time"] = rows["time"].dt.floor("us")
    return Batch(table, pa.Table.from_pandas(rows, pa.schema(fields), preserve_index=False))
