"""The source of services under injected faults: pods, faults and what users felt, mapped to points and events."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from features import build, demo
from features.transforms.windows import ANOMALIES, SERVICE_WINDOWS
from infra.errors import DataError

NAME = "nezha_online_boutique"


@pytest.fixture
def shop(home: Path, tmp_path: Path) -> Path:
    """A copy of the stand-in that may be changed."""
    return Path(shutil.copytree(demo.make(NAME), tmp_path / "copy"))


def _frame(folder: Path) -> pd.DataFrame:
    return build.frame(build.read([(NAME, folder)]), [SERVICE_WINDOWS], ANOMALIES)


def _faults(folder: Path) -> list[dict[str, str]]:
    listed = json.loads(next(folder.rglob("*-fault_list.json")).read_text())
    return [fault for faults in listed.values() for fault in faults]


def test_a_service_is_anomalous_in_the_three_minutes_after_its_fault(shop: Path) -> None:
    frame = _frame(shop)
    assert set(frame["instance"]) == set(frame["service"]) == {"front", "cart", "orders", "payment", "stock"}
    for fault in _faults(shop):
        begin = pd.Timestamp(fault["inject_time"], tz="UTC")
        during = frame[(frame["time"] > begin) & (frame["time"] <= begin + pd.Timedelta(minutes=3))]
        broken = during["instance"] == fault["inject_pod"].rsplit("-", 2)[0]
        assert broken.sum() == 3
        assert during["anomalous"].eq(broken).all()


def test_what_is_outside_of_the_faults_was_not_reviewed(shop: Path) -> None:
    frame = _frame(shop)
    times = pd.to_datetime([fault["inject_time"] for fault in _faults(shop)], utc=True)
    outside = (frame["time"] < times.min()) | (frame["time"] > times.max() + pd.Timedelta(minutes=3))
    assert outside.any()
    assert frame["anomalous"].isna().eq(outside).all()


def test_a_wrong_clock_is_not_used_where_there_is_another(shop: Path) -> None:
    before = _frame(shop)
    for path in shop.rglob("*.csv"):
        if path.parent.name == "metric":
            table = pd.read_csv(path)
            moments = pd.to_datetime(table["TimeStamp"], unit="s")
            times = moments.dt.strftime("%Y-%m-%d %H:%M:%S.123456789 +0000 UTC m=+1")
            table.assign(Time=times, TimeStamp=table["TimeStamp"] + 200_000_000).to_csv(path, index=False)
    pd.testing.assert_frame_equal(_frame(shop), before)


def test_what_users_felt_is_told_of_the_service_that_they_call(shop: Path) -> None:
    path = next(shop.rglob("front_service.csv"))
    table = pd.read_csv(path)
    table["SuccessRate(%)"] = 75.0
    table.to_csv(path, index=False)
    for pod in shop.rglob("front-*_metric.csv"):
        pod.rename(pod.with_name(pod.name.replace("front-", "frontend-")))
    frame = _frame(shop)
    told = frame[frame["instance"] == "frontend"]
    assert told["user_latency"].tolist() == pytest.approx(table["LatencyP90(s)"].tolist())
    assert told["user_failures"].tolist() == pytest.approx([0.25] * len(table))
    assert frame.loc[frame["instance"] != "frontend", "user_latency"].isna().all()
    path.unlink()
    assert _frame(shop)["user_latency"].isna().all()


def test_damaged_files_are_named(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"no <date>-fault_list.json of {NAME}"):
        _frame(tmp_path / "empty")
    next(shop.rglob("front_service.csv")).write_text("Time,TimeStamp\n")
    with pytest.raises(DataError, match=r"front_service.csv: missing columns \['LatencyP90\(s\)'"):
        _frame(shop)
