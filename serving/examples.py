"""An example of a row, for the docs page and to warm up a model: the one its schema gives, or one made from it."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from training.model import Row

_TIME = "2026-01-01T00:00:00Z"


def example(row: type[Row]) -> dict[str, Any] | None:
    """A valid row as JSON, or None when its rules go beyond types and limits and it gives none.

    A Row gives one by `model_config = ConfigDict(json_schema_extra={"examples": [{...}]})`.
    """
    schema = row.model_json_schema()
    made = {name: _value(inner) for name, inner in schema["properties"].items()}
    values = next(iter(schema.get("examples", ())), made)
    try:
        return row.model_validate(values).model_dump(mode="json")
    except ValidationError:
        return None


def _value(schema: dict[str, Any]) -> Any:
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("default") is not None:
        return schema["default"]
    if "anyOf" in schema:  # nullable: the example shows a value
        return _value(next(option for option in schema["anyOf"] if option.get("type") != "null"))
    match schema.get("type"):
        case "string":
            return _TIME if schema.get("format") == "date-time" else "a" * max(1, schema.get("minLength", 1))
        case "array":
            return [_value(schema["items"])] * max(1, schema.get("minItems", 1))
        case "boolean":
            return False
        case kind:
            return _number(schema, kind == "integer")


def _number(schema: dict[str, Any], whole: bool) -> float:
    """The middle of the limits, or one above or below the only limit, or 1."""
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is not None and high is not None:
        middle = (low + high) / 2
    else:
        middle = low + 1 if low is not None else high - 1 if high is not None else 1
    return int(middle) if whole else float(middle)
