"""Searching a table of measured configurations: what to measure next, given what has been measured."""

from __future__ import annotations

import json
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from infra.errors import DataError
from training.learner import Learner
from training.learners._surrogate import Belief, Floats, believe, scaled

LEAST_SPREAD = 0.05  # log performance: what a task is expected to vary by when nothing is known
STARTS = 3  # random ones, where nothing is known
POOL = 400  # configurations kept of a set of knobs
FEWEST = 5  # earlier tasks a prior is made from: on inner folds five helped, and one misled


@dataclass(frozen=True)
class State:
    """One task under way. Outcomes are log gains over the baseline: 0.1 is about 10 % better."""

    candidates: Floats  # rows × knobs
    tried: npt.NDArray[np.int64]  # rows of `candidates`, oldest first
    outcomes: Floats
    noise: float
    left: int  # trials
    prior: Floats | None = None  # expected log gain of each candidate, from other tasks with the same knobs
    draw: int = 0  # which of several independent searches this is
    x: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def open(self) -> npt.NDArray[np.bool_]:
        """Candidates not tried yet."""
        free = np.ones(len(self.candidates), dtype=bool)
        free[self.tried] = False
        return free

    def cold(self) -> bool:
        """Whether nothing is known yet to search by."""
        return self.prior is None and len(self.tried) < STARTS

    def best(self) -> float:
        """The best so far; the baseline counts."""
        return float(max(0.0, self.outcomes.max(initial=0.0)))

    def belief(self, with_prior: bool) -> Belief:
        """What is expected of each candidate."""
        known = self.prior if with_prior and self.prior is not None else None
        mean = np.zeros(len(self.candidates)) if known is None else known
        spread = max(LEAST_SPREAD, float(mean.std()))
        if known is None and len(self.outcomes) > 1:
            mean, spread = mean + self.outcomes.mean(), max(LEAST_SPREAD, float(self.outcomes.std()))
        return believe(self.x, self.tried, self.outcomes, self.noise, mean, spread)

    def after(self, choice: int, outcome: float) -> State:
        """This state with one more measurement."""
        tried = np.append(self.tried, choice)
        return replace(self, tried=tried, outcomes=np.append(self.outcomes, outcome), left=self.left - 1)


class Search(Learner):
    """Base of the searches; subclasses choose.

    `fit` keeps, for each set of knobs, the mean log gain of every configuration over the training tasks: the prior, and
    the pool that stands in where a row names no candidates. `predict` gives for each row `gain` (the best outcome so
    far, a log gain), `expected` (of the next one), `spread`, `promise` (expected improvement), `known` (whether there
    are candidates), `next` (the values to try) and `best` (those of the best so far; the present ones when none is).
    """

    FILE = "search.json"
    PRIOR: ClassVar[bool] = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.pools: dict[str, dict[str, Any]] = {}

    @abstractmethod
    def choose(self, state: State) -> int:
        """The row of `state.candidates` to measure next; some are open."""

    def fit(self, frame: pd.DataFrame, label: str) -> Self:
        known = frame[frame[label].notna()]
        if known.empty:
            raise DataError(f"{label}: no configuration was measured")
        space = pd.Series(spaces(known), known.index)
        self.pools = {str(name): pool(part, gains(part, label)) for name, part in known.groupby(space)}
        return self

    def start(self, rows: pd.DataFrame, trials: int) -> State:
        """The state of one task whose candidates are the configurations of `rows`."""
        return self._state(np.stack(rows["values"].map(np.asarray).to_list()), rows.iloc[0], trials)

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(list(map(self._scored, *self._grouped(frame))), index=frame.index)

    def contributions(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Of each knob, what the expected log gain of the next configuration owes to it (others as they are)."""
        return pd.DataFrame(list(map(self._effects, *self._grouped(frame))), index=frame.index).fillna(0.0)

    def prior(self, space: str, candidates: Floats) -> Floats | None:
        """Expected log gain of each candidate from tasks with the same knobs; None when there were too few."""
        if self.pools.get(space, {"tasks": 0})["tasks"] < FEWEST:
            return None
        values, mean = (np.asarray(self.pools[space][name], dtype=float) for name in ("values", "gain"))
        x = np.concatenate([scaled(values, values), scaled(values, candidates)])
        own = believe(x, np.arange(len(values)), mean - mean.mean(), 0.02, np.zeros(len(x)), max(0.02, mean.std()))
        return own.mean[len(values) :] + mean.mean()

    def _grouped(self, frame: pd.DataFrame) -> tuple[list[Any], list[Any]]:
        """The rows, and for each one the state with its choice; rows with the same history share it."""
        known: dict[bytes, tuple[State | None, int]] = {}
        states = []
        spaces_of = spaces(frame)
        rows = list(frame.itertuples())
        lists = ("tried", "outcomes", "candidates")
        for row, space in zip(rows, spaces_of, strict=True):
            parts = [np.asarray(getattr(row, name), dtype=float).tobytes() for name in lists]
            numbers = f"{space}|{row.baseline}|{row.higher_is_better}|{row.noise}|{row.trials_left}|".encode()
            key = numbers + b"|".join(parts)
            if key not in known:
                known[key] = self._asked(row, space)
            states.append(known[key])
        return rows, states

    def _asked(self, row: Any, space: str) -> tuple[State | None, int]:
        width = len(row.knobs)
        pooled = self.pools.get(space, {"values": []})["values"]
        given = np.asarray(row.candidates if len(row.candidates) else pooled, dtype=float)
        if not width or not given.size:
            return None, -1
        tried = np.asarray(row.tried, dtype=float).reshape(-1, width)
        candidates = np.unique(np.concatenate([given.reshape(-1, width), tried]), axis=0)
        at = [int(np.flatnonzero((candidates == values).all(axis=1))[0]) for values in tried]
        state = self._state(candidates, row, row.trials_left)
        sign = 1 if row.higher_is_better else -1
        outcomes = sign * np.log(np.asarray(row.outcomes, dtype=float) / row.baseline)
        state = replace(state, tried=np.array(at, dtype=np.int64), outcomes=outcomes)
        return state, self.choose(state) if state.open().any() else -1

    def _state(self, candidates: Floats, row: Any, trials: int) -> State:
        space = name_of(row.knobs)
        prior = self.prior(space, candidates) if self.PRIOR else None
        nothing = np.array([], dtype=np.int64)
        x = scaled(candidates, candidates)
        return State(candidates, nothing, np.array([]), row.noise, trials, prior, x=x)

    def _scored(self, row: Any, asked: tuple[State | None, int]) -> dict[str, Any]:
        state, choice = asked
        present = list(map(float, row.values))
        scores = {"gain": 0.0, "expected": np.nan, "spread": np.nan, "promise": 0.0, "known": state is not None,
                  "next": None, "best": present}  # fmt: skip
        if state is None:
            return scores
        if state.best() > 0:
            scores |= {"gain": state.best(), "best": state.candidates[state.tried[state.outcomes.argmax()]].tolist()}
        if choice >= 0:
            belief = state.belief(self.PRIOR)
            promise = belief.improvement(state.best())[state.open()].max()
            scores |= {"expected": belief.mean[choice], "spread": belief.spread[choice], "promise": promise}
            scores["next"] = state.candidates[choice].tolist()
        return scores

    def _effects(self, row: Any, asked: tuple[State | None, int]) -> dict[str, float]:
        state, choice = asked
        if state is None or choice < 0:
            return {}
        chosen = state.candidates[choice]
        swapped = np.tile(chosen, (len(chosen), 1))
        np.fill_diagonal(swapped, np.asarray(row.values, dtype=float))
        both = np.concatenate([state.candidates, swapped])
        again = self._state(both, row, state.left)
        again = replace(again, tried=state.tried, outcomes=state.outcomes)
        mean = again.belief(self.PRIOR).mean
        effects = mean[choice] - mean[len(state.candidates) :]
        return dict(zip(row.knobs, effects.tolist(), strict=True))

    def save(self, folder: Path) -> None:
        (folder / self.FILE).write_text(json.dumps({"config": self.config(), "pools": self.pools}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        content = json.loads((folder / cls.FILE).read_text())
        learner = cls(**content["config"])
        learner.pools = content["pools"]
        return learner

    def config(self) -> dict[str, Any]:
        """The keyword arguments that make this learner again."""
        return {"seed": self.seed}


class RandomSearch(Search):
    """Any configuration that was not measured yet."""

    def choose(self, state: State) -> int:
        random = np.random.default_rng([self.seed, state.draw, len(state.tried)])
        return int(random.choice(np.flatnonzero(state.open())))


class BayesianSearch(Search):
    """Expected improvement under a Gaussian process, after three random starts (Snoek et al., NeurIPS 2012)."""

    def choose(self, state: State) -> int:
        if len(state.tried) < STARTS:
            return RandomSearch(self.seed).choose(state)
        return pick(state, state.belief(with_prior=False).improvement(state.best()))


class TransferSearch(Search):
    """Expected improvement with the prior of earlier tasks: the policy's machinery without a policy."""

    PRIOR = True

    def choose(self, state: State) -> int:
        if state.cold():
            return RandomSearch(self.seed).choose(state)
        return pick(state, state.belief(with_prior=True).improvement(state.best()))


def pick(state: State, worth: Floats) -> int:
    """The open candidate that is worth most."""
    return int(np.where(state.open(), worth, -np.inf).argmax())


def gains(rows: pd.DataFrame, label: str) -> Floats:
    """Log gain of each row over its baseline: positive is better."""
    ratio = np.log(rows[label].to_numpy("float64") / rows["baseline"].to_numpy("float64"))
    return np.asarray(np.where(rows["higher_is_better"].to_numpy(bool), ratio, -ratio))


def spaces(rows: pd.DataFrame) -> list[str]:
    """For each row, the name of its set of knobs."""
    return list(map(name_of, rows["knobs"]))


def name_of(knobs: Any) -> str:
    """Systems whose knobs have the same names share what was learnt of them."""
    return json.dumps(list(map(str, knobs)))


def pool(rows: pd.DataFrame, gain: Floats) -> dict[str, Any]:
    """Distinct configurations and their mean log gain, evenly thinned to `POOL`; how many tasks they are from."""
    values = np.stack(rows["values"].map(np.asarray).to_list()).astype(float)
    distinct, at = np.unique(values, axis=0, return_inverse=True)
    mean = np.bincount(at.ravel(), gain) / np.bincount(at.ravel())
    kept = np.unique(np.linspace(0, len(distinct) - 1, min(POOL, len(distinct))).astype(int))
    return {"values": distinct[kept].tolist(), "gain": mean[kept].tolist(), "tasks": rows["task"].nunique()}
