"""Failures of nodes → what is known on a day, and what comes next."""

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from features import table
from features.transforms.drive_health import DRIVE_HEALTH, HORIZON, DriveHistory, histories, outcomes
from features.transforms.node_failures import KEPT, NODE_FAILED, OBSERVED, REPAIRED
from training import probes, signature

DAY0 = pd.Timestamp("2004-01-01", tz="UTC")
Failure = tuple[str, float, float, str | None]  # node, days to begin and repair, cause


def _frames(*failures: Failure, until: float = 100.0) -> dict[str, pd.DataFrame]:
    rows = []
    for number, (node, begin, end, cause) in enumerate(failures):
        data = json.dumps({"system": "7", "installed": "2003-12-02", "cause": cause})
        rows += [(NODE_FAILED, node, begin, f"b{number}", data), (REPAIRED, node, end, f"e{number}", data)]
    rows += [(OBSERVED, node, until, node, "{}") for node in sorted({failure[0] for failure in failures})]
    events = pd.DataFrame(rows, columns=["type", "subject", "time", "id", "data"]).assign(dataset="d")
    events["time"] = DAY0 + pd.to_timedelta(events["time"], unit="D")
    points = pd.DataFrame({"dataset": [], "time": [], "instance_id": [], "metric_name": [], "value": []})
    points["time"] = pd.to_datetime(points["time"], utc=True)
    return {"metrics": points, "events": events}


THREE = (("a", 1.5, 1.6, "CPU"), ("a", 3.2, 9.5, "OS"), ("a", 9.1, 9.2, None), ("b", 2.0, 2.5, "CPU"))


def test_a_row_tells_the_failures_that_are_repaired_oldest_first() -> None:
    rows = histories(_frames(*THREE))
    assert rows["drive"].tolist() == ["a", "a", "b"]
    assert [cell.tolist() for cell in rows["failure_causes"]] == [["CPU"], ["CPU", "unrecorded", "OS"], ["CPU"]]
    np.testing.assert_allclose(rows["failures_days_ago"].iloc[1], [7.9, 0.3, 0.0])
    assert rows["node_age_days"].iloc[0] == pytest.approx(30 + 1.6)
    assert set(rows["kind"]) == {"node"}
    assert set(rows["drive_model"]) == {"7"}


def test_the_label_is_the_first_failure_of_a_later_day() -> None:
    rows = outcomes(_frames(*THREE))
    assert rows["failed_after_days"].tolist()[0] == 2
    assert rows["failed_component"].tolist() == ["OS", None, None]
    assert rows[HORIZON].tolist() == [True, False, False]  # the others are followed for months


def test_a_node_that_is_not_followed_is_unknown() -> None:
    assert outcomes(_frames(*THREE, until=10.0))[HORIZON].tolist() == [True, None, False]


def test_neither_order_nor_other_nodes_matter_nor_the_future() -> None:
    frames = _frames(*THREE)
    whole = histories(frames)
    mixed = histories({**frames, "events": frames["events"].sample(frac=1, random_state=1)})
    pd.testing.assert_frame_equal(whole, mixed)
    alone = histories({**frames, "events": frames["events"].query("subject == 'b'")})
    pd.testing.assert_frame_equal(whole[whole["drive"] == "b"].reset_index(drop=True), alone)
    probes.causal(DRIVE_HEALTH, frames, DAY0 + pd.Timedelta(days=5))


def test_only_the_newest_failures_are_kept_and_equal_records_are_one() -> None:
    many = [("a", day, day + 0.1, "CPU") for day in range(1, 40)]
    rows = histories(_frames(*many, many[-1]))
    assert rows["failure_causes"].map(len).max() == KEPT
    np.testing.assert_allclose(rows["failures_days_ago"].iloc[-1], np.arange(KEPT - 1, -1, -1.0), atol=1e-6)


def test_rows_are_valid_rows_of_the_view() -> None:
    rows = histories(_frames(*THREE))
    assert table.conform(DRIVE_HEALTH, rows).num_rows == 3
    for row in signature.records(rows.drop(columns="dataset")):
        DriveHistory(**row)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"failure_causes": ["CPU"]}, "one value for each report"),
        ({"failures_days_ago": [1.0, 2.0]}, "oldest first"),
        ({"failures_days_ago": [1.0, -2.0]}, "none in the future"),
        ({"failure_causes": None}, "a node needs failure_causes"),
        ({"kind": "drive"}, "a drive needs days_ago"),
    ],
)
def test_an_impossible_row_is_refused(change: dict[str, object], what: str) -> None:
    right = {"time": DAY0, "drive": "a", "drive_model": "7", "kind": "node"}
    right |= {"failures_days_ago": [2.0, 0.0], "failure_causes": ["CPU", "OS"]}
    DriveHistory.model_validate(right)
    with pytest.raises(ValidationError, match=what):
        DriveHistory.model_validate({**right, **change})
