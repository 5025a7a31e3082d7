"""The canonical tables of the lake; columns follow open standards so that any system fills the same tables.

| table   | standard                                        | one row is                         |
|---------|-------------------------------------------------|------------------------------------|
| metrics | OpenTelemetry metrics data model (1.x)          | one data point of one time series  |
| logs    | OpenTelemetry logs data model                   | one log record                     |
| spans   | OpenTelemetry trace data model                  | one span                           |
| events  | CloudEvents 1.0                                 | one thing that happened            |
| cost    | FinOps FOCUS 1.0                                | one charge                         |
| network | OCSF 1.x Network and HTTP Activity (4001, 4002) | one connection, request or session |

Dots of the standards' attribute names become underscores (`service.name` → `service_name`). All times are UTC with
microseconds. `dataset` is the lake's partition: the name of the source's set, or `live`.
"""

from __future__ import annotations

import pyarrow as pa

from infra.errors import DataError, nearest

TIME = pa.timestamp("us", tz="UTC")
_WORD = pa.string()
_MAP = pa.map_(pa.string(), pa.string())


def _table(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field("dataset", _WORD), *(pa.field(name, kind) for name, kind in columns.items())])


TABLES: dict[str, pa.Schema] = {
    "metrics": _table(
        time=TIME,  # TimeUnixNano
        service_name=_WORD,  # resource service.name: the application, fleet or cluster
        instance_id=_WORD,  # resource service.instance.id: the host, drive or process
        metric_name=_WORD,
        unit=_WORD,  # UCUM, as OpenTelemetry asks ("s", "By", "Cel", "1")
        value=pa.float64(),
        attributes=_MAP,
    ),
    "logs": _table(
        time=TIME,
        service_name=_WORD,
        instance_id=_WORD,
        severity_number=pa.int32(),
        severity_text=_WORD,
        body=_WORD,
        trace_id=_WORD,
        span_id=_WORD,
        attributes=_MAP,
    ),
    "spans": _table(
        time=TIME,  # StartTimeUnixNano
        duration_ns=pa.int64(),
        trace_id=_WORD,
        span_id=_WORD,
        parent_span_id=_WORD,
        name=_WORD,
        kind=_WORD,
        status_code=_WORD,
        service_name=_WORD,
        instance_id=_WORD,
        attributes=_MAP,
    ),
    "events": _table(
        time=TIME,
        id=_WORD,
        source=_WORD,  # URI-reference of the producer
        type=_WORD,  # reverse-DNS, for example io.iacdharma.drive.failed
        subject=_WORD,  # the entity: a drive, a customer, a service
        data=_WORD,  # JSON object
    ),
    "cost": _table(
        time=TIME,  # ChargePeriodStart
        charge_period_end=TIME,
        provider_name=_WORD,
        region_id=_WORD,
        service_name=_WORD,
        resource_id=_WORD,
        sku_id=_WORD,
        charge_category=_WORD,
        pricing_category=_WORD,
        consumed_quantity=pa.float64(),
        consumed_unit=_WORD,
        list_unit_price=pa.float64(),
        billed_cost=pa.float64(),
        effective_cost=pa.float64(),
        billing_currency=_WORD,
    ),
    "network": _table(
        time=TIME,
        metadata_uid=_WORD,  # metadata.uid: the record's own identity
        class_uid=pa.int32(),
        activity_id=pa.int32(),
        src_endpoint_ip=_WORD,
        src_endpoint_port=pa.int32(),
        dst_endpoint_ip=_WORD,
        dst_endpoint_port=pa.int32(),
        protocol_name=_WORD,
        duration_ms=pa.int64(),
        bytes_in=pa.int64(),
        bytes_out=pa.int64(),
        packets_in=pa.int64(),
        packets_out=pa.int64(),
        unmapped=_WORD,  # JSON object: what OCSF has no field for
    ),
}


def conform(table: str, rows: pa.Table) -> pa.Table:
    """Return `rows` with exactly the columns of canonical `table`, in order; absent columns are null.

    Raises DataError for a table or column that does not exist, and for values that do not fit the column's type.
    """
    if table not in TABLES:
        raise DataError(f"no canonical table {table!r}{nearest(table, TABLES)}; tables: {', '.join(TABLES)}")
    schema = TABLES[table]
    if unknown := [name for name in rows.column_names if name not in schema.names]:
        raise DataError(f"table {table}: unknown columns {unknown}; known: {', '.join(schema.names)}")
    columns = []
    for field in schema:
        if field.name not in rows.column_names:
            columns.append(pa.nulls(len(rows), field.type))
            continue
        try:
            columns.append(rows.column(field.name).cast(field.type))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"table {table}, column {field.name}: {error}; expected {field.type}") from None
    return pa.table(columns, schema=schema)
