"""Requests by rule and by policy: held within a band, replayed hour by hour."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.transforms.rightsizing import STATISTICS
from infra.errors import DataError
from training import metrics_sizing
from training.learners.sizing import Sizing, held
from training.learners.sizing_policy import SizingPolicy


def _rows(hours: int = 48, workloads: int = 4) -> pd.DataFrame:
    """Use of 1 with a burst of 2 each tenth hour; statistics say so."""
    rows = []
    for hour in range(hours):
        for number in range(workloads):
            use = 2.0 if (hour + number) % 10 == 0 else 1.0
            row = {"time": pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(hours=hour), "workload": f"w{number}"}
            for resource in ("cpu", "memory"):
                row |= {f"{resource}_{name}": 2.0 if "peak" in name else 1.0 for name in STATISTICS}
                row |= {f"{resource}_peak_1h": 1.0, f"{resource}_capacity": 10.0, f"{resource}_request": np.nan}
            rows.append({**row, "ahead": [use] * 6})
    return pd.DataFrame(rows)


def test_a_request_rises_at_once_and_falls_only_beyond_the_band() -> None:
    current = np.array([[10.0, 10.0]])
    for wish, new in (([9.5, 10.0], [10, 10]), ([11.0, 10.0], [11, 10]), ([8.0, 9.9], [8, 9.9])):
        assert held(np.array([wish]), current, 0.1).tolist() == [list(map(float, new))]
    assert held(np.array([[1.0, 1.0]]), np.array([[np.nan, 5.0]]), 0.1).tolist() == [[1.0, 1.0]]


def test_the_daily_rule_sets_at_its_hour_only() -> None:
    rows = _rows().assign(cpu_request=5.0, memory_request=5.0)
    limits = Sizing({"p99": 1.15}, hour=0).fit(rows, "ahead").predict(rows)["cpu_limit"]
    assert set(limits[rows["time"].dt.hour == 0].round(6)) == {1.15}
    assert set(limits[rows["time"].dt.hour != 0]) == {5.0}


def test_figures_of_a_known_rule() -> None:
    rows = _rows()
    learner = Sizing({"p99": 1.15}).fit(rows, "ahead")
    figures = metrics_sizing.sizing(rows, metrics_sizing.replay(learner, rows), "ahead", ("cpu", "memory"), 1.15)
    assert figures["cpu_saved"] == pytest.approx(1 - 0.115)
    assert figures["cpu_violations"] == pytest.approx(rows["ahead"].map(max).gt(1.15).mean())
    assert figures["cpu_risk_error"] == pytest.approx(0, abs=0.01)
    assert figures["changes_per_day"] == 0


def test_a_policy_keeps_its_budget_and_comes_back_from_disk(tmp_path: Path) -> None:
    rows = _rows()
    policy = SizingPolicy(budget=0.5, generations=4, population=8).fit(rows, "ahead")
    figures = metrics_sizing.sizing(rows, metrics_sizing.replay(policy, rows), "ahead", ("cpu", "memory"), 1.15)
    assert figures["cpu_violations"] <= 0.05 + 1e-9  # the rule: a tenth
    policy.save(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} == {".json", ".safetensors"}
    pd.testing.assert_frame_equal(SizingPolicy.load(tmp_path).predict(rows), policy.predict(rows))


def test_nothing_to_learn_from_is_said() -> None:
    for learner in (Sizing({"p99": 1.0}), SizingPolicy()):
        with pytest.raises(DataError, match="no row has a measured use"):
            learner.fit(_rows().assign(ahead=None), "ahead")
