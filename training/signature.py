"""A model's Row and Answer as the columns of an MLflow signature, and frames as rows: pure translation, no MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

Json = dict[str, Any]
_TYPES = {"number": "double", "integer": "long", "string": "string", "boolean": "boolean"}


def columns(kind: type[BaseModel]) -> list[Json]:
    """The fields of `kind` as MLflow's JSON column specifications; times are ISO 8601 texts, arrays are arrays.

    A nullable integer is a double there: MLflow refuses integer columns that pandas holds as floats for their nulls.
    """
    schema = kind.model_json_schema(mode="validation")
    definitions = schema.get("$defs", {})
    return [
        {"name": name, **_column(value, definitions, name in schema.get("required", ()))}
        for name, value in schema["properties"].items()
    ]


def example(row: type[BaseModel], frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of `frame` as a caller would send them: the Row's columns, times as text, arrays as lists."""
    rows = [row.model_validate(values).model_dump(mode="json") for values in records(frame[list(row.model_fields)])]
    return pd.DataFrame(rows, columns=list(row.model_fields))


def records(frame: pd.DataFrame) -> list[Json]:
    """The rows of `frame` as plain values: arrays become lists, missing values None."""
    return [{str(name): plain(value) for name, value in values.items()} for values in frame.to_dict("records")]


def plain(value: Any) -> Any:
    """`value` without numpy and pandas: arrays become lists, missing values None."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return np.asarray(value).tolist()
    if isinstance(value, Mapping):
        return value
    return None if pd.isna(value) else value.item() if isinstance(value, np.generic) else value


def _column(schema: Json, definitions: Json, required: bool) -> Json:
    kind, nullable = _type(schema, definitions)
    if nullable and kind == {"type": "long"}:
        kind = {"type": "double"}
    return {**kind, "required": required and not nullable}


def _type(schema: Json, definitions: Json) -> tuple[Json, bool]:
    """The MLflow type of a JSON schema, and whether it may be null."""
    if "$ref" in schema:
        return _type(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        return _union(schema["anyOf"], definitions)
    kind = schema.get("type")
    if kind == "array":
        return {"type": "array", "items": _type(schema.get("items", {}), definitions)[0]}, False
    if kind == "object" and "properties" in schema:
        required = schema.get("required", ())
        inner = {name: _column(value, definitions, name in required) for name, value in schema["properties"].items()}
        return {"type": "object", "properties": inner}, False
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return {"type": "map", "values": _type(schema["additionalProperties"], definitions)[0]}, False
    return {"type": _TYPES.get(str(kind), "any")}, False


def _union(choices: Iterable[Json], definitions: Json) -> tuple[Json, bool]:
    choices = list(choices)
    kinds = [_type(choice, definitions)[0] for choice in choices if choice.get("type") != "null"]
    return (kinds[0] if len(kinds) == 1 else {"type": "any"}), len(kinds) < len(choices)
