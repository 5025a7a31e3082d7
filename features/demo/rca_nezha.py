"""A small shop in raw telemetry: a fault raises one component's CPU and slows the calls that it answers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

_BEGIN = datetime(2022, 8, 22, 3, 0, tzinfo=UTC)
_PODS = tuple(f"{name}-5f6585d649-abcde" for name in ("front", "cart", "orders", "payment", "stock"))
_CALLS = ((0, 1), (0, 2), (2, 3), (2, 4))
_EVERY, _FAULTS, _LASTS = 15, 16, 3  # minutes between faults; faults; minutes of a fault


def write(target: Path, random: np.random.Generator) -> None:
    """One day in the layout of `features.sources.rca_nezha`, unpacked."""
    date = f"{_BEGIN:%Y-%m-%d}"
    for kind in ("metric", "trace"):
        (target / date / kind).mkdir(parents=True)
    roots = random.integers(len(_PODS), size=_FAULTS)
    starts = [_BEGIN + timedelta(minutes=_EVERY * (n + 1)) for n in range(_FAULTS)]
    hours: dict[str, list[dict[str, str]]] = {}
    for start, root in zip(starts, roots, strict=True):
        fault = {
            "inject_time": f"{start:%Y-%m-%d %H:%M:%S}",
            "inject_pod": _PODS[root],
            "inject_type": "cpu_contention",
        }
        hours.setdefault(f"{start:%H}", []).append(fault)
        _trace(int(root), random, slow=True, begin=start).to_csv(
            target / date / "trace" / f"{start:%H_%M}_trace.csv", index=False
        )
    (target / f"{date}-fault_list.json").write_text(json.dumps(hours))
    _trace(-1, random, slow=False, begin=_BEGIN).to_csv(
        target / f"{date}_faultfree_{_BEGIN:%H_%M}_trace.csv", index=False
    )
    minutes = np.arange(_EVERY * (_FAULTS + 1) + 5)
    for number, pod in enumerate(_PODS):
        faulty = sum(
            ((minutes > _EVERY * (n + 1)) & (minutes <= _EVERY * (n + 1) + _LASTS))
            for n in np.flatnonzero(roots == number)
        )
        table = pd.DataFrame({"TimeStamp": int(_BEGIN.timestamp()) + 60 * minutes, "PodName": pod})
        table["CpuUsage(m)"] = random.normal(20, 1, len(minutes)) + 60 * np.asarray(faulty)
        table["MemoryUsage(Mi)"] = random.normal(100, 2, len(minutes))
        table["PodServerLatencyP90(s)"] = random.normal(0.1, 0.01, len(minutes)) + 0.5 * np.asarray(faulty)
        table.to_csv(target / date / "metric" / f"{pod}_metric.csv", index=False)


def _trace(root: int, random: np.random.Generator, slow: bool, begin: datetime) -> pd.DataFrame:
    rows = []
    for number in range(80):
        start = int(begin.timestamp() * 1e9) + int(number * 6e8)
        rows.append([f"{begin:%H%M}-{number}", f"{begin:%H%M}-{number}-0", "root", _PODS[0], "/", start, 0, 900])
        for caller, callee in _CALLS:
            micros = int(random.gamma(20, 10) * (8 if slow and callee == root else 1))
            span = [f"{begin:%H%M}-{number}", f"{begin:%H%M}-{number}-{callee}", f"{begin:%H%M}-{number}-{caller}"]
            rows.append([*span, _PODS[callee], f"/{callee}", start, 0, micros])
    names = [
        "TraceID",
        "SpanID",
        "ParentID",
        "PodName",
        "OperationName",
        "StartTimeUnixNano",
        "EndTimeUnixNano",
        "Duration",
    ]
    return pd.DataFrame(rows, columns=names)
