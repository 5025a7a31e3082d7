"""Sequences as numbers, and days to an event from labels."""

import numpy as np
import pandas as pd
import pytest

from training.learners import shapley
from training.learners.sequences import Encoder, summaries, time_to_event

MONDAY = pd.Timestamp("2024-01-01", tz="UTC")


def _frame(counts: list[list[float]], category: str = "A", ages: list[list[float]] | None = None) -> pd.DataFrame:
    ages = ages or [list(range(len(cell) - 1, -1, -1)) for cell in counts]
    return pd.DataFrame({"time": MONDAY, "count": counts, "age": ages, "kind": category})


@pytest.fixture
def encoder() -> Encoder:
    """Two categories with counters that grow by one a day, from 100 and from 10,000."""
    low = _frame([[100.0 + n, 101.0 + n] for n in range(60)])
    high = _frame([[10_000.0 + n, 10_001.0 + n] for n in range(60)], "B")
    return Encoder(["count"], "age", "kind", 4).fit(pd.concat([low, high], ignore_index=True))


def test_a_typical_sequence_is_zero_in_every_category(encoder: Encoder) -> None:
    for category, start in (("A", 129.5), ("B", 10_029.5)):
        x = encoder.encode(_frame([[start, start + 1]], category)).x
        np.testing.assert_allclose(x[0, -1, :3], 0, atol=1e-2)
        assert x[0, :, -2].tolist() == [0, 0, 1, 1]  # reported


def test_a_counter_that_stops_stands_out(encoder: Encoder) -> None:
    x = encoder.encode(_frame([[130.0, 131.0, 131.0]])).x
    level, change, still = x[0, -1, :3]
    assert abs(level) < 0.1
    assert change < -0.3
    assert still == 1


def test_a_gap_is_seen_and_the_newest_are_kept(encoder: Encoder) -> None:
    long = encoder.encode(_frame([[1.0, 2.0, 129.0, 130.0, 131.0, 132.0]])).x
    short = encoder.encode(_frame([[129.0, 130.0, 131.0, 132.0]])).x
    np.testing.assert_array_equal(long, short)
    assert encoder.encode(_frame([[1.0, 2.0]], ages=[[7.0, 0.0]])).x[0, -1, -1] == pytest.approx(np.log(7))


def test_rows_do_not_touch_each_other(encoder: Encoder) -> None:
    frame = pd.concat([_frame([[5.0], [1.0, 2.0, 3.0]]), _frame([[9.0, 9.0]], "C")], ignore_index=True)
    together = encoder.encode(frame)
    for number in range(len(frame)):
        alone = encoder.encode(frame.iloc[[number]])
        np.testing.assert_array_equal(together.x[number], alone.x[0])
        assert together.category[number] == alone.category[0]
    assert together.category.tolist() == [1, 1, 0]  # C was not in training
    assert summaries(together.x).shape == (3, 6 * encoder.channels)


def test_no_rows_is_no_error(encoder: Encoder) -> None:
    assert encoder.encode(_frame([[1.0]]).iloc[:0]).x.shape == (0, 4, 5)


def test_days_to_the_event_come_from_the_labels() -> None:
    days = pd.to_timedelta(np.arange(6), unit="D")
    failing = pd.DataFrame({"time": MONDAY + days, "who": "a", "soon": [False, False, False, False, True, True]})
    leaving = pd.DataFrame({"time": MONDAY + days, "who": "b", "soon": [False, False, False, False, None, None]})
    event, followed = time_to_event(pd.concat([leaving, failing], ignore_index=True), "soon", "who", 2)
    assert np.isnan(event[:6]).all()
    assert followed[:6].tolist() == [5, 4, 3, 2, 1, 0]
    assert event[6:].tolist() == [6, 5, 4, 3, 2, 1]
    assert followed[6:].tolist() == [5, 4, 3, 2, 1, 0]


def test_shapley_values_of_a_product_and_a_sum() -> None:
    """f = 2a + bc over switched players: a gets 2, b and c share 1, and the parts add up."""

    def score(on: np.ndarray) -> np.ndarray:
        return np.column_stack([2.0 * on[:, 0] + on[:, 1] * on[:, 2], np.zeros(len(on))])

    np.testing.assert_allclose(shapley.exact(score, 3), [[2.0, 0.5, 0.5], [0, 0, 0]])
