"""Examples are valid rows."""

from __future__ import annotations

from pydantic import ConfigDict, field_validator

from features.view import Columns, column
from serving.examples import example

from .conftest import Reading


def test_the_middle_of_the_limits() -> None:
    found = example(Reading)
    assert found == {
        "time": "2026-01-01T00:00:00Z",
        "fan": "a",
        "speed": 10_000.0,
        "starts": 1,
        "noise": [1.0, 1.0],
        "warm": False,
    }


def test_limits_on_one_side_and_defaults() -> None:
    class Odd(Columns):
        below: float = column("", lt=-5)
        above: int = column("", gt=7)
        given: str = column("", default="x")

    assert example(Odd) == {"time": "2026-01-01T00:00:00Z", "below": -6.0, "above": 8, "given": "x"}


def test_a_row_with_rules_of_its_own_has_none() -> None:
    class Picky(Columns):
        name: str = column("")

        @field_validator("name")
        @classmethod
        def _known(cls, value: str) -> str:
            if value != "known":
                raise ValueError("unknown")
            return value

    assert example(Picky) is None


def test_the_rows_own_example_comes_first() -> None:
    class Own(Columns):
        model_config = ConfigDict(json_schema_extra={"examples": [{"time": "2026-02-02T00:00:00Z", "name": "known"}]})
        name: str = column("")

    assert example(Own) == {"time": "2026-02-02T00:00:00Z", "name": "known"}
