"""How sure a figure is: 95 % intervals of what was measured on folds.

Column `method` of a summary says how the interval was found:

- `bootstrap`: one fold a seed. The test part is drawn anew, the metric computed again, percentiles over all draws of
  all seeds: the noise of test part and seed together. Drawn with replacement are entities (each keeps all its rows in
  order), or where there is only one, or all are parts of one system, stretches of time (Künsch, "The jackknife and the
  bootstrap for general stationary observations", Annals of Statistics 1989).
- `corrected t`: several folds whose training parts overlap (cross-validation): Student's t over seeds × folds with the
  variance corrected for the overlap (Nadeau & Bengio, "Inference for the generalization error", Machine Learning 2003).
- `fold bootstrap`: several folds that share no training rows (one fold a machine, say). Folds are drawn with
  replacement, and of each the figure of a test part that is drawn as above: percentiles over the means. Another seed on
  the same machine is no further machine. Few folds make it narrow: two machines say little about a third.
- `t`: as `fold bootstrap`, where nothing can be drawn: Student's t over the folds, seeds averaged.
- `none`: fewer than three figures and nothing to draw from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from training import metrics
from training.model import Fold, Model

MEAN = "mean"  # the "data set" of a figure that is the mean over data sets
DRAWS = 200
FEWEST = 3  # figures that Student's t is made from
STRETCHES = 20  # of time that a test part of one entity is cut into
MEANS = 2000  # means that are drawn from the figures of several folds
SECONDS = ("fit_seconds", "predict_seconds")
KEY = ["dataset", "contender", "metric"]
Rows = npt.NDArray[np.int64]
Draw = Callable[[np.random.Generator], tuple[Rows, Any]]  # → rows, and their new entities or times
Samples = Mapping[str, Sequence[pd.DataFrame]]  # data set → draws: contender, metric, fold, value


def drawn(
    model: Model, fold: Fold, scores: dict[str, pd.DataFrame], draws: int, seed: int, number: int = 0
) -> pd.DataFrame:
    """Metrics of `draws` test parts drawn anew: contender, metric, fold (its `number`), value; empty: cannot be drawn.

    The Row's sequences are left out: no metric needs them, and they are the bulk.
    """
    kinds = model.spec.row.kinds()
    sequences = [name for name, (kind, _) in kinds.items() if kind in (list[float], list[str])]
    judged = fold.test.drop(columns=sequences).reset_index(drop=True)
    label = model.spec.label
    if isinstance(judged[label].iloc[0], list):  # arrays are gathered many times faster, once a draw
        judged[label] = pd.Series([np.asarray(items) if isinstance(items, list) else items for items in judged[label]])
    entity = model.spec.labels.entity
    several = judged[entity].nunique() > 1 and not fold.together
    alone = _moments if fold.together else _stretches
    draw = _entities(judged[entity]) if several else alone(judged["time"])
    random = np.random.default_rng(seed)
    found = []
    for _ in range(draws if several or len(judged) >= STRETCHES else 0):
        picked, column = draw(random)
        test = judged.iloc[picked].reset_index(drop=True)
        test[entity if several else "time"] = column
        again = Fold(fold.dataset, fold.train, test, together=fold.together)
        for name, given in scores.items():
            values = model.measure(again, given.iloc[picked].reset_index(drop=True))
            found += [(name, metric, number, value) for metric, value in values.items()]
    return pd.DataFrame(found, columns=["contender", "metric", "fold", "value"]).dropna()


def _entities(names: pd.Series) -> Draw:
    """Entities with replacement; one that is drawn twice counts as two."""
    rows = list(names.groupby(names, sort=True).indices.values())

    def draw(random: np.random.Generator) -> tuple[Rows, Any]:
        picked = [rows[i] for i in random.integers(len(rows), size=len(rows))]
        return np.concatenate(picked), np.repeat(np.arange(len(rows)), list(map(len, picked)))

    return draw


def _stretches(times: pd.Series) -> Draw:
    """Stretches of one entity's time with replacement, set end to end at its usual step."""
    order = times.argsort(kind="stable").to_numpy()
    stretches = np.array_split(order, STRETCHES)
    begin, step = times.min(), times.sort_values().diff().median()

    def draw(random: np.random.Generator) -> tuple[Rows, Any]:
        picked = np.concatenate([stretches[i] for i in random.integers(STRETCHES, size=STRETCHES)])
        return picked, begin + np.arange(len(picked)) * step

    return draw


def _moments(times: pd.Series) -> Draw:
    """Stretches of the time that several entities share with replacement, set end to end; each keeps all its rows."""
    begin = times.min()
    length = (times.max() - begin) / STRETCHES
    which = ((times - begin) // length).clip(upper=STRETCHES - 1)
    rows = [np.flatnonzero(which == number) for number in range(STRETCHES)]

    def draw(random: np.random.Generator) -> tuple[Rows, Any]:
        picked = random.integers(STRETCHES, size=STRETCHES)
        moved = [times.iloc[rows[one]] + (place - one) * length for place, one in enumerate(picked)]
        return np.concatenate([rows[one] for one in picked]), pd.concat(moved, ignore_index=True)

    return draw


def summary(runs: pd.DataFrame, samples: Samples, overlaps: Mapping[str, float], main: tuple[str, ...]) -> pd.DataFrame:
    """dataset, contender, metric, mean, low, high, n, method of `runs`, and the means over the data sets of `main`.

    `overlaps`: by data set, test rows per training row where its folds are a cross-validation.
    """
    sampled = {name: _means_of_folds(pd.concat(parts)) for name, parts in samples.items() if parts}
    rows = []
    for (dataset, contender, metric), part in runs.groupby(KEY, sort=False):
        overlap = 0.0 if metric in SECONDS else overlaps.get(str(dataset), 0.0)
        values = part["value"] if overlap else part.groupby("fold")["value"].mean()
        sample = sampled.get(str(dataset), {}).get((str(contender), str(metric)))
        method = "fold bootstrap" if part["fold"].nunique() > 1 else "bootstrap"
        rows.append([dataset, contender, metric, *_interval(values.dropna().to_numpy(), sample, overlap, method)])
    table = pd.DataFrame(rows, columns=[*KEY, "mean", "low", "high", "n", "method"])
    means = pd.DataFrame(_means(table, main), columns=table.columns)
    return pd.concat([table, means], ignore_index=True) if len(means) else table


def _means_of_folds(sample: pd.DataFrame) -> dict[tuple[str, str], npt.NDArray[np.float64]]:
    """(contender, metric) → values: as drawn from one fold, or means over folds drawn with replacement."""
    found = {}
    for (contender, metric), part in sample.groupby(["contender", "metric"], sort=False):
        folds = [values.to_numpy() for _, values in part.groupby("fold")["value"]]
        if len(folds) == 1:
            found[str(contender), str(metric)] = folds[0]
            continue
        random = np.random.default_rng(len(folds))
        one = np.stack([values[random.integers(len(values), size=(MEANS, len(folds)))] for values in folds])
        which = random.integers(len(folds), size=(MEANS, len(folds)))
        rows, places = np.indices(which.shape)
        found[str(contender), str(metric)] = one[which, rows, places].mean(axis=1)
    return found


def _interval(
    values: np.ndarray, sample: np.ndarray | None, overlap: float, method: str
) -> tuple[float, float, float, int, str]:
    """mean, low, high, n, method"""
    mean = float(values.mean()) if len(values) else np.nan
    if sample is not None and len(sample) > 1:
        low, high = np.quantile(sample, [0.025, 0.975])
        return mean, float(low), float(high), len(values), method
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
