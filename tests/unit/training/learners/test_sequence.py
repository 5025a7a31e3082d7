"""The LSTM with a discrete-time hazard, and the learners without memory beside it, on a made-up fleet."""

from pathlib import Path

import pandas as pd
import pytest

from features.transforms.drive_health import HORIZON
from infra.errors import DataError
from tests.fleet import COUNTERS, fleet
from training.learner import Learner
from training.learners.sequence import SequenceHazard
from training.learners.summarised import Summarised, summary_names
from training.metrics import roc_auc

INPUTS = {"sequences": COUNTERS, "age": "days_ago", "category": "drive_model", "entity": "drive"}
TREES = {"features": summary_names(COUNTERS), "categorical": ["category"], "folds": 0}


def _make(kind: str, seed: int = 0) -> Learner:
    if kind == "lstm":
        return SequenceHazard(**INPUTS, negatives=0.5, members=2, epochs=4, seed=seed)  # type: ignore[arg-type]
    if kind == "boosted":
        return Summarised(**INPUTS, kind="boosted", options=TREES, widen=7, negatives=0.5, seed=seed)  # type: ignore[arg-type]
    limits = {"limits": {"reallocated_sectors": 6, "pending_sectors": 1}, "folds": 0}
    return Summarised(**INPUTS, kind="rule", options=limits)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    return fleet(seed=1)


@pytest.fixture(scope="module")
def test() -> pd.DataFrame:
    frame = fleet(150, seed=2)
    return frame[frame[HORIZON].notna()].reset_index(drop=True)


@pytest.fixture(scope="module")
def fitted(train: pd.DataFrame) -> dict[str, Learner]:
    return {kind: _make(kind).fit(train, HORIZON) for kind in ("lstm", "boosted", "rule")}


@pytest.mark.parametrize(("kind", "least"), [("lstm", 0.95), ("boosted", 0.95), ("rule", 0.6)])
def test_finds_drives_that_it_has_not_seen(
    fitted: dict[str, Learner], test: pd.DataFrame, kind: str, least: float
) -> None:
    scores = fitted[kind].predict(test.drop(columns=[HORIZON, "failed_after_days", "followed_days"]))
    assert roc_auc(test[HORIZON].astype(float), scores["probability"]) > least


@pytest.mark.parametrize("kind", ["lstm", "boosted"])
def test_probabilities_are_as_frequent_as_the_event(fitted: dict[str, Learner], test: pd.DataFrame, kind: str) -> None:
    expected = fitted[kind].predict(test)["probability"].sum()
    assert expected == pytest.approx(test[HORIZON].sum(), rel=0.35)


def test_false_alarm_rate_is_kept_on_new_drives(fitted: dict[str, Learner], test: pd.DataFrame) -> None:
    scores = fitted["lstm"].predict(test)
    healthy = ~test[HORIZON].astype(bool).to_numpy()
    assert (scores["false_alarm_rate"][healthy] <= 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_time_to_the_event_is_shorter_when_it_is_near(fitted: dict[str, Learner], test: pd.DataFrame) -> None:
    scores = fitted["lstm"].predict(test)
    near, far = test["failed_after_days"] <= 2, test["failed_after_days"] >= 9
    assert scores["days"][near].mean() < scores["days"][far].mean()
    assert (scores["days_low"] <= scores["days"]).all()
    assert (scores["days"] <= scores["days_high"]).all()
    assert scores["days_high"].max() <= 14


@pytest.mark.parametrize("kind", ["lstm", "boosted", "rule"])
def test_saved_and_loaded_scores_the_same(
    fitted: dict[str, Learner], test: pd.DataFrame, kind: str, tmp_path: Path
) -> None:
    fitted[kind].save(tmp_path)
    again = type(fitted[kind]).load(tmp_path)
    pd.testing.assert_frame_equal(again.predict(test), fitted[kind].predict(test))


def test_same_seed_same_numbers(fitted: dict[str, Learner], train: pd.DataFrame, test: pd.DataFrame) -> None:
    again = _make("lstm").fit(train, HORIZON)
    pd.testing.assert_frame_equal(again.predict(test), fitted["lstm"].predict(test))


def test_contributions_blame_what_changed(fitted: dict[str, Learner], test: pd.DataFrame) -> None:
    stands = test["power_on_hours"].map(lambda hours: len(hours) > 1 and hours[-1] == hours[-2])
    hung = test[(test["failed_after_days"] <= 2) & stands].head(5)
    assert len(hung)
    learner = fitted["lstm"]
    effects = learner.contributions(hung)
    assert list(effects.columns) == [*COUNTERS, "drive_model"]
    assert (effects.idxmax(axis=1) == "power_on_hours").mean() >= 0.8


def test_too_few_events_is_an_error_that_says_how_many(train: pd.DataFrame) -> None:
    healthy = train[~train["drive"].isin(train.loc[train[HORIZON].eq(True), "drive"])]
    with pytest.raises(DataError, match="0 entities with the event; at least 2"):
        _make("lstm").fit(healthy, HORIZON)
