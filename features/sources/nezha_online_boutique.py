"""Ten services of one system under injected faults, with what users felt (Yu et al., "Nezha", ESEC/FSE 2023).

Layout below a folder: `<date>-fault_list.json`, and of that day `<date>/metric/<pod>_metric.csv` and, where there is
one, `<date>/metric/front_service.csv`, unpacked or inside `*.tar.gz` (the metrics of `features.sources.rca_nezha`).

A service is one instance, because it has one pod, whose name changes with every restart. From the first fault to the
end of the last the day counts as reviewed, and the service that a fault was injected into is anomalous for `LASTS`.
Both are our reading: the publisher gives no ends. What users felt is told of the service that they call.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features.schema import TABLES
from features.source import Batch, Source
from features.sources import _events, _nezha
from features.sources._events import Event
from features.sources._nezha import LASTS, METRIC, Fault
from features.transforms.windows import ANOMALY, EXPERIENCED, REVIEWED

NAME = "nezha_online_boutique"
ENTRY = "frontend"  # the service that users call
_FRONT = re.compile(r"(\d{4}-\d\d-\d\d)/metric/front_service\.csv$")
Told = tuple[str, str, datetime, datetime, dict[str, float]]  # kind, service, begin, end, what else is told
_LATENCY, _SUCCESS = "LatencyP90(s)", "SuccessRate(%)"


class NezhaOnlineBoutique(Source):
    """Reads days of the application."""

    def pull(self, where: str) -> Iterator[Batch]:
        """Metrics and events. Raises DataError naming the file and column."""
        days = _nezha.days(Path(where), NAME)
        services: dict[str, list[str]] = {date: [] for date in days}
        for name, stream in _nezha.files(Path(where)):
            if (found := METRIC.search(name)) and found[1] in days:
                service = _nezha.service(found[2])
                services[found[1]].append(service)
                yield _points(service, _nezha.table(name, stream, ["TimeStamp"]))
            elif (found := _FRONT.search(name)) and found[1] in days:
                yield _felt(_nezha.table(name, stream, ["TimeStamp", _LATENCY, _SUCCESS]))
        for date, faults in days.items():
            yield _findings(faults, services[date])


def _points(service: str, table: pd.DataFrame) -> Batch:
    rows = _nezha.points(_nezha.values(table))
    rows = rows.assign(dataset=NAME, service_name=service, instance_id=service)
    fields = [TABLES["metrics"].field(name) for name in rows]
    return Batch("metrics", pa.Table.from_pandas(rows, pa.schema(fields), preserve_index=False))


def _felt(table: pd.DataFrame) -> Batch:
    """An event a minute: seconds within which nine requests of ten were answered, and the share that failed."""
    rows = pd.DataFrame({"time": _nezha.times(table), "latency": table[_LATENCY], "failed": 1 - table[_SUCCESS] / 100})
    return _batch((EXPERIENCED, ENTRY, at, at, told) for at, told in _by_time(rows.dropna()))


def _by_time(rows: pd.DataFrame) -> Iterator[tuple[datetime, dict[str, float]]]:
    for time, latency, failed in zip(rows["time"], rows["latency"], rows["failed"], strict=True):
        yield time, {"latency": float(latency), "failed": float(failed)}


def _findings(faults: list[Fault], services: list[str]) -> Batch:
    if not faults:
        return _batch(iter(()))
    begin, end = faults[0].time, max(fault.time for fault in faults) + LASTS
    told: list[Told] = [(REVIEWED, service, begin, end, {}) for service in services]
    told += [(ANOMALY, _nezha.service(fault.pod), fault.time, fault.time + LASTS, {}) for fault in faults]
    return _batch(iter(told))


def _batch(told: Iterator[Told]) -> Batch:
    return _events.batch(
        NAME,
        (
            Event(
                end,
                f"{_events.word(kind)}-{service}-{begin:%Y%m%dT%H%M%S}",
                kind,
                service,
                {"begin": begin.isoformat(), "end": end.isoformat(), **data},
            )
            for kind, service, begin, end, data in told
        ),
    )
