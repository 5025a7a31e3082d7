"""Usage points → weekly rows of daily history, and what came afterwards."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from features.table import conform
from features.transforms.usage import AHEAD, DAYS, EXAMPLE, STEP, USAGE, USAGE_OUTCOMES, UsageHistory
from training import probes

FIRST = pd.Timestamp("2020-01-02", tz="UTC")  # a day that gets a row


def _points(values: np.ndarray, per_day: int = 1, name: str = "a") -> pd.DataFrame:
    """`per_day` points a day of each of `values`; NaN: no point."""
    hours = np.arange(len(values) * per_day) * (24 // per_day)
    rows = pd.DataFrame({"time": FIRST + pd.to_timedelta(hours, unit="h"), "value": np.repeat(values, per_day)})
    rows["time"] = rows["time"].astype("datetime64[us, UTC]")
    words = {"dataset": "d", "service_name": "s", "instance_id": name, "metric_name": "electricity.load", "unit": "MW"}
    return rows.assign(**words).dropna()


def _rows(points: pd.DataFrame) -> pd.DataFrame:
    return USAGE.transform({"metrics": points}).set_index("time")


def test_a_row_a_week_holds_the_days_before_it() -> None:
    rows = _rows(_points(np.arange(1.0, 1001.0)))
    assert (np.diff(rows.index) == pd.Timedelta(days=STEP)).all()
    last = rows.iloc[-1]
    assert len(last["values"]) == DAYS
    assert last["values"][-1] == (last.name - FIRST).days + 1
    assert last["days_ago"].tolist() == list(range(DAYS - 1, -1, -1))


def test_hours_become_the_mean_of_their_day_and_a_cut_day_is_left_out() -> None:
    points = _points(np.full(30, 8.0), per_day=24).iloc[: 21 * 24 + 3]  # three hours of the last day, which gets a row
    rows = _rows(points)
    assert rows["values"].iloc[-1].tolist() == [8.0] * 21
    assert rows["days_ago"].iloc[-1][-1] == 1


def test_partial_days_are_left_out_and_a_lasting_fall_is_believed() -> None:
    values = np.full(60, 100.0)
    values[20] = 5.0  # collection failed
    values[30:] = 50.0  # a real fall
    last = _rows(_points(values)).iloc[-1]
    days = dict(zip(-last["days_ago"] + (last.name - FIRST).days, last["values"], strict=True))
    assert 20 not in days
    assert [day for day in range(30, 57) if day not in days] == list(range(30, 38))
    assert not (USAGE.transform({"metrics": _points(np.zeros(30))})["values"].map(len)).any()


def test_rows_know_no_future() -> None:
    random = np.random.default_rng(0)
    values = np.exp(random.normal(0, 0.5, 400))  # many days look partial
    points = pd.concat([_points(values), _points(values[::-1], name="b")])
    probes.causal(USAGE, {"metrics": points.sample(frac=1, random_state=0)}, FIRST + pd.Timedelta(days=200))


def test_the_future_is_what_came_with_the_errors_of_the_naive_rules() -> None:
    values = 100.0 + np.arange(500) % 7
    values[399] = np.nan
    found = USAGE_OUTCOMES.transform({"metrics": _points(values)}).set_index("time")
    row = found.loc[FIRST + pd.Timedelta(days=392)]
    assert len(row["future"]) == AHEAD - 1
    assert 7 not in row["future_days"]
    assert row["future"][0] == values[393]
    assert (row["followed_days"], row["naive_week_error"], row["naive_year_error"]) == (AHEAD, 0.0, 0.0)
    last = found.iloc[-1]
    assert last["followed_days"] == (499 - 497)
    assert np.isnan(found["naive_year_error"].iloc[0])
    conform(USAGE_OUTCOMES, found.reset_index())


def test_days_that_are_left_out_are_filled_in_and_wrong_ones_are_refused() -> None:
    row = UsageHistory(**EXAMPLE)
    assert row.days_ago == [float(ago) for ago in range(len(row.values) - 1, -1, -1)]
    for days in ([1.0, 1.0], [0.0, 1.0], [1.5, 0.0], [1.0], [2.0, -1.0], [float(DAYS), 0.0]):
        with pytest.raises(ValidationError, match="days"):
            UsageHistory(**{**EXAMPLE, "values": [1.0, 2.0], "days_ago": days})
    with pytest.raises(ValidationError, match="negative"):
        UsageHistory(**{**EXAMPLE, "values": [1.0, -2.0]})
    with pytest.raises(ValidationError, match="finite"):
        UsageHistory(**{**EXAMPLE, "values": [1.0, float("nan")]})
    assert UsageHistory(time=datetime(2020, 1, 1, tzinfo=UTC), series="a", service="s", values=[]).days_ago == []
