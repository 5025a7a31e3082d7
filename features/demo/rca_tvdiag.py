"""A shop whose faults show at the component itself, slow its callers, and set off a little noise everywhere."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

_CASES = 160
_CALLS = {0: (1, 2, 3), 1: (4,), 2: (4, 5), 3: (6,), 5: (7,), 6: (7,)}
_NAMES = ("gate", "cart", "orders", "catalogue", "cart-db", "payment", "search", "ledger")
_SIGNS = {"memory": ("mem_usage", "up"), "cpu": ("cpu_usage", "up"), "network-loss": ("net_transmit", "down")}


def write(target: Path, random: np.random.Generator) -> None:
    """`shop/` in the layout of `features.sources.rca_tvdiag`."""
    folder = target / "shop"
    folder.mkdir(parents=True)
    content: dict[str, dict[str, object]] = {kind: {} for kind in ("nodes", "edges", "metrics", "traces", "logs")}
    labels = []
    for index in range(_CASES):
        root, fault = int(random.integers(len(_NAMES))), str(random.choice(list(_SIGNS)))
        content["nodes"][str(index)] = list(_NAMES)
        content["edges"][str(index)] = [[a, b] for a, called in _CALLS.items() for b in called]
        content["metrics"][str(index)], content["traces"][str(index)] = _alerts(root, fault, random)
        content["logs"][str(index)] = [
            [_NAMES[n], f"{_NAMES[n]}-{random.integers(9)}"] for n in random.integers(8, size=3)
        ]
        labels.append([index, _NAMES[root], fault, "train" if random.random() < 0.6 else "test"])
    for kind, cases in content.items():
        (folder / f"{kind}.json").write_text(json.dumps(cases))
    with (folder / "label.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["index", "instance", "anomaly_type", "data_type"], *labels])


def _alerts(root: int, fault: str, random: np.random.Generator) -> tuple[list[list[str]], list[list[str]]]:
    metric, way = _SIGNS[fault]
    metrics = [[_NAMES[root], metric, way]] if random.random() < 0.9 else []
    metrics += [
        [_NAMES[n], str(random.choice(["cpu_usage", "src_qps", "dest_p95"])), "up"] for n in random.integers(8, size=4)
    ]
    callers = [a for a, called in _CALLS.items() if root in called]
    traces = [[_NAMES[a], _NAMES[root], f"/{_NAMES[root]}", "PD" if fault == "cpu" else "500"] for a in callers]
    traces += [[_NAMES[b], _NAMES[a], "/get", "PD"] for a in callers for b, called in _CALLS.items() if a in called]
    return metrics, traces
