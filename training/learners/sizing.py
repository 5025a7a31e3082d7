"""Requests from figures of past use: the largest of several statistics, each times its own factor."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.errors import DataError
from training.learner import Learner

Floats = npt.NDArray[np.float64]
SMALLEST = 1e-4  # of the capacity: what less use than this is taken for
BINS = 20


class Sizing(Learner):
    """request = max over statistics of factor × statistic, within (`p50`, `capacity`], held within a band.

    For each of `resources` the frame has `<resource>_<statistic>`, `<resource>_capacity` and `<resource>_request` (the
    present request, null for none). Requests stay as they are while every resource's wish lies at or below its request
    and above (1 − `band`) of it; else all of them are set. With `hour` (0..23, UTC) they are set in that hour only.

    `predict` gives, for each resource, `<resource>_limit`, `<resource>_capacity` as given, and `<resource>_risk`: the
    share of samples that were above the limit in training where it lay as far above the last hour's peak.
    """

    FILE = "sizing.json"

    def __init__(
        self,
        factors: Mapping[str, float] | None = None,
        band: float = 0.0,
        hour: int | None = None,
        resources: Sequence[str] = ("cpu", "memory"),
    ) -> None:
        self.factors, self.band, self.hour = dict(factors or {}), band, hour
        self.resources = list(resources)
        self.state: dict[str, Any] = {"risk": {}}

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        """Learn the risk of a headroom; the label of a row is a list: use of the first resource, then of the next."""
        known = frame[frame[label].notna()]
        if known.empty:
            raise DataError(f"{label}: no row has a measured use to learn from")
        limit = self._bounded(known, self.wish(known))
        uses, row = exploded(known[label], len(self.resources))
        for number, (resource, use) in enumerate(zip(self.resources, uses, strict=True)):
            over = np.bincount(row, use > limit[row, number] * (1 + 1e-6), len(known)) / np.bincount(row).clip(1)
            self.state["risk"][resource] = _falling(self._headroom(known, resource, limit[:, number]), over)
        return self

    def wish(self, frame: pd.DataFrame) -> Floats:
        """Rows × resources: what would be set now."""
        wishes = []
        for resource in self.resources:
            statistics = [self.statistic(frame, resource, name) * factor for name, factor in self.factors.items()]
            wishes.append(np.max(statistics, axis=0))
        return np.stack(wishes, axis=1)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        present = np.minimum(self.columns(frame, "request"), self.columns(frame, "capacity"))
        new = held(self._bounded(frame, self.wish(frame)), present, self.band, self._may_decide(frame))
        return self._scores(frame, new)

    def replayed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`predict` hour by hour, where what was decided for a `workload` is its request in its next row."""
        wish, capacity = self._bounded(frame, self.wish(frame)), self.columns(frame, "capacity")
        may, workload = self._may_decide(frame), pd.factorize(frame["workload"])[0]
        current, new = np.full((len(frame), len(self.resources)), np.nan), np.empty_like(wish)
        for at in frame.reset_index(drop=True).groupby("time", sort=True).indices.values():
            present = np.minimum(current[workload[at]], capacity[at])
            new[at] = current[workload[at]] = held(wish[at], present, self.band, may[at])
        return self._scores(frame, new)

    def _scores(self, frame: pd.DataFrame, new: Floats) -> pd.DataFrame:
        scores: dict[str, Floats] = {}
        for number, resource in enumerate(self.resources):
            scores[f"{resource}_limit"] = new[:, number]
            scores[f"{resource}_capacity"] = frame[f"{resource}_capacity"].to_numpy("float64")
            headroom = self._headroom(frame, resource, new[:, number])
            scores[f"{resource}_risk"] = np.interp(headroom, *self.state["risk"][resource])
        return pd.DataFrame(scores, index=frame.index)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Of each statistic, the share of the capacity that the wish would fall without it."""
        effects: dict[str, Floats] = {}
        for number, resource in enumerate(self.resources):
            capacity = frame[f"{resource}_capacity"].to_numpy("float64")
            whole = self.wish(frame)[:, number]
            for name in self.factors:
                column = f"{resource}_{name}"
                less = self.wish(frame.assign(**{column: 0.0}))[:, number]
                effects[column] = (whole - less) / capacity
        return pd.DataFrame(effects, index=frame.index)

    def _bounded(self, frame: pd.DataFrame, wish: Floats) -> Floats:
        capacity = self.columns(frame, "capacity")
        return np.clip(wish, np.maximum(self.columns(frame, "p50"), SMALLEST * capacity), capacity)

    def _headroom(self, frame: pd.DataFrame, resource: str, limit: Floats) -> Floats:
        """How far the limit lies above what was used in the last hour, as a logarithm."""
        return np.asarray(np.log(limit) - np.log(self.statistic(frame, resource, "peak_1h")))

    def columns(self, frame: pd.DataFrame, name: str) -> Floats:
        """Rows × resources of `<resource>_<name>`."""
        return frame[[f"{resource}_{name}" for resource in self.resources]].to_numpy("float64", na_value=np.nan)

    def statistic(self, frame: pd.DataFrame, resource: str, name: str) -> Floats:
        """`<resource>_<name>`, but never nothing: a ten-thousandth of the capacity at least."""
        values, capacity = (
            frame[f"{resource}_{each}"].to_numpy("float64", na_value=np.nan) for each in (name, "capacity")
        )
        return np.maximum(values, SMALLEST * capacity)

    def _may_decide(self, frame: pd.DataFrame) -> npt.NDArray[np.bool_]:
        if self.hour is None:
            return np.ones(len(frame), dtype=bool)
        return np.asarray(pd.to_datetime(frame["time"], utc=True).dt.hour == self.hour)

    def config(self) -> dict[str, Any]:
        """The keyword arguments that make this learner again."""
        return {"factors": self.factors, "band": self.band, "hour": self.hour, "resources": self.resources}

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_text(json.dumps({"config": self.config(), "state": self.state}, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.state = content["state"]
        return learner


def held(wish: Floats, current: Floats, band: float, may_decide: npt.NDArray[np.bool_] | bool = True) -> Floats:
    """... × resources: `wish` where any resource must rise or may fall by more than `band`, else `current`."""
    unset = np.isnan(current).any(axis=-1)
    moved = ((wish > current) | (wish < current * (1 - band))).any(axis=-1)
    return np.where(np.expand_dims(unset | (moved & may_decide), -1), wish, current)


def _falling(headroom: Floats, rate: Floats) -> list[list[float]]:
    """Mean headroom and rate of equally filled bins; the rate never rises with the headroom (isotonic regression)."""
    from sklearn.isotonic import IsotonicRegression

    order = np.argsort(headroom, kind="stable")
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    middle = np.array([headroom[part].mean() for part in bins])
    rates = np.array([rate[part].mean() for part in bins])
    sizes = np.array([len(part) for part in bins], dtype=float)
    known, first = np.unique(middle, return_index=True)
    fitted = IsotonicRegression(increasing=False).fit(middle, rates, sizes).predict(middle)
    return [known.tolist(), fitted[first].tolist()]


def exploded(label: pd.Series, parts: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """`parts` × samples: the equal pieces of every list, end to end; and the position of each sample's row."""
    whole = np.fromiter(map(len, label), dtype=np.int64, count=len(label))
    lengths, begins = whole // parts, np.cumsum(whole) - whole
    row = np.repeat(np.arange(len(label)), lengths)
    first = (begins - (np.cumsum(lengths) - lengths))[row] + np.arange(len(row))
    values = np.concatenate(label.to_list()).astype("float64")
    return np.stack([values[first + part * lengths[row]] for part in range(parts)]), row
