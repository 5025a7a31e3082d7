import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from training import metrics


def _scored(seed: int, rows: int = 400, levels: int = 25) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores with ties."""
    random = np.random.default_rng(seed)
    truth = (random.random(rows) < 0.2).astype(int)
    return truth, np.round((truth * 0.3 + random.random(rows)) * levels) / levels


@pytest.mark.parametrize("seed", range(5))
def test_areas_agree_with_scikit_learn_also_with_ties(seed: int) -> None:
    truth, score = _scored(seed)
    assert metrics.pr_auc(truth, score) == pytest.approx(average_precision_score(truth, score))
    assert metrics.roc_auc(truth, score) == pytest.approx(roc_auc_score(truth, score))


def test_a_constant_score_gains_nothing_from_the_order_of_rows() -> None:
    truth = np.array([1] * 20 + [0] * 80)
    for flipped in (truth, truth[::-1]):
        assert metrics.pr_auc(flipped, np.ones(100)) == pytest.approx(0.2)
        assert metrics.roc_auc(flipped, np.ones(100)) == pytest.approx(0.5)
        assert metrics.recall_in_top(flipped, np.ones(100)) == pytest.approx(0.1)
        assert metrics.recall_at_false_alarms(flipped, np.ones(100), 0.5) == 0.0


def test_recall_in_top_counts_the_best_scored_rows() -> None:
    truth = [1, 0, 1, 0, 0, 0, 0, 0, 0, 1]
    score = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert metrics.recall_in_top(truth, score, 0.1) == pytest.approx(1 / 3)
    assert metrics.recall_in_top(truth, score, 0.3) == pytest.approx(2 / 3)


def test_recall_at_false_alarms_takes_the_best_allowed_threshold() -> None:
    truth = [1, 1, 0, 1, 0, 0, 0, 0, 1, 0]
    score = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert metrics.recall_at_false_alarms(truth, score, 0.0) == pytest.approx(0.5)
    assert metrics.recall_at_false_alarms(truth, score, 1 / 6) == pytest.approx(0.75)
    assert metrics.recall_at_false_alarms(truth, score, 0.99) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_has_a_better_f1(seed: int) -> None:
    truth, score = _scored(seed)
    best = metrics.f1(truth, score >= metrics.best_f1_threshold(truth, score))
    assert best == pytest.approx(max(metrics.f1(truth, score >= cut) for cut in np.unique(score)))


def test_calibration_error_is_the_gap_between_promise_and_rate() -> None:
    truth = np.array([1] * 30 + [0] * 70)
    assert metrics.ece(truth, np.full(100, 0.3)) == pytest.approx(0.0)
    assert metrics.ece(truth, np.full(100, 0.5)) == pytest.approx(0.2)
    assert metrics.brier(truth, np.full(100, 0.5)) == pytest.approx(0.25)


def test_one_class_is_undefined_not_perfect() -> None:
    for truth in (np.zeros(10), np.ones(10)):
        score = np.linspace(0, 1, 10)
        assert math.isnan(metrics.pr_auc(truth, score))
        assert math.isnan(metrics.roc_auc(truth, score))
        assert math.isnan(metrics.recall_at_false_alarms(truth, score, 0.1))
        assert math.isnan(metrics.best_f1_threshold(truth, score))
        assert math.isnan(metrics.balanced_accuracy(truth, score > 0.5))


def test_missing_scores_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="missing"):
        metrics.pr_auc([0, 1], [0.1, float("nan")])
    with pytest.raises(ValueError, match="one length"):
        metrics.roc_auc([0, 1], [0.1])


def test_never_is_shown_beside_the_accuracy() -> None:
    figures = metrics.classification([0] * 9 + [1], [0.1] * 10, 0.5)
    assert figures["accuracy"] == figures["accuracy_majority"] == pytest.approx(0.9)
    assert figures["balanced_accuracy"] == pytest.approx(0.5)
    assert figures["f1"] == 0.0


def test_mean_interval_is_students_and_widens_with_overlap() -> None:
    values = [0.90, 0.92, 0.88, 0.91, 0.89]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    plain, wide = metrics.mean_interval(values), metrics.mean_interval(values, overlap=0.25)
    assert plain == pytest.approx((np.mean(values), low, high))
    assert wide.high - wide.low == pytest.approx((high - low) * math.sqrt((0.2 + 0.25) / 0.2))
    assert math.isnan(metrics.mean_interval([0.9]).low)


def test_bootstrap_holds_the_value_and_draws_whole_groups() -> None:
    truth, score = _scored(1)
    alone = metrics.bootstrap_interval(metrics.roc_auc, truth, score, rounds=200)
    copies = metrics.bootstrap_interval(
        metrics.roc_auc, np.tile(truth, 5), np.tile(score, 5), rounds=200, groups=np.tile(np.arange(len(truth)), 5)
    )
    naive = metrics.bootstrap_interval(metrics.roc_auc, np.tile(truth, 5), np.tile(score, 5), rounds=200)
    assert alone.low < alone.value < alone.high
    assert copies.high - copies.low == pytest.approx(alone.high - alone.low, rel=0.25)
    assert naive.high - naive.low < 0.7 * (copies.high - copies.low)
