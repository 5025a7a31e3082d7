"""Deviations over a bank of memories: from the past only, in any order, with gaps."""

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from features.rates import per_second
from features.transforms.seasonal import DAYS, DEVIATIONS, HELD
from features.transforms.windows import ANOMALIES, SERVICE_WINDOWS, InstanceState, states
from training import probes, signature

START = pd.Timestamp("2026-01-05", tz="UTC")


def _points(values: dict[str, np.ndarray], step: str, instance: str = "api-1") -> pd.DataFrame:
    parts = [
        pd.DataFrame({"time": START + pd.Timedelta(step) * np.arange(len(v)), "metric_name": name, "value": v})
        for name, v in values.items()
    ]
    points = pd.concat(parts, ignore_index=True).dropna(subset="value")
    return points.assign(dataset="live", service_name="api", instance_id=instance, unit="1")


def _daily(days: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Two metrics with a daily wave, a row in ten minutes."""
    random = np.random.default_rng(seed)
    wave = np.sin(2 * np.pi * np.arange(144 * days) / 144)
    return {name: wave + random.normal(0, 0.05, len(wave)) for name in ("a", "b")}


def _matrix(rows: pd.DataFrame, name: str) -> np.ndarray:
    return np.array(rows[name].tolist())


def test_a_season_is_expected_after_one_day_and_not_before() -> None:
    rows = states({"metrics": _points(_daily(4), "10min")})
    assert rows["days"].iloc[[100, 200, 400]].tolist() == [0, 1, 2]
    off = np.abs(_matrix(rows, "off_season"))
    assert off[144:].mean() < 0.1 < 0.3 < off[:144].mean()


def test_no_more_than_a_week_is_remembered() -> None:
    assert states({"metrics": _points(_daily(9), "10min")})["days"].max() == DAYS


def test_a_jump_fades_from_short_memories_first_and_stays_off_season() -> None:
    values = _daily(4)
    values["a"][450:] += 5
    rows = states({"metrics": _points(values, "10min")}).iloc[450 + 15]
    short, middle, long, season = (float(rows[name][0]) for name in ("off_2", "off_5", "off_50", "off_season"))
    assert abs(short) < abs(middle) < 1 < long < season
    assert season == pytest.approx(5, abs=0.5)


def test_a_short_daily_spike_is_no_season() -> None:
    values = {name: v * 0 for name, v in _daily(6).items()}
    values["a"][72::144] = 10
    rows = states({"metrics": _points(values, "10min")}).set_index("time")
    spike = rows.loc[START + pd.Timedelta(days=5, hours=12)]
    assert spike["off_season"][0] > 3


def test_rows_depend_on_the_past_only() -> None:
    frames = {
        "metrics": _points(_daily(3), "10min"),
        "events": pd.DataFrame({"dataset": [], "subject": [], "type": []}),
    }
    for hours in (5, 30, 60):
        probes.causal(SERVICE_WINDOWS, {"metrics": frames["metrics"]}, START + pd.Timedelta(hours=hours))


def test_neither_order_nor_other_instances_matter() -> None:
    one = _points(_daily(2), "10min")
    double = one.iloc[[5]].assign(value=-9.0)
    mixed = pd.concat([one, double, _points(_daily(2, 1), "10min", "api-2")]).sample(frac=1, random_state=0)
    alone, among = states({"metrics": pd.concat([one, double])}), states({"metrics": mixed})
    among = among[among["instance"] == "api-1"].reset_index(drop=True)
    for name in ("values", *DEVIATIONS):
        np.testing.assert_array_equal(_matrix(alone, name), _matrix(among, name))


def test_a_silent_metric_is_held_for_a_while_and_then_left_out() -> None:
    values = {name: v[:100].copy() for name, v in _daily(1).items()}
    values["b"][50:] = np.nan
    rows = states({"metrics": _points(values, "1s")})
    assert rows["metrics"].map(len).tolist() == [2] * (50 + HELD) + [1] * (50 - HELD)
    assert rows["metrics"].iloc[-1].tolist() == ["a"]
    for _, row in rows.iloc[[0, 55, 99]].iterrows():
        InstanceState.model_validate(
            {k: v.tolist() if hasattr(v, "tolist") else v for k, v in row.drop("dataset").items()}
        )


def test_a_metric_that_appears_later_deviates_by_nothing_at_first() -> None:
    values = {name: v[:60].copy() for name, v in _daily(1).items()}
    values["b"][:30] = np.nan
    row = states({"metrics": _points(values, "1s")}).iloc[30]
    assert row["metrics"].tolist() == ["a", "b"]
    assert [row[name][1] for name in DEVIATIONS] == [0.0] * len(DEVIATIONS)


def test_infinite_values_are_missing_values() -> None:
    values = {"a": np.array([1.0, np.inf, 2.0, 3.0])}
    rows = states({"metrics": _points(values, "1s")})
    assert _matrix(rows, "values").ravel().tolist() == [1.0, 1.0, 2.0, 3.0]


def test_lists_of_different_lengths_are_refused() -> None:
    *_, good = signature.records(states({"metrics": _points({"a": np.arange(5.0)}, "1s")}).drop(columns="dataset"))
    InstanceState.model_validate(good)
    with pytest.raises(ValidationError, match="one value for each metric"):
        InstanceState.model_validate(good | {"off_5": [1.0, 2.0]})


def test_nobody_looked_means_no_label() -> None:
    events = pd.DataFrame({"dataset": [], "subject": [], "type": [], "data": []})
    labels = ANOMALIES.transform({"metrics": _points({"a": np.arange(5.0)}, "1s"), "events": events})
    assert labels["anomalous"].isna().all() and len(labels) == 5


def test_live_counters_are_rates_and_a_restart_alone_is_no_metric() -> None:
    second = np.arange(20.0)
    names = {"http_requests_total": 3 * second, "process_start_time_seconds": second, "workload_generation": second}
    names["python_gc_collections_total"] = second
    rows = states({"metrics": per_second(_points(names | {"up": second * 0 + 1}, "1s"))})
    assert rows["metrics"].iloc[-1].tolist() == ["http_requests_per_second", "up"]
    assert rows["values"].iloc[-1].tolist() == [3.0, 1.0]
