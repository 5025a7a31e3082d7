"""Nodes of three clusters; a node that failed is likely to fail again soon, and of what failed before."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pandas as pd

_NODES, _DAYS, _FIRST = 60, 900, pd.Timestamp("2001-01-01")
_CAUSES = (("hardware", "CPU"), ("hardware", "Memory Dimm"), ("software", "OS"), ("network", "Network"))
_COLUMNS = ("Facilities", "Hardware", "Human Error", "Network", "Undetermined", "Software")


def write(target: Path, random: np.random.Generator) -> None:
    rows = [row for system in range(3) for node in range(_NODES) for row in _node(system, node, random)]
    content = pd.DataFrame(rows).sort_values(["System", "nodenumz"], kind="stable").to_csv(index=False).encode()
    (target / "LA-UR-05-7318-failure-data-1996-2005.csv.xz").write_bytes(lzma.compress(content))


def _node(system: int, node: int, random: np.random.Generator) -> list[dict[str, object]]:
    """The failures of one node: rare from a good state, every few days from a bad one, of its own weak part."""
    weak, day, rows = int(random.integers(len(_CAUSES))), random.exponential(90), []
    while day < _DAYS:
        common = system if random.random() < 0.4 else weak
        category, text = _CAUSES[common]
        begin = _FIRST + pd.Timedelta(minutes=int(day * 1440))
        end = begin + pd.Timedelta(minutes=int(random.integers(10, 300)))
        told = {name: text if name.lower() == category else "" for name in _COLUMNS}
        times = {"Prob Started": _written(begin), "Prob Fixed": _written(end)}
        rows.append({"System": system + 2, "nodenumz": node, "node install": "Dec-00", **times, **told})
        day += random.exponential(2.5) if random.random() < 0.3 else random.exponential(80)
    return rows


def _written(time: pd.Timestamp) -> str:
    return f"{time.month}/{time.day}/{time.year} {time.hour}:{time.minute:02d}"
