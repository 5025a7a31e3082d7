"""Paths of series, and how they are blended and given intervals."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from infra.errors import DataError
from training.learners import _paths, _series
from training.learners.forecast import BlendedForecast

DAYS, AHEAD = 420, 28
FIRST = pd.Timestamp("2020-01-02", tz="UTC")


def _past(values: np.ndarray) -> _series.Past:
    ago = np.arange(len(values) - 1, -1, -1)
    return _series.past([values], [ago], np.array([20000]), DAYS)


def _frame(series: dict[str, np.ndarray], service: str = "s") -> pd.DataFrame:
    """A row a week with all of the days up to it."""
    rows = []
    for name, values in series.items():
        for end in range(60, len(values), 7):
            known = values[max(0, end + 1 - DAYS) : end + 1]
            time = FIRST + pd.Timedelta(days=end)
            rows.append((time, name, service, known, np.arange(len(known) - 1.0, -1, -1), None))
    return pd.DataFrame(rows, columns=["time", "series", "service", "values", "days_ago", "future"])


def _usage(days: int = 900, growth: float = 0.0, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    week = np.where(np.arange(days) % 7 >= 5, 0.8, 1.0)
    return 100 * week * np.exp(growth * np.arange(days) + random.normal(0, 0.03, days))


def _learner(paths: tuple[str, ...], **config: object) -> BlendedForecast:
    return BlendedForecast(paths, "service", "series", AHEAD, DAYS, **config)  # type: ignore[arg-type]


def _days(scores: pd.DataFrame, kind: str) -> np.ndarray:
    return scores[[f"{kind}_{day}" for day in range(1, AHEAD + 1)]].to_numpy()


def test_level_and_rhythm_go_on() -> None:
    values = 100 * np.where(np.arange(210) % 7 >= 5, 0.8, 1.0)
    given = _past(values)
    np.testing.assert_allclose(np.exp(given.baseline(14))[0], 100 * np.where(np.arange(210, 224) % 7 >= 5, 0.8, 1.0))
    assert (given.known[0], given.stale[0]) == (210, 0)


def test_gaps_take_the_same_weekday_and_zero_counts_as_unknown() -> None:
    values = np.arange(1.0, 101.0)
    values[-1] = 0.0
    given = _past(values)
    assert given.logs[0, -1] == np.log(values[-8])
    assert (given.known[0], given.stale[0]) == (99, 1)
    assert np.isnan(_series.past([[]], [[]], np.array([1]), 70).level).all()


def test_a_trend_is_damped_and_unknown_paths_are_flat() -> None:
    path = _series.trend(_past(100 * np.exp(0.001 * np.arange(300))), 90)[0]
    assert 0 < path[-1] - path[-2] < path[0] <= 0.0011
    short = _past(np.full(80, 5.0))
    for name in ("trend", "season", "last_week", "last_year"):
        np.testing.assert_allclose(_series.PATHS[name](short, 30), 0, atol=1e-12)


def test_weeks_and_days_fit_together() -> None:
    path = np.linspace(0, 1, 28)[None]
    weeks = _series.weekly(path)
    assert weeks.shape == (1, 4)
    np.testing.assert_allclose(_series.daily(weeks, 28)[0, 3:25], path[0, 3:25])
    np.testing.assert_array_equal(_series.known_median(np.array([[np.nan, 3.0, 1.0], [np.nan] * 3])), [2.0, np.nan])


def test_a_path_gets_weight_only_where_it_was_right() -> None:
    growing = _learner(("trend",)).fit(_frame({"a": _usage(growth=0.002), "b": _usage(growth=0.002, seed=1)}), "future")
    flat = _learner(("trend",)).fit(_frame({"a": _usage(), "b": _usage(seed=1)}), "future")
    assert growing.blends["s"].weights["trend"] >= 0.75
    assert flat.blends["s"].weights["trend"] <= 0.25


def test_intervals_cover_what_they_promise_and_grow_with_the_level() -> None:
    values, new = {name: _usage(seed=seed) for seed, name in enumerate("abc")}, _usage(500, seed=9)
    frame, row = _frame(values), _frame({"new": new[:460]}).tail(1)
    narrow, wide = (_learner((), level=level).fit(frame, "future").predict(row) for level in (0.5, 0.95))
    truth = new[_last(row) + 1 : _last(row) + 1 + AHEAD]
    inside = (truth >= _days(wide, "low")) & (truth <= _days(wide, "high"))
    assert inside.mean() > 0.8
    assert (_days(wide, "high") > _days(narrow, "high")).all()
    assert (_days(wide, "mean_high") - _days(wide, "mean_low") < _days(wide, "high") - _days(wide, "low")).mean() > 0.8


def _last(row: pd.DataFrame) -> int:
    return int((row["time"].iloc[0] - FIRST).days)


@pytest.mark.parametrize("path", ["prophet", "xgboost", "lightgbm"])
def test_learnt_paths_come_back_from_disk_the_same(path: str, tmp_path: Path) -> None:
    frame = _frame({"a": _usage(growth=0.001), "b": _usage(growth=0.001, seed=1)})
    learner = _learner((path,), whole=True, origins=1).fit(frame, "future")
    learner.save(tmp_path)
    rows = frame.iloc[-30:]
    pd.testing.assert_frame_equal(BlendedForecast.load(tmp_path).predict(rows), learner.predict(rows))
    forecast = _days(learner.predict(rows), "forecast")
    assert 0.8 < (forecast.mean(axis=1) / rows["values"].map(lambda v: v[-28:].mean())).mean() < 1.25


def test_a_series_that_begins_later_has_no_curve_yet() -> None:
    curves = _paths.ProphetCurves()
    curves.fit(_past(_usage(80)), np.zeros((1, AHEAD)), {"late": (100, np.zeros(400))}, now=50, seed=0)
    assert not curves.curves  # its later days were read as if they lay before


def test_unknown_groups_and_too_little_history_are_told() -> None:
    learner = _learner(()).fit(_frame({"a": _usage()}), "future")
    strange = learner.predict(_frame({"a": _usage(100)}, service="other"))
    assert strange["forecast_1"].isna().all() and not strange["learnt"].any()
    with pytest.raises(DataError, match="a year and a half is needed"):
        _learner(("xgboost",)).fit(_frame({"a": _usage(90)}), "future")
    with pytest.raises(DataError, match="no path 'prophets'.*did you mean 'prophet'"):
        _learner(("prophets",))
