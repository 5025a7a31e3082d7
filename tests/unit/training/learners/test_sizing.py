"""Requests by rule and by policy: held within a band, replayed hour by hour."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.transforms.rightsizing import STATISTICS
from infra.errors import DataError
from training import metrics_sizing
from training.learners.sizing import Sizing, held
from training.learners.sizing_choice import SizingChoice, autopilot
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


def test_a_replay_is_hour_by_hour_prediction() -> None:
    """All rows at once give what a service would have decided, each hour with its own last request."""
    rows = _rows()
    random = np.random.default_rng(0)
    for name in [name for name in rows if "peak_24h" in name or "p99" in name]:
        rows[name] *= random.uniform(0.5, 2, len(rows))
    rows["cpu_capacity"] = random.choice([2.0, 10.0], len(rows))
    rows = rows.sample(frac=1, random_state=1)
    for learner in (autopilot(), Sizing({"p99": 1.15}, hour=0)):
        learner.fit(rows, "ahead")
        present, parts = {name: {} for name in ("cpu", "memory")}, []
        for _, now in rows.groupby("time", sort=True):
            asked = {f"{name}_request": now["workload"].map(present[name]).astype("float64") for name in present}
            parts.append(learner.predict(now.assign(**asked)))
            for name in present:
                present[name].update(zip(now["workload"], parts[-1][f"{name}_limit"], strict=True))
        pd.testing.assert_frame_equal(metrics_sizing.replay(learner, rows), pd.concat(parts).loc[rows.index])


def test_the_choice_is_made_for_each_resource_on_held_out_workloads(tmp_path: Path) -> None:
    rows = _rows(workloads=6)
    choice = SizingChoice().fit(rows, "ahead")
    assert set(choice.saved) == {"rule", "policy"}
    choice.saved["policy"]["memory_saved_at_equal_violations"] = 1.0
    choice.saved["policy"]["cpu_saved_at_equal_violations"] = choice.saved["rule"]["cpu_saved_at_equal_violations"]
    assert [choice._winner(name) for name in ("cpu", "memory")] == ["rule", "policy"]
    mixed = SizingChoice(worth=-1.0).fit(rows, "ahead")
    assert list(mixed.chosen) == ["policy"]
    for learner in (choice, mixed):
        learner.save(tmp_path)
        pd.testing.assert_frame_equal(SizingChoice.load(tmp_path).predict(rows), learner.predict(rows))
        assert {"cpu_limit", "memory_limit", "cpu_risk", "memory_risk"} <= set(learner.predict(rows))
        assert len(learner.contributions(rows)) == len(rows)


def test_each_resource_learns_from_its_own_use(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows(workloads=6)
    rows["ahead"] = [[use[0]] * 3 + [use[0] * 4] * 3 for use in rows["ahead"]]  # memory use is four times that of CPU
    monkeypatch.setattr(SizingChoice, "_winner", lambda self, name: {"cpu": "rule", "memory": "policy"}[name])
    choice = SizingChoice().fit(rows, "ahead")
    assert {kind: part.resources for kind, part in choice.chosen.items()} == {"rule": ["cpu"], "policy": ["memory"]}
    assert max(choice.chosen["rule"].state["risk"]["cpu"][1]) == 0.0  # 2 × 1.1 covers every burst of CPU
    assert max(choice.chosen["policy"].state["risk"]["memory"][1]) > 0.0


def test_with_too_few_workloads_to_hold_out_the_rule_stays() -> None:
    assert list(SizingChoice().fit(_rows(workloads=2), "ahead").chosen) == ["rule"]


def test_nothing_to_learn_from_is_said() -> None:
    for learner in (Sizing({"p99": 1.0}), SizingPolicy(), SizingChoice()):
        with pytest.raises(DataError, match="no row has a measured use"):
            learner.fit(_rows().assign(ahead=None), "ahead")
