"""Log-odds and back."""

import numpy as np
import pytest

from training.learners._odds import log_odds, logistic


def test_one_undoes_the_other() -> None:
    p = np.array([1e-9, 0.2, 0.5, 0.999])
    np.testing.assert_allclose(logistic(log_odds(p)), p)
    assert float(log_odds(0.5)) == 0.0
    assert float(log_odds(0.8)) == pytest.approx(np.log(4))


def test_far_log_odds_overflow_nowhere() -> None:
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(logistic(np.array([-1e4, 1e4])), [0.0, 1.0])
