"""The sources of prices, spot traces and bills: what they give, and what they say of damaged files."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from features import build
from features.demo import focus_sample_1_0, skypilot_spot_traces
from features.sources.coroot_cloud_pricing_2024 import SHARE, chosen
from infra.errors import DataError

PRICES, TRACES, FOCUS = "coroot_cloud_pricing_2024", "skypilot_spot_traces", "focus_sample_1_0"


def _price_list(folder: Path, content: object, date: str = "2024-01-15") -> None:
    (folder / f"cloud-pricing_{date}.json.gz").write_bytes(gzip.compress(json.dumps(content).encode()))


def test_prices_become_points_of_markets(tmp_path: Path) -> None:
    machine = next(name for number in range(1000) if chosen(name := f"m5.{number}xlarge"))
    prices = {"eu-west-1": {machine: {"on_demand": 1.5, "spot": 0}, "left.out" + "x" * (SHARE % 2): {"on_demand": 1}}}
    _price_list(tmp_path, {"aws": {"compute": prices}, "gcp": {"compute": {}}, "azure": {"compute": {}}})
    rows = build.read([(PRICES, tmp_path)])["metrics"].to_pylist()
    rows = [row for row in rows if machine in row["service_name"]]
    [row] = rows  # a spot price of 0 is none
    assert (row["service_name"], row["instance_id"], row["value"]) == (f"aws/{machine}/on_demand", "eu-west-1", 1.5)
    assert str(row["time"]) == "2024-01-15 23:59:59+00:00"


def test_one_type_in_so_many_is_read() -> None:
    share = np.mean([chosen(f"type-{number}") for number in range(20_000)])
    assert share == pytest.approx(1 / SHARE, rel=0.15)


@pytest.mark.parametrize("content", [[], {"aws": 1}, {"aws": {"compute": {}}}])
def test_damaged_price_lists_are_named(tmp_path: Path, content: object) -> None:
    _price_list(tmp_path, content)
    with pytest.raises(DataError, match="cloud-pricing_2024-01-15"):
        build.read([(PRICES, tmp_path)])


def test_a_price_list_that_is_cut_off_or_misnamed_is_named(tmp_path: Path) -> None:
    (tmp_path / "cloud-pricing_2024-01-15.json.gz").write_bytes(b"\x1f\x8b\x08")
    with pytest.raises(DataError, match="no price list"):
        build.read([(PRICES, tmp_path)])
    (tmp_path / "cloud-pricing_2024-01-15.json.gz").rename(tmp_path / "cloud-pricing_new.json.gz")
    with pytest.raises(DataError, match="the name must be like"):
        build.read([(PRICES, tmp_path)])


def test_traces_become_points_of_zones(tmp_path: Path) -> None:
    skypilot_spot_traces.write(tmp_path, np.random.default_rng(0))
    rows = build.read([(TRACES, tmp_path)])["metrics"].slice(0, 2).to_pylist()
    assert {row["service_name"] for row in rows} == {"aws/v100_1/available"}
    assert (rows[1]["time"] - rows[0]["time"]).total_seconds() == 195


@pytest.mark.parametrize("content", ["{", '{"data": [0, 2], "metadata": {"gap_seconds": 5}}', '{"data": [0]}'])
def test_damaged_traces_are_named(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "availability" / "aws-02-15-2023"
    folder.mkdir(parents=True)
    (folder / "us-east-1a_v100_1.json").write_text(content)
    with pytest.raises(DataError, match="us-east-1a_v100_1"):
        build.read([(TRACES, tmp_path)])


def test_a_focus_export_fills_the_cost_table(tmp_path: Path) -> None:
    focus_sample_1_0.write(tmp_path, np.random.default_rng(0))
    table = build.read([(FOCUS, tmp_path)])["cost"]
    row = table.to_pylist()[0]
    assert len(table) == 50
    assert (row["charge_period_end"] - row["time"]).total_seconds() == 3600
    assert row["resource_id"] is None  # NULL
    assert row["billed_cost"] == pytest.approx(row["consumed_quantity"] * row["list_unit_price"])
    assert {row["pricing_category"] for row in table.to_pylist()} <= {"Standard", "Dynamic"}


def test_a_focus_export_with_a_wrong_time_is_named(tmp_path: Path) -> None:
    focus_sample_1_0.write(tmp_path, np.random.default_rng(0))
    path = tmp_path / "focus_sample.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].replace("2024-", "someday-")]))
    with pytest.raises(DataError, match="focus_sample.csv, line 2"):
        build.read([(FOCUS, tmp_path)])


@pytest.mark.parametrize("name", [PRICES, TRACES, FOCUS])
def test_an_empty_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError):
        build.read([(name, tmp_path)])
