"""Folders of a reference set → one labelled frame, by the same sources and transforms that fill the feature store.

The benchmark and the tests use it; training in production reads the same columns through Feast (`features.store`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features import source
from features.table import seen
from features.view import Frames, View
from infra.errors import DataError


def read(places: Iterable[tuple[str, Path]]) -> dict[str, pa.Table]:
    """Pull each (source name, folder) and return the canonical tables. Raises DataError when nothing was read."""
    parts: dict[str, list[pa.Table]] = {}
    for name, folder in places:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; give one in the layout of the reference set {name!r}")
        before = sum(map(len, parts.values()))
        for batch in source.load(name).pull(str(folder)):
            parts.setdefault(batch.table, []).append(batch.conformed())
        if sum(map(len, parts.values())) == before:
            raise DataError(f"{folder} holds no file that source {name!r} knows; see its docstring for the layout")
    return {table: pa.concat_tables(tables) for table, tables in parts.items()}


def select(tables: dict[str, pa.Table], view: View) -> Frames:
    """The rows of `tables` that `view` reads, as pandas."""
    frames = {}
    for table, wanted in view.reads.items():
        rows = tables.get(table)
        if rows is None:
            raise DataError(f"view {view.name} reads table {table!r}, and no source gave any; tables: {sorted(tables)}")
        for name, values in wanted.items():
            rows = rows.filter(pc.is_in(rows[name], value_set=pa.array(values)))
        frames[table] = seen(table, rows)
    return frames


def frame(tables: dict[str, pa.Table], views: Sequence[View], labels: View) -> pd.DataFrame:
    """Labels joined, point in time, to the newest row of every view that is not older than the view's ttl.

    Returns the label rows in (time, entity) order, with the columns of all views. The join is the one Feast makes.
    """
    joined = labels.transform(select(tables, labels)).sort_values(["time", labels.entity], kind="stable")
    for view in views:
        rows = view.transform(select(tables, view)).drop(columns="dataset")
        rows = rows.rename(columns={view.entity: labels.entity}).sort_values("time", kind="stable")
        joined = pd.merge_asof(joined, rows, on="time", by=labels.entity, tolerance=pd.Timedelta(view.ttl))
    return joined.reset_index(drop=True)
