"""Markets: which rows there are, what came of them, and that none knows its future."""

import numpy as np
import pandas as pd
import pytest

from features.transforms._machines import size
from features.transforms.markets import MARKET_OUTCOMES, MARKETS, UNKNOWN, histories, outcomes
from training import probes

BEGIN = pd.Timestamp("2024-01-15", tz="UTC")


def _points(days: int = 60, places: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    rows = [
        ("set", BEGIN + pd.Timedelta(days=day), "aws/m5.large/spot", place, "cloud.machine.price", "USD/h", 1.0 + day)
        for day in range(0, days, 2)
        for place in places
    ]
    names = ["dataset", "time", "service_name", "instance_id", "metric_name", "unit", "value"]
    return pd.DataFrame(rows, columns=names)


def test_rows_hold_the_past_place_by_place() -> None:
    row = histories({"metrics": _points()}).iloc[3]
    assert row["places"] == ["a", "b"]
    values = np.asarray(row["values"]).reshape(2, -1)
    assert (values[0] == values[1]).all() and (np.diff(values[0]) == 2).all()
    assert row["hours_ago"][-1] == 0
    assert (row["provider"], row["kind"], row["vcpu"], row["memory_gib"]) == ("aws", "spot", 2.0, 8.0)


def test_outcomes_are_the_first_values_at_or_after_the_horizons() -> None:
    points = _points()
    first = outcomes({"metrics": points}).iloc[0]
    assert list(first["newest_values"]) == [1.0, 1.0]
    assert list(first["future"]) == [9.0, 31.0, 9.0, 31.0]  # 7 days: measured on the 8th
    assert outcomes({"metrics": points})["future"].iloc[-1] is None


def test_order_and_duplicates_do_not_matter() -> None:
    points = _points()
    mixed = pd.concat([points, points.tail(4)]).sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(histories({"metrics": points}), histories({"metrics": mixed}))


def test_a_place_without_a_point_is_unknown_then() -> None:
    points = _points()
    points = points[~((points["instance_id"] == "b") & (points["time"] == points["time"].max()))]
    row = histories({"metrics": points}).iloc[-1]
    newest = np.asarray(row["values"]).reshape(2, -1)[:, -1]
    assert newest[1] == UNKNOWN or row["time"] < points["time"].max()


def test_no_row_knows_its_future() -> None:
    probes.causal(MARKETS, {"metrics": _points()}, BEGIN + pd.Timedelta(days=31))


def test_no_points_no_rows() -> None:
    for view in (MARKETS, MARKET_OUTCOMES):
        assert view.transform({"metrics": _points().head(0)}).empty


@pytest.mark.parametrize(
    ("cloud", "machine", "expected"),
    [
        ("aws", "m5.large", (2, 8)),
        ("aws", "c6g.4xlarge", (16, 32)),
        ("aws", "r5.xlarge", (4, 32)),
        ("aws", "t3.micro", (2, 1)),
        ("aws", "c5", None),
        ("aws", "m5.metal", None),
        ("aws", "c3.large", None),
        ("gcp", "n1-standard-4", (4, 15)),
        ("gcp", "n2-highmem-8", (8, 64)),
        ("gcp", "m2-ultramem-208", None),
        ("azure", "Standard_D4s_v3", (4, 16)),
        ("azure", "Standard_E8-4ds_v5", (4, 64)),
        ("azure", "Standard_D2lds_v5", (2, 4)),
        ("azure", "Standard_D14_v2", None),
        ("elsewhere", "m5.large", None),
    ],
)
def test_sizes_are_read_off_names(cloud: str, machine: str, expected: tuple[float, float] | None) -> None:
    assert size(cloud, machine) == expected
