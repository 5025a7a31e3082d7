"""Counters to rates, on numbers that can be checked by hand."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pandas as pd

from features.rates import per_second
from tests.unit.features.world import BEGIN


def _points(*rows: tuple[int, str, float], dataset: str = "live", instance: str = "web-1") -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "dataset": dataset,
                "time": pd.Timestamp(BEGIN + timedelta(seconds=second)),
                "service_name": "web",
                "instance_id": instance,
                "metric_name": name,
                "unit": "1",
                "value": float(value),
            }
            for second, name, value in rows
        ]
    )


def _told(frame: pd.DataFrame) -> dict[tuple[int, str], float]:
    seconds = (frame["time"] - pd.Timestamp(BEGIN)).dt.total_seconds().astype(int)
    return {(s, n): v for s, n, v in zip(seconds, frame["metric_name"], frame["value"], strict=True)}


def test_a_counter_becomes_its_growth_per_second_also_over_a_restart() -> None:
    points = _points((0, "http_requests_total", 10), (10, "http_requests_total", 30), (15, "http_requests_total", 5))
    assert _told(per_second(points)) == {(10, "http_requests_per_second"): 2.0, (15, "http_requests_per_second"): 1.0}
    assert set(per_second(points)["unit"]) == {"/s"}


def test_series_of_one_counter_are_added_and_of_one_gauge_averaged() -> None:
    points = _points(
        (0, "x_total", 1), (0, "x_total", 3), (2, "x_total", 3), (2, "x_total", 5), (2, "g", 1), (2, "g", 4)
    )
    assert _told(per_second(points)) == {(2, "x_per_second"): 2.0, (2, "g"): 2.5}


def test_a_histogram_becomes_rate_and_mean() -> None:
    names = {"t_count": (2, 6), "t_sum": (1.0, 3.0), "t_bucket": (1, 2), "t_created": (7, 7)}
    points = _points(*[(second, name, pair[second // 4]) for name, pair in names.items() for second in (0, 4)])
    assert _told(per_second(points)) == {(4, "t_per_second"): 1.0, (4, "t_mean"): 0.5}


def test_no_call_has_no_mean_duration() -> None:
    points = _points((0, "t_count", 2), (0, "t_sum", 1), (4, "t_count", 2), (4, "t_sum", 1))
    assert _told(per_second(points)) == {(4, "t_per_second"): 0.0}


def test_instances_are_apart_and_order_does_not_matter() -> None:
    rows = [(0, "x_total", 0), (1, "x_total", 4), (3, "x_total", 8)]
    for order in permutations(range(3)):
        points = pd.concat([_points(*[rows[i] for i in order]), _points((2, "x_total", 99), instance="web-2")])
        assert _told(per_second(points)) == {(1, "x_per_second"): 4.0, (3, "x_per_second"): 2.0}


def test_published_sets_are_left_alone() -> None:
    published = _points((0, "x_total", 5), (1, "y_bucket", 6), dataset="nezha")
    pd.testing.assert_frame_equal(per_second(published), published)
    both = pd.concat([published, _points((0, "g", 1))], ignore_index=True)
    assert len(per_second(both)) == 3
