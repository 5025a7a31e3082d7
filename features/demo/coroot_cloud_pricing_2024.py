"""Price lists in which spot prices drift, on-demand prices flip between two tenancies, and one cloud hardly moves."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.sources.coroot_cloud_pricing_2024 import CLOUDS, chosen

_DAYS, _FIRST = 80, "2024-01-15"
_FAMILIES = ("c5", "m5", "r5", "m6i", "c6g")
_NAMES = {
    "aws": [f"{family}.{times}xlarge" for family in _FAMILIES for times in range(2, 33)],
    "azure": [f"Standard_{family}{cores}s_v{v}" for family in "DE" for cores in range(2, 65, 2) for v in (3, 4, 5)],
    "gcp": [f"n2-{kind}-{cores}" for kind in ("standard", "highmem", "highcpu") for cores in range(2, 130, 2)],
}
_REGIONS = {
    "aws": "us-east-1 us-west-2 eu-west-1 eu-central-1",
    "azure": "eastus westeurope",
    "gcp": "us-central1 europe-west4",
}


def write(target: Path, random: np.random.Generator) -> None:
    content: dict[int, Any] = {day: {cloud: {"compute": {}} for cloud in CLOUDS} for day in range(0, _DAYS + 1, 2)}
    for cloud in CLOUDS:
        machines = [name for name in _NAMES[cloud] if chosen(name)]
        for region in _REGIONS[cloud].split():
            spot = {name: _spot(cloud, random) for name in machines}
            for day, snapshot in content.items():
                snapshot[cloud]["compute"][region] = {
                    name: {"on_demand": _on_demand(cloud, random), "spot": round(float(spot[name][day]), 5)}
                    for name in machines
                }
    for day, snapshot in content.items():
        date = (pd.Timestamp(_FIRST) + pd.Timedelta(days=day)).date()
        packed = gzip.compress(json.dumps(snapshot).encode(), mtime=0)
        (target / f"cloud-pricing_{date}.json.gz").write_bytes(packed)


def _spot(cloud: str, random: np.random.Generator) -> np.ndarray:
    """A price a day. That of AWS keeps its drift for weeks; the others change once."""
    if cloud == "aws":
        drift = np.repeat(random.normal(0, 0.006, _DAYS // 20 + 1), 20)[: _DAYS + 1]
        return np.asarray(0.3 * np.exp(np.cumsum(drift + random.normal(0, 0.001, _DAYS + 1))))
    return np.where(np.arange(_DAYS + 1) < random.integers(5, 300), 0.2, 0.22)


def _on_demand(cloud: str, random: np.random.Generator) -> float:
    return 1.1 if cloud != "gcp" and random.random() < 0.1 else 1.0
