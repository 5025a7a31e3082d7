"""Spark jobs: the lake's canonical tables → feature tables in `<home>/features/<view>/dataset=<name>/`.

One job for every view: its entities are dealt out to Spark's tasks; each task reads the rows of its entities from the
lake, which lies where all tasks can read it, runs the view's pure transform on all of them at once, and writes a file.
So no row goes through a shuffle or the JVM, and what Spark makes is what `features.build` makes.

A job writes a candidate; the gate (`features.expectations`) stands between it and `publish`. A data set is skipped
when neither its rows in the lake nor the code of the view changed since its candidate or feature table was made.
"""

from __future__ import annotations

import heapq
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from features import lake, schema, table
from features.fingerprint import digest, of_code
from features.view import View
from infra.clients import spark
from infra.errors import DataError
from infra.settings import settings

ROW_TIME = "row_time"  # beside a view's columns: the time as a number, by which the store finds a joined row again
_TASK = 1 << 20  # rows that one task reads: 200 to 500 MiB in pandas
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
    staging, mark = candidate(view).with_name(f"_staging-{view.name}"), uuid4().hex
    shutil.rmtree(staging, ignore_errors=True)
    shares = [share for name in datasets for share in _shares(view, name)]
    tasks = [(f"dataset={name}/part-{number}-{mark}.parquet", name, of) for number, (name, of) in enumerate(shares)]
    dealt = spark().createDataFrame(tasks, "file string, dataset string, entities array<string>")
    dealt.repartition(max(1, len(tasks))).mapInArrow(_made_by(view, lake.root(), staging), "rows long").collect()
    candidate(view).mkdir(parents=True, exist_ok=True)
    for name in datasets:
        part = f"dataset={name}"
        shutil.rmtree(candidate(view) / part, ignore_errors=True)
        if (staging / part).exists():
            (staging / part).rename(candidate(view) / part)
    shutil.rmtree(staging, ignore_errors=True)


def _shares(view: View, dataset: str) -> list[tuple[str, list[str]]]:
    """(data set, entities): all entities of the data set, in parts of about `_TASK` rows."""
    found: Counter[str] = Counter()
    for name, wanted in view.reads.items():
        found += lake.counts(name, view.keys[name], {**wanted, "dataset": [dataset]})
    parts: list[list[str]] = [[] for _ in range(max(1, round(found.total() / _TASK)))]
    sizes = [(0, number) for number in range(len(parts))]
    for entity, count in found.most_common():
        size, number = heapq.heappop(sizes)  # the smallest part gets the next largest entity
        parts[number].append(entity)
        heapq.heappush(sizes, (size + count, number))
    return [(dataset, entities) for entities in parts if entities]


def _made_by(view: View, where: Path, staging: Path) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What a task does: rows of its entities from the lake at `where` → a file of the view's rows below `staging`.

    A task that Spark repeats writes the same file.
    """

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for task in (task for batch in batches for task in batch.to_pylist()):
            frames = {}
            for name, wanted in view.reads.items():
                mine = {**wanted, "dataset": [task["dataset"]], view.keys[name]: task["entities"]}
                columns = [column for column in schema.TABLES[name].names if column != "attributes"]
                frames[name] = table.seen(name, lake.share(where, name, mine, columns))
            made = table.conform(view, view.transform(frames))
            file = staging / task["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            content = made.append_column(ROW_TIME, made["time"].cast(pa.int64())).drop_columns(["dataset"])
            pq.write_table(content, file, row_group_size=1 << 16)
            yield pa.RecordBatch.from_pydict({"rows": [len(made)]})

    return make


def _made(folder: Path) -> dict[str, str]:
    return json.loads((folder / _STAMP).read_text()) if (folder / _STAMP).exists() else {}


def _stamp(folder: Path, marks: dict[str, str]) -> None:
    (folder / _STAMP).write_text(json.dumps(marks))
