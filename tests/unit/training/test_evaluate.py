"""Figures and their intervals, on data where the right answer is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from infra.errors import DataError
from tests.models import tiny
from training import catalog, intervals
from training.evaluate import MEAN, MODEL, SECONDS, Evaluation, evaluate, inputs
from training.learner import Learner
from training.model import Fold, Model


@pytest.fixture
def model() -> Iterator[Model]:
    with tiny.plugged_in() as name:
        yield catalog.make(name)


def _run(model: Model, frame: pd.DataFrame, **more: Any) -> Evaluation:
    return evaluate(model, lambda seed: model.folds(frame, seed), **more)


def _figures(evaluation: Evaluation) -> pd.DataFrame:
    rows = evaluation.summary[~evaluation.summary["metric"].isin(SECONDS)]
    return rows.reset_index(drop=True)


def test_every_contender_on_every_fold_of_every_seed(model: Model) -> None:
    found = _run(model, tiny.frame(), seeds=(0, 1))
    assert list(found.runs) == ["dataset", "contender", "seed", "fold", "metric", "value"]
    counts = found.runs.groupby(["contender", "metric"]).size()
    assert set(counts) == {2 * 5}
    assert set(counts.index) == {(c, m) for c in (MODEL, "naive", "strong") for m in ("roc_auc", "brier", *SECONDS)}
    assert (found.runs.loc[found.runs["metric"].isin(SECONDS), "value"] > 0).all()
    assert found.seeds == 2


def test_same_inputs_same_figures(model: Model) -> None:
    first, second = (_run(model, tiny.frame(), seeds=(0, 1)) for _ in range(2))
    pd.testing.assert_frame_equal(_figures(first), _figures(second))


def test_progress_goes_from_none_to_all(model: Model) -> None:
    told: list[float] = []
    _run(model, tiny.frame(), seeds=(0, 1), progress=lambda what, share: told.append(share))
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0.0, 1.0)


def test_cross_validation_is_corrected_for_its_overlap(model: Model) -> None:
    found = _run(model, tiny.frame())
    row = found.figure("tiny/roc_auc")
    assert row is not None
    values = found.runs.query("contender == 'model' and metric == 'roc_auc'")["value"]
    plain = 2.776 * values.std() / np.sqrt(5)  # t(0.975, 4)
    assert (row["method"], row["n"]) == ("corrected t", 5)
    assert row["mean"] == pytest.approx(values.mean())
    assert row["high"] - row["mean"] == pytest.approx(plain * np.sqrt(5 * (1 / 5 + 1 / 4)), rel=0.02)


def test_one_fold_is_bootstrapped_by_entity(model: Model) -> None:
    frame = tiny.frame()
    found = evaluate(model, lambda seed: list(model.folds(frame, 0))[:1], seeds=(0, 1))
    row = found.figure("tiny/roc_auc")
    assert row is not None
    assert row["method"] == "bootstrap"
    assert row["low"] < row["mean"] < row["high"]


def test_folds_without_common_training_rows_count_once_each(model: Model) -> None:
    """One fold a machine: five seeds on it are no five machines."""
    frame = tiny.frame(hosts=200)
    group = frame["host"].str[1:].astype(int) % 4

    def folds(seed: int) -> Iterator[Fold]:
        for number in range(4):
            part = frame[group == number]
            judged = part["host"].isin(part["host"].unique()[:20])
            yield Fold("tiny", part[~judged], part[judged])

    found = evaluate(model, folds, seeds=range(3))
    row = found.figure("tiny/brier")
    assert row is not None
    assert (row["method"], row["n"]) == ("fold bootstrap", 4)
    assert 0 <= row["low"] < row["mean"] < row["high"] <= 1
    assert found.judged == "tiny: 4"
    newest = found.figure("tiny/brier", newest=True)
    last = found.runs.query("contender == 'model' and metric == 'brier' and fold == 3 and seed == 0")["value"]
    assert newest is not None
    assert newest["mean"] == pytest.approx(last.item())


def test_one_entity_is_drawn_by_stretches_of_its_time(model: Model) -> None:
    """The metric's range bounds the interval, and more rows make it narrower."""

    def width(rows: int) -> float:
        random = np.random.default_rng(0)
        truth = np.arange(rows) % 2 == 0
        time = pd.date_range("2024-01-01", periods=rows, freq="min", tz="UTC")
        test = pd.DataFrame({"host": "h1", "time": time, "failed": truth, "recent": None}).sample(frac=1.0)
        scores = pd.DataFrame({"probability": test["failed"] * 0.2 + random.random(rows) * 0.8})
        fold = Fold("tiny", test, test)
        found = intervals.drawn(model, fold, {MODEL: scores}, 100, 0).query("metric == 'roc_auc'")["value"]
        assert len(found) == 100
        assert found.between(0, 1).all()
        return float(np.ptp(found))

    assert width(4000) < width(400) / 2


def test_mean_is_over_data_sets_and_only_where_all_have_the_figure(model: Model) -> None:
    frame = pd.concat([tiny.frame(seed=1, dataset="a"), tiny.frame(seed=2, dataset="b")], ignore_index=True)
    found = _run(model, frame)
    parts = [found.figure(f"{name}/roc_auc") for name in "ab"]
    mean = found.figure("roc_auc")
    assert mean is not None
    assert parts[0] is not None
    assert parts[1] is not None
    assert mean["mean"] == pytest.approx((parts[0]["mean"] + parts[1]["mean"]) / 2)
    assert mean["dataset"] == MEAN
    halves = [part["high"] - part["mean"] for part in parts if part is not None]
    assert mean["high"] - mean["mean"] == pytest.approx(np.hypot(*halves) / 2)
    assert found.figure("a/no_such_metric") is None


def test_learners_see_what_serving_sees(model: Model) -> None:
    frame = tiny.frame().assign(secret=1.0)
    assert set(inputs(model.spec, frame)) == set(model.spec.row.model_fields)
    assert set(inputs(model.spec, frame, label=True)) == {*model.spec.row.model_fields, "failed"}


def test_scores_of_another_shape_are_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    class Short(Learner):
        def fit(self, frame: pd.DataFrame, label: str) -> Short:
            return self

        def predict(self, frame: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"probability": 0.5}, index=frame.index[:-1])

        def save(self, folder: object) -> None: ...

        @classmethod
        def load(cls, folder: object) -> Short:
            return cls()

    monkeypatch.setattr(type(model), "build", lambda self, seed=0: Short())
    with pytest.raises(DataError, match=r"Short.predict must give one row for each"):
        _run(model, tiny.frame())


def test_nothing_to_judge_is_an_error(model: Model) -> None:
    with pytest.raises(DataError, match="no fold can be made"):
        evaluate(model, lambda seed: [])
