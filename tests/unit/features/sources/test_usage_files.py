"""Published series of daily and hourly usage → metric points."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import build
from features.demo import pjm_hourly_load, rssac002_root_dns
from infra.errors import DataError

DNS, PJM = "rssac002_root_dns", "pjm_hourly_load"
HEAD = "#date,queriesUDP_IPV4,queriesTCP_IPv4,queriesTOTAL_IPv4,ratioTCP_IPv4,queriesTOTAL_IPv6"


def _dns(folder: Path, *lines: str, head: str = HEAD) -> pd.DataFrame:
    (folder / "a.csv").write_text("\n".join([head, *lines]) + "\n")
    return build.read([(DNS, folder)])["metrics"].to_pandas()


def _pjm(folder: Path, text: str) -> pd.DataFrame:
    (folder / "est_hourly.csv.gz").write_bytes(gzip.compress(text.encode()))
    return build.read([(PJM, folder)])["metrics"].to_pandas()


def test_a_days_queries_are_the_sum_of_both_versions_known_at_its_end(tmp_path: Path) -> None:
    points = _dns(tmp_path, "20131001,9,1,10,1,2", "20131002,9,1,20,1,")
    assert points["value"].tolist() == [12.0]  # a day without one of the counts is no point
    assert points["time"].iloc[0] == pd.Timestamp("2013-10-01 23:59:59", tz="UTC")
    assert points["instance_id"].iloc[0] == "a.root-servers.net"


def test_a_wrong_date_count_or_header_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 3, column '#date': '2013-10-02' is not a date"):
        _dns(tmp_path, "20131001,9,1,10,1,2", "2013-10-02,9,1,10,1,2")
    with pytest.raises(DataError, match="line 2, column 'queriestotal_ipv4': 'many'"):
        _dns(tmp_path, "20131001,9,1,many,1,2")
    with pytest.raises(DataError, match="queriestotal_ipv6"):
        _dns(tmp_path, "20131001,9", head="#date,queriesTOTAL_IPv4")


def test_every_zone_is_a_series_of_its_hours(tmp_path: Path) -> None:
    points = _pjm(
        tmp_path, "Datetime,AEP,DOM\n2017-01-01 02:00:00,5.0,\n2017-01-01 01:00:00,4.0,7\n2017-01-01 01:00:00,4.0,7\n"
    )
    assert points.groupby("instance_id")["value"].agg(list).to_dict() == {"AEP": [5.0, 4.0, 4.0], "DOM": [7.0, 7.0]}
    assert set(points["unit"]) == {"MW"}


def test_a_file_of_loads_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needed are Datetime and one column a zone"):
        _pjm(tmp_path, "time,AEP\n2017-01-01 02:00:00,5.0\n")
    with pytest.raises(DataError, match="line 2, column 'Datetime': 'noon' is not a time"):
        _pjm(tmp_path, "Datetime,AEP\nnoon,5.0\n")
    with pytest.raises(DataError, match="line 2, column 'AEP': 'much' is not a number"):
        _pjm(tmp_path, "Datetime,AEP\n2017-01-01 02:00:00,much\n")
    (tmp_path / "est_hourly.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"est_hourly.csv.gz is not a readable CSV"):
        build.read([(PJM, tmp_path)])


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    for name in (DNS, PJM):
        with pytest.raises(DataError, match=name):
            build.read([(name, tmp_path)])


@pytest.mark.parametrize(("name", "module"), [(DNS, rssac002_root_dns), (PJM, pjm_hourly_load)])
def test_the_stand_in_is_read_like_the_real_set(tmp_path: Path, name: str, module: object) -> None:
    module.write(tmp_path, np.random.default_rng(0))  # type: ignore[attr-defined]
    points = build.read([(name, tmp_path)])["metrics"].to_pandas()
    assert points["instance_id"].nunique() == 3
    assert (points["value"] > 0).all()
