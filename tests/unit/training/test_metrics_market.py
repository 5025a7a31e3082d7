"""Figures of prices and availability worked out by hand."""

import numpy as np
import pytest

from training import metrics_market


def test_persistence_has_no_skill_and_truth_all() -> None:
    newest, truth = np.array([1.0, 2.0, 4.0]), np.array([1.0, 2.2, 3.6])
    stays, knows = (metrics_market.prices(newest, truth, told, "7") for told in (newest, truth))
    assert stays["skill_7"] == stays["skill_changed_7"] == 0
    assert knows["skill_7"] == knows["accuracy_7"] == knows["direction_7"] == 1
    assert stays["direction_7"] == 0.5
    assert stays["accuracy_7"] == pytest.approx(1 - (0.2 / 2.2 + 0.4 / 3.6) / 3)
    assert stays["changed_7"] == pytest.approx(2 / 3)


def test_a_move_forecast_the_wrong_way_costs() -> None:
    found = metrics_market.prices(np.array([1.0]), np.array([np.e]), np.array([1 / np.e]), "30")
    assert found["skill_30"] == pytest.approx(-1)
    assert found["direction_30"] == 0


def test_nothing_that_moved_or_nothing_at_all_is_no_figure() -> None:
    one = np.ones(2)
    assert np.isnan(metrics_market.prices(one, one, one, "7")["skill_7"])
    none = np.empty(0)
    assert np.isnan(list(metrics_market.prices(none, none, none, "7").values())).all()
    assert np.isnan(list(metrics_market.availability(none, none).values())).all()


def test_availability() -> None:
    found = metrics_market.availability(np.array([1.0, 1.0, 0.0, 0.0]), np.array([0.9, 0.4, 0.1, 0.2]))
    assert found["accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.01 + 0.04) / 4)
