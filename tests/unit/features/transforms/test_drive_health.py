"""Reports of drives → histories and outcomes."""

import json
from typing import Any

import pandas as pd
import pytest
from pydantic import ValidationError

from features.transforms.drive_health import (
    DISCOVERED,
    DRIVE_HEALTH,
    DRIVE_OUTCOMES,
    FAILED,
    HORIZON,
    METRICS,
    DriveHistory,
    histories,
    outcomes,
)
from features.transforms.node_failures import NODE_FAILED
from training import signature

DAY0 = pd.Timestamp("2024-01-01", tz="UTC")
Report = tuple[str, float, dict[str, float | None]]  # drive, day, values that differ from the default


def _points(*reports: Report) -> pd.DataFrame:
    rows = []
    for drive, day, given in reports:
        values = {**dict.fromkeys(METRICS, 1.0), "power_on_hours": 24.0 * day, **given}
        for name, value in values.items():
            if value is not None:
                time = DAY0 + pd.Timedelta(days=day)
                rows.append(
                    {
                        "dataset": "d",
                        "time": time,
                        "instance_id": drive,
                        "metric_name": METRICS[name][0],
                        "value": value,
                    }
                )
    return pd.DataFrame(rows)


def _events(*events: tuple[str, str, float, dict[str, Any]]) -> pd.DataFrame:
    rows = []
    for kind, drive, day, data in events:
        time, text = DAY0 + pd.Timedelta(days=day), json.dumps(data)
        rows.append(
            {"dataset": "d", "type": kind, "subject": drive, "time": time, "id": f"{kind}{drive}{day}", "data": text}
        )
    columns = ["dataset", "type", "subject", "time", "id", "data"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(time=pd.to_datetime(frame["time"], utc=True))


def _daily(drive: str, days: int, **values: float) -> list[Report]:
    return [(drive, day, dict(values)) for day in range(days)]


def _histories(*reports: Report, events: pd.DataFrame | None = None) -> pd.DataFrame:
    return histories({"metrics": _points(*reports), "events": _events() if events is None else events})


def test_a_row_holds_the_last_two_weeks_oldest_first() -> None:
    row = _histories(*_daily("a", 20)).iloc[-1]
    assert row["power_on_hours"].tolist() == [24.0 * day for day in range(6, 20)]
    assert row["days_ago"].tolist() == list(range(13, -1, -1))
    assert row["time"] == DAY0 + pd.Timedelta(days=19)


def test_histories_of_one_length_stay_lists() -> None:
    rows = _histories(*_daily("a", 1, temperature=20), *_daily("b", 1, temperature=30))
    assert rows["temperature"].map(list).tolist() == [[20.0], [30.0]]


def test_days_without_a_report_leave_a_gap() -> None:
    row = _histories(*[("a", day, {}) for day in (0, 1, 5)]).iloc[-1]
    assert row["days_ago"].tolist() == [5, 4, 0]


def test_the_last_report_of_a_day_counts() -> None:
    rows = _histories(("a", 0.2, {"temperature": 20}), ("a", 0.9, {"temperature": 40}), ("a", 0.5, {"temperature": 30}))
    assert rows["temperature"].map(list).tolist() == [[40.0]]
    assert rows["time"].tolist() == [DAY0 + pd.Timedelta(days=0.9)]


def test_a_lacking_value_is_carried_forward_never_back() -> None:
    rows = _histories(
        ("a", 0, {"pending_sectors": None}), ("a", 1, {"pending_sectors": 8}), ("a", 2, {"pending_sectors": None})
    )
    assert rows["pending_sectors"].map(list).tolist() == [[8.0], [8.0, 8.0]]


def test_the_first_discovery_names_the_model() -> None:
    events = _events((DISCOVERED, "a", 3, {"model": "later"}), (DISCOVERED, "a", 0, {"model": "M"}))
    rows = _histories(*_daily("a", 2), *_daily("b", 1), events=events)
    assert rows.groupby("drive")["drive_model"].first().to_dict() == {"a": "M", "b": "unknown"}


def test_neither_order_nor_other_drives_matter() -> None:
    reports = [*_daily("a", 9, temperature=31), *_daily("b", 5)]
    points = _points(*reports)
    whole = histories({"metrics": points, "events": _events()})
    mixed = histories({"metrics": points.sample(frac=1, random_state=1), "events": _events()})
    alone = histories({"metrics": points[points["instance_id"] == "a"], "events": _events()})
    pd.testing.assert_frame_equal(whole, mixed)
    pd.testing.assert_frame_equal(whole[whole["drive"] == "a"].reset_index(drop=True), alone)


def test_rows_are_valid_rows() -> None:
    for row in signature.records(_histories(*_daily("a", 3)).drop(columns="dataset")):
        DriveHistory(**row)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"temperature": [1.0]}, "one value for each report"),
        ({"days_ago": [0.0, 1.0]}, "fall strictly"),
        ({"days_ago": [2.0, 1.0]}, "fall strictly"),
        ({"pending_sectors": [0.0, -1.0]}, "pending_sectors"),
        ({"temperature": [float("nan"), 1.0]}, "finite"),
    ],
)
def test_an_impossible_history_is_refused(change: dict[str, Any], what: str) -> None:
    right = {
        "time": DAY0,
        "drive": "a",
        "drive_model": "M",
        "days_ago": [1.0, 0.0],
        **dict.fromkeys(METRICS, [1.0, 2.0]),
    }
    DriveHistory(**right)
    with pytest.raises(ValidationError, match=what):
        DriveHistory(**{**right, **change})


def test_positive_one_and_two_days_before_never_on_the_day() -> None:
    rows = outcomes({"metrics": _points(*_daily("a", 6)), "events": _events((FAILED, "a", 5, {}))})
    assert rows[HORIZON].tolist() == [False, False, False, True, True]
    assert rows["failed_after_days"].tolist() == [5, 4, 3, 2, 1]


def test_a_drive_that_leaves_is_unknown_not_healthy() -> None:
    rows = outcomes({"metrics": _points(*_daily("a", 5)), "events": _events()})
    assert rows[HORIZON].tolist() == [False, False, False, None, None]
    assert rows["followed_days"].tolist() == [4, 3, 2, 1, 0]
    assert rows["failed_after_days"].isna().all()


def test_a_failure_that_is_seen_after_a_silence_is_not_within_two_days() -> None:
    reports = [("a", day, {}) for day in (0, 1, 5)]
    rows = outcomes({"metrics": _points(*reports), "events": _events((FAILED, "a", 5, {}))})
    assert rows[HORIZON].tolist() == [False, False]


def test_views_read_what_their_transforms_need() -> None:
    assert set(DRIVE_HEALTH.reads["metrics"]["metric_name"]) == {metric for metric, _ in METRICS.values()}
    assert FAILED not in DRIVE_HEALTH.reads["events"]["type"]  # a failure is never an input
    assert NODE_FAILED not in DRIVE_HEALTH.reads["events"]["type"]
    assert {FAILED, NODE_FAILED} < set(DRIVE_OUTCOMES.reads["events"]["type"])
