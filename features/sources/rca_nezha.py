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

import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Literal

import pandas as pd
import pyarrow as pa

from features.schema import TABLES
from features.source import Batch, Source
from features.sources import _incidents
from features.sources._incidents import Case
from infra.errors import DataError

NAME = "rca_nezha"
NORMAL, LASTS, MINUTE = timedelta(minutes=30), timedelta(minutes=3), timedelta(minutes=1)
SAMPLED = 4
_METRIC = re.compile(r"(\d{4}-\d\d-\d\d)/metric/(.+)_metric\.csv$")
_EDGES = re.compile(r"(\d{4}-\d\d-\d\d)/metric/dependency\.csv$")
_MINUTE = re.compile(r"(\d{4}-\d\d-\d\d)(?:/trace/|/log/|_faultfree_)(\d\d)_(\d\d)_(trace|log)\.csv$")
_NO_METRIC = re.compile(r"^(Time|TimeStamp|PodName|Node.*|Syscall.*)$")  # of the host, or bursts without a level
_LINE = re.compile(
    r"\d\d:\d\d:\d\d\.\d+ +(\w+ +\S+) TraceID: \S* SpanID: \S* ?(.*?)(?:\\n)?\""
)  # level and place; text
_UNITS = {"m": "m{cpu}", "%": "%", "Mi": "MiBy", "s": "s", "Ops": "{operation}/s"}


@dataclass(frozen=True)
class Fault:
    """One injected fault."""

    incident: str
    time: datetime
    pod: str
    kind: str


class RcaNezha(Source):
    """Reads days of both applications."""

    def pull(self, where: str) -> Iterator[Batch]:
        """Events, metrics, spans and logs, file by file. Raises DataError naming the file and column."""
        lists = sorted(Path(where).rglob("*-fault_list.json"))
        if not lists:
            raise DataError(f"{where}: no <date>-fault_list.json of {NAME} in it")
        days = {path.name[:10]: _faults(path) for path in lists}
        calls: dict[str, list[tuple[str, str]]] = {date: [] for date in days}
        pods: dict[str, list[str]] = {date: [] for date in days}
        yield from _incidents.nothing("metrics", "logs", "spans")
        for name, stream in _files(Path(where)):
            if (found := _METRIC.search(name)) and found[1] in days:
                pods[found[1]].append(found[2])
                yield from _metrics(days[found[1]], found[2], _table(name, stream, ["TimeStamp"]))
            elif (found := _EDGES.search(name)) and found[1] in days:
                table = _table(name, stream, ["Source", "Target"])
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
    of_service = {pod.rsplit("-", 2)[0]: n for n, pod in enumerate(pods)}
    known = [(of_service[a], of_service[b]) for a, b in calls if a in of_service and b in of_service]
    system = "train_ticket" if any(pod.startswith("ts-") for pod in pods) else "online_boutique"
    data = {"system": system, "since": fault.time.isoformat(), "nodes": pods, "calls": known}
    return Case(fault.incident, fault.time + LASTS, data, {"root_cause": fault.pod, "fault": fault.kind, "part": None})


def _faults(path: Path) -> list[Fault]:
    try:
        listed = [fault for faults in json.loads(path.read_text()).values() for fault in faults]
        times = [datetime.fromisoformat(fault["inject_time"]).replace(tzinfo=UTC) for fault in listed]
        found = [
            Fault(f"nezha-{at:%Y%m%dT%H%M%S}", at, fault["inject_pod"], fault["inject_type"])
            for at, fault in zip(times, listed, strict=True)
        ]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path} is no list of faults with inject_time, inject_pod and inject_type: {error!r}"
        ) from None
    return sorted(found, key=lambda fault: fault.time)


def _files(folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Every file below `folder`, also of those inside archives, with its path; one is open at a time."""
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".tar.gz"):
            try:
                with tarfile.open(path, "r:gz") as archive:
                    for member in archive:
                        if (stream := archive.extractfile(member)) is not None:
                            yield member.name, stream
            except (tarfile.TarError, EOFError, OSError) as error:
                raise DataError(f"{path} is not a readable archive: {error}") from None
        elif path.suffix == ".csv":
            with path.open("rb") as stream:
                yield path.as_posix(), stream


def _table(
    name: str, stream: IO[bytes], needed: list[str], damaged: Literal["error", "skip"] = "error"
) -> pd.DataFrame:
    try:
        table = pd.read_csv(stream, on_bad_lines=damaged)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{name} is not a readable CSV file: {error}") from None
    if lacking := [column for column in needed if column not in table]:
        raise DataError(f"{name}: missing columns {lacking}; it has {', '.join(table.columns)}")
    return table


def _metrics(faults: list[Fault], pod: str, table: pd.DataFrame) -> Iterator[Batch]:
    times = pd.to_datetime(table["TimeStamp"], unit="s", utc=True)
    names = [name for name in table if not _NO_METRIC.match(str(name))]
    values = table[names].apply(pd.to_numeric, errors="coerce").assign(time=times)
    touched = pd.Series(False, times.index)
    for fault in faults:
        during = times.between(fault.time, fault.time + LASTS)
        normal = times.between(fault.time - NORMAL, fault.time - MINUTE) & ~touched
        rows = values[during | normal].melt("time", var_name="metric_name", value_name="value").dropna()
        rows["unit"] = rows["metric_name"].str.extract(r"\((.*)\)")[0].map(_UNITS)
        yield _batch("metrics", rows.assign(instance_id=pod), fault)
        touched |= times.between(fault.time - MINUTE, fault.time + LASTS + MINUTE)


def _belongs(faults: list[Fault], begin: datetime, free: bool) -> list[Fault]:
    """The faults that the minute from `begin` on tells something of."""
    if free:
        return [fault for fault in faults if begin + MINUTE <= fault.time]
    return [fault for fault in faults if fault.time - MINUTE < begin <= fault.time + LASTS - MINUTE]


def _spans(faults: list[Fault], name: str, stream: IO[bytes]) -> Iterator[Batch]:
    needed = ["TraceID", "SpanID", "ParentID", "PodName", "OperationName", "StartTimeUnixNano", "Duration"]
    table = _table(name, stream, needed)
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
    table = _table(name, stream, ["TimeUnixNano", "PodName", "Log"], damaged="skip")
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
