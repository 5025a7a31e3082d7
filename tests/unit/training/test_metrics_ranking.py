"""Figures of rankings, against values found by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.metrics_ranking import abstention, ranking


def test_hits_are_counted_up_to_each_place() -> None:
    found = ranking([1, 2, 4, np.inf], [0.9, 0.5, 0.4, 0.1])
    assert (found["ac_1"], found["ac_3"], found["ac_5"]) == (0.25, 0.5, 0.75)
    assert found["avg_5"] == pytest.approx((0.25 + 0.5 + 0.5 + 0.75 + 0.75) / 5)


def test_abstaining_drops_the_least_confident_first() -> None:
    coverage, right = abstention([1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1])
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert right.tolist() == pytest.approx([1, 1, 2 / 3, 0.5])
    assert ranking([1, 1, 2, 2], [0.9, 0.8, 0.2, 0.1])["ac_1_at_50"] == 1


def test_equal_confidence_is_answered_together() -> None:
    for right in ([1, 0], [0, 1]):
        coverage, share = abstention(right, [0.5, 0.5])
        assert (coverage.tolist(), share.tolist()) == ([1.0], [0.5])
