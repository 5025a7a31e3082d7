"""Metrics of several classes, against values worked out by hand and scikit-learn's."""

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score

from training import metrics_multiclass

CLASSES = ["a", "b", "c"]


def test_figures_by_hand() -> None:
    probability = [[0.8, 0.1, 0.1], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.2, 0.2, 0.6]]
    found = metrics_multiclass.classification(["a", "b", "b", "c"], probability, CLASSES)
    assert found["accuracy"] == 0.75
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert found["ece"] == pytest.approx((abs(1 - 0.8) + abs(1 - 0.6 - 0.6) + abs(1 - 0.9)) / 4)


def test_macro_f1_is_scikit_learns() -> None:
    random = np.random.default_rng(0)
    truth, called = random.choice(CLASSES, 200).astype(object), random.choice(CLASSES, 200).astype(object)
    assert metrics_multiclass.macro_f1(truth, called) == pytest.approx(f1_score(truth, called, average="macro"))


def test_nothing_judged_is_undefined_and_a_wrong_shape_is_refused() -> None:
    assert all(map(math.isnan, metrics_multiclass.classification([], np.empty((0, 3)), CLASSES).values()))
    with pytest.raises(ValueError, match="1 rows × 3 classes"):
        metrics_multiclass.classification(["a"], [[0.5, 0.5]], CLASSES)
