"""The small shop of `features.demo.rca_nezha`, and what its users felt: the latency of all that they wait for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from features.demo import rca_nezha


def write(target: Path, random: np.random.Generator) -> None:
    """One day in the layout of `features.sources.nezha_online_boutique`."""
    rca_nezha.write(target, random)
    tables = [pd.read_csv(path) for path in sorted(target.rglob("*_metric.csv"))]
    folder = next(target.rglob("*_metric.csv")).parent
    front = tables[0][["TimeStamp"]].assign(ServiceName="Frontend")
    front["SuccessRate(%)"] = 100.0
    front["LatencyP90(s)"] = sum(table["PodServerLatencyP90(s)"] for table in tables)
    front.to_csv(folder / "front_service.csv", index=False)
