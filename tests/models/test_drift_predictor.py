"""Behaviour of DriftPredictor: what must not matter, what must point one way, the least it must be able to do."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import build
from features.demo import drift_role_events as demo
from features.transforms.configuration_drift import DRIFTS, WATCHED
from infra.settings import ROOT
from training import checks, signature
from training.evaluate import inputs
from training.models.drift_predictor import DriftPredictor

DATA = Path(os.environ.get("AIOPS_DATA") or ROOT.parent / "shared" / "data")
NAME = "drift_role_events"


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("demo")
    demo.write(folder, np.random.default_rng(0))
    return build.frame(build.read([(NAME, folder)]), [WATCHED], DRIFTS)


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> DriftPredictor:
    return DriftPredictor().fit(inputs(DriftPredictor.spec, frame, label=True))


@pytest.fixture(scope="module")
def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return signature.records(inputs(DriftPredictor.spec, frame.sample(100, random_state=0)))


def _risk(model: DriftPredictor, rows: list[dict[str, Any]]) -> np.ndarray:
    return np.array([answer.drift_risk for answer in model.predict(rows)])  # type: ignore[attr-defined]


def test_names_time_and_company_do_not_matter(model: DriftPredictor, rows: list[dict]) -> None:
    other = {"resource": "aws/other", "time": datetime(2031, 5, 5, tzinfo=UTC)}
    assert np.array_equal(_risk(model, rows), _risk(model, [{**row, **other} for row in rows]))
    assert np.array_equal(_risk(model, rows)[::-1], _risk(model, rows[::-1]))
    assert np.array_equal(_risk(model, rows)[:3], np.concatenate([_risk(model, [row]) for row in rows[:3]]))


def test_a_resource_that_keeps_drifting_is_riskier(model: DriftPredictor, rows: list[dict]) -> None:
    quiet = {f"drifts{window}": 0 for window in ("", "_30d", "_90d", "_180d", "_365d")}
    quiet |= {"changes": 0, "days_since_drift": None, "days_since_change": None, "days_between_drifts": None}
    busy = {"drifts": 9, "drifts_30d": 1, "drifts_90d": 2, "drifts_180d": 3, "drifts_365d": 6, "changes": 9}
    busy |= {"days_since_drift": 12.0, "days_since_change": 12.0, "days_between_drifts": 55.0}
    still, moving = ([{**row, "known_days": 600.0, **change} for row in rows] for change in (quiet, busy))
    assert (_risk(model, moving) > _risk(model, still)).all()
    [answer] = model.predict(moving[:1], explain=True)
    assert answer.at_risk  # type: ignore[attr-defined]
    assert [step.action for step in answer.steps] == ["detect_drift", "reconcile"]  # type: ignore[attr-defined]
    assert answer.expected_drifts == pytest.approx(6 * 30 / 365)  # type: ignore[attr-defined]
    assert answer.explanation


def test_it_abstains_for_a_provider_that_it_never_learnt(model: DriftPredictor, rows: list[dict]) -> None:
    [answer] = model.predict([{**rows[0], "provider": "elsewhere"}])
    assert "no resources of provider 'elsewhere'" in str(answer.abstained)
    assert answer.drift_risk is None  # type: ignore[attr-defined]


def test_the_operator_sets_the_threshold(model: DriftPredictor, rows: list[dict]) -> None:
    strict = DriftPredictor({"watch_above": 0.0})
    strict.learner = model.learner
    assert all(answer.at_risk and answer.steps for answer in strict.predict(rows))  # type: ignore[attr-defined]


def test_folds_do_not_leak_and_it_beats_the_rule(frame: pd.DataFrame) -> None:
    model = DriftPredictor()
    checks.frame(model.spec, frame)
    folds = list(model.folds(frame))
    assert {fold.dataset for fold in folds} == {"aws_managed_policy", "gcp_predefined_role"}
    for fold in folds:
        checks.fold(model.spec, fold)
        assert fold.train["time"].max() + pd.Timedelta(days=30) <= fold.test["time"].min()
    fold = folds[0]
    figures = {
        name: model.measure(fold, learner.fit(fold.train, "drifted").predict(fold.test))
        for name, learner in {"model": model.build(), "naive": model.baselines()["naive"]}.items()
    }
    assert figures["model"]["roc_auc"] > max(figures["naive"]["roc_auc"], 0.8)
    assert figures["model"]["ece"] < 0.05


def test_of_two_given_parts_each_provider_is_judged(frame: pd.DataFrame) -> None:
    model, border = DriftPredictor(), frame["time"].quantile(0.7)
    learnt = frame[frame["time"] + pd.Timedelta(days=30) <= border]
    folds = list(model.given(learnt, frame))
    assert [fold.dataset for fold in folds] == ["aws_managed_policy", "gcp_predefined_role"]
    for fold in folds:
        checks.fold(model.spec, fold)


def test_minimum_on_the_reference_set() -> None:
    if not (DATA / NAME).is_dir():
        pytest.skip(f"reference set {NAME} is not at {DATA}; set AIOPS_DATA to its parent folder")
    labelled = build.frame(build.read([(NAME, DATA / NAME)]), [WATCHED], DRIFTS)
    model = DriftPredictor()
    fold = next(fold for fold in model.folds(labelled) if fold.dataset == "gcp_predefined_role")
    figures = model.measure(fold, model.build().fit(fold.train, "drifted").predict(fold.test))
    assert figures["roc_auc"] >= 0.80
    assert figures["pr_auc"] >= 0.30
    assert figures["ece"] <= 0.05
