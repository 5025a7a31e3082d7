"""The model and its baselines on the same folds: one tidy frame of figures, and their means with 95 % intervals.

How an interval is found is told in `training.intervals`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from infra.errors import DataError
from training import checks, intervals, probes
from training.intervals import DRAWS, MEAN, SECONDS
from training.learner import Learner
from training.model import Fold, Model, Spec

MODEL = "model"
SYSTEM = 5  # times fewer draws of a system, whose every draw measures all of its parts
Progress = Callable[[str, float], None]  # what is being done; share of the work done, 0..1
Folds = Callable[[int], Iterable[Fold]]  # seed → the folds
Contenders = Mapping[str, Callable[[int], Learner]]  # name → seed → unfitted learner


@dataclass(frozen=True)
class Scored:
    """One judged fold of the first seed, kept for the plots: keys, label and each contender's scores (same index)."""

    dataset: str
    truth: pd.DataFrame
    scores: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    `runs`: dataset, contender, seed, fold, metric, value; one row a figure, times in seconds included.
    `summary`: dataset, contender, metric, mean, low, high, n, method; `dataset` is also `mean`.
    `newest`: as `summary`, of the last fold of each data set and the first seed alone: what any two evaluations share.
    """

    runs: pd.DataFrame
    summary: pd.DataFrame
    newest: pd.DataFrame
    scored: list[Scored] = field(repr=False)
    seeds: int = 1

    @property
    def judged(self) -> str:
        """What was judged: two evaluations that say the same here can be held against each other."""
        folds = self.runs.groupby("dataset")["fold"].nunique()
        return ", ".join(f"{dataset}: {count}" for dataset, count in folds.items())

    def figure(self, metric: str, contender: str = MODEL, newest: bool = False) -> pd.Series | None:
        """The summary row of `<dataset>/<name>`, or of `<name>` for the mean over data sets; None when not measured."""
        dataset, _, name = metric.rpartition("/")
        rows = (self.newest if newest else self.summary).query(
            "dataset == @where and contender == @contender and metric == @name",
            local_dict={"where": dataset or MEAN, "contender": contender, "name": name},
        )
        return None if rows.empty or pd.isna(rows["mean"].iloc[0]) else rows.iloc[0]


def inputs(spec: Spec, frame: pd.DataFrame, label: bool = False) -> pd.DataFrame:
    """The columns of `frame` that a learner may see: the Row's, as in serving, and the label when it is fitted."""
    return frame[[*spec.row.model_fields, *([spec.label] if label else [])]]


def evaluate(
    model: Model,
    folds: Folds,
    seeds: Iterable[int] = (0,),
    progress: Progress | None = None,
    draws: int = DRAWS,
    others: Contenders | None = None,
) -> Evaluation:
    """Fit and score the model, each baseline and `others` on every fold of every seed.

    Learners are fitted on the Row's columns and the label (null labels are history) and score rows without any label
    column. Raises DataError when a fold leaks (see `training.checks`), a score knows later rows (see `training.probes`)
    or nothing can be judged. Same inputs, same figures; only the times differ.
    """
    seeds, tell = list(seeds), progress or (lambda what, share: None)
    found = _Found(model, draws, others or {})
    for position, seed in enumerate(seeds):
        parts = _grouped(folds(seed))
        if not parts:
            raise DataError(f"{model.name()}: no fold can be made; each data set needs rows to learn from and to judge")
        total, number = sum(map(len, parts.values())), 0
        for dataset, group in parts.items():
            overlap = _overlap(group, model.spec)
            for index, fold in enumerate(group):
                what = f"{dataset}, seed {seed}, fold {index + 1} of {len(group)}"
                tell(what, (position + number / total) / len(seeds))
                found.take(fold, index, len(group), seed, overlap, first=position == 0)
                number += 1
    tell("evaluated", 1.0)
    return found.evaluation(seeds)


class _Found:
    """What is gathered while folds are judged."""

    def __init__(self, model: Model, draws: int, others: Contenders) -> None:
        self.model, self.draws, self.others = model, draws, others
        self.figures: list[dict[str, object]] = []
        self.drawn: dict[str, list[pd.DataFrame]] = defaultdict(list)
        self.alone: set[str] = set()  # data sets of one fold
        self.overlaps: dict[str, float] = {}
        self.scored: list[Scored] = []

    def take(self, fold: Fold, index: int, count: int, seed: int, overlap: float, first: bool) -> None:
        """Judge fold `index` of `count` of its data set; `first`: it is the first seed."""
        learners = {MODEL: self.model.build(seed), **self.model.baselines(seed)}
        learners |= {name: build(seed) for name, build in self.others.items()}
        judged = _judge(self.model, learners, fold, probe=first and index == 0)
        for contender, (_, values) in judged.items():
            key = {"dataset": fold.dataset, "contender": contender, "seed": seed, "fold": index}
            self.figures += [{**key, "metric": metric, "value": value} for metric, value in values.items()]
        scores = {contender: given for contender, (given, _) in judged.items()}
        self.overlaps[fold.dataset] = overlap
        if count == 1:
            self.alone.add(fold.dataset)
            draws = max(2, self.draws // SYSTEM) if fold.together else self.draws
            self.drawn[fold.dataset].append(intervals.drawn(self.model, fold, scores, draws, seed))
        elif first and not overlap:  # the folds' own spread is the larger part: fewer draws of each do
            draws = max(2, self.draws // (2 * count))
            self.drawn[fold.dataset].append(intervals.drawn(self.model, fold, scores, draws, seed, index))
        if first:
            self.scored.append(kept(self.model.spec, fold, scores))

    def evaluation(self, seeds: list[int]) -> Evaluation:
        """All of it, summarised."""
        runs, sets = pd.DataFrame(self.figures).astype({"value": float}), self.model.spec.datasets
        last = (runs["fold"] == runs.groupby("dataset")["fold"].transform("max")) & (runs["seed"] == seeds[0])
        alone = {dataset: self.drawn[dataset] for dataset in self.alone}
        summary = intervals.summary(runs, self.drawn, self.overlaps, sets)
        return Evaluation(runs, summary, intervals.summary(runs[last], alone, {}, sets), self.scored, len(seeds))


def _judge(
    model: Model, learners: Mapping[str, Learner], fold: Fold, probe: bool
) -> dict[str, tuple[pd.DataFrame, dict[str, float]]]:
    """Each contender's scores of the test part (its index), and the metrics with the seconds spent."""
    checks.fold(model.spec, fold)
    train, rows = inputs(model.spec, fold.train, label=True), inputs(model.spec, fold.test)
    judged = {}
    for name, learner in learners.items():
        start = time.perf_counter()
        learner.fit(train, model.spec.label)
        fitted = time.perf_counter()
        scores = fold.play(learner, rows) if fold.play else learner.predict(rows)
        times = dict(zip(SECONDS, (fitted - start, time.perf_counter() - fitted), strict=True))
        if not scores.index.equals(rows.index):
            raise DataError(f"{type(learner).__name__}.predict must give one row for each of {len(rows)}, same index")
        if probe and not fold.play:  # what is played is revealed step by step
            probes.causal_scores(model.spec, learner, rows, scores)
        if probe and model.spec.task == "anomaly":
            probes.unadjusted(model, fold, scores)
        judged[name] = (scores, {**model.measure(fold, scores), **times})
    return judged


def kept(spec: Spec, fold: Fold, scores: dict[str, pd.DataFrame]) -> Scored:
    """What was judged (data set, entity, time, all of the label's view) and the scores without their sequences."""
    wanted = {"dataset", "time", spec.labels.entity, *spec.labels.columns.model_fields}
    shown = {contender: _drawn(found) for contender, found in scores.items()}
    return Scored(fold.dataset, fold.test[[name for name in fold.test if name in wanted]], shown)


def _drawn(scores: pd.DataFrame) -> pd.DataFrame:
    """Numbers and texts; sequences are left out: no picture needs them, and they are the bulk."""
    return scores[[name for name in scores if not isinstance(scores[name].iloc[0], (list, np.ndarray))]]


def _grouped(folds: Iterable[Fold]) -> dict[str, list[Fold]]:
    grouped: dict[str, list[Fold]] = {}
    for fold in folds:
        grouped.setdefault(fold.dataset, []).append(fold)
    return grouped


def _overlap(folds: list[Fold], spec: Spec) -> float:
    """Test rows per training row where the folds are a cross-validation (one tests what another learns), else 0."""
    if len(folds) < 2:
        return 0.0
    first, second = (checks.keys(spec, part[part[spec.label].notna()]) for part in (folds[0].test, folds[1].train))
    shared = second.isin(first).any()
    labelled = [(fold.test[spec.label].notna().sum(), fold.train[spec.label].notna().sum()) for fold in folds]
    return float(np.mean([test / max(train, 1) for test, train in labelled])) if shared else 0.0
