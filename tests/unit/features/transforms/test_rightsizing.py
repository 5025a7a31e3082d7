"""The use of a workload, as figures: by hand where that can be done."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import source
from features.sources.bitbrains_rnd import BitbrainsRnd
from features.transforms.rightsizing import CAPACITY, USAGE, USAGE_AHEAD, USAGE_HISTORY
from infra.errors import DataError
from training import probes

BEGIN = pd.Timestamp("2026-01-05", tz="UTC")


def _points(use: np.ndarray, capacity: float = 100.0) -> dict[str, pd.DataFrame]:
    times = BEGIN + np.arange(len(use)) * pd.Timedelta("5min")
    parts = []
    for name in (*USAGE.values(), *CAPACITY.values()):
        value = use if name in USAGE.values() else np.full(len(use), capacity)
        parts.append(
            pd.DataFrame({"dataset": "x", "instance_id": "a", "metric_name": name, "time": times, "value": value})
        )
    return {"metrics": pd.concat(parts, ignore_index=True)}


def test_quantiles_and_peaks_are_those_of_the_past() -> None:
    use = np.random.default_rng(0).gamma(2, 10, 9 * 288).clip(max=99)
    rows = USAGE_HISTORY.transform(_points(use)).set_index("time")
    at = BEGIN + pd.Timedelta("8d")
    past = use[: 8 * 288]
    row = rows.loc[at]
    for name, level in (("p50", 0.5), ("p99", 0.99), ("peak", 1.0)):
        assert row[f"cpu_{name}"] == pytest.approx(np.quantile(past[-7 * 288 :], level), rel=1e-5)
    assert row["cpu_peak_4h"] == pytest.approx(past[-48:].max())
    same = past[-289 - 11 : -252]  # an hour around this hour of yesterday, and the hour itself
    assert row["cpu_peak_same_hour"] == pytest.approx(same.max())
    assert row["history_hours"] == 168


def test_order_and_doubled_points_do_not_matter() -> None:
    use = np.random.default_rng(0).gamma(2, 10, 3 * 288).clip(max=99)
    points = _points(use)["metrics"]
    again = pd.concat([points, points.assign(value=points["value"] * 0.5)]).sample(frac=1, random_state=0)
    again.loc[again["metric_name"].isin(CAPACITY.values()), "value"] = 100.0
    pd.testing.assert_frame_equal(
        USAGE_HISTORY.transform({"metrics": points}), USAGE_HISTORY.transform({"metrics": again})
    )


def test_a_missing_slot_is_not_full_use() -> None:
    use = np.full(3 * 288, 10.0)
    use[300:310] = np.nan
    rows = USAGE_HISTORY.transform(_points(use))
    assert (rows["cpu_peak"] == 10).all()
    assert all(max(items) == 10 for items in USAGE_AHEAD.transform(_points(use))["ahead"].dropna())


def test_use_above_the_capacity_counts_as_all_of_it() -> None:
    rows = USAGE_HISTORY.transform(_points(np.full(3 * 288, 150.0)))
    assert (rows["cpu_peak"] == 100).all()


def test_the_past_knows_no_future() -> None:
    points = _points(np.random.default_rng(0).gamma(2, 10, 3 * 288).clip(max=99))
    for cut in ("30h", "30h7min", "2d"):
        probes.causal(USAGE_HISTORY, points, BEGIN + pd.Timedelta(cut))


@pytest.mark.parametrize("days", [0, 0.5])
def test_too_little_gives_no_rows(days: float) -> None:
    points = _points(np.full(int(days * 288), 10.0))
    assert USAGE_HISTORY.transform(points).empty
    assert USAGE_AHEAD.transform(points).empty


def _file(folder: Path, line: str) -> None:
    head = (
        "Timestamp [ms];\tCPU cores;\tCPU capacity provisioned [MHZ];\tCPU usage [MHZ];\t"
        "Memory capacity provisioned [KB];\tMemory usage [KB]"
    )
    (folder / "7.csv").write_text(f"{head}\n{line}\n")


def test_the_source_gives_cores_and_bytes_and_skips_what_is_off(tmp_path: Path) -> None:
    _file(tmp_path, "1375308176;\t2;\t5200;\t1300;\t1024;\t512\n1375308476;\t2;\t0;\t0;\t0;\t0")
    (batch,) = BitbrainsRnd().pull(str(tmp_path))
    rows = batch.conformed().to_pandas().set_index("metric_name")["value"]
    assert rows.to_dict() == {
        "container.cpu.capacity": 2.0,
        "container.cpu.usage": 0.5,
        "container.memory.capacity": 2.0**20,
        "container.memory.usage": 2.0**19,
    }


@pytest.mark.parametrize("cell", ["", "nan", "-1", "inf", "x"])
def test_a_bad_cell_is_named(tmp_path: Path, cell: str) -> None:
    _file(tmp_path, f"1375308176;\t2;\t5200;\t{cell};\t1024;\t512")
    with pytest.raises(DataError, match=r"7\.csv, line 2, column 'CPU usage \[MHZ\]'"):
        list(source.load("bitbrains_rnd").pull(str(tmp_path)))


def test_a_folder_without_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no <vm>.csv"):
        list(source.load("bitbrains_rnd").pull(str(tmp_path)))
