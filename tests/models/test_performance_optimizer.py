"""Behaviour of PerformanceOptimizer: what must not matter, what it says, and the least it must be able to do."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import build
from features.demo import mysql_knobs_sysbench, pervolution_databases
from features.transforms.configurations import FROZEN
from infra.errors import DataError
from infra.settings import ROOT
from training import checks, metrics_search
from training.evaluate import inputs
from training.learners.search import TransferSearch
from training.models.performance_optimizer import PerformanceOptimizer

DATA = Path(os.environ.get("AIOPS_DATA") or ROOT.parent / "shared" / "data")
SPEC = PerformanceOptimizer.spec


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    places = []
    for module in (pervolution_databases, mysql_knobs_sysbench):
        name = module.__name__.rpartition(".")[2]
        folder = tmp_path_factory.mktemp(name)
        module.write(folder, np.random.default_rng(1))
        places.append((name, folder))
    return build.frame(build.read(places), SPEC.views, SPEC.labels)


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> PerformanceOptimizer:
    found = PerformanceOptimizer()
    found.learner = TransferSearch().fit(inputs(SPEC, frame, label=True), SPEC.label)
    return found


ROW: dict[str, Any] = dict(SPEC.row.model_config["json_schema_extra"]["examples"][0])  # type: ignore[index, arg-type]


# -- what must not matter ---------------------------------------------------------------------------------------------


def test_the_unit_of_performance_does_not_matter(model: PerformanceOptimizer) -> None:
    scaled = {**ROW, "baseline": 1000 * ROW["baseline"], "outcomes": [1000 * value for value in ROW["outcomes"]]}
    (plain,), (other,) = model.predict([ROW]), model.predict([scaled])
    assert plain.next == other.next  # type: ignore[attr-defined]
    assert plain.gain == pytest.approx(other.gain)  # type: ignore[attr-defined]


def test_the_name_of_the_task_does_not_matter(model: PerformanceOptimizer) -> None:
    assert model.predict([ROW]) == model.predict([{**ROW, "task": "another"}])


def test_speed_and_run_time_are_told_apart(model: PerformanceOptimizer) -> None:
    rate = {**ROW, "higher_is_better": True, "baseline": 1 / ROW["baseline"],
            "outcomes": [1 / value for value in ROW["outcomes"]]}  # fmt: skip
    (time,), (speed,) = model.predict([ROW]), model.predict([rate])
    assert time.gain == pytest.approx(speed.gain)  # type: ignore[attr-defined]


# -- what it says -----------------------------------------------------------------------------------------------------


def test_it_suggests_what_was_not_tried_and_keeps_the_best(model: PerformanceOptimizer) -> None:
    (answer,) = model.predict([ROW], explain=True)
    tried = np.reshape(ROW["tried"], (-1, 2)).tolist()
    assert answer.decision == "try"  # type: ignore[attr-defined]
    assert list(answer.next.values()) not in tried  # type: ignore[attr-defined]
    assert list(answer.best.values()) == [512, 8]  # type: ignore[attr-defined]
    assert answer.gain == pytest.approx(248.9 / 219.5 - 1)  # type: ignore[attr-defined]


def test_it_keeps_the_baseline_where_nothing_is_gained(model: PerformanceOptimizer) -> None:
    values = np.reshape(ROW["candidates"], (-1, 2))
    worse = {**ROW, "tried": values.ravel().tolist(), "outcomes": [250.0 + 10 * n for n in range(len(values))]}
    (answer,) = model.predict([worse])
    assert answer.decision == "keep"  # type: ignore[attr-defined]
    assert answer.gain == 0  # type: ignore[attr-defined]
    assert list(answer.best.values()) == ROW["values"]  # type: ignore[attr-defined]
    assert answer.verdict.startswith("none")  # type: ignore[attr-defined]


def test_a_gain_within_the_noise_is_none(model: PerformanceOptimizer) -> None:
    (answer,) = model.predict([{**ROW, "outcomes": [245.0, 240.0], "trials_left": 0}])
    assert answer.gain == 0  # type: ignore[attr-defined]
    assert answer.decision == "keep"  # type: ignore[attr-defined]


def test_knobs_that_trade_durability_are_refused_and_never_learnt(
    model: PerformanceOptimizer, frame: pd.DataFrame
) -> None:
    with pytest.raises(DataError, match="fsync"):
        model.predict([{**ROW, "knobs": ["fsync", "innodbLogBufferSize"]}])
    assert not {knob for knobs in frame["knobs"] for knob in knobs} & FROZEN


def test_it_abstains_without_knobs_or_candidates(model: PerformanceOptimizer) -> None:
    unknown = {**ROW, "knobs": ["a", "b"], "candidates": [], "tried": [], "outcomes": []}
    nothing = {**unknown, "knobs": [], "values": []}
    assert [bool(answer.abstained) for answer in model.predict([unknown, nothing, ROW])] == [True, True, False]
    with pytest.raises(DataError, match="tried needs 2 numbers"):
        model.predict([{**ROW, "tried": [1.0]}])


# -- the least it must be able to do ----------------------------------------------------------------------------------


def test_no_fold_leaks_and_no_judged_task_is_learnt_from(frame: pd.DataFrame) -> None:
    checks.frame(SPEC, frame)
    folds = list(PerformanceOptimizer().folds(frame))
    assert {fold.dataset.removesuffix("_unseen") for fold in folds} == set(SPEC.datasets)
    for fold in folds:
        checks.fold(SPEC, fold)
        assert not set(fold.train["task"]) & set(fold.test["task"])
        if fold.dataset.endswith("_unseen"):
            assert not set(fold.train["system"]) & set(fold.test["system"])


def test_of_two_given_folders_only_new_tasks_are_judged(frame: pd.DataFrame) -> None:
    frame = frame[frame["dataset"] == "pervolution_databases"]
    train = frame[frame["task"].str.contains(" [12]")].reset_index(drop=True)
    (fold,) = PerformanceOptimizer().given(train, frame)
    checks.fold(SPEC, fold)
    assert set(fold.test["task"]) == set(frame["task"]) - set(train["task"])


def test_what_chance_gives_is_exact() -> None:
    gain = np.array([0.0, 0.1, 0.3, 0.2])
    pairs = [max(a, b) for i, a in enumerate(gain) for b in gain[i + 1 :]]
    assert metrics_search._expected_best(gain, 2) == pytest.approx(np.mean(pairs))
    assert metrics_search._expected_best(gain, 4) == pytest.approx(0.3)


def _gain(dataset: str, seed: int = 0) -> dict[str, dict[str, float]]:
    model = PerformanceOptimizer()
    frame = build.frame(build.read([(dataset, DATA / dataset)]), SPEC.views, SPEC.labels)
    fold = next(fold for fold in model.folds(frame) if fold.dataset == dataset)
    assert fold.play
    train, test = inputs(SPEC, fold.train, label=True), inputs(SPEC, fold.test)
    baselines = model.baselines(seed)
    contenders = {"model": model.build(seed), **{name: baselines[name] for name in ("strong", "naive")}}
    return {
        name: model.measure(fold, fold.play(learner.fit(train, SPEC.label), test))
        for name, learner in contenders.items()
    }


@pytest.mark.skipif(not (DATA / "pervolution_databases").is_dir(), reason=f"no pervolution_databases in {DATA}")
def test_minimum_on_releases_with_earlier_ones() -> None:
    figures = _gain("pervolution_databases")
    assert figures["model"]["gain"] >= 0.072
    assert figures["model"]["share_of_best"] >= max(0.78, figures["naive"]["share_of_best"] + 0.08)
    assert figures["model"]["verdict_right"] >= figures["naive"]["verdict_right"] + 0.05
    assert figures["model"]["margin_over_random"] >= 0.006


@pytest.mark.skipif(not (DATA / "mysql_knobs_sysbench").is_dir(), reason=f"no mysql_knobs_sysbench in {DATA}")
def test_minimum_on_the_reference_set() -> None:
    for seed in (0, 1):
        figures = _gain("mysql_knobs_sysbench", seed)
        assert figures["model"]["gain"] >= 0.65
        assert figures["model"]["regret"] <= 0.13
        assert figures["model"]["gain_30"] == 1  # chance does that too: two tasks tell no contender from another
        assert figures["model"] == figures["strong"]  # two earlier tasks are no prior
