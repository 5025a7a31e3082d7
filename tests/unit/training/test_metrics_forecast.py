"""Metrics of forecasts on figures that can be checked by hand."""

import numpy as np
import pytest

from training import metrics_forecast as metrics

TRUTH = np.array([[10.0, 20.0, np.nan], [10.0, np.nan, np.nan]])
TOLD = np.array([[11.0, 18.0, 99.0], [5.0, 99.0, 99.0]])


def test_lists_of_days_become_a_matrix() -> None:
    found = metrics.futures([[10.0, 30.0], None], [[1.0, 3.0], None], 3)
    np.testing.assert_array_equal(found, [[10.0, np.nan, 30.0], [np.nan] * 3])


def test_accuracies_count_known_days_only() -> None:
    assert metrics.daily_accuracy(TRUTH, TOLD) == pytest.approx(1 - (0.1 + 0.1 + 0.5) / 3)
    assert metrics.total_accuracy(TRUTH, TOLD) == pytest.approx(1 - (1 / 30 + 0.5) / 2)
    assert metrics.coverage(TRUTH, TOLD - 1, TOLD + 2) == pytest.approx(2 / 3)


def test_a_scaled_error_holds_each_series_against_its_best_rule() -> None:
    error, week = np.array([1.0, 1.0, 3.0]), np.array([2.0, 2.0, 4.0])
    year = np.array([np.nan, 1.0, 2.0])  # cannot be applied to all of `a`
    assert metrics.scaled_error(["a", "a", "b"], error, week, year) == pytest.approx((2 / 4 + 3 / 2) / 2)
    assert np.isnan(metrics.scaled_error(["a"], np.ones(1), np.zeros(1)))
