"""The gate: each limit of a column is found broken, by name and row, and nothing is lost."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from features import build, expectations, schema, table
from infra.errors import DataError
from tests.unit.features import world
from tests.unit.features.world import LOADS

NOW = world.BEGIN + timedelta(days=1)


@pytest.fixture(scope="module")
def good() -> pd.DataFrame:
    tables = {"metrics": schema.conform("metrics", world.metrics()), "events": schema.conform("events", world.moves())}
    return table.conform(LOADS, LOADS.transform(build.select(tables, LOADS))).to_pandas()


def test_good_rows_pass_and_leave_a_page_that_loads_nothing_from_elsewhere(home: Path, good: pd.DataFrame) -> None:
    expectations.check(LOADS, table.conform(LOADS, good), NOW)
    page, index = ((home / "docs" / name).read_text() for name in ("loads.html", "index.html"))
    assert "cpu" in page and 'href="loads.html"' in index and ">passed<" in index
    assert not re.search(r"(?:src|href)\s*=\s*[\"']https?:[^>]*\.(?:js|css|png)|url\(['\"]?https?:", page)
    assert not (home / "quarantine").exists()


@pytest.mark.parametrize(
    ("column", "value", "expectation"),
    [
        ("host", None, "expect_column_values_to_not_be_null(column=host)"),
        ("host", "", "expect_column_value_lengths_to_be_between(column=host, min_value=1)"),
        ("cpu", 1.5, "expect_column_values_to_be_between(column=cpu"),
        ("cpu", float("inf"), "expect_column_values_to_be_between(column=cpu"),
        ("cpu", None, "expect_column_values_to_not_be_null(column=cpu)"),
        ("rank", 0, "expect_column_values_to_be_between(column=rank, min_value=1"),
        ("recent", [0.1] * 4, "expect_column_values_to_be_between(column=length(recent)"),
        ("recent", [], "expect_column_values_to_be_between(column=length(recent)"),
        ("recent", [0.1, float("nan")], "expect_column_values_to_be_between(column=non_finite(recent)"),
        ("recent", [0.1, float("inf")], "expect_column_values_to_be_between(column=non_finite(recent)"),
        ("recent", None, "expect_column_values_to_not_be_null(column=recent)"),
        ("time", pd.Timestamp(NOW + timedelta(minutes=5)), "expect_column_values_to_be_between(column=time"),
        ("dataset", None, "expect_column_values_to_not_be_null(column=dataset)"),
    ],
)
def test_a_broken_limit_is_named_with_its_row(
    home: Path, good: pd.DataFrame, column: str, value: Any, expectation: str
) -> None:
    bad = good.copy()
    bad[column] = [value if row == 7 else old for row, old in enumerate(good[column])]
    with pytest.raises(DataError, match=re.escape(expectation)) as caught:
        expectations.check(LOADS, table.conform(LOADS, bad), NOW)
    assert "first rows: 7: {" in str(caught.value)
    kept = pq.read_table(next((home / "quarantine" / "loads").glob("*.parquet")))
    assert len(kept) == 1 and expectation in " ".join(kept["failed"][0].as_py())


def test_one_entity_has_one_row_at_a_time(home: Path, good: pd.DataFrame) -> None:
    twice = pd.concat([good, good.iloc[[3]]], ignore_index=True)
    with pytest.raises(DataError, match="expect_compound_columns_to_be_unique") as caught:
        expectations.check(LOADS, table.conform(LOADS, twice), NOW)
    assert "2 rows are kept" in str(caught.value)


def test_no_rows_are_no_feature_table(home: Path, good: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="expect_table_row_count_to_be_between"):
        expectations.check(LOADS, table.conform(LOADS, good.iloc[:0]), NOW)
