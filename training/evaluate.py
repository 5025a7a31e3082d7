"""The model and its baselines on the same folds: one tidy frame of figures, and their means with 95 % intervals.

How the interval of a figure is found (column `method` of the summary):

- `bootstrap`: one fold a seed. Entities of the test part are drawn with replacement (each keeps all its rows in order),
  the metric is computed again, percentiles over all draws of all seeds: the noise of test part and seed together.
- `corrected t`: several folds whose training parts overlap (cross-validation): Student's t over seeds × folds with the
  variance corrected for the overlap (Nadeau & Bengio, "Inference for the generalization error", Machine Learning 2003).
- `t`: several folds that share no training rows (one fold a machine, say): Student's t over the folds, seeds
  averaged: another seed on the same machine is no further machine.
- `none`: fewer than three figures; Student's t over two machines only says that there are two.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from infra.errors import DataError
from training import checks, metrics
from training.model import Fold, Model, Spec

MODEL = "model"
MEAN = "mean"  # the "data set" of a figure that is the mean over data sets
DRAWS = 200
FEWEST = 3  # figures that an interval is made from
SECONDS = ("fit_seconds", "predict_seconds")
Progress = Callable[[str, float], None]  # what is being done; share of the work done, 0..1
Folds = Callable[[int], Iterable[Fold]]  # seed → the folds


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
    """

    runs: pd.DataFrame
    summary: pd.DataFrame
    scored: list[Scored] = field(repr=False)
    seeds: int = 1

    def figure(self, metric: str, contender: str = MODEL) -> pd.Series | None:
        """The summary row of `<dataset>/<name>`, or of `<name>` for the mean over data sets; None when not measured."""
        dataset, _, name = metric.rpartition("/")
        rows = self.summary.query(
            "dataset == @where and contender == @contender and metric == @name",
            local_dict={"where": dataset or MEAN, "contender": contender, "name": name},
        )
        return None if rows.empty or pd.isna(rows["mean"].iloc[0]) else rows.iloc[0]


def inputs(spec: Spec, frame: pd.DataFrame, label: bool = False) -> pd.DataFrame:
    """The columns of `frame` that a learner may see: the Row's, as in serving, and the label when it is fitted."""
    return frame[[*spec.row.model_fields, *([spec.label] if label else [])]]


def evaluate(
    model: Model, folds: Folds, seeds: Iterable[int] = (0,), progress: Progress | None = None, draws: int = DRAWS
) -> Evaluation:
    """Fit and score the model and each baseline on every fold of every seed.

    Learners are fitted on the Row's columns and the label (null labels are history) and score rows without any label
    column. Raises DataError when a fold leaks (see `training.checks`) or nothing can be judged. Same inputs, same
    figures; only the times differ.
    """
    seeds, tell = list(seeds), progress or (lambda what, share: None)
    figures: list[dict[str, object]] = []
    drawn: list[pd.DataFrame] = []
    scored: list[Scored] = []
    overlaps: dict[str, float] = {}
    for position, seed in enumerate(seeds):
        parts = _grouped(folds(seed))
        if not parts:
            raise DataError(f"{model.name()}: no fold can be made; each data set needs rows to learn from and to judge")
        total, number = sum(map(len, parts.values())), 0
        for dataset, group in parts.items():
            overlaps[dataset] = _overlap(group, model.spec)
            for index, fold in enumerate(group):
                tell(
                    f"{dataset}, seed {seed}, fold {index + 1} of {len(group)}",
                    (position + number / total) / len(seeds),
                )
                judged = _judge(model, fold, seed, probe=position == index == 0)
                for contender, (_, values) in judged.items():
                    key = {"dataset": dataset, "contender": contender, "seed": seed, "fold": index}
                    figures += [{**key, "metric": metric, "value": value} for metric, value in values.items()]
                scores = {contender: found for contender, (found, _) in judged.items()}
                if len(group) == 1:
                    drawn.append(_bootstrap(model, fold, scores, draws, seed))
                if position == 0:
                    scored.append(_kept(model.spec, fold, scores))
                number += 1
    tell("evaluated", 1.0)
    runs = pd.DataFrame(figures).astype({"value": float})
    return Evaluation(runs, _summary(runs, drawn, overlaps, model.spec.datasets), scored, len(seeds))


def _judge(model: Model, fold: Fold, seed: int, probe: bool) -> dict[str, tuple[pd.DataFrame, dict[str, float]]]:
    """Each contender's scores of the test part (its index), and the metrics with the seconds spent."""
    checks.fold(model.spec, fold)
    train, rows = inputs(model.spec, fold.train, label=True), inputs(model.spec, fold.test)
    judged = {}
    for name, learner in {MODEL: model.build(seed), **model.baselines(seed)}.items():
        start = time.perf_counter()
        learner.fit(train, model.spec.label)
        fitted = time.perf_counter()
        scores = fold.play(learner, rows) if fold.play else learner.predict(rows)
        times = dict(zip(SECONDS, (fitted - start, time.perf_counter() - fitted), strict=True))
        if not scores.index.equals(rows.index):
            raise DataError(f"{type(learner).__name__}.predict must give one row for each of {len(rows)}, same index")
        if probe and not fold.play:  # what is played is revealed step by step
            checks.causal_scores(model.spec, learner, rows, scores)
        judged[name] = (scores, {**model.measure(fold, scores), **times})
    return judged


def _kept(spec: Spec, fold: Fold, scores: dict[str, pd.DataFrame]) -> Scored:
    """What was judged (data set, entity, time, all of the label's view) and the numbers among the scores."""
    wanted = {"dataset", "time", spec.labels.entity, *spec.labels.columns.model_fields}
    numbers = {contender: found.select_dtypes("number") for contender, found in scores.items()}
    return Scored(fold.dataset, fold.test[[name for name in fold.test if name in wanted]], numbers)


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


def _bootstrap(model: Model, fold: Fold, scores: dict[str, pd.DataFrame], draws: int, seed: int) -> pd.DataFrame:
    """Metrics of `draws` resampled test parts, the same for each contender: dataset, contender, metric, value.

    Empty when there is one entity only. The Row's sequences are left out: no metric needs them, and they are the bulk.
    """
    entity, kinds = model.spec.labels.entity, model.spec.row.kinds()
    sequences = [name for name, (kind, _) in kinds.items() if kind in (list[float], list[str])]
    judged = fold.test.drop(columns=sequences)
    rows = list(judged.reset_index(drop=True).groupby(entity, sort=True).indices.values())
    random = np.random.default_rng(seed)
    found = []
    for _ in range(draws if len(rows) > 1 else 0):
        drawn = random.integers(len(rows), size=len(rows))
        picked = np.concatenate([rows[i] for i in drawn])
        test = judged.iloc[picked].reset_index(drop=True)
        test[entity] = np.repeat(np.arange(len(rows)), [len(rows[i]) for i in drawn])  # drawn twice, it is two entities
        again = Fold(fold.dataset, fold.train, test)
        for name, given in scores.items():
            values = model.measure(again, given.iloc[picked].reset_index(drop=True))
            found += [(fold.dataset, name, metric, value) for metric, value in values.items()]
    return pd.DataFrame(found, columns=["dataset", "contender", "metric", "value"]).dropna()


def _summary(
    runs: pd.DataFrame, drawn: list[pd.DataFrame], overlaps: dict[str, float], main: tuple[str, ...]
) -> pd.DataFrame:
    key = ["dataset", "contender", "metric"]
    samples = {k: group["value"].to_numpy() for k, group in pd.concat(drawn).groupby(key)} if drawn else {}
    rows = []
    for (dataset, contender, metric), part in runs.groupby(key, sort=False):
        overlap = 0.0 if metric in SECONDS else overlaps[str(dataset)]
        values = part["value"] if overlap else part.groupby("fold")["value"].mean()
        found = _interval(values.dropna().to_numpy(), samples.get((dataset, contender, metric)), overlap)
        rows.append([dataset, contender, metric, *found])
    summary = pd.DataFrame(rows, columns=[*key, "mean", "low", "high", "n", "method"])
    means = pd.DataFrame(_means(summary, main), columns=summary.columns)
    return pd.concat([summary, means], ignore_index=True) if len(means) else summary


def _interval(values: np.ndarray, sample: np.ndarray | None, overlap: float) -> tuple[float, float, float, int, str]:
    """mean, low, high, n, method"""
    mean = float(values.mean()) if len(values) else np.nan
    if sample is not None and len(sample) > 1:
        low, high = np.quantile(sample, [0.025, 0.975])
        return mean, float(low), float(high), len(values), "bootstrap"
    if len(values) < FEWEST:
        return mean, np.nan, np.nan, len(values), "none"
    found = metrics.mean_interval(values.tolist(), overlap=overlap)
    return mean, found.low, found.high, len(values), "corrected t" if overlap else "t"


def _means(summary: pd.DataFrame, main: tuple[str, ...]) -> Iterator[list[object]]:
    """The mean over data sets of each figure that every data set has; half widths of independent sets add in squares.

    Only the model's own data sets count where they are there: variants of them (`<set>_unseen`) are no further sets.
    """
    if summary["dataset"].isin(main).any():
        summary = summary[summary["dataset"].isin(main)]
    sets = summary["dataset"].nunique()
    for (contender, metric), part in summary.groupby(["contender", "metric"], sort=False):
        if len(part) < sets or part["mean"].isna().any():
            continue
        mean, count = part["mean"].mean(), len(part)
        below = np.sqrt(((part["mean"] - part["low"]) ** 2).sum(skipna=False)) / count
        above = np.sqrt(((part["high"] - part["mean"]) ** 2).sum(skipna=False)) / count
        method = " and ".join(sorted(set(part["method"])))
        yield [MEAN, contender, metric, mean, mean - below, mean + above, int(part["n"].sum()), method]
