"""The daily snapshots of a storage fleet → canonical tables."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest

from features import build, source
from features.transforms.drive_health import DISCOVERED, FAILED
from infra.errors import DataError

NAME = "backblaze_drive_stats_2013"
HEAD = (
    "date,serial_number,model,capacity_bytes,failure,"
    "smart_1_normalized,smart_1_raw,smart_5_raw,smart_9_raw,smart_194_raw,smart_197_raw"
)


def _write(folder: Path, name: str, *lines: str, head: str = HEAD) -> None:
    text = "\n".join([head, *lines]) + "\n"
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, pa.Table]:
    _write(
        tmp_path, "2013-04-10.csv.gz", "2013-04-10,A,M1,4e12,0,,7,0,100,25,0", "2013-04-10,B,M2,1e12,0,,8,1,200,30,2"
    )
    _write(tmp_path, "2013-04-11.csv", "2013-04-11,A,M1,4e12,1,,9,3,124,26,", "2013-04-11,C,M1,4e12,0,,1,0,5,20,0")
    return build.read([(NAME, tmp_path)])


def test_a_filled_attribute_is_one_point_in_its_unit(tables: dict[str, pa.Table]) -> None:
    points = tables["metrics"].to_pandas()
    assert len(points) == 4 * 5 - 1  # A reports no pending sectors on its second day
    [hours] = (
        points.query("instance_id == 'A' and metric_name.str.endswith('power_on_hours')").tail(1).to_dict("records")
    )
    assert (hours["value"], hours["unit"], str(hours["time"])) == (124.0, "h", "2013-04-11 00:00:00+00:00")
    assert set(points["dataset"]) == {NAME}


def test_a_drive_is_discovered_once_and_fails_once(tables: dict[str, pa.Table]) -> None:
    events = tables["events"].to_pandas()
    found = events[events["type"] == DISCOVERED]
    assert sorted(found["subject"]) == ["A", "B", "C"]
    assert json.loads(found.set_index("subject")["data"]["B"]) == {"model": "M2", "capacity_bytes": 1e12}
    failed = events[events["type"] == FAILED]
    assert [(row.subject, str(row.time.date())) for row in failed.itertuples()] == [("A", "2013-04-11")]
    assert events["id"].is_unique


def test_a_missing_column_is_named_with_the_file(tmp_path: Path) -> None:
    _write(tmp_path, "2013-04-10.csv", "2013-04-10,A", head="date,serial_number")
    with pytest.raises(DataError, match=r"2013-04-10\.csv.*model"):
        list(source.load(NAME).pull(str(tmp_path)))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("2013-04-10,A,M1,4e12,2,,7,0,100,25,0", "must be 0 or 1"),
        ("2013-04-10,A,M1,4e12,0,,seven,0,100,25,0", "seven"),
        ("yesterday,A,M1,4e12,0,,7,0,100,25,0", "yesterday"),
        (",A,M1,4e12,0,,7,0,100,25,0", "have no date"),
    ],
)
def test_a_wrong_value_is_named_with_the_file(tmp_path: Path, line: str, what: str) -> None:
    _write(tmp_path, "day.csv", line)
    with pytest.raises(DataError, match=rf"day\.csv.*{what}"):
        list(source.load(NAME).pull(str(tmp_path)))


def test_a_cut_off_archive_is_named(tmp_path: Path) -> None:
    _write(tmp_path, "day.csv.gz", *["2013-04-10,A,M1,4e12,0,,7,0,100,25,0"] * 100)
    whole = (tmp_path / "day.csv.gz").read_bytes()
    (tmp_path / "day.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"day\.csv\.gz"):
        list(source.load(NAME).pull(str(tmp_path)))


def test_a_folder_without_snapshots_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(DataError, match="no file"):
        build.read([(NAME, tmp_path)])
