"""The cheapest place for a machine under constraints: a rule over the newest known prices, nothing learnt.

Prices are those of the request's own rows, and for all other markets the newest of the training data. What must hold:
vCPU and memory at least as asked, cloud and region among those allowed, spot only where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from features.transforms._machines import size
from features.transforms.markets import Market

COLUMNS = ("market", "cloud", "machine", "kind", "place", "price", "known_at", "vcpu", "memory_gib")
POLICY = (
    "rule: lowest newest known price (this request's rows before training's) among machines with at least the vCPU and "
    "memory asked for, in the clouds and regions allowed, spot only if allowed; machines whose name does not tell "
    "their size are left out; availability is not guaranteed"
)


class Placement(BaseModel):
    """Where a machine can be had at what price."""

    model_config = ConfigDict(frozen=True)
    market: str
    cloud: str
    machine: str
    kind: str
    place: str
    price: float
    known_at: str
    vcpu: float
    memory_gib: float


def catalogue(learnt: Mapping[str, Mapping[str, Any]], rows: Iterable[Market]) -> pd.DataFrame:
    """Every known price of a machine of known size, one row each, columns `COLUMNS`, cheapest first."""
    markets: dict[str, tuple[str, str, Sequence[str], Any]]
    markets = {name: (entry["kind"], entry["time"], entry["places"], entry["values"]) for name, entry in learnt.items()}
    for row in sorted(rows, key=lambda row: row.time):
        if row.hours_ago:
            newest = np.asarray(row.values).reshape(len(row.places), len(row.hours_ago))[:, -1]
            markets[row.market] = (row.kind, row.time.isoformat(), row.places, newest)
    found = []
    for market, (kind, time, places, values) in markets.items():
        cloud, _, rest = market.partition("/")
        machine = rest.rpartition("/")[0]
        if kind == "available" or (known := size(cloud, machine)) is None:
            continue
        found += [
            (market, cloud, machine, kind, place, float(value), time, *known)
            for place, value in zip(places, values, strict=True)
            if value > 0
        ]
    return pd.DataFrame(found, columns=list(COLUMNS)).sort_values(["price", "market", "place"], kind="stable")


def cheapest(known: pd.DataFrame, row: Market, count: int) -> list[Placement]:
    """The `count` cheapest entries of a `catalogue` that hold what `row` asks; none when its need is not known."""
    vcpu, memory = row.need_vcpu or row.vcpu, row.need_memory_gib or row.memory_gib
    if vcpu is None and memory is None:
        return []
    fits = (known["vcpu"] >= (vcpu or 0)) & (known["memory_gib"] >= (memory or 0))
    for column, allowed in (("cloud", row.clouds), ("place", row.regions)):
        fits &= _among(known[column], allowed)
    if row.spot_allowed is False:
        fits &= known["kind"] != "spot"
    return [
        Placement(**{str(name): value for name, value in entry.items()})
        for entry in known[fits].head(count).to_dict("records")
    ]


def _among(values: pd.Series, allowed: Sequence[str]) -> pd.Series:
    return values.isin(allowed) if allowed else pd.Series(True, values.index)
