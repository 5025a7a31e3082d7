"""Between Arrow and pandas: what a transform is given, and what it gives back."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

from features.rates import per_second
from features.schema import TIME
from features.view import View
from infra.errors import DataError

_TYPES: dict[type, pa.DataType] = {
    str: pa.string(),
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    list[float]: pa.list_(pa.float64()),
    list[str]: pa.list_(pa.string()),
}


def schema(view: View) -> pa.Schema:
    """`dataset`, `time`, then the columns of the view in their order."""
    columns = [(name, _TYPES[kind]) for name, (kind, _) in view.columns.kinds().items()]
    return pa.schema([("dataset", pa.string()), ("time", TIME), *columns])


def conform(view: View, frame: pd.DataFrame) -> pa.Table:
    """What a transform gave, with exactly the columns and types of its view; NaN becomes null.

    Raises DataError naming the view and column that does not fit.
    """
    expected = schema(view)
    if set(frame.columns) != set(expected.names):
        missing, unknown = set(expected.names) - set(frame.columns), set(frame.columns) - set(expected.names)
        raise DataError(f"view {view.name}: its transform left out {sorted(missing)} and added {sorted(unknown)}")
    columns = []
    for field in expected:
        try:
            values = frame[field.name]
            if pa.types.is_list(field.type):
                values = values.astype(object)  # without rows, or with nulls only, pandas takes it for a number
            columns.append(pa.array(values, type=field.type, from_pandas=True))
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise DataError(f"view {view.name}, column {field.name}: {error}; expected {field.type}") from None
    return pa.table(columns, schema=expected)


def seen(name: str, rows: pa.Table) -> pd.DataFrame:
    """Rows of canonical table `name` as every transform sees them: without `attributes`, live counters as rates."""
    frame = rows.drop_columns(["attributes"] if "attributes" in rows.column_names else []).to_pandas()
    return per_second(frame) if name == "metrics" else frame
