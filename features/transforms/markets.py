"""Markets of machines: what a type costs in every region of a cloud, or in which zones a spot machine can be had.

A market `<cloud>/<machine>/<kind>` arrives as metric points, one series per place (`instance_id`). A row holds the
recent past of all its places together, so that a place can be told from the others; it is known at its newest point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ConfigDict, Field, model_validator

from features.transforms._machines import size
from features.view import Columns, Frames, View, column

Floats = npt.NDArray[np.float64]
UNKNOWN = -1.0  # no value at that moment in that place
HOUR = pd.Timedelta(hours=1)


@dataclass(frozen=True)
class Clock:
    """Times of one kind of market, in hours. A row looks back `length` moments, `grain` or more apart."""

    grain: float
    length: int
    every: float  # between rows
    ahead: tuple[float, ...]  # horizons
    late: float  # how much later than a horizon its value may be measured


CLOCKS = {
    "cloud.machine.price": Clock(grain=24, length=90, every=96, ahead=(7 * 24.0, 30 * 24.0), late=48),
    "cloud.spot.available": Clock(grain=1 / 3, length=504, every=1 / 3, ahead=(1.0,), late=1 / 6),
}
EXAMPLE: dict[str, Any] = {
    "time": "2024-04-04T23:59:59Z",
    "market": "aws/m5.large/spot",
    "provider": "aws",
    "kind": "spot",
    "unit": "USD/h",
    "places": ["eu-west-1", "us-east-1"],
    "values": [0.036, 0.037, 0.0375, 0.038, 0.0385, 0.034, 0.034, 0.034, 0.0345, 0.0345],
    "hours_ago": [192, 144, 96, 48, 0],
    "vcpu": 2,
    "memory_gib": 8,
    "need_vcpu": 2,
    "need_memory_gib": 4,
    "clouds": ["aws", "gcp"],
    "spot_allowed": True,
}


class Market(Columns):
    """The recent past of one market, and what is asked of a placement."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})
    market: str = column("cloud/machine/kind", min_length=1)
    provider: str = column("the cloud", min_length=1)
    kind: str = column("what the values are: on_demand or spot (prices), available (1: a spot machine can be had)")
    unit: str = column("the unit of the values, UCUM", default="1")
    places: list[str] = column("regions or zones of the market", max_length=500)
    values: list[float] = column(f"place by place, oldest first; {UNKNOWN:g}: not known", "as `unit` says")
    hours_ago: list[float] = column("how long before `time` the values of each place were measured", "h")
    vcpu: float | None = column("virtual CPUs of the machine; null: its name does not tell", gt=0, default=None)
    memory_gib: float | None = column("memory of the machine", "GiBy", gt=0, default=None)
    need_vcpu: float | None = column("a placement needs at least; null: as the machine has", gt=0, default=None)
    need_memory_gib: float | None = column(
        "a placement needs at least; null: as the machine has", "GiBy", gt=0, default=None
    )
    clouds: list[str] = column("clouds that a placement may use; none: all", default=[])
    regions: list[str] = column("regions that a placement may use; none: all", default=[])
    spot_allowed: bool | None = column("whether a placement may use spot machines; null: yes", default=None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.values) != len(self.places) * len(self.hours_ago):
            raise ValueError(
                f"values has {len(self.values)} entries; {len(self.places)} places x {len(self.hours_ago)} moments "
                f"ask for {len(self.places) * len(self.hours_ago)}"
            )
        if len(set(self.places)) < len(self.places):
            raise ValueError("places names a place twice")
        ago = np.asarray(self.hours_ago)
        if len(ago) and (ago[-1] < 0 or (np.diff(ago) >= 0).any()):
            raise ValueError("hours_ago must fall from the oldest to the newest moment and not below 0")
        values = np.asarray(self.values)
        if (values[values != UNKNOWN] < 0).any() or (self.kind == "available" and (values > 1).any()):
            raise ValueError(f"values must not be negative, but for {UNKNOWN:g}, and availability is 0 to 1")
        return self


class MarketOutcome(Columns):
    """What came of the market after `time`."""

    market: str = column("cloud/machine/kind", min_length=1)
    newest_values: list[float] = column(f"place by place the newest value; {UNKNOWN:g}: not known", "as `unit` says")
    future: list[float] | None = Field(
        None,
        description="place by place the value after each horizon (7 and 30 days; 1 hour for availability); "
        f"{UNKNOWN:g}: not known; null: none is known",
    )


def histories(frames: Frames) -> pd.DataFrame:
    """Points → a row per market and `every` hours with the columns of `Market` and `dataset`."""
    rows = [row for panel in _panels(frames["metrics"]) for row in panel.rows()]
    found = pd.DataFrame(rows, columns=["dataset", *Market.model_fields])
    numbers = ("vcpu", "memory_gib", "need_vcpu", "need_memory_gib")
    return found.assign(
        time=pd.to_datetime(found["time"], utc=True).astype("datetime64[us, UTC]"),
        spot_allowed=found["spot_allowed"].astype(object),
        **{name: found[name].astype(float) for name in numbers},
    )


def outcomes(frames: Frames) -> pd.DataFrame:
    """Points → what came after each row of `histories`, with the columns of `MarketOutcome` and `dataset`."""
    rows = [row for panel in _panels(frames["metrics"]) for row in panel.futures()]
    found = pd.DataFrame(rows, columns=["dataset", *MarketOutcome.model_fields])
    return found.assign(time=pd.to_datetime(found["time"], utc=True).astype("datetime64[us, UTC]"))


@dataclass(frozen=True)
class _Panel:
    """One market: `values` are moments × places, NaN where there is no point; `hours` since 1970."""

    dataset: str
    market: str
    unit: str
    clock: Clock
    times: pd.DatetimeIndex
    places: list[str]
    values: Floats

    @cached_property
    def hours(self) -> Floats:
        return np.asarray((self.times - pd.Timestamp(0, tz="UTC")) / HOUR, dtype=float)

    def rows(self) -> Iterator[dict[str, Any]]:
        cloud, machine, kind = _parts(self.market)
        vcpu, memory = size(cloud, machine) or (None, None)
        constant = {"dataset": self.dataset, "market": self.market, "provider": cloud, "kind": kind, "unit": self.unit}
        asked = {"need_vcpu": None, "need_memory_gib": None, "spot_allowed": None}
        for newest, moments, known in self._asked():
            past = self.values[moments][:, known].T
            yield {
                **constant,
                **asked,
                "time": self.times[newest],
                "places": [self.places[place] for place in known],
                "values": np.where(np.isnan(past), UNKNOWN, past).ravel(),
                "hours_ago": np.round(self.hours[newest] - self.hours[moments], 4),
                "vcpu": vcpu,
                "memory_gib": memory,
                "clouds": [],
                "regions": [],
            }

    def futures(self) -> Iterator[list[Any]]:
        hours = self.hours
        for newest, _, known in self._asked():
            future = np.full((len(known), len(self.clock.ahead)), np.nan)
            for number, ahead in enumerate(self.clock.ahead):
                due = hours[newest] + ahead
                place = int(np.searchsorted(hours, due - 1e-6))
                if place < len(hours) and hours[place] <= due + self.clock.late:
                    future[:, number] = self.values[place, known]
            none = bool(np.isnan(future).all())
            told = None if none else np.where(np.isnan(future), UNKNOWN, future).ravel()
            now = np.where(np.isnan(self.values[newest, known]), UNKNOWN, self.values[newest, known])
            yield [self.dataset, self.times[newest], self.market, now, told]

    def _asked(self) -> Iterator[tuple[int, npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
        """For each row its moment, the moments of its past, oldest first, and the places known in them."""
        hours, clock = self.hours, self.clock
        turn = np.floor(hours / clock.every)
        for newest in np.flatnonzero(np.diff(turn, prepend=turn[0] - 1) > 0):
            grid = hours[newest] - clock.grain * np.arange(clock.length)
            at = np.searchsorted(hours, grid + 1e-6, side="right") - 1
            moments = np.unique(at[at >= 0])
            moments = moments[hours[moments] >= grid[-1] - clock.grain]  # a gap is not bridged
            known = np.flatnonzero((~np.isnan(self.values[moments])).any(axis=0))
            if len(known):
                yield int(newest), moments, known


def _panels(points: pd.DataFrame) -> Iterator[_Panel]:
    points = points.sort_values("time", kind="stable")
    for (dataset, market), part in points.groupby(["dataset", "service_name"], sort=True):
        clock = CLOCKS[part["metric_name"].iloc[0]]
        table = part.pivot_table(index="time", columns="instance_id", values="value", aggfunc="last", sort=True)
        times = pd.DatetimeIndex(table.index).tz_convert("UTC")
        unit = part["unit"].iloc[0] or "1"
        yield _Panel(str(dataset), str(market), unit, clock, times, [*map(str, table.columns)], table.to_numpy(float))


def _parts(market: str) -> tuple[str, str, str]:
    """cloud, machine, kind"""
    cloud, _, rest = market.partition("/")
    machine, _, kind = rest.rpartition("/")
    return cloud, machine, kind


_READS = {"metrics": {"metric_name": tuple(CLOCKS)}}
MARKETS = View(
    name="machine_markets",
    entity="market",
    columns=Market,
    reads=_READS,
    keys={"metrics": "service_name"},
    transform=histories,
    ttl=timedelta(days=9),
    description="Prices or spot availability of a machine type in all places of a cloud, with their recent past.",
)
MARKET_OUTCOMES = View(
    name="machine_market_outcomes",
    entity="market",
    columns=MarketOutcome,
    reads=_READS,
    keys={"metrics": "service_name"},
    transform=outcomes,
    ttl=timedelta(days=9),
    online=False,
    description="Labels: the values a week and a month later, or an hour later for availability.",
)
