import numpy as np
import pandas as pd
import pytest

from infra.errors import DataError
from training.metrics_threat import figures

TRUTH = pd.Series(["none"] * 20 + ["dos/flood", "dos/storm", "probe/scan", "r2l/guess"])
SCORES = pd.DataFrame(
    {
        "probability": [0.1] * 19 + [0.6] + [0.9, 0.8, 0.3, 0.1],
        "threshold": 0.5,
        "suspicion": [1.0] * 19 + [9.0] + [9.5, 8.0, 7.0, 0.5],
        "watch": 6.0,
        "type": ["dos"] * 24,
    }
)


def test_figures_at_both_operating_points() -> None:
    found = figures(TRUTH, SCORES, "none")
    assert found["accuracy"] == pytest.approx(21 / 24)
    assert (found["fpr"], found["recall"]) == (0.05, 0.5)
    assert (found["watch_fpr"], found["watch_recall"]) == (0.05, 0.75)
    assert (found["recall_at_5fpr"], found["type_accuracy"]) == (0.75, 1.0)
    assert (found["recall_dos"], found["recall_probe"], found["recall_r2l"]) == (1.0, 1.0, 0.0)


def test_a_contender_without_suspicion_is_judged_by_its_probability() -> None:
    found = figures(TRUTH, SCORES[["probability", "threshold"]], "none")
    assert found["watch_recall"] == found["recall"]
    assert "type_accuracy" not in found


def test_rows_without_scores_are_counted_and_not_judged() -> None:
    scores = SCORES.assign(probability=SCORES["probability"].where(np.arange(24) > 11))
    assert figures(TRUTH, scores, "none")["answered"] == 0.5
    with pytest.raises(DataError, match="no row could be judged"):
        figures(TRUTH, SCORES.assign(probability=np.nan), "none")
