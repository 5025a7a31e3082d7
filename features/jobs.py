"""Spark jobs: the lake's canonical tables → feature tables in `<home>/features/<view>/dataset=<name>/`.

One job for every view: the rows that the view reads, of all its tables, are tagged by table and brought together by
entity; each Spark partition then runs the view's pure transform on all of its entities at once. Spark only moves rows,
so what it makes is what `features.build` makes.

A job writes a candidate; the gate (`features.expectations`) stands between it and `publish`. A data set is skipped
when neither its rows in the lake nor the code of the view changed since its candidate or feature table was made.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds

from features import lake, schema, table
from features.fingerprint import digest, of_code
from features.view import View
from infra.clients import spark
from infra.errors import DataError
from infra.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ROW_TIME = "row_time"  # beside a view's columns: the time as a number, by which the store finds a joined row again
_ENTITY = "_entity"
_STAMP = "_made.json"


def folder(name: str) -> Path:
    """The folder of the feature table of the view named `name`."""
    return settings().home / "features" / name


def published(view: View) -> Path:
    """The folder of the view's feature table."""
    return folder(view.name)


def candidate(view: View) -> Path:
    """The folder of what a job made and no gate has passed yet."""
    return settings().home / "features" / "_candidates" / view.name


def run(view: View, datasets: Sequence[str] | None = None) -> list[str]:
    """Make the candidate of `view` for those of `datasets` (default: all in the lake) that changed.

    Returns the data sets that now wait for the gate, from this run or one before. Raises DataError when the lake holds
    none of them. An entity must belong to one data set only.
    """
    held = {part.name.removeprefix("dataset=") for name in view.reads for part in lake.parts(name, datasets)}
    if not held:
        raise DataError(f"view {view.name}: the lake holds no rows of {', '.join(view.reads)} for {datasets or 'any'}")
    marks = {name: fingerprint(view, name) for name in sorted(held)}
    done, waiting = _made(published(view)), _made(candidate(view))
    stale = [name for name, mark in marks.items() if mark not in (done.get(name), waiting.get(name))]
    if stale:
        with lake.reading():
            _write(view, stale)
        waiting |= {name: marks[name] for name in stale}
        _stamp(candidate(view), waiting)
    return [name for name, mark in waiting.items() if mark == marks.get(name)]


def fingerprint(view: View, dataset: str) -> str:
    """Digest of all that the view's rows of `dataset` depend on."""
    inputs = [lake.fingerprint(name, [dataset]) for name in sorted(view.reads)]
    return digest(
        of_code(view.transform), of_code(view.columns), of_code(table), ROW_TIME, repr((view.reads, view.keys)), *inputs
    )


def publish(view: View, names: Sequence[str]) -> None:
    """Put the candidate's data sets `names` in the place of what the feature table has of them."""
    marks = _made(candidate(view))
    done = _made(published(view))
    for name in names:
        part = published(view) / f"dataset={name}"
        part.parent.mkdir(parents=True, exist_ok=True)
        _stamp(published(view), {key: mark for key, mark in done.items() if key != name})  # a crash means: again
        shutil.rmtree(part, ignore_errors=True)
        made = candidate(view) / f"dataset={name}"
        if made.exists():
            made.rename(part)
        done[name] = marks.pop(name)
        _stamp(published(view), done)
        _stamp(candidate(view), marks)


def read(view: View, where: Path | None = None, datasets: Sequence[str] | None = None) -> pa.Table:
    """The rows of the feature table (or of the candidate, `where`). Raises DataError when there is none."""
    where = where or published(view)
    if not _made(where):
        raise DataError(f"there is no feature table of view {view.name} in {where}; run its job first")
    hive = ds.partitioning(pa.schema([("dataset", pa.string())]), flavor="hive")
    rows = ds.dataset(where, schema=table.schema(view), format="parquet", partitioning=hive)
    return rows.to_table(filter=None if datasets is None else ds.field("dataset").isin(list(datasets)))


def _write(view: View, datasets: Sequence[str]) -> None:
    """Run Spark into a staging folder, then move each data set's rows into the candidate's folder."""
    from pyspark.sql import functions as sql
    from pyspark.sql.pandas.types import from_arrow_schema

    staging = candidate(view).with_name(f"_staging-{view.name}")
    made = _gathered(view, datasets).mapInArrow(_transform(view), from_arrow_schema(table.schema(view)))
    made = made.withColumn(ROW_TIME, sql.unix_micros("time"))
    made.write.partitionBy("dataset").mode("overwrite").parquet(str(staging))
    candidate(view).mkdir(parents=True, exist_ok=True)
    for name in datasets:
        part = f"dataset={name}"
        shutil.rmtree(candidate(view) / part, ignore_errors=True)
        if (staging / part).exists():
            (staging / part).rename(candidate(view) / part)
    shutil.rmtree(staging)


def _gathered(view: View, datasets: Sequence[str]) -> DataFrame:
    """All tables' rows under one another, each in a struct column named as its table; entities not torn apart."""
    frames = [_selected(view, name, datasets) for name in view.reads if lake.parts(name, datasets)]
    union = frames[0]
    for frame in frames[1:]:
        union = union.unionByName(frame, allowMissingColumns=True)
    return union.repartition(_ENTITY)


def _selected(view: View, name: str, datasets: Sequence[str]) -> DataFrame:
    from pyspark.sql import functions as sql

    folders = [str(part) for part in lake.parts(name, datasets)]
    rows = spark().read.option("basePath", str(lake.root() / name)).parquet(*folders)
    for column, values in view.reads[name].items():
        rows = rows.where(sql.col(column).isin(list(values)))
    return rows.select(sql.col(view.keys[name]).alias(_ENTITY), sql.struct(*_columns(name)).alias(name))


def _columns(name: str) -> list[str]:
    return [column for column in schema.TABLES[name].names if column != "attributes"]


def _transform(view: View) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def transform(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        tables = _taken_apart(list(batches))
        if any(map(len, tables.values())):
            empty = {name: schema.TABLES[name].empty_table().select(_columns(name)) for name in view.reads}
            frames = {name: table.seen(name, rows) for name, rows in (empty | tables).items()}
            del tables  # a partition's rows are held once, not twice
            yield from table.conform(view, view.transform(frames)).to_batches(max_chunksize=1 << 16)

    return transform


def _taken_apart(batches: list[pa.RecordBatch]) -> dict[str, pa.Table]:
    """Undo `_gathered`: table name → its rows."""
    tables: dict[str, list[pa.RecordBatch]] = {}
    for batch in batches:
        for name in batch.schema.names:
            if name != _ENTITY:
                column = batch.column(name)
                tables.setdefault(name, []).append(pa.RecordBatch.from_struct_array(column.filter(column.is_valid())))
    return {name: pa.Table.from_batches(parts) for name, parts in tables.items()}


def _made(folder: Path) -> dict[str, str]:
    return json.loads((folder / _STAMP).read_text()) if (folder / _STAMP).exists() else {}


def _stamp(folder: Path, marks: dict[str, str]) -> None:
    (folder / _STAMP).write_text(json.dumps(marks))
