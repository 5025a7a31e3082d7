"""Each kind of dishonest view, learner and metric is planted and must be found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.view import Frames, View
from infra.errors import DataError
from tests.models import tiny
from training import catalog, probes
from training.evaluate import inputs
from training.learner import Learner
from training.model import Fold, Model


def _view(model: Model, transform: Callable[[Frames], pd.DataFrame]) -> View:
    return replace(model.spec.views[0], transform=transform)


def test_a_view_that_knows_the_future_is_found(model: Model) -> None:
    frames, cut = tiny.records(), pd.Timestamp("2026-01-02", tz="UTC")
    view = model.spec.views[0]
    probes.causal(view, frames, cut)

    def centred(frames: Frames) -> pd.DataFrame:
        rows = view.transform(frames)
        return rows.assign(heat=rows["heat"] - rows["heat"].mean())  # the mean of all days, later ones included

    with pytest.raises(DataError, match="column 'heat' up to 2026-01-02 .* depends on records after it"):
        probes.causal(_view(model, centred), frames, cut)


def test_a_view_whose_rows_depend_on_the_future_is_found(model: Model) -> None:
    view = model.spec.views[0]

    def survivors(frames: Frames) -> pd.DataFrame:
        rows = view.transform(frames)
        return rows[rows["time"] < rows["time"].max()]  # drops the newest day, whichever that is

    with pytest.raises(DataError, match="which rows exist"):
        probes.causal(_view(model, survivors), tiny.records(), pd.Timestamp("2026-01-02", tz="UTC"))


class Judging(Learner):
    """Scales by what it is asked to judge: the threshold taken from the test part, in its simplest form."""

    def fit(self, frame: pd.DataFrame, label: str) -> Judging:
        return self

    def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
        heat = frame["heat"]
        return pd.DataFrame({"score": heat, "threshold": np.quantile(heat, 0.9)}, index=frame.index)

    def save(self, folder: object) -> None: ...

    @classmethod
    def load(cls, folder: object) -> Judging:
        return cls()


def test_a_threshold_taken_from_the_judged_part_is_found(model: Model, frame: pd.DataFrame) -> None:
    rows = inputs(model.spec, frame)
    with pytest.raises(DataError, match="score 'threshold' of Judging depends on later rows.*from fit"):
        probes.causal_scores(model.spec, Judging(), rows, Judging().predict(rows))
    honest = model.build().fit(inputs(model.spec, frame, label=True), "failed")
    probes.causal_scores(model.spec, honest, rows, honest.predict(rows))


def test_point_adjustment_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model, random = catalog.make("anomaly_detector"), np.random.default_rng(0)
    truth = np.arange(2000) % 200 < 40
    test = pd.DataFrame({"instance": "a", "anomalous": truth, "step": 60.0, "blamed": [[]] * 2000})
    test["time"] = pd.date_range("2026-01-01", periods=2000, freq="min", tz="UTC")
    scores = pd.DataFrame({"score": random.random(2000), "threshold": 1.0, "metrics": None, "effects": None})
    fold, honest = Fold("a", test, test.sample(frac=1.0, random_state=1)), type(model).measure
    probes.unadjusted(model, fold, scores)

    def adjusted(self: Model, fold: Fold, scores: pd.DataFrame) -> dict[str, float]:
        """The whole event counts as found when one of its rows is (Xu et al., WWW 2018)."""
        part = fold.test.sort_values("time")
        event = (part["anomalous"] != part["anomalous"].shift()).cumsum()
        best = scores["score"].loc[part.index].groupby(event).transform("max")
        raised = scores["score"].where(~part["anomalous"].reindex(scores.index), best.reindex(scores.index))
        return honest(self, fold, scores.assign(score=raised))

    monkeypatch.setattr(type(model), "measure", adjusted)
    with pytest.raises(DataError, match=r"metric 'f1' is 1.000 .* point-adjusted"):
        probes.unadjusted(model, fold, scores)
