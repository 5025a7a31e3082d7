"""Forecasts of many places at once: persistence, and as much of each part as past origins say it is worth.

Rows hold the past of all places of one market. Parts propose how a place departs from its newest value: the median of
its past, boosted trees on lags, and an attention network over its past and the other places. The share of each, from 0
to 1 with the rest at persistence, has the least error on the newest third of the training time, forecast from what was
known a horizon before it; where nothing moves, or training is too short to try, persistence stands.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from training.learner import Learner
from training.learners import _panel
from training.learners._group import Group
from training.learners._panel import Plan

CHUNK = 1000  # rows read at once


class PanelForecast(Learner):
    """Learns one blend for each pair of the columns `group` and `kind`; rows have `values` of `places` x `hours_ago`.

    `plans`: kind → how its series are read (the fields of `Plan`). The label holds, place by place, the value after
    each horizon, -1 where it is not known.

    `predict` gives for each row `forecast`, `low` and `high` (place by place, each horizon; -1 for a place whose newest
    value is not known; for chances the interval is empty), `forecast_1`… (their means over places) and `learnt`
    (samples the group was learnt from; 0: unknown group, no forecast). `newest` keeps the last row of each market.
    """

    FILE = "panel.json"

    def __init__(
        self,
        plans: Mapping[str, Mapping[str, Any]],
        group: str = "provider",
        kind: str = "kind",
        entity: str = "market",
        level: float = 0.9,
        seed: int = 0,
    ) -> None:
        self.config = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        self.plans = {name: Plan(**plan) for name, plan in plans.items()}
        self.group, self.kind, self.entity, self.level, self.seed = group, kind, entity, level, seed
        self.groups: dict[str, Group] = {}
        self.newest: dict[str, dict[str, Any]] = {}

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        self.groups, self.newest = {}, {}
        known = frame[frame[self.kind].isin(self.plans)].sort_values("time", kind="stable")
        for (group, kind), rows in known.groupby([self.group, self.kind], sort=True):
            plan = self.plans[str(kind)]
            rows = rows.reset_index(drop=True)
            samples = _panel.read(rows, plan)
            if len(samples.row):
                learnt = Group(plan, self.level, self.seed).fit(samples, _panel.truth(rows, label, plan))
                self.groups[f"{group}/{kind}"] = learnt
        for row in known.drop_duplicates(self.entity, keep="last").to_dict("records"):
            self.newest[str(row[self.entity])] = _kept(row, self.kind)
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        count = max((len(plan.ahead) for plan in self.plans.values()), default=1)
        found: dict[str, list[Any]] = {name: [None] * len(frame) for name in ("forecast", "low", "high")}
        numbers = np.full((len(frame), count + 1), np.nan)
        numbers[:, -1] = 0
        for places, rows, group in self._parts(frame):
            samples = _panel.read(rows, group.plan)
            told = dict(zip(found, group.intervals(samples), strict=True))
            begin, end = (np.searchsorted(samples.row, np.arange(len(rows)), side) for side in ("left", "right"))
            for number, (position, values, ago) in enumerate(
                zip(places, rows["values"], rows["hours_ago"], strict=True)
            ):
                part = slice(begin[number], end[number])
                keep = _panel.kept(values, ago)
                for name, values_of in told.items():
                    whole = np.full((len(keep), values_of.shape[1]), -1.0)
                    whole[keep] = values_of[part]
                    found[name][position] = whole.ravel()
                if part.stop > part.start:
                    numbers[position, : len(group.plan.ahead)] = told["forecast"][part].mean(axis=0)
                numbers[position, -1] = group.state["samples"]
        lists = {name: pd.Series(values, frame.index, dtype=object) for name, values in found.items()}
        columns = [*(f"forecast_{number}" for number in range(1, count + 1)), "learnt"]
        return pd.concat([frame[[self.kind]], pd.DataFrame(lists), pd.DataFrame(numbers, frame.index, columns)], axis=1)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """What moves the mean of the nearest horizon away from persistence: the places' own past, and the others'.

        In logarithms of the price (0.01: 1 % more), or in chance.
        """
        found = np.zeros((len(frame), 2))
        for places, rows, group in self._parts(frame):
            samples = _panel.read(rows, group.plan)
            if not len(samples.row):
                continue
            solitary = _panel.alone(samples, group.plan)._replace(row=np.arange(len(samples.row)))
            start = group.persistence(samples)[:, 0]
            whole, own = group.path(samples)[:, 0], group.path(solitary)[:, 0]
            effects = pd.DataFrame({"values": own - start, "places": whole - own}).groupby(samples.row).mean()
            found[places[effects.index.to_numpy()]] = effects.to_numpy()
        return pd.DataFrame(found, index=frame.index, columns=["values", "places"])

    def save(self, folder: Path) -> None:
        content = {
            "config": self.config,
            "groups": {name: group.state for name, group in self.groups.items()},
            "newest": self.newest,
        }
        (folder / self.FILE).write_text(json.dumps(content))
        for number, group in enumerate(self.groups.values()):
            group.save(folder / f"group-{number}")

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.newest = content["newest"]
        for number, (name, state) in enumerate(content["groups"].items()):
            plan = learner.plans[name.rpartition("/")[2]]
            learner.groups[name] = Group(plan, learner.level, learner.seed).load(folder / f"group-{number}", state)
        return learner

    def _parts(self, frame: pd.DataFrame) -> Iterator[tuple[np.ndarray, pd.DataFrame, Group]]:
        """(positions, rows, group) of the rows of each known group, some at a time."""
        keys = frame[self.group].astype(str) + "/" + frame[self.kind].astype(str)
        for name, places in keys.reset_index(drop=True).groupby(keys.to_numpy()).indices.items():
            for start in range(0, len(places), CHUNK):
                rows = np.asarray(places[start : start + CHUNK])
                if str(name) in self.groups:
                    yield rows, frame.iloc[rows].reset_index(drop=True), self.groups[str(name)]


def _kept(row: Mapping[Any, Any], kind: str) -> dict[str, Any]:
    """What is remembered of the last row of a market."""
    places: Sequence[str] = row["places"]
    newest = np.asarray(row["values"], dtype=float).reshape(len(places), -1)[:, -1:]
    values = newest[:, 0] if newest.size else np.full(len(places), -1.0)
    return {"kind": row[kind], "time": row["time"].isoformat(), "places": list(places), "values": values.tolist()}
