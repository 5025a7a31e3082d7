"""What unsupervised detectors share: one state an instance, metrics matched by name, a threshold by rate of alarms.

`predict` gives, for each row:

    score      how unusual the row is, over the instance's threshold: 1 is where an alarm begins; null: cannot tell
    threshold  1 where there is a score
    learnt     rows that the instance's state was learnt from; 0: unknown instance
    metrics    names of the metrics, the one that adds most to the score first
    effects    what each of them adds, in units of the score
    related    instances that moved with this one in training, strongest first
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.errors import DataError
from training.learner import Learner

Floats = npt.NDArray[np.float64]
Inputs = Mapping[str, Floats]  # input → (rows × metrics), NaN where a row lacks a metric

FEWEST = 30  # rows below which nothing is learnt of an instance
VALIDATION = 0.3  # the last part of the training rows, from which the threshold is taken
HOUR = 3600.0
RELATED = 0.3  # rank correlation of two instances' scores from which they count as related


@dataclass
class State:
    """What was learnt of one instance: `arrays` are the learner's own."""

    metrics: list[str]
    rows: int
    threshold: float
    arrays: dict[str, Floats]
    related: list[str] = field(default_factory=list)


class Detector(Learner):
    """Base of the detectors. Subclasses write `inputs`, `estimate` and `effects`.

    `alarms_per_day`: hours with an alarm that the validation part may have, a day. That part is not labelled and holds
    true anomalies too, so this is more than the false alarms to expect.
    """

    inputs: tuple[str, ...] = ("values",)

    def __init__(self, alarms_per_day: float = 1.5) -> None:
        self.alarms_per_day = alarms_per_day
        self.states: dict[str, State] = {}

    @abstractmethod
    def estimate(self, inputs: Inputs) -> dict[str, Floats]:
        """The state of one instance, from its rows in order of time."""

    @abstractmethod
    def effects(self, arrays: Mapping[str, Floats], inputs: Inputs) -> Floats:
        """What each metric adds to each row's score: rows × metrics, not negative, 0 where the value is missing."""

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        """Learn each instance by itself. Rows that the label calls anomalous are left out; no other use of labels."""
        known = frame[~frame[label].eq(True).fillna(False).to_numpy(bool)] if label in frame else frame
        self.states, scores = {}, {}
        for instance, part in known.groupby("instance", sort=True):
            if len(part) >= FEWEST:
                part = part.sort_values("time", kind="stable")
                state, score = self._learn(part)
                self.states[str(instance)] = state
                scores[str(instance)] = pd.Series(np.log1p(score), part["time"])
        for instance, names in _related(scores).items():
            self.states[instance].related = names
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        """See the head of the file. A row's answer depends on that row alone."""
        columns: dict[str, list[Any]] = {name: [None] * len(frame) for name in ("metrics", "effects", "related")}
        score, learnt = np.full(len(frame), np.nan), np.zeros(len(frame))
        for places, state in self._known(frame):
            effects = self._effects(state, frame.iloc[places]) / state.threshold
            score[places], learnt[places] = effects.sum(axis=1), state.rows
            order = np.argsort(-effects, axis=1, kind="stable")
            names = np.array(state.metrics, dtype=object)[order]
            sizes = np.take_along_axis(effects, order, axis=1)
            for place, name, size in zip(places, names, sizes, strict=True):
                columns["metrics"][place], columns["effects"][place] = name, size
                columns["related"][place] = state.related
        threshold = np.where(np.isnan(score), np.nan, 1.0)
        return pd.DataFrame({"score": score, "threshold": threshold, "learnt": learnt, **columns}, frame.index)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """What each metric adds to the score of each row; one column a metric, NaN where the row has none."""
        parts = [
            pd.DataFrame(self._effects(state, part := frame.iloc[places]) / state.threshold, part.index, state.metrics)
            for places, state in self._known(frame)
        ]
        return (pd.concat(parts) if parts else pd.DataFrame()).reindex(frame.index)

    def save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        names = sorted(self.states)
        tensors = {
            f"{n}/{key}": array for n, name in enumerate(names) for key, array in self.states[name].arrays.items()
        }
        save_file({key: np.ascontiguousarray(array) for key, array in tensors.items()}, folder / "states.safetensors")
        facts = {name: {k: v for k, v in vars(self.states[name]).items() if k != "arrays"} for name in names}
        content = {"alarms_per_day": self.alarms_per_day, "states": facts}
        (folder / "detector.json").write_text(json.dumps(content, indent=1))

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.numpy import load_file

        content = json.loads((folder / "detector.json").read_text())
        learner, tensors = cls(content["alarms_per_day"]), load_file(folder / "states.safetensors")
        for number, (name, facts) in enumerate(sorted(content["states"].items())):
            prefix = f"{number}/"
            arrays = {key.removeprefix(prefix): a for key, a in tensors.items() if key.startswith(prefix)}
            learner.states[name] = State(**facts, arrays=arrays)
        return learner

    def _learn(self, part: pd.DataFrame) -> tuple[State, Floats]:
        """The state of one instance, and the score of each of its rows."""
        metrics = sorted({str(name) for names in _kinds(part["metrics"]) for name in names})
        inputs = self._inputs(part, metrics)
        arrays = self.estimate(inputs)
        score = self.effects(arrays, inputs).sum(axis=1)
        step = float(part["step"].iloc[-1])
        return State(metrics, len(part), threshold(score, step, self.alarms_per_day), arrays), score

    def _effects(self, state: State, part: pd.DataFrame) -> Floats:
        return self.effects(state.arrays, self._inputs(part, state.metrics))

    def _inputs(self, part: pd.DataFrame, metrics: Sequence[str]) -> dict[str, Floats]:
        """The lists of `part` as matrices whose columns are `metrics`; other metrics are left out."""
        found = {name: np.full((len(part), len(metrics)), np.nan) for name in self.inputs}
        place = {name: number for number, name in enumerate(metrics)}
        for names, rows in _kinds(part["metrics"]).items():
            taken = [number for number, name in enumerate(names) if name in place]
            columns = [place[names[number]] for number in taken]
            for name in self.inputs:
                matrix = np.array(part[name].iloc[rows].tolist(), dtype=float)
                found[name][rows[:, None], columns] = matrix[:, taken]
        return found

    def _known(self, frame: pd.DataFrame) -> Iterator[tuple[npt.NDArray[np.int64], State]]:
        """(positions, state) of each instance that was learnt."""
        for instance, places in frame.groupby("instance", sort=True).indices.items():
            if str(instance) in self.states:
                yield np.sort(places), self.states[str(instance)]


def threshold(score: Floats, step: float, alarms_per_day: float) -> float:
    """The score above which the validation part has `alarms_per_day` hours with an alarm; rows are `step` s apart.

    Where the whole history is too short to count so few, the tail of all scores is extended to the wanted rate as a
    Pareto tail (Hill, "A simple general approach to inference about the tail of a distribution", 1975).
    """
    last = score[-max(1, int(len(score) * VALIDATION)) :]
    allowed = int(alarms_per_day * len(last) * step / 86400)
    if allowed >= 1:
        rows = max(1, round(HOUR / step))
        hours = [last[begin : begin + rows].max() for begin in range(0, len(last), rows)]
        return max(float(np.sort(hours)[::-1][min(allowed, len(hours) - 1)]), 1e-9)
    start = max(float(np.quantile(score, 0.9)), 1e-9)
    tail = score[score > start]
    shape = float(np.mean(np.log(tail / start))) if len(tail) else 0.0
    wanted = min(0.1, alarms_per_day * step / 86400)
    return start * (0.1 / wanted) ** shape


def _kinds(names: pd.Series) -> dict[tuple[str, ...], npt.NDArray[np.int64]]:
    """Metric names → positions of the rows that have these, in this order."""
    kinds: dict[tuple[str, ...], list[int]] = {}
    for place, metrics in enumerate(names):
        kinds.setdefault(tuple(metrics), []).append(place)
    return {kind: np.array(places) for kind, places in kinds.items()}


def _related(scores: Mapping[str, pd.Series]) -> dict[str, list[str]]:
    """For each instance those whose scores rose and fell with it, strongest first."""
    if not scores:
        raise DataError(f"no instance has {FEWEST} rows to learn from; collect more history first")
    if len(scores) == 1:
        return {name: [] for name in scores}
    together = pd.DataFrame({name: score[~score.index.duplicated()] for name, score in scores.items()})
    ranks = together.rank().corr(min_periods=FEWEST)
    return {
        str(name): [str(o) for o in row.drop(name).dropna().sort_values(ascending=False).index if row[o] >= RELATED]
        for name, row in ranks.iterrows()
    }
