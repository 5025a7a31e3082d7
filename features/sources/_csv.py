"""Reading published CSV files: found by their header, checked by column and row."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from infra.errors import DataError, nearest

_LINE = 65_536  # characters; no record of these sets is longer


def matching(
    folder: Path, columns: Sequence[str], dataset: str, patterns: Sequence[str] = ("*.csv",)
) -> Iterator[tuple[Path, pd.DataFrame]]:
    """Every CSV below `folder` whose header holds `columns` (case and runs of spaces do not matter), as text.

    `patterns`: names of files; a zip holds one CSV.
    A file with at least half of the columns is taken for a damaged one: DataError names what it lacks. Files of other
    kinds are passed over; DataError when nothing is left.
    """
    found = False
    for path in _files(folder, patterns):
        table = _read(path).rename(columns=lambda name: " ".join(str(name).split()).lower())
        lacking = [name for name in columns if name not in table.columns]
        if len(lacking) > len(columns) / 2:
            continue
        if lacking:
            hints = ", ".join(repr(name) + nearest(name, table.columns) for name in lacking)
            raise DataError(f"{path}: missing column {hints}; {dataset} needs: {', '.join(columns)}")
        found = True
        table.index += 2  # the line of each row, below the header
        yield path, table[list(columns)]
    if not found:
        raise DataError(f"{folder}: no CSV file with the columns of {dataset}: {', '.join(columns)}")


def headless(folder: Path, columns: Sequence[str], dataset: str) -> Iterator[tuple[Path, pd.DataFrame]]:
    """Every text or CSV file below `folder` without a header and with at least `columns`, as text, in that order.

    Raises DataError when there is none; files with fewer columns in their first line are passed over.
    """
    found = False
    for path in _files(folder, ("*.txt", "*.csv")):
        with path.open(encoding="utf-8", errors="replace") as stream:
            if stream.readline(_LINE).count(",") < len(columns) - 1:
                continue
        table = _read(path, header=None)
        found = True
        table.index += 1  # the line of each row
        yield path, table.iloc[:, : len(columns)].set_axis(list(columns), axis=1)
    if not found:
        raise DataError(f"{folder}: no text file with the {len(columns)} columns of {dataset}")


def number(table: pd.DataFrame, name: str, path: Path) -> pd.Series:
    """Column `name` as float, empty cells as NaN; the index is the lines. Raises DataError: file, column, line."""
    values = pd.to_numeric(table[name].where(table[name].str.strip() != ""), errors="coerce")
    return _complete(values, table, name, path, "a number").astype("float64")


def choice(table: pd.DataFrame, name: str, path: Path, meanings: Mapping[str, object]) -> pd.Series:
    """Column `name` translated by `meanings` (lower case). Raises DataError naming file, column and line."""
    values = table[name].str.strip().str.lower().map(meanings)
    return _complete(values, table, name, path, f"one of {', '.join(meanings)}")


def _files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in folder.rglob(pattern)})


def _read(path: Path, header: Literal["infer"] | None = "infer") -> pd.DataFrame:
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, header=header)
    except (ValueError, zipfile.BadZipFile) as error:  # ValueError: pandas' own parser errors, wrong encoding
        raise DataError(f"{path} is not a readable CSV file: {error}") from None


def _complete(values: pd.Series, table: pd.DataFrame, name: str, path: Path, wanted: str) -> pd.Series:
    wrong = values.isna() & (table[name].str.strip() != "")
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise DataError(f"{path}, line {table.index[row]}, column {name!r}: {table[name].iloc[row]!r} is not {wanted}")
    return values
