"""Behaviour of ResourceOptimizer: what must not matter, what must point one way, the least it must be able to do."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import build
from features.demo import bitbrains_rnd
from features.transforms.rightsizing import STATISTICS, USAGE_AHEAD, USAGE_HISTORY
from infra.errors import DataError
from infra.settings import ROOT
from training import checks, signature
from training.evaluate import inputs
from training.model import to_frame
from training.models.resource_optimizer import ResourceOptimizer, cpu_quantity, memory_quantity

DATA = Path(os.environ.get("AIOPS_DATA") or ROOT.parent / "shared" / "data")


@pytest.fixture(scope="module")
def frame(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("bitbrains")
    bitbrains_rnd.write(folder, np.random.default_rng(1))
    return build.frame(build.read([("bitbrains_rnd", folder)]), [USAGE_HISTORY], USAGE_AHEAD)


@pytest.fixture(scope="module")
def model(frame: pd.DataFrame) -> ResourceOptimizer:
    return ResourceOptimizer().fit(inputs(ResourceOptimizer.spec, frame, label=True))


@pytest.fixture(scope="module")
def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return signature.records(inputs(ResourceOptimizer.spec, frame.iloc[-400::10]))


def _limits(model: ResourceOptimizer, rows: list[dict[str, Any]]) -> np.ndarray:
    assert model.learner
    scores = model.learner.predict(to_frame([model.check(row) for row in rows]))
    return scores[["cpu_limit", "memory_limit"]].to_numpy()


# -- what must not matter ---------------------------------------------------------------------------------------------


def test_names_and_dates_do_not_matter(model: ResourceOptimizer, rows: list[dict[str, Any]]) -> None:
    renamed = [{**row, "workload": "other", "time": datetime(2031, 5, 5, tzinfo=UTC)} for row in rows]
    assert np.array_equal(_limits(model, rows), _limits(model, renamed))


def test_the_unit_of_size_does_not_matter(model: ResourceOptimizer, rows: list[dict[str, Any]]) -> None:
    names = [*STATISTICS, "capacity"]
    double = [{**row, **{f"{r}_{n}": 2 * row[f"{r}_{n}"] for r in ("cpu", "memory") for n in names}} for row in rows]
    np.testing.assert_allclose(_limits(model, double), 2 * _limits(model, rows), rtol=1e-6)


# -- what must point one way ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["peak_4h", "peak_24h", "peak_same_hour", "peak_same_hour_7d"])
def test_more_use_never_lowers_a_request(model: ResourceOptimizer, rows: list[dict[str, Any]], name: str) -> None:
    more = [{**row, f"cpu_{name}": 1.5 * row[f"cpu_{name}"]} for row in rows]
    assert (_limits(model, more)[:, 0] >= _limits(model, rows)[:, 0] * (1 - 1e-9)).all()


def test_requests_lie_between_the_median_and_the_capacity(model: ResourceOptimizer, rows: list[dict[str, Any]]) -> None:
    for number, resource in enumerate(("cpu", "memory")):
        limit = _limits(model, rows)[:, number]
        assert (limit <= [row[f"{resource}_capacity"] for row in rows]).all()
        assert (limit >= [row[f"{resource}_p50"] for row in rows]).all()


def test_a_request_within_the_band_stays_and_a_small_one_rises(
    model: ResourceOptimizer, rows: list[dict[str, Any]]
) -> None:
    cpu, memory = _limits(model, rows[:1])[0]
    near = {**rows[0], "cpu_request": cpu * 1.05, "memory_request": memory * 1.02}
    assert not model.predict([near])[0].changed  # type: ignore[attr-defined]
    np.testing.assert_allclose(_limits(model, [near])[0], [cpu * 1.05, memory * 1.02])
    small = {**near, "cpu_request": cpu * 0.8}
    assert model.predict([small])[0].changed  # type: ignore[attr-defined]
    np.testing.assert_allclose(_limits(model, [small])[0], [cpu, memory])


# -- what it says -----------------------------------------------------------------------------------------------------


def test_it_writes_quantities_as_kubernetes_does() -> None:
    assert (cpu_quantity(0.25), cpu_quantity(0.2501), cpu_quantity(2.0)) == ("250m", "251m", "2000m")
    assert (memory_quantity(2**29), memory_quantity(2**29 + 1)) == ("512Mi", "513Mi")


def test_answers_tell_savings_and_risk(model: ResourceOptimizer, rows: list[dict[str, Any]]) -> None:
    for answer, row in zip(model.predict(rows, explain=True), rows, strict=True):
        assert answer.requests.cpu.endswith("m")  # type: ignore[attr-defined]
        assert answer.requests.memory.endswith("Mi")  # type: ignore[attr-defined]
        assert answer.cpu_saved <= row["cpu_capacity"]  # type: ignore[attr-defined]
        assert 0 <= answer.memory_violation_rate <= 1  # type: ignore[attr-defined]
        assert answer.explanation


def test_cpu_may_burst_and_memory_may_not(model: ResourceOptimizer, rows: list[dict[str, Any]]) -> None:
    own = ResourceOptimizer({"limit_over_request": 2})
    own.learner = model.learner
    (answer,) = own.predict(rows[:1])
    assert int(answer.limits.cpu[:-1]) > int(answer.requests.cpu[:-1])  # type: ignore[attr-defined]
    assert answer.limits.memory == answer.requests.memory  # type: ignore[attr-defined]


def test_it_abstains_with_little_history(model: ResourceOptimizer, rows: list[dict[str, Any]]) -> None:
    (answer,) = model.predict([{**rows[0], "history_hours": 30}])
    assert "30 hours of history" in str(answer.abstained)
    with pytest.raises(DataError, match="cpu_p99"):
        model.predict([{**rows[0], "cpu_p99": -1}])


# -- the least it must be able to do ----------------------------------------------------------------------------------


def _figures(frame: pd.DataFrame, seed: int = 0) -> dict[str, dict[str, float]]:
    model = ResourceOptimizer()
    fold = next(iter(model.folds(frame, seed)))
    checks.fold(model.spec, fold)
    assert fold.play
    assert not set(fold.train["workload"]) & set(fold.test["workload"])
    train, test = inputs(model.spec, fold.train, label=True), inputs(model.spec, fold.test)
    contenders = {"model": model.build(seed), "strong": model.baselines(seed)["strong"]}
    return {
        name: model.measure(fold, fold.play(learner.fit(train, "ahead"), test)) for name, learner in contenders.items()
    }


def test_it_saves_more_than_the_rule_at_equal_violations(frame: pd.DataFrame) -> None:
    figures = _figures(frame)
    for resource in ("cpu", "memory"):
        name = f"{resource}_saved_at_equal_violations"
        assert figures["model"][name] > figures["strong"][name]
        # the rule held against itself is itself
        assert figures["strong"][name] == pytest.approx(figures["strong"][f"{resource}_saved"], abs=0.01)


def test_of_two_given_folders_the_later_time_is_judged(frame: pd.DataFrame) -> None:
    model = ResourceOptimizer()
    border = frame["time"].quantile(0.8)
    (fold,) = model.given(frame[frame["time"] < border].reset_index(drop=True), frame)
    checks.fold(model.spec, fold)
    assert fold.test["time"].min() >= border


@pytest.mark.skipif(not (DATA / "bitbrains_rnd").is_dir(), reason=f"no bitbrains_rnd in {DATA}; set AIOPS_DATA")
def test_minimum_on_the_reference_set(tmp_path: Path) -> None:
    (tmp_path / "2013-8").mkdir()
    for file in sorted((DATA / "bitbrains_rnd" / "2013-8").iterdir())[::3]:
        (tmp_path / "2013-8" / file.name).symlink_to(file)
    frame = build.frame(build.read([("bitbrains_rnd", tmp_path)]), [USAGE_HISTORY], USAGE_AHEAD)
    for seed in (0, 1):  # two draws of a third of the machines; the margins are half of the smallest seen in three
        figures = _figures(frame, seed)
        model, strong = figures["model"], figures["strong"]
        for resource, more, fewer in (("cpu", 0.006, 0.5), ("memory", 0.016, 0.75)):
            saved, violations = f"{resource}_saved_at_equal_violations", f"{resource}_violations_at_equal_savings"
            assert model[saved] >= strong[saved] + more
            assert model[violations] <= strong[violations] * fewer
            assert model[f"{resource}_saved"] >= max(0.55, strong[f"{resource}_saved"])
            assert model[f"{resource}_violations"] <= min(0.005, 0.85 * strong[f"{resource}_violations"])
