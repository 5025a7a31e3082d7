"""Searches of a table: nothing is tried twice, and a process finds a hill sooner than chance."""

import numpy as np
import pandas as pd

from training import metrics_search
from training.learners._surrogate import believe, scaled
from training.learners.search import FEWEST, BayesianSearch, RandomSearch, TransferSearch
from training.learners.search_tpe import ParzenSearch


def _rows(task: str, shift: float, seed: int = 0) -> pd.DataFrame:
    """A hill over two knobs; `performance` is a rate."""
    grid = [[float(a), float(b)] for a in range(12) for b in range(12)]
    rate = [10 * np.exp(-((a - 8 - shift) ** 2 + (b - 3) ** 2) / 40) for a, b in grid]
    rows = pd.DataFrame({"task": task, "system": "s", "performance": rate, "baseline": 4.0, "noise": 0.02})
    rows["knobs"], rows["values"], rows["higher_is_better"] = [["a", "b"]] * len(rows), grid, True
    return rows


def test_the_belief_passes_through_what_was_measured() -> None:
    x = scaled(np.arange(10.0)[:, None], np.arange(10.0)[:, None])
    belief = believe(x, np.array([2, 7]), np.array([0.5, -0.5]), 0.001, np.zeros(10), 0.5)
    np.testing.assert_allclose(belief.mean[[2, 7]], [0.5, -0.5], atol=0.01)
    assert belief.spread[[2, 7]].max() < belief.spread.min(where=~np.isin(np.arange(10), [2, 7]), initial=1)


def test_searches_try_nothing_twice_and_guided_ones_find_more() -> None:
    train, test = pd.concat([_rows(f"one {n}", 0.1 * n) for n in range(FEWEST)], ignore_index=True), _rows("two", 0.5)
    regret = {}
    for learner in (RandomSearch(), BayesianSearch(), TransferSearch(), ParzenSearch()):
        played = metrics_search.play(learner.fit(train, "performance"), test, test["performance"])
        assert (played.filter(like="trial_").notna().sum() == metrics_search.TRIALS).all()
        regret[type(learner).__name__] = metrics_search.search(test, played, "performance")["regret"]
    assert regret["TransferSearch"] <= regret["BayesianSearch"] < regret["RandomSearch"]
    assert regret["ParzenSearch"] < regret["RandomSearch"]


def test_few_earlier_tasks_are_no_prior() -> None:
    few = pd.concat([_rows(f"one {n}", 0.0) for n in range(FEWEST - 1)], ignore_index=True)
    test = _rows("two", 0.0)
    assert TransferSearch().fit(few, "performance").start(test, 10).prior is None
    enough = pd.concat([few, _rows("one more", 0.0)], ignore_index=True)
    prior = TransferSearch().fit(enough, "performance").start(test, 10).prior
    assert prior is not None
    assert prior.argmax() == test["performance"].argmax()


def test_a_table_smaller_than_the_trials_is_tried_whole() -> None:
    test = _rows("two", 0.0).head(4)
    played = metrics_search.play(BayesianSearch().fit(test, "performance"), test, test["performance"])
    assert played.notna().all(axis=None)
    assert (played["gain"] == 0).all()  # none of the four is as fast as the baseline
