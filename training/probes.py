"""Probes of what views, learners and metrics do, where data alone cannot tell that a figure would be a lie.

Each raises DataError naming the column and the rows. Cutting the future away must not change the past: that is also how
a threshold taken from the judged part is found, as a threshold comes from `fit`, so a score depends on no later row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from features.view import Frames, View
from infra.errors import DataError
from training.checks import SHOWN, told
from training.learner import Learner
from training.model import Fold, Model, Spec


def causal(view: View, frames: Frames, cut: pd.Timestamp) -> None:
    """The rows of `view` up to `cut` are the same when every record after `cut` is taken away."""
    key = ["dataset", view.entity, "time"]
    whole = view.transform(frames)
    past = view.transform({name: rows[rows["time"] <= cut] for name, rows in frames.items()})
    whole, past = (rows[rows["time"] <= cut].sort_values(key).reset_index(drop=True) for rows in (whole, past))
    if not whole[key].equals(past[key]):
        raise DataError(f"view {view.name}: which rows exist up to {cut} depends on records after it")
    for name in view.columns.kinds():
        if len(differing := np.flatnonzero(~_equal(whole[name], past[name]))):
            where = whole.loc[differing[:SHOWN], key].to_dict("records")
            raise DataError(f"view {view.name}: column {name!r} up to {cut} depends on records after it, rows {where}")


def causal_scores(spec: Spec, learner: Learner, rows: pd.DataFrame, scores: pd.DataFrame, entities: int = 20) -> None:
    """Scores of the earlier half of (some entities of) `rows` are the same when the later half was never shown."""
    entity = next((view.entity for view in spec.views if view.entity in rows), None)
    if entity is not None:
        rows = rows[
            rows[entity].isin(rows[entity].drop_duplicates().iloc[:: max(1, rows[entity].nunique() // entities)])
        ]
    ordered = rows["time"].rank(method="first")
    early = rows[ordered <= len(rows) / 2]
    if early["time"].nunique() > 1:
        early = rows[rows["time"] <= early["time"].max()]
    again = learner.predict(early)
    for name in map(str, scores.select_dtypes("number")):
        same = _equal(scores[name].loc[early.index], again[name])
        if not same.all():
            late = told(spec, early, early.index[~same][:SHOWN])
            raise DataError(
                f"score {name!r} of {type(learner).__name__} depends on later rows (rows {late}); "
                "thresholds and scaling come from fit, never from what is judged"
            )


def unadjusted(model: Model, fold: Fold, scores: pd.DataFrame) -> None:
    """A score that finds one row of each event gets no credit for the others (point adjustment).

    `scores`: what a learner gave for the fold, with `score` and `threshold`. Tried on the first entity with an event.
    """
    entity, positive = fold.test[model.spec.labels.entity], fold.test[model.spec.label].eq(True)
    if not positive.any():
        return
    part = fold.test[entity == entity[positive].iloc[0]].sort_values("time", kind="stable")
    truth = positive[part.index]
    begins = truth & ~truth.shift(fill_value=False)
    planted = scores.loc[part.index].assign(score=begins.astype(float) * 2, threshold=1.0)
    figures = model.measure(Fold(fold.dataset, fold.train, part), planted)
    found, events = int(begins.sum()), int(truth.sum())
    bounds = {"f1": 2 * found / (found + events), "pr_auc": found / events + events / len(part)}
    for name, bound in bounds.items():
        if figures.get(name, 0.0) > bound + 1e-6:
            raise DataError(
                f"metric {name!r} is {figures[name]:.3f} when one row of each event is found, at most {bound:.3f} is "
                "right: it is point-adjusted; count rows, and give events a metric of their own"
            )


def _equal(left: pd.Series, right: pd.Series) -> np.ndarray:
    if left.dtype == object:
        return np.array([_same(a, b) for a, b in zip(left, right, strict=True)], dtype=bool)
    if left.dtype.kind not in "fiub":
        return (left.eq(right) | (left.isna() & right.isna())).to_numpy(dtype=bool)
    return np.isclose(left.to_numpy(float), right.to_numpy(float), rtol=1e-4, atol=1e-6, equal_nan=True)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (list, np.ndarray)) and isinstance(b, (list, np.ndarray)):
        return len(a) == len(b) and bool(
            np.array_equal(np.asarray(a), np.asarray(b)) or np.allclose(a, b, equal_nan=True)
        )
    return bool(a == b) or (pd.isna(a) and pd.isna(b))
