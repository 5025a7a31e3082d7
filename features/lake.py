"""The lake: canonical tables as Parquet in `<home>/lake/<table>/dataset=<name>/`, one folder a data set.

A reference set is loaded whole and replaced whole (`load`), and skipped when neither its files nor its source changed.
Live rows are appended in small files named by their content, so that a repeated append changes nothing (`append`), and
merged from time to time (`compact`). Readers and appenders share one file lock: a new file disturbs nobody. Only what
deletes files holds it alone, and `compact` waits for no reader, so that a long job never holds up the live path.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from features import demo, schema, source
from features.fingerprint import digest, of_code, of_files, of_names
from features.rates import LIVE as LIVE
from infra.errors import DataError
from infra.settings import settings

_SMALL = 16 << 20  # bytes; larger files are left alone by compaction
_JOURNAL = "_compaction.json"
KEPT = timedelta(days=8)  # of live rows: the longest memory of a view is seven days
_ROW_GROUP = 1 << 18
_HIVE = ds.partitioning(pa.schema([("dataset", pa.string())]), flavor="hive")


def root() -> Path:
    """The lake's folder."""
    return settings().home / "lake"


def load(name: str, folder: Path, refresh: bool = False) -> bool:
    """Load the set in `folder` by the source `name`, in place of what the lake holds of it.

    Returns False when there was nothing to do. Raises DataError when the folder holds nothing that the source knows.
    """
    mark = digest(of_code(type(source.load(name))), of_code(schema), of_files(folder))
    with _locked(fcntl.LOCK_EX, f"_loading-{name}"):
        if not refresh and _loaded(name).get("fingerprint") == mark:
            return False
        staging = root() / f"_staging-{name}"
        shutil.rmtree(staging, ignore_errors=True)
        counts = _write(name, folder, staging)
        if not counts:
            raise DataError(f"{folder} holds no file that source {name!r} knows; see its docstring for the layout")
        with _locked(fcntl.LOCK_EX):
            _replace(name, staging)
            facts = {"fingerprint": mark, "rows": counts, "synthetic": folder == demo.folder(name)}
            _stamp(name).write_text(json.dumps(facts))
        shutil.rmtree(staging)
    return True


def rows(name: str) -> dict[str, int]:
    """Rows of set `name` by table, as last loaded; empty when it never was."""
    return dict(_loaded(name).get("rows", {}))


def synthetic(name: str) -> bool:
    """Whether what the lake holds of set `name` was loaded from the demo world."""
    return bool(_loaded(name).get("synthetic"))


def fingerprint(table: str, datasets: Sequence[str] | None = None) -> str:
    """Changes whenever the rows of `table` (in `datasets`) do."""
    names = [part.name.removeprefix("dataset=") for part in parts(table, datasets)]
    loads = [f"{name} {_loaded(name).get('fingerprint')}" for name in names]
    return digest(*loads, of_names(file for part in parts(table, datasets) for file in part.glob("part-*.parquet")))


def append(table: str, batch: pa.Table, dataset: str = LIVE) -> bool:
    """Append rows as one file named by its content; False when that file is there already, or `batch` is empty."""
    content = schema.conform(table, batch).drop_columns(["dataset"])
    if not len(content):
        return False
    total = hashlib.sha256()
    for piece in content.combine_chunks().to_batches():
        total.update(piece.serialize())
    file = _part(table, dataset) / f"part-{total.hexdigest()[:32]}.parquet"
    if file.exists():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, file.with_name("_" + file.name))
    with _locked(fcntl.LOCK_SH):
        file.with_name("_" + file.name).replace(file)
    return True


def compact(table: str, dataset: str = LIVE, at_least: int = 32) -> int:
    """Merge a partition's small files, when there are `at_least` so many, into one in time order; returns their number.

    Files that were last written more than `KEPT` ago are deleted. Does nothing (0) while somebody reads the lake.
    A journal makes it safe against a crash at any point: either all old files count, or the merged one.
    """
    folder = _part(table, dataset)
    try:
        with _locked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            _recover(folder)
            return _merge(folder, max(at_least, 2))
    except BlockingIOError:
        return 0


def _merge(folder: Path, at_least: int) -> int:
    files = {file: file.stat() for file in sorted(folder.glob("part-*.parquet"))}
    for file, found in files.items():
        if found.st_mtime < time.time() - KEPT.total_seconds():
            file.unlink()
    old = [file for file, found in files.items() if found.st_size < _SMALL and file.exists()]
    if len(old) < at_least:
        return 0
    merged = ds.dataset(old, format="parquet").to_table().sort_by("time")
    target = folder / f"part-{of_names(old)[:32]}.parquet"
    pq.write_table(merged, folder / f"_{target.name}", row_group_size=_ROW_GROUP)
    journal = json.dumps({"merged": target.name, "old": [file.name for file in old]})
    (folder / f"_{_JOURNAL}").write_text(journal)
    (folder / f"_{_JOURNAL}").replace(folder / _JOURNAL)
    _recover(folder)
    return len(old)


def read(
    table: str, wanted: Mapping[str, Sequence[str]] | None = None, datasets: Sequence[str] | None = None
) -> pa.Table:
    """The rows whose columns hold one of the `wanted` values, all columns of the canonical table.

    Raises DataError when the lake holds nothing of `table` (in `datasets`).
    """
    with reading():
        found = [part.name.removeprefix("dataset=") for part in parts(table, datasets)]
        if not found:
            raise DataError(f"the lake holds no rows of {table!r} for {list(datasets or ['any data set'])}; load one")
        return _tree(root() / table).to_table(filter=_wish({"dataset": found}) & _wish(wanted or {}))


def share(where: Path, table: str, wanted: Mapping[str, Sequence[str]], columns: Sequence[str]) -> pa.Table:
    """As `read`, some columns, from the lake whose folder is `where`; for a part of a job that holds `reading`."""
    if not (where / table).is_dir():
        return schema.TABLES[table].empty_table().select(columns)
    return _tree(where / table).to_table(filter=_wish(wanted), columns=list(columns))


def counts(table: str, column: str, wanted: Mapping[str, Sequence[str]]) -> Counter[str]:
    """How many of the `wanted` rows have each value of `column`; nulls are left out."""
    found: Counter[str] = Counter()
    if (root() / table).is_dir():
        for batch in _tree(root() / table).to_batches(filter=_wish(wanted), columns=[column]):
            for one in pc.value_counts(batch[column].drop_null()).to_pylist():
                found[one["values"]] += one["counts"]
    return found


def history(
    wanted: Mapping[str, Mapping[str, Sequence[str]]], span: timedelta, dataset: str = LIVE
) -> Iterator[dict[str, pa.Table]]:
    """The rows of `dataset` in the tables named in `wanted`, `span` after `span` in the order of time.

    `wanted`: table → {column: accepted values}. Rows without a time are left out. What a span holds is in memory.
    """
    with reading():
        trees = {table: _tree(_part(table, dataset)) for table in wanted if _part(table, dataset).exists()}
        edges = [edge for tree in trees.values() for edge in _edges(tree)]
        for number in range((max(edges) - min(edges)) // span + 1 if edges else 0):
            begin = min(edges) + number * span
            inside = (ds.field("time") >= begin) & (ds.field("time") < begin + span)
            yield {table: tree.to_table(filter=inside & _wish(wanted[table])) for table, tree in trees.items()}


def _edges(tree: ds.Dataset) -> Iterator[datetime]:
    """The first and the last time of each row group, as the files' own statistics tell them."""
    for fragment in tree.get_fragments():
        for group in fragment.row_groups:
            if times := (group.statistics or {}).get("time"):
                yield from (times["min"], times["max"])


def parts(table: str, datasets: Sequence[str] | None = None) -> list[Path]:
    """The partition folders of `table`, sorted; only of `datasets` where given."""
    found = sorted((root() / table).glob("dataset=*"))
    return [part for part in found if datasets is None or part.name.removeprefix("dataset=") in datasets]


@contextmanager
def reading() -> Iterator[None]:
    """Hold the lake still while files are read; mends an unfinished compaction first."""
    journals = list(root().glob(f"*/dataset=*/{_JOURNAL}"))
    if journals:
        with _locked(fcntl.LOCK_EX):
            for journal in journals:
                _recover(journal.parent)
    with _locked(fcntl.LOCK_SH):
        yield


def _tree(folder: Path) -> ds.Dataset:
    """A table's folder, or one of its partitions."""
    base = folder.parent if folder.name.startswith("dataset=") else folder
    return ds.dataset(
        folder, schema=schema.TABLES[base.name], format="parquet", partitioning=_HIVE, partition_base_dir=str(base)
    )


def _wish(wanted: Mapping[str, Sequence[str]]) -> pc.Expression:
    """A filter: each column holds one of its values."""
    wish = pc.scalar(True)
    for column, values in wanted.items():
        wish &= ds.field(column).isin(list(values))
    return wish


def _part(table: str, dataset: str) -> Path:
    return root() / table / f"dataset={dataset}"


def _stamp(name: str) -> Path:
    return root() / f"_loaded-{name}.json"


def _loaded(name: str) -> dict[str, Any]:
    return json.loads(_stamp(name).read_text()) if _stamp(name).exists() else {}


def _replace(name: str, staging: Path) -> None:
    _stamp(name).unlink(missing_ok=True)  # a crash from here on means: load again
    for table in schema.TABLES:
        shutil.rmtree(_part(table, name), ignore_errors=True)
        if (staging / table).exists():
            _part(table, name).parent.mkdir(parents=True, exist_ok=True)
            (staging / table).rename(_part(table, name))


def _write(name: str, folder: Path, staging: Path) -> dict[str, int]:
    """Stream the source's batches into one file a table; the partition's column stays in the folder's name."""
    writers: dict[str, pq.ParquetWriter] = {}
    counts: dict[str, int] = {}
    try:
        for batch in source.load(name).pull(str(folder)):
            content = batch.conformed()
            if strange := set(content["dataset"].unique().to_pylist()) - {name}:
                raise DataError(f"source {name!r} gave rows of data set {sorted(map(str, strange))}; expected {name!r}")
            content = content.drop_columns(["dataset"])
            if batch.table not in writers:
                (staging / batch.table).mkdir(parents=True)
                file = staging / batch.table / "part-0.parquet"
                writers[batch.table] = pq.ParquetWriter(file, content.schema, compression="zstd")
            writers[batch.table].write_table(content, row_group_size=_ROW_GROUP)
            counts[batch.table] = counts.get(batch.table, 0) + len(content)
    finally:
        for writer in writers.values():
            writer.close()
    return counts


def _recover(folder: Path) -> None:
    """Finish a compaction whose journal was written; needs the lock."""
    journal = folder / _JOURNAL
    if not journal.exists():
        return
    plan = json.loads(journal.read_text())
    for name in plan["old"]:
        (folder / name).unlink(missing_ok=True)
    merged = folder / f"_{plan['merged']}"
    if merged.exists():
        merged.replace(folder / plan["merged"])
    journal.unlink()


@contextmanager
def _locked(kind: int, name: str = "_lock") -> Iterator[None]:
    root().mkdir(parents=True, exist_ok=True)
    with (root() / name).open("a") as lock:
        fcntl.flock(lock, kind)
        yield
