"""AnomalyDetector on a small service watched every second: what it must see, and when it must keep still."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import build, demo
from features.transforms.windows import states
from infra.errors import DataError
from infra.settings import settings
from training import detection, signature
from training.evaluate import inputs
from training.models.anomaly_detector import AnomalyAnswer, AnomalyDetector

HISTORY, FAULT, END = 240, 300, 360  # seconds
START = pd.Timestamp("2026-01-05", tz="UTC")


def _service(instance: str, seed: int, fault: str | None, seconds: int) -> pd.DataFrame:
    """Points of one process; from second FAULT on it has `fault`."""
    random, t = np.random.default_rng(seed), np.arange(seconds)
    rate = 20 + 3 * np.sin(t / 40) + random.normal(0, 1.5, seconds)
    metrics = {
        "up": np.ones(seconds),
        "request_rate": rate,
        "latency": 0.02 + 0.0003 * rate + random.exponential(0.003, seconds),
        "errors": np.zeros(seconds),
        "cpu": 0.1 + 0.01 * rate + random.normal(0, 0.01, seconds),
        "resident_memory": 5e7 + 4096.0 * np.cumsum(random.random(seconds) < 0.1),
        "threads": np.full(seconds, 8.0),
    }
    after, since = slice(FAULT, None), np.arange(max(0, seconds - FAULT))
    if fault == "killed":
        metrics = {name: np.where(t < FAULT, values, np.nan) for name, values in metrics.items()}
        metrics["up"][after] = 0.0
    elif fault == "hung":
        metrics["request_rate"][after], metrics["latency"][after], metrics["cpu"][after] = 0.0, 2.0, 0.0
    elif fault == "leaking":
        metrics["resident_memory"][after] += 2e6 * since
    elif fault == "slow":
        metrics["latency"][after] += 0.2
    elif fault == "failing":
        metrics["errors"][after] = 2.0
    parts = [
        pd.DataFrame({"time": START + pd.to_timedelta(t, unit="s"), "metric_name": name, "value": values})
        for name, values in metrics.items()
    ]
    points = pd.concat(parts).dropna(subset="value")
    return points.assign(dataset="live", service_name=instance.split("-")[0], instance_id=instance, unit="1")


@lru_cache
def _rows(fault: str | None = None, instance: str = "api-1", seed: int = 0, seconds: int = END) -> pd.DataFrame:
    return states({"metrics": _service(instance, seed, fault, seconds)}).assign(anomalous=None)


def _fitted(*frames: pd.DataFrame, **options: object) -> AnomalyDetector:
    known = pd.concat(frames, ignore_index=True)
    known = known[known["time"] < START + timedelta(seconds=HISTORY)]
    return AnomalyDetector(options).fit(inputs(AnomalyDetector.spec, known, label=True))


def _answers(model: AnomalyDetector, frame: pd.DataFrame, begin: int = HISTORY, end: int = END) -> list[AnomalyAnswer]:
    span = frame["time"].between(START + timedelta(seconds=begin), START + timedelta(seconds=end - 1))
    found = model.predict(signature.records(inputs(model.spec, frame[span])))
    return [answer for answer in found if isinstance(answer, AnomalyAnswer)]


def _impact(answer: AnomalyAnswer) -> float:
    assert answer.business_impact is not None
    return answer.business_impact


@pytest.fixture(scope="module")
def model() -> AnomalyDetector:
    """Learnt from four minutes of a healthy process."""
    return _fitted(_rows())


@pytest.mark.parametrize(
    ("fault", "within", "blamed"),
    [
        ("killed", 2, {"up"}),
        ("hung", 2, {"latency", "request_rate", "cpu"}),
        ("leaking", 5, {"resident_memory"}),
        ("slow", 3, {"latency"}),
        ("failing", 2, {"errors"}),
    ],
)
def test_a_fault_is_seen_within_seconds_and_blamed_on_its_metric(
    model: AnomalyDetector, fault: str, within: int, blamed: set[str]
) -> None:
    answers = _answers(model, _rows(fault))
    before, after = answers[: FAULT - HISTORY], answers[FAULT - HISTORY :]
    assert not any(answer.anomalous for answer in before)
    alarms = [second for second, answer in enumerate(after) if answer.anomalous]
    assert alarms and alarms[0] <= within
    first = after[alarms[0]]
    assert first.blamed[0].metric in blamed
    assert first.score is not None and first.score > 0.5
    assert sum(answer.anomalous or False for answer in after[within : within + 10]) >= 8  # it lasts


def test_a_tick_of_a_metric_that_never_moved_is_no_alarm(model: AnomalyDetector) -> None:
    points = _service("api-1", 0, None, END)
    late = points["time"] >= START + timedelta(seconds=FAULT)
    points["value"] += ((points["metric_name"] == "threads") & late).astype(float)
    rows = states({"metrics": points}).assign(anomalous=None)
    assert not any(answer.anomalous for answer in _answers(model, rows))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_healthy_process_raises_no_alarm(seed: int) -> None:
    rows = _rows(seed=seed, seconds=HISTORY + 900)
    answers = _answers(_fitted(rows), rows, end=HISTORY + 900)
    assert sum(answer.anomalous or False for answer in answers) == 0


def test_the_unit_of_a_metric_does_not_matter() -> None:
    points = _service("api-1", 0, "slow", END)
    in_ms = points.assign(value=points["value"].where(points["metric_name"] != "latency", points["value"] * 1000))
    plain, scaled = (states({"metrics": part}).assign(anomalous=None) for part in (points, in_ms))
    found = [_answers(_fitted(frame), frame) for frame in (plain, scaled)]
    assert [a.anomalous for a in found[0]] == [a.anomalous for a in found[1]]


def test_a_stronger_fault_scores_higher_and_costs_more(model: AnomalyDetector) -> None:
    row = _rows("slow").iloc[[FAULT + 5]]
    answers = []
    for factor in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        scaled = row.copy()
        for name in ("off_season", "off_50", "off_17", "off_5", "off_2"):
            scaled[name] = [factor * row[name].iloc[0]]
        answers += _answers(model, scaled)
    scores, impacts = [a.score or 0.0 for a in answers], [_impact(a) for a in answers]
    assert scores == sorted(scores) and impacts == sorted(impacts)
    assert impacts[0] == 0 and impacts[-1] > 0.5


def test_what_users_do_not_feel_costs_less() -> None:
    rows = {fault: _rows(fault).iloc[[FAULT + 30]] for fault in ("leaking", "slow")}
    # asked together with healthy instances: alone, it would be all that is watched
    healthy = [_rows(instance=f"web-{n}", seed=n) for n in range(1, 5)]
    model = _fitted(_rows(), *healthy)
    others = pd.concat([frame.iloc[[FAULT + 30]] for frame in healthy])
    impact = {fault: _impact(_answers(model, pd.concat([row, others]))[0]) for fault, row in rows.items()}
    assert 0 < impact["leaking"] < impact["slow"]


def test_importance_scales_the_impact() -> None:
    rows, full, half = _rows("hung"), _fitted(_rows()), _fitted(_rows(), importance={"api": 0.5})
    last = [_impact(_answers(model, rows.iloc[[-1]])[0]) for model in (full, half)]
    assert last[0] == pytest.approx(2 * last[1])


def test_instances_that_fail_together_are_named() -> None:
    frames = [_rows("hung"), _rows("slow", "web-1", seed=1), _rows(None, "db-1", seed=2)]
    model = _fitted(*frames)
    answers = {a.instance: a for a in _answers(model, pd.concat(frames), begin=END - 1)}
    assert [other.instance for other in answers["api-1"].correlated] == ["web-1"]
    assert [other.service for other in answers["web-1"].correlated] == ["api"]
    assert answers["db-1"].correlated == [] and not answers["db-1"].anomalous


def test_it_abstains_on_strangers_and_on_too_little_history(model: AnomalyDetector) -> None:
    [stranger] = _answers(model, _rows(instance="new-1").iloc[[-1]])
    assert stranger.abstained == "new-1: it is unknown"
    assert stranger.anomalous is None and stranger.score is None and stranger.instance == "new-1"
    few = _fitted(_rows(seconds=100))
    [young] = _answers(few, _rows().iloc[[-1]])
    assert young.abstained == "api-1: only 100 rows of it were learnt, 120 are needed"


def test_explanations_name_metrics_with_their_effects(model: AnomalyDetector) -> None:
    row = signature.records(inputs(model.spec, _rows("slow").iloc[[FAULT + 3]]))
    [answer] = model.predict(row, explain=True)
    assert answer.explanation[0].input == "latency" and answer.explanation[0].effect > 1


def _labelled(seed: int, machine: str) -> pd.DataFrame:
    rows = _rows("hung", machine, seed)
    seconds = (rows["time"] - START).dt.total_seconds()
    truth = (seconds >= FAULT).astype(object).where(seconds >= HISTORY, None)
    blamed = [["latency"] if label is True else [] for label in truth]
    return rows.assign(anomalous=truth, blamed=pd.Series(blamed, rows.index), dataset="asd_servers")


def test_a_fold_is_a_machine_learnt_before_it_is_judged() -> None:
    frame = pd.concat([_labelled(0, "m-1"), _labelled(1, "m-2")], ignore_index=True)
    folds = list(AnomalyDetector().folds(frame))
    assert [fold.test["instance"].unique().tolist() for fold in folds] == [["m-1"], ["m-2"]]
    for fold in folds:
        assert fold.train["anomalous"].isna().all() and fold.train["time"].max() < fold.test["time"].min()
    fold = folds[0]
    model = AnomalyDetector()
    learner = model.build().fit(inputs(model.spec, fold.train, label=True), "anomalous")
    figures = model.measure(fold, learner.predict(inputs(model.spec, fold.test)))
    assert figures["event_recall"] == 1 and figures["vus_pr"] > 0.8 and figures["false_alarms_per_day"] == 0
    assert set(figures) >= {"pr_auc", "f1", "event_recall_at_1_a_day", "hit_rate_100", "hit_rate_150"}


def _parts() -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    one, two = _labelled(0, "m-1"), _labelled(1, "m-2")
    both = pd.concat([one, two], ignore_index=True)
    yield "other machines, with their own past", one, both
    past = two["anomalous"].isna()
    yield "the past in one folder, what came after in the other", two[past], two


@pytest.mark.parametrize("case", list(_parts()), ids=lambda case: case[0])
def test_folders_of_ones_own_are_judged_by_machine(case: tuple[str, pd.DataFrame, pd.DataFrame]) -> None:
    _, train, everything = case
    [fold] = AnomalyDetector().given(train.reset_index(drop=True), everything.reset_index(drop=True))
    assert fold.test["instance"].unique().tolist() == ["m-2"] and fold.test["anomalous"].notna().all()
    assert fold.train["instance"].unique().tolist() == ["m-2"] and len(fold.train) == HISTORY


def test_a_machine_without_a_past_is_an_error_that_names_it() -> None:
    judged = _labelled(1, "m-2")
    judged = judged[judged["anomalous"].notna()].reset_index(drop=True)
    with pytest.raises(DataError, match="m-2: no unlabelled rows"):
        list(AnomalyDetector().given(_labelled(0, "m-1"), judged))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pd.DataFrame]:
    """The stand-in of a system of services."""
    monkeypatch.setenv("AIOPS__HOME", str(tmp_path))
    settings.cache_clear()
    tables = build.read([("nezha_online_boutique", demo.make("nezha_online_boutique"))])
    yield build.frame(tables, AnomalyDetector.spec.views, AnomalyDetector.spec.labels)
    settings.cache_clear()


def test_services_of_one_system_are_judged_together_on_the_second_half_of_the_faults(shop: pd.DataFrame) -> None:
    [fold] = AnomalyDetector().folds(shop)
    assert (fold.dataset, fold.together) == ("online_boutique", True)
    assert fold.dataset not in AnomalyDetector.spec.datasets  # in no mean
    assert fold.train["anomalous"].isna().all() and fold.test["anomalous"].notna().all()
    assert fold.train["time"].max() < fold.test["time"].min()
    events = detection.first_rows(shop).sum()
    assert detection.first_rows(fold.test).sum() == events - events // 2
    model = AnomalyDetector()
    scores = model.build().fit(inputs(model.spec, fold.train, label=True), "anomalous").predict(fold.test)
    figures = model.measure(fold, scores)
    assert figures["service_hit_1"] > 0.8


def test_a_later_part_of_a_system_is_judged_by_what_lies_before(shop: pd.DataFrame) -> None:
    middle = shop["time"].quantile(0.4)
    [fold] = AnomalyDetector().given(shop[shop["time"] <= middle].reset_index(drop=True), shop)
    assert fold.train["time"].max() <= middle < fold.test["time"].min()
    assert fold.test["instance"].nunique() == fold.train["instance"].nunique() == 5


def test_saved_and_loaded_it_answers_the_same(model: AnomalyDetector, tmp_path: Path) -> None:
    model.save(tmp_path)
    rows = _rows("hung").iloc[-5:]
    assert _answers(AnomalyDetector.load(tmp_path), rows) == _answers(model, rows)
