"""A small application whose issues slow one component and all that call it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

_NODES = ("site", "search", "list", "pay", "table", "queue")
_CALLERS = {"site": "", "search": "site", "list": "site", "pay": "site", "table": "search", "queue": "pay"}
_BEGIN, _STEP, _ISSUES = 1_681_840_800, 300, 24


def write(target: Path, random: np.random.Generator) -> None:
    """One scenario in the layout of `features.sources.rca_petshop`."""
    folder = target / "low_traffic"
    graph = pd.DataFrame(0.0, index=pd.Index(_NODES), columns=pd.Index(_NODES))
    for callee, caller in _CALLERS.items():
        if caller:
            graph.loc[caller, callee] = 1.0
    (folder / "noissue").mkdir(parents=True)
    graph.to_csv(folder / "graph.csv")
    _metrics(_BEGIN, 144, "", random).to_csv(folder / "noissue" / "metrics.csv")
    for number in range(_ISSUES):
        begin, root = _BEGIN + (number + 200) * 3600, str(random.choice(_NODES[1:]))
        issue = folder / ("train" if number < _ISSUES // 3 else "test") / f"issue_{number}"
        issue.mkdir(parents=True)
        _metrics(begin, 5, root, random).to_csv(issue / "metrics.csv")
        told = {"target": {"node": "site", "timestamp": begin + 400}, "root_cause": {"node": root}}
        (issue / "target.json").write_text(json.dumps(told))


def _metrics(begin: int, rows: int, root: str, random: np.random.Generator) -> pd.DataFrame:
    hit = np.arange(rows) * _STEP > 400 if root else np.zeros(rows, dtype=bool)
    slow, node = {}, root
    while node:
        slow[node] = 8.0 if node == root else 1.5
        node = _CALLERS[node]
    columns = {}
    for node in _NODES:
        columns[node, "latency", "Average"] = random.normal(0.2, 0.01, rows) * (1 + slow.get(node, 0.0) * hit)
        columns[node, "requests", "Sum"] = random.normal(500, 10, rows)
    table = pd.DataFrame(columns, index=begin + _STEP * np.arange(rows)).rename_axis("unix_timestamp")
    table.columns.names = ["microservice", "metric", "statistic"]
    return table
