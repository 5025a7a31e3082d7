"""Rows and answers as MLflow's columns, and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from tests.models import tiny
from training import catalog, signature
from training.model import Answer


class Part(BaseModel):
    name: str
    share: float | None = None


class Rich(Answer):
    level: Literal["high", "low"] | None = None
    parts: list[Part] = []
    weights: dict[str, float] = {}
    count: int | None = None


def test_row_becomes_columns() -> None:
    with tiny.plugged_in() as name:
        columns = signature.columns(catalog.load(name).spec.row)
    assert columns == [
        {"name": "time", "type": "string", "required": True},
        {"name": "host", "type": "string", "required": True},
        {"name": "heat", "type": "double", "required": True},
        {"name": "errors", "type": "long", "required": True},
        {"name": "load", "type": "double", "required": False},
        {"name": "recent", "type": "array", "items": {"type": "double"}, "required": True},
    ]


def test_answer_becomes_columns() -> None:
    columns = {column.pop("name"): column for column in signature.columns(Rich)}
    assert columns["level"] == {"type": "string", "required": False}
    assert columns["count"] == {"type": "double", "required": False}  # MLflow refuses null integers
    assert columns["weights"] == {"type": "map", "values": {"type": "double"}, "required": False}
    inner = {"name": {"type": "string", "required": True}, "share": {"type": "double", "required": False}}
    assert columns["parts"] == {"type": "array", "items": {"type": "object", "properties": inner}, "required": False}


def test_mlflow_reads_the_columns() -> None:
    import json

    from mlflow.types import Schema

    for kind in (Rich, Answer):
        assert Schema.from_json(json.dumps(signature.columns(kind))).input_names()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(1.5), 1.5),
        (np.int64(2), 2),
        (float("nan"), None),
        (pd.NaT, None),
        (None, None),
        (np.array([1.0, 2.0]), [1.0, 2.0]),
        ([1, 2], [1, 2]),
        ({"a": 1}, {"a": 1}),
        ("text", "text"),
    ],
)
def test_plain_values(value: object, expected: object) -> None:
    assert signature.plain(value) == expected
    assert type(signature.plain(value)) is type(expected)


def test_example_survives_json_to_the_last_digit() -> None:
    import json

    with tiny.plugged_in() as name:
        row = catalog.load(name).spec.row
        frame = tiny.frame().head(3)
        example = signature.example(row, frame)
        sent = json.loads(json.dumps(signature.records(example)))
        rows = [row.model_validate(each) for each in sent]
    assert [each.heat for each in rows] == frame["heat"].to_list()
    assert rows[0].time == datetime(2026, 1, 1, tzinfo=UTC)
