"""Behaviour of FailurePredictor: what must not matter, what must point one way, and the least it must be able to do."""

import os
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from features import build
from features.demo import lanl_failures_1996_2005
from features.transforms.drive_health import DRIVE_HEALTH, DRIVE_OUTCOMES, HORIZON
from infra.errors import DataError, SettingsError
from infra.settings import ROOT
from tests.fleet import fleet
from training import checks, metrics, signature
from training.evaluate import inputs
from training.model import Fold
from training.models.failure_predictor import FailureAnswer, FailurePredictor

SET = "backblaze_drive_stats_2013"
DATA = Path(os.environ.get("AIOPS_DATA") or ROOT.parent / "shared" / "data") / SET
DAY = pd.Timedelta(days=1)
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def model() -> FailurePredictor:
    return FailurePredictor().fit(inputs(FailurePredictor.spec, fleet(400, seed=1), label=True))


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return fleet(120, seed=2)


@pytest.fixture(scope="module")
def healthy(frame: pd.DataFrame) -> Rows:
    """Newest rows of drives that do not fail."""
    newest = frame[frame["time"] == frame["time"].max() - 2 * DAY]
    return signature.records(inputs(FailurePredictor.spec, newest[newest[HORIZON].eq(False)].head(10)))


def _risk(model: FailurePredictor, rows: Rows) -> np.ndarray:
    return np.array([cast(FailureAnswer, answer).failure_probability for answer in model.predict(rows)], dtype=float)


def _changed(rows: Rows, **values: Any) -> Rows:
    return [{**row, **{name: change(row[name]) for name, change in values.items()}} for row in rows]


def _add(*tail: float) -> Any:
    """Adds `tail` to the newest values."""
    return lambda values: [*values[: -len(tail)], *(a + b for a, b in zip(values[-len(tail) :], tail, strict=True))]


# -- invariance -------------------------------------------------------------------------------------------------------


def test_the_serial_number_does_not_matter(model: FailurePredictor, healthy: Rows) -> None:
    np.testing.assert_allclose(_risk(model, _changed(healthy, drive=lambda _: "other")), _risk(model, healthy))


def test_neither_company_nor_order_of_rows_matters(model: FailurePredictor, healthy: Rows) -> None:
    together = _risk(model, healthy)
    alone = np.concatenate([_risk(model, [row]) for row in healthy])
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    np.testing.assert_allclose(_risk(model, healthy[::-1])[::-1], together, rtol=1e-5)


def test_another_week_of_the_year_does_not_matter(model: FailurePredictor, healthy: Rows) -> None:
    later = _changed(healthy, time=lambda time: pd.Timestamp(time) + 7 * 30 * DAY)
    np.testing.assert_allclose(_risk(model, later), _risk(model, healthy))


# -- direction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"reallocated_sectors": _add(60, 120, 180, 240), "pending_sectors": _add(4, 8, 12, 16)},
        {"power_on_hours": _add(-24, -48, -72, -96)},
        {"temperature": _add(6, 9, 12, 15)},
    ],
    ids=["loses sectors", "stands still", "gets hot"],
)
def test_what_precedes_failures_raises_the_risk(model: FailurePredictor, healthy: Rows, change: dict[str, Any]) -> None:
    sick = _changed(healthy, **change)
    assert (_risk(model, sick) > 5 * _risk(model, healthy)).mean() >= 0.9
    blamed = [{part.input for part in answer.explanation[:2]} for answer in model.predict(sick, explain=True)]
    assert np.mean([bool(set(change) & inputs_) for inputs_ in blamed]) >= 0.9


# -- the least it must do ---------------------------------------------------------------------------------------------


def test_answers_are_complete_and_in_time_order(model: FailurePredictor, frame: pd.DataFrame) -> None:
    failing = frame[frame["failed_after_days"].eq(1)]
    rows = signature.records(inputs(model.spec, failing))
    answers = [cast(FailureAnswer, answer) for answer in model.predict(rows)]
    assert np.mean([bool(answer.alarm) for answer in answers]) >= 0.7
    for answer, row in zip(answers, rows, strict=True):
        assert answer.predicted_time and answer.earliest and answer.latest
        assert pd.Timestamp(row["time"]) < answer.earliest <= answer.predicted_time <= answer.latest
        assert [part.id for part in answer.affected_components] == ([row["drive"]] if answer.alarm else [])


def test_abstains_with_the_reason(model: FailurePredictor, healthy: Rows) -> None:
    row = healthy[0]
    short = {name: value[-1:] if isinstance(value, list) else value for name, value in row.items()}
    [first, strange] = model.predict([short, {**row, "drive_model": "GAMMA-3"}], explain=True)
    assert first.abstained and "1 daily report" in first.abstained
    assert strange.abstained and "GAMMA-3" in strange.abstained
    assert not first.explanation


def test_the_alarm_budget_is_the_users(healthy: Rows, model: FailurePredictor, frame: pd.DataFrame) -> None:
    rows = signature.records(inputs(model.spec, frame[frame[HORIZON].eq(False)].iloc[::7]))
    alarms = []
    for budget in (0.01, 0.1):
        other = FailurePredictor({"false_alarms": budget})
        other.learner = model.learner
        alarms.append(sum(bool(cast(FailureAnswer, answer).alarm) for answer in other.predict(rows)))
    assert alarms[0] < alarms[1] < 0.25 * len(rows)


def test_a_window_without_labels_is_refused() -> None:
    assert FailurePredictor({"prediction_window": "48h"})
    with pytest.raises(SettingsError, match=r"prediction_window.*only 48h"):
        FailurePredictor({"prediction_window": "72h"})


def test_one_bad_list_is_named(model: FailurePredictor, healthy: Rows) -> None:
    with pytest.raises(DataError, match=r"row 1: .*temperature"):
        model.predict([healthy[0], {**healthy[1], "temperature": [20.0]}])


# -- the protocol -----------------------------------------------------------------------------------------------------


def test_folds_learn_only_what_was_known(frame: pd.DataFrame) -> None:
    model, folds = FailurePredictor(), list(FailurePredictor().folds(frame))
    assert [fold.dataset for fold in folds] == ["fleet"] * 3 + ["fleet_unseen"] * 2
    for fold in folds:
        checks.fold(model.spec, fold)
        origin = fold.test["time"].min()
        failure = fold.train["time"] + pd.to_timedelta(fold.train["failed_after_days"], unit="D")
        positive, negative = fold.train[HORIZON].eq(True), fold.train[HORIZON].eq(False)
        assert (failure[positive] < origin + DAY).all()
        assert (fold.train.loc[negative, "time"] + 2 * DAY < origin + DAY).all()
        assert (fold.test["failed_after_days"].dropna() > 0).all()
    for fold in folds[3:]:
        assert not set(fold.train["drive"]) & set(fold.test["drive"])
    assert set(folds[3].test["drive"]).isdisjoint(folds[4].test["drive"])


def test_history_and_labels_run_across_two_folders(frame: pd.DataFrame) -> None:
    model = FailurePredictor()
    border = frame["time"].min() + 15 * DAY
    [fold] = model.given(frame[frame["time"] < border], frame)
    assert fold.test["time"].min() == border
    assert fold.test["days_ago"].map(len).max() > 5  # reports of the first folder are in the histories


def test_measures_by_row_and_by_drive() -> None:
    """Two drives fail; one is alarmed 5, 2 and 1 days before, the other never."""
    test = pd.DataFrame(
        {
            "drive": ["a"] * 5 + ["b"] * 2 + [f"h{n}" for n in range(1000)],
            "time": pd.Timestamp("2024-01-06", tz="UTC") - pd.to_timedelta([5, 4, 3, 2, 1, 2, 1, *[9] * 1000], "D"),
            "failed_after_days": [5, 4, 3, 2, 1, 2, 1, *[np.nan] * 1000],
            HORIZON: [False, False, False, True, True, True, True, *[False] * 1000],
        }
    )
    high = [0.9, 0.0, 0.0, 0.8, 0.9, 0.0, 0.0]
    scores = pd.DataFrame({"probability": [*high, *np.linspace(1e-4, 0.1, 1000)]})
    figures = FailurePredictor().measure(Fold("fleet", test, test), scores)
    assert figures["recall_at_1"] == figures["recall_at_5"] == 0.5
    assert figures["balanced_accuracy"] == pytest.approx((0.5 + 0.95) / 2)
    assert figures["failures_caught_at_1"] == 0.5
    assert figures["warning_hours"] == 120


def test_data_without_failures_is_refused(frame: pd.DataFrame) -> None:
    healthy = frame[frame["failed_after_days"].isna()]
    with pytest.raises(DataError, match="no drive fails"):
        list(FailurePredictor().folds(healthy))


# -- real data --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> pd.DataFrame:
    if not DATA.is_dir():
        pytest.skip(f"no data set {SET} in {DATA.parent}; set AIOPS_DATA")
    tables = build.read([(SET, DATA)])
    events, points = tables["events"].to_pandas(), tables["metrics"]
    failed = events.loc[events["type"].str.endswith("failed"), "subject"]
    others = pd.Series(sorted(set(events["subject"]) - set(failed)))[::15]
    chosen = {*failed, *others}
    kept = {
        "metrics": points.filter([drive in chosen for drive in points["instance_id"].to_pylist()]),
        "events": tables["events"].filter([drive in chosen for drive in tables["events"]["subject"].to_pylist()]),
    }
    return build.frame(kept, [DRIVE_HEALTH], DRIVE_OUTCOMES)


def test_ranks_real_failures_better_than_the_naive_rule(real: pd.DataFrame) -> None:
    model = FailurePredictor()
    checks.frame(model.spec, real)
    fold = list(model.folds(real))[1]
    checks.fold(model.spec, fold)
    scores = {}
    for name, learner in {"lstm": model.build(), "naive": model.baselines()["naive"]}.items():
        learner.fit(inputs(model.spec, fold.train, label=True), HORIZON)
        probability = learner.predict(inputs(model.spec, fold.test))["probability"]
        scores[name] = metrics.roc_auc(fold.test[HORIZON].astype(float), probability)
    assert scores["lstm"] > max(0.85, scores["naive"])


# -- nodes ------------------------------------------------------------------------------------------------------------

NODES = "lanl_failures_1996_2005"


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The demo set's nodes."""
    folder = tmp_path_factory.mktemp("nodes")
    lanl_failures_1996_2005.write(folder, np.random.default_rng(1))
    return build.frame(build.read([(NODES, folder)]), [DRIVE_HEALTH], DRIVE_OUTCOMES)


@pytest.fixture(scope="module")
def nodes(failures: pd.DataFrame) -> FailurePredictor:
    return FailurePredictor().fit(inputs(FailurePredictor.spec, failures, label=True))


@pytest.fixture(scope="module")
def asked(failures: pd.DataFrame) -> Rows:
    many = failures[failures["failure_causes"].map(len) > 4]
    return signature.records(inputs(FailurePredictor.spec, many.tail(20)))


def test_the_name_of_a_node_does_not_matter(nodes: FailurePredictor, asked: Rows) -> None:
    np.testing.assert_allclose(_risk(nodes, _changed(asked, drive=lambda _: "other")), _risk(nodes, asked))


def test_many_failures_lately_raise_the_risk(nodes: FailurePredictor, asked: Rows) -> None:
    lately = _changed(asked, failures_days_ago=lambda ages: [day / 20 for day in ages])
    assert _risk(nodes, lately).mean() > 1.2 * _risk(nodes, asked).mean()


def test_the_cause_is_what_failed_before(nodes: FailurePredictor, asked: Rows) -> None:
    weak = _changed(asked, failure_causes=lambda causes: ["Memory Dimm"] * len(causes))
    answers = [cast(FailureAnswer, answer) for answer in nodes.predict(weak, explain=True)]
    assert {answer.likely_cause for answer in answers} == {"Memory Dimm"}
    assert all(answer.earliest and answer.latest and answer.explanation for answer in answers)
    assert all(0 < cast(float, answer.cause_probability) <= 1 for answer in answers)


def test_unknown_systems_and_kinds_are_not_answered(nodes: FailurePredictor, asked: Rows, healthy: Rows) -> None:
    strange, drive = nodes.predict([{**asked[0], "drive_model": "99"}, healthy[0]])
    assert strange.abstained and "system '99'" in strange.abstained
    assert drive.abstained and "kind 'drive'" in drive.abstained


def test_folds_of_nodes_learn_only_what_was_known(failures: pd.DataFrame) -> None:
    model, folds = FailurePredictor(), list(FailurePredictor().folds(failures))
    assert [fold.dataset for fold in folds] == [NODES] * 3 + [f"{NODES}_unseen"] * 2
    for fold in folds:
        checks.fold(model.spec, fold)
        assert fold.train["time"].max() < fold.test["time"].min()


def test_names_real_causes_no_worse_than_the_majority() -> None:
    if not (folder := DATA.parent / NODES).is_dir():
        pytest.skip(f"no data set {NODES} in {folder.parent}; set AIOPS_DATA")
    frame = build.frame(build.read([(NODES, folder)]), [DRIVE_HEALTH], DRIVE_OUTCOMES)
    model = FailurePredictor()
    checks.frame(model.spec, frame)
    fold = list(model.folds(frame))[2]
    figures = {}
    for name, learner in {"model": model.build(), "naive": model.baselines()["naive"]}.items():
        learner.fit(inputs(model.spec, fold.train, label=True), HORIZON)
        figures[name] = model.measure(fold, learner.predict(inputs(model.spec, fold.test)))
    assert figures["model"]["component_top1"] > figures["naive"]["component_top1"] - 0.01
    assert figures["model"]["roc_auc"] > 0.6
