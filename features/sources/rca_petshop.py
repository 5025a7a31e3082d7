"""Issues injected into an application on AWS with a known call graph (Hardt et al., "The PetShop Dataset", CLeaR 2024).

Layout below a folder: `<scenario>/graph.csv` (1 where the row calls the column), `<scenario>/noissue/metrics.csv`, and
for each issue `<scenario>/<part>/<issue>/metrics.csv` and `target.json`. Metrics have three header rows (component,
metric, statistic) and are indexed by Unix seconds. Of the target the time when users were hit, and the cause, are read;
`metadata` names the answer and is not.

An issue has two rows before users are hit: what is normal is told by the publisher's operation without issues, of the
same scenario where it is there, whatever its date. The published parts are no parts here: one holds a single cause, the
other never has it, so that the system can only be judged as one never seen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from features.source import Batch, Source
from features.sources import _incidents
from features.sources._incidents import Case
from features.transforms import _alerts
from infra.errors import DataError

NAME, SYSTEM = "rca_petshop", "petshop"
NORMAL = "noissue/metrics.csv"
SAMPLED = 6  # one row in six of the normal operation: half an hour apart


class RcaPetshop(Source):
    """Reads scenarios of the collection."""

    def pull(self, where: str) -> Iterator[Batch]:
        """One batch of events. Raises DataError naming the file."""
        folder = Path(where)
        targets = sorted(folder.rglob("target.json"))
        if not targets:
            raise DataError(f"{folder}: no <scenario>/<part>/<issue>/target.json of {NAME} in it")
        normal = {path.parents[1]: _points(path).iloc[::SAMPLED] for path in sorted(folder.rglob(NORMAL))}
        calls = {scenario: _calls(scenario / "graph.csv") for scenario in {path.parents[2] for path in targets}}
        yield from _incidents.nothing("metrics", "logs", "spans")
        yield _incidents.batch(NAME, (_case(path, calls[path.parents[2]], normal) for path in targets))


def _case(path: Path, calls: list[tuple[str, str]], normal: dict[Path, pd.DataFrame]) -> Case:
    scenario, told = path.parents[2], _target(path)
    issue = _points(path.with_name("metrics.csv"))
    since = pd.Timestamp(told["target"]["timestamp"], unit="s", tz="UTC")
    usual = normal.get(scenario, next(iter(normal.values()), issue.iloc[:0]))
    before = usual.set_axis(pd.DatetimeIndex([since - pd.Timedelta(hours=1)] * len(usual)))
    points = pd.concat([_long(before), _long(issue)])
    nodes = sorted({*map(str, issue.columns.get_level_values(0)), *(node for call in calls for node in call)})
    place = {node: number for number, node in enumerate(nodes)}
    data = {
        "system": SYSTEM,
        "nodes": nodes,
        "calls": [(place[caller], place[callee]) for caller, callee in calls],
        "alerts": list(_alerts.from_metrics(points, since)),
    }
    cause = {"root_cause": told["root_cause"]["node"], "fault": None, "part": None}
    name = "-".join((SYSTEM, scenario.name, *path.parts[-3:-1]))
    return Case(name, issue.index.max().to_pydatetime(), data, cause)


def _long(wide: pd.DataFrame) -> pd.DataFrame:
    """Rows of `_points` → time, instance_id, metric_name, value; one row for each value that is known."""
    names = [(str(key[0]), f"{key[1]}_{key[2]}") for key in map(tuple, wide.columns)]
    columns = pd.MultiIndex.from_tuples(names, names=["instance_id", "metric_name"])
    rows = wide.set_axis(columns, axis=1).melt(ignore_index=False).dropna(subset="value")
    return rows.rename_axis("time").reset_index()


def _points(path: Path) -> pd.DataFrame:
    """Times × (component, metric, statistic)."""
    try:
        table = pd.read_csv(path, header=[0, 1, 2], index_col=0).astype("float64")
        return table.set_axis(pd.to_datetime(table.index.astype("float64"), unit="s", utc=True))
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path} is no table with rows for component, metric and statistic above it: {error}") from None


def _calls(path: Path) -> list[tuple[str, str]]:
    try:
        graph = pd.read_csv(path, index_col=0).astype("float64")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is no matrix of calls: {error}") from None
    return [(str(row), str(column)) for row, called in graph.iterrows() for column in called.index[called > 0]]


def _target(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text())
        datetime.fromtimestamp(told["target"]["timestamp"], UTC)
        return {"target": told["target"], "root_cause": {"node": str(told["root_cause"]["node"])}}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} must hold target.timestamp and root_cause.node: {error!r}") from None
