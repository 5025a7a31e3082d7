"""Spark moves rows and nothing else: what it makes is what `features.build` makes, and only when something changed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from features import build, jobs, lake, schema, table
from infra.errors import DataError
from tests.unit.features import world
from tests.unit.features.world import LOADS, OUTCOMES


def _fill(*names: str) -> None:
    for name in names:
        lake.append("metrics", world.metrics(name), dataset=name)
        lake.append("metrics", world.metrics(name, name="noise"), dataset=name)
        lake.append("events", world.moves(name), dataset=name)


def _sorted(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("host", "ascending"), ("time", "ascending")])


def test_spark_makes_what_pandas_makes(home: Path) -> None:
    _fill("one", "two")
    assert jobs.run(LOADS) == ["one", "two"]
    tables = {name: lake.read(name) for name in LOADS.reads}
    expected = table.conform(LOADS, LOADS.transform(build.select(tables, LOADS)))
    made = jobs.read(LOADS, jobs.candidate(LOADS))
    assert len(made) == 48
    assert _sorted(made).equals(_sorted(expected))


def test_only_what_changed_is_made_again(home: Path) -> None:
    _fill("one", "two")
    waiting = jobs.run(LOADS)
    assert jobs.run(LOADS) == waiting  # still waits for the gate
    jobs.publish(LOADS, waiting)
    assert jobs.run(LOADS) == []
    stamps = {part.name: part.stat().st_mtime_ns for part in jobs.published(LOADS).glob("dataset=*")}
    lake.append("metrics", world.metrics("two", hosts=6).slice(24), dataset="two")
    assert jobs.run(LOADS) == ["two"]
    assert len(jobs.read(LOADS)) == 48  # what waits is not served
    jobs.publish(LOADS, ["two"])
    assert len(jobs.read(LOADS)) == 60
    assert len(jobs.read(LOADS, datasets=["one"])) == 24
    now = {part.name: part.stat().st_mtime_ns for part in jobs.published(LOADS).glob("dataset=*")}
    assert now["dataset=one"] == stamps["dataset=one"] and now["dataset=two"] != stamps["dataset=two"]


def test_a_set_without_rows_of_one_of_the_tables_is_made_all_the_same(home: Path) -> None:
    lake.append("metrics", world.metrics("one"), dataset="one")
    assert jobs.run(LOADS) == ["one"]
    made = jobs.read(LOADS, jobs.candidate(LOADS))
    assert len(made) == 24 and made["room"].null_count == 24


def test_the_mark_of_a_view_holds_its_code_and_what_it_reads(home: Path) -> None:
    _fill("one")
    assert jobs.fingerprint(LOADS, "one") != jobs.fingerprint(OUTCOMES, "one")
    assert jobs.fingerprint(LOADS, "one") == jobs.fingerprint(LOADS, "one")


def test_an_empty_lake_and_a_missing_table_are_named(home: Path) -> None:
    with pytest.raises(DataError, match="the lake holds no rows of metrics, events"):
        jobs.run(LOADS)
    with pytest.raises(DataError, match="no feature table of view loads"):
        jobs.read(LOADS)


def test_conform_names_the_column_that_does_not_fit() -> None:
    tables = {"metrics": world.metrics(), "events": world.moves()}
    frame = LOADS.transform(build.select({k: schema.conform(k, v) for k, v in tables.items()}, LOADS))
    with pytest.raises(DataError, match=r"left out \['cpu'\]"):
        table.conform(LOADS, frame.drop(columns="cpu"))
    with pytest.raises(DataError, match="column rank: .*expected int64"):
        table.conform(LOADS, frame.assign(rank="first"))
