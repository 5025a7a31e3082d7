"""What sources tell → CloudEvents, rows of the canonical table `events`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa

from features.schema import TABLES
from features.source import Batch


class Event(NamedTuple):
    """One event; `data` as JSON can hold it, `id` unique in the data set."""

    time: datetime
    id: str
    type: str
    subject: str
    data: Mapping[str, Any]


def about(subject: str, time: datetime, kind: str, data: Mapping[str, Any]) -> Event:
    """The only event of its kind about `subject`."""
    return Event(time, f"{subject}-{word(kind)}", kind, subject, data)


def word(kind: str) -> str:
    """The last word of an event's type."""
    return kind.rpartition(".")[2]


def batch(dataset: str, events: Iterable[Event]) -> Batch:
    """Events of one data set, told one by one."""
    columns = list(zip(*events, strict=True)) or [()] * len(Event._fields)
    return Batch("events", table(dataset, *columns))


def table(
    dataset: str,
    time: Sequence[datetime] | pa.Array,
    ids: Sequence[str],
    kind: str | Sequence[str],
    subject: str | Sequence[str] | pa.Array,
    data: Iterable[Mapping[str, Any]],
    source: str | Sequence[str] | None = None,
) -> pa.Table:
    """Events of one data set, told by column; what is one word is the same of all. Without `source`: the data set."""
    given = {
        "dataset": dataset,
        "time": time,
        "id": ids,
        "source": source or f"urn:dataset:{dataset}",
        "type": kind,
        "subject": subject,
        "data": [json.dumps(each) for each in data],
    }
    schema = TABLES["events"]
    columns = [_column(given[name], schema.field(name).type, len(ids)) for name in schema.names]
    return pa.table(columns, schema=schema)


def _column(values: Any, kind: pa.DataType, count: int) -> pa.Array:
    if isinstance(values, str):
        return pa.repeat(pa.scalar(values, kind), count)
    return values if isinstance(values, pa.Array) else pa.array(values, kind)
