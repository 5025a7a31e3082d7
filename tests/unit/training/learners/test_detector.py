"""Detectors: one state an instance, metrics by name, thresholds by rate; and what each of them can see."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.transforms.windows import DEVIATIONS
from infra.errors import DataError
from training.learners.detector import FEWEST, Detector, threshold
from training.learners.mahalanobis import MultiscaleMahalanobis
from training.learners.reconstruction import PcaReconstruction
from training.learners.sigma import LargestSigma

KINDS = [MultiscaleMahalanobis, PcaReconstruction, LargestSigma]
METRICS = ["cpu", "latency", "rate", "up"]


def _frame(matrix: np.ndarray, instance: str = "api-1", metrics: list[str] | None = None) -> pd.DataFrame:
    """Rows with the values `matrix`, a row a minute; what is expected is 0, and 1 for `up`."""
    names = metrics or METRICS
    rows = pd.DataFrame({"time": pd.date_range("2026-01-01", periods=len(matrix), freq="min", tz="UTC")})
    rows["instance"], rows["step"], rows["anomalous"] = instance, 60.0, None
    rows["metrics"] = pd.Series([np.array(names, dtype=object)] * len(rows))
    usual = np.array([1.0 if name == "up" else 0.0 for name in names])
    return rows.assign(values=list(matrix), **{name: list(matrix - usual) for name in DEVIATIONS})


def _normal(rows: int = 600, seed: int = 0) -> np.ndarray:
    """Latency follows cpu; `up` never moves."""
    random = np.random.default_rng(seed)
    cpu = random.normal(0, 1, rows)
    return np.stack([cpu, cpu + random.normal(0, 0.1, rows), random.normal(0, 1, rows), np.ones(rows)], axis=1)


@pytest.fixture(params=KINDS)
def detector(request: pytest.FixtureRequest) -> Detector:
    """Each detector, fitted on two instances."""
    frame = pd.concat([_frame(_normal()), _frame(_normal(seed=1), "db-1")], ignore_index=True)
    return request.param().fit(frame, "anomalous")


def _score(detector: Detector, row: list[float]) -> float:
    return float(detector.predict(_frame(np.array([row])))["score"].iloc[0])


def test_a_far_value_scores_higher_and_is_blamed(detector: Detector) -> None:
    found = detector.predict(_frame(np.array([[0.0, 0.0, 0.0, 1.0], [9.0, -9.0, 0.0, 1.0], [30.0, -30.0, 0.0, 1.0]])))
    assert found["score"].is_monotonic_increasing and found["score"].iloc[0] < 1 < found["score"].iloc[1]
    assert found["metrics"].iloc[1][0] in ("cpu", "latency")
    assert found["effects"].map(sum).to_numpy() == pytest.approx(found["score"].to_numpy())


def test_contributions_add_up_to_the_score(detector: Detector) -> None:
    frame = _frame(_normal(20, seed=5)).set_index(np.arange(100, 120))
    effects, scores = detector.contributions(frame), detector.predict(frame)["score"]
    pd.testing.assert_series_equal(effects.sum(axis=1), scores, check_names=False)
    assert set(effects.columns) == set(METRICS)


def test_saved_and_loaded_it_says_the_same(detector: Detector, tmp_path: Path) -> None:
    detector.save(tmp_path)
    again = type(detector).load(tmp_path)
    frame = _frame(_normal(50, seed=3), "db-1")
    pd.testing.assert_frame_equal(detector.predict(frame), again.predict(frame))
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_the_order_of_metrics_does_not_matter(detector: Detector) -> None:
    matrix, order = _normal(30, seed=4), [2, 0, 3, 1]
    given, shuffled = _frame(matrix), _frame(matrix[:, order], metrics=[METRICS[i] for i in order])
    np.testing.assert_allclose(detector.predict(given)["score"], detector.predict(shuffled)["score"])


def test_missing_and_unknown_metrics_add_nothing(detector: Detector) -> None:
    less = _frame(np.array([[0.1, 0.1]]), metrics=["cpu", "latency"])
    more = _frame(np.array([[0.1, 0.1, 99.0]]), metrics=["cpu", "latency", "new"])
    scores = [float(detector.predict(frame)["score"].iloc[0]) for frame in (less, more)]
    assert scores[0] == scores[1] < 1


def test_a_row_is_scored_alone(detector: Detector) -> None:
    frame = _frame(_normal(40, seed=6))
    whole = detector.predict(frame)["score"]
    single = pd.concat([detector.predict(frame.iloc[[place]]) for place in range(40)])["score"]
    pd.testing.assert_series_equal(whole, single)


def test_an_unknown_instance_has_no_score(detector: Detector) -> None:
    found = detector.predict(_frame(_normal(2), "web-9"))
    assert found["score"].isna().all() and (found["learnt"] == 0).all() and found["metrics"].isna().all()


def test_rows_called_anomalous_are_not_learnt() -> None:
    frame = _frame(_normal())
    broken = frame.assign(anomalous=pd.Series([None] * 500 + [True] * 100, dtype=object))
    for name in ("values", *DEVIATIONS):
        broken[name] = [row + 50 * (place >= 500) for place, row in enumerate(frame[name])]
    clean, told = (MultiscaleMahalanobis().fit(part, "anomalous") for part in (frame.iloc[:500], broken))
    pd.testing.assert_frame_equal(clean.predict(frame), told.predict(frame))


def test_too_few_rows_are_an_error_that_says_how_many() -> None:
    with pytest.raises(DataError, match=f"{FEWEST} rows"):
        MultiscaleMahalanobis().fit(_frame(_normal(FEWEST - 1)), "anomalous")


def test_a_broken_correlation_is_seen_where_no_metric_is_far() -> None:
    """Cpu high and latency low, each within its usual range."""
    detector, rule = (kind().fit(_frame(_normal()), "anomalous") for kind in (MultiscaleMahalanobis, LargestSigma))
    together, apart = [1.8, 1.8, 0.0, 1.0], [1.8, -1.8, 0.0, 1.0]
    assert _score(detector, apart) > 1.5 * _score(detector, together)
    assert _score(rule, apart) == pytest.approx(_score(rule, together), rel=0.1)


def test_a_metric_that_never_moved_is_noticed_when_it_does() -> None:
    detector = MultiscaleMahalanobis().fit(_frame(_normal()), "anomalous")
    found = detector.predict(_frame(np.array([[0.0, 0.0, 0.0, 0.0]]))).iloc[0]
    assert found["score"] > 1 and found["metrics"][0] == "up"


def test_instances_that_move_together_are_related() -> None:
    shared, own = _normal(), _normal(seed=9)
    frame = pd.concat([_frame(shared), _frame(shared * 1.01, "db-1"), _frame(own, "web-1")], ignore_index=True)
    related = MultiscaleMahalanobis().fit(frame, "anomalous").predict(frame)["related"]
    assert related[frame["instance"] == "api-1"].iloc[0] == ["db-1"]
    assert related[frame["instance"] == "web-1"].iloc[0] == []


def test_the_threshold_has_the_wanted_rate_of_alarms() -> None:
    score = np.random.default_rng(0).exponential(1, 40 * 288)  # 40 days of five minutes
    last = score[-int(12 * 288) :]
    for rate in (0.5, 1.5, 4.0):
        limit = threshold(score, 300.0, rate)
        hours = sum(bool((last[begin : begin + 12] > limit).any()) for begin in range(0, len(last), 12))
        assert hours == int(rate * 12)


def test_a_short_history_gets_a_threshold_beyond_what_it_saw() -> None:
    score = np.random.default_rng(0).exponential(1, 200)
    limit = threshold(score, 1.0, 1.5)
    assert score.max() < limit < 100 * score.max()
    assert threshold(np.zeros(200), 1.0, 1.5) > 0
