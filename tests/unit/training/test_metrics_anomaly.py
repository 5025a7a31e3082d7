"""Metrics of anomaly scores, held against their definitions written out naively."""

import math

import numpy as np
import pytest

from training import metrics, metrics_anomaly


def _brute_range_pr(truth: np.ndarray, score: np.ndarray, window: int) -> float:
    """The definition of PVLDB 2022, threshold by threshold and row by row."""
    n = len(truth)
    soft = truth.astype(float).copy()
    for begin, end in metrics_anomaly.events(truth):
        for row in range(n):
            distance = begin - row if row < begin else row - (end - 1) if row >= end else 0
            if 0 < distance <= window // 2:
                soft[row] += math.sqrt(1 - distance / window)
    soft = np.minimum(soft, 1)
    area, before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        called = score >= threshold
        hits = (soft * called).sum()
        labels = np.where(soft == 1, 1.0, soft * called)
        recall = min(hits / ((truth.sum() + labels.sum()) / 2), 1)
        segments = metrics_anomaly.events(soft > 0)
        recall *= np.mean([(soft * called)[a:b].sum() > 0 for a, b in segments])
        area += (recall - before) * hits / called.sum()
        before = recall
    return area


@pytest.mark.parametrize("seed", range(6))
def test_vus_pr_is_its_definition(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.zeros(120, dtype=int)
    for begin in random.integers(0, 110, 4):
        truth[begin : begin + random.integers(1, 9)] = 1
    score = np.round(random.random(120) + 0.5 * truth, 1)  # with ties
    for window in (0, 1, 2, 5, 12):
        found = metrics_anomaly.range_pr_auc(truth, score, window)
        assert found == pytest.approx(_brute_range_pr(truth, score, window), abs=1e-12)
    expected = np.mean([_brute_range_pr(truth, score, window) for window in range(9)])
    assert metrics_anomaly.vus_pr(truth, score, 8) == pytest.approx(expected)


def test_without_tolerance_a_single_event_gives_average_precision() -> None:
    random = np.random.default_rng(0)
    truth = np.arange(200) // 20 == 4
    score = random.random(200) + truth
    assert metrics_anomaly.range_pr_auc(truth, score, 0) == pytest.approx(metrics.pr_auc(truth, score))


def test_a_perfect_score_is_best_and_a_constant_one_is_worst() -> None:
    truth = np.arange(400) // 40 % 5 == 3
    assert metrics_anomaly.vus_pr(truth, metrics_anomaly.tolerant(truth, 20)) > 0.95
    assert metrics_anomaly.vus_pr(truth, np.ones(400)) < 0.3
    assert math.isnan(metrics_anomaly.vus_pr(np.zeros(9), np.ones(9)))


def test_being_a_little_late_costs_less_than_being_elsewhere() -> None:
    truth = np.zeros(300, dtype=bool)
    truth[100:110] = True
    late, elsewhere = (np.roll(truth.astype(float), shift) for shift in (8, 120))
    assert metrics_anomaly.vus_pr(truth, late) > 5 * metrics_anomaly.vus_pr(truth, elsewhere)


def test_events_at_the_borders_are_found() -> None:
    assert metrics_anomaly.events([1, 1, 0, 0, 1, 0, 1]) == [(0, 2), (4, 5), (6, 7)]
    assert metrics_anomaly.events([0, 0]) == []


def test_an_alarm_that_lasts_pages_once_an_hour_and_only_outside_of_events_falsely() -> None:
    truth = np.zeros(48, dtype=bool)
    truth[10:14] = True
    assert metrics_anomaly.false_alarms(truth, np.ones(48), hour=12) == 3  # 0, 24, 36; 12 is in the event
    assert metrics_anomaly.false_alarms(truth, truth, hour=12) == 0
    flagged = np.isin(np.arange(48), [9, 10, 30, 41])
    assert metrics_anomaly.false_alarms(truth, flagged, hour=12) == 2  # 9, 30; 10 and 41 are within their hours


def test_calling_everything_has_full_recall_but_not_at_one_false_alarm_a_day() -> None:
    truth = np.zeros(24 * 12 * 3, dtype=bool)
    truth[100:110] = truth[500:503] = True
    assert metrics_anomaly.event_recall(truth, np.ones(len(truth))) == 1
    assert metrics_anomaly.event_recall_at(truth, np.ones(len(truth)), hour=12) == 0
    score = np.random.default_rng(0).random(len(truth)) + 2 * truth
    assert metrics_anomaly.event_recall_at(truth, score, hour=12) == 1


def test_hit_rate_counts_blamed_metrics_among_as_many_ranked() -> None:
    ranked = ["a", "b", "c", "d"]
    assert metrics_anomaly.hit_rate(ranked, ["a", "c"]) == 0.5
    assert metrics_anomaly.hit_rate(ranked, ["a", "c"], 1.5) == 1
    assert math.isnan(metrics_anomaly.hit_rate(ranked, []))
