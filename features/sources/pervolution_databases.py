"""Performance evolution of MySQL and PostgreSQL (Kaltenecker et al., EMSE 2023): complete grids, measured.

Layout: `<system>/measurements.csv` (";": 0/1 columns of options, revision, performance = run time, cpu) beside
`<system>/defaultConfigurations.csv`. An option `name_<number>` is one value of the knob `name`; three 0/1 options of
one kind without numbers (the flush methods) become one numbered knob.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from features.source import Batch, Source
from features.sources import _measurements
from infra.errors import DataError

NAME = "pervolution_databases"
NOISE = {"MySQL": 0.0638, "PostgreSQL": 0.0334}  # mean relative standard deviation, as published beside the tables
OTHER_NOISE = 0.05
ALTERNATIVES = {"innodbFlushMethod": ("fsyncFlush", "dsyncFlush", "directFlush")}
RESULTS = ("revision", "performance")


class PervolutionDatabases(Source):
    """One task a release."""

    def pull(self, where: str) -> Iterator[Batch]:
        """Batches of measurements. Raises DataError naming file and column."""
        files = sorted(Path(where).rglob("measurements.csv"))
        if not files:
            raise DataError(f"{where}: no <system>/measurements.csv of {NAME} in it")
        for path in files:
            system = path.parent.name
            table, default = _read(path), _read(path.with_name("defaultConfigurations.csv"))
            if lacking := [name for name in (*RESULTS, *default) if name not in table]:
                raise DataError(f"{path}: missing column {lacking[0]!r}")
            is_default = table.merge(default.drop_duplicates(), "left", indicator=True)["_merge"].eq("both")
            options = table.drop(columns=[*RESULTS, "cpu"], errors="ignore")
            for release, part in table.groupby("revision", sort=False):
                yield _measurements.batch(
                    NAME,
                    f"{system} {release}",
                    system,
                    _knobs(options.loc[part.index]),
                    part["performance"],
                    is_default[part.index],
                    higher_is_better=False,
                    noise=NOISE.get(system, OTHER_NOISE),
                )


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep=";", dtype={"revision": str})
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} is not a readable CSV file: {error}") from None
    numbers = table.drop(columns="revision", errors="ignore").apply(pd.to_numeric, errors="coerce")
    if len(wrong := numbers.columns[numbers.isna().any()]):
        raise DataError(f"{path}, column {wrong[0]!r}: every cell must be a number")
    return table


def _knobs(options: pd.DataFrame) -> pd.DataFrame:
    """0/1 columns → one column a knob: the number in the chosen option's name, the place of the alternative, or 0/1."""
    numbered = {name: re.fullmatch(r"(.+)_(\d+)", name) for name in map(str, options)}
    parents = {match[1] for match in numbered.values() if match} | {"root"}
    knobs: dict[str, pd.Series] = {}
    for name, match in numbered.items():
        if match:
            knobs[match[1]] = knobs.get(match[1], 0.0) + options[name] * float(match[2])
        elif name not in parents and name not in ALTERNATIVES and not any(name in a for a in ALTERNATIVES.values()):
            knobs[name] = options[name].astype(float)
    for knob, names in ALTERNATIVES.items():
        if set(names) <= set(options):
            knobs[knob] = options[list(names)].mul(np.arange(len(names), dtype=float)).sum(axis=1)
    return pd.DataFrame(knobs)
