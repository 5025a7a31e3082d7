"""The sources of incidents: published layouts → events and telemetry."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from features import build, demo
from features.transforms.incidents import CAUSES, INCIDENTS
from infra.errors import DataError


@pytest.fixture
def shop(home: Path, tmp_path: Path) -> Path:
    """A copy of the stand-in of rca_tvdiag that may be changed."""
    return Path(shutil.copytree(demo.make("rca_tvdiag"), tmp_path / "copy"))


@pytest.fixture
def boutique(home: Path, tmp_path: Path) -> Path:
    """A copy of the stand-in of rca_nezha that may be changed."""
    return Path(shutil.copytree(demo.make("rca_nezha"), tmp_path / "copy"))


@pytest.fixture
def petshop(home: Path, tmp_path: Path) -> Path:
    """A copy of the stand-in of rca_petshop that may be changed."""
    return Path(shutil.copytree(demo.make("rca_petshop"), tmp_path / "copy"))


def _frame(name: str, folder: Path) -> pd.DataFrame:
    return build.frame(build.read([(name, folder)]), [INCIDENTS], CAUSES)


def test_alerts_are_read_with_cause_and_part(shop: Path) -> None:
    frame = _frame("rca_tvdiag", shop)
    labels = pd.read_csv(shop / "shop" / "label.csv", dtype=str).set_index("index")
    assert len(frame) == len(labels)
    first = frame[frame["incident_id"].str.startswith("shop-0-")].iloc[0]
    assert (first["root_cause"], first["fault"], first["part"]) == tuple(labels.loc["0"])
    raw = json.loads((shop / "shop" / "metrics.json").read_text())["0"]
    name = dict(enumerate(first["nodes"]))
    told = {(name[int(at)], kind) for at, kind in zip(first["alerts_at"], first["alerts"], strict=True)}
    assert {(node, "cpu_up:cpu_usage") for node, metric, _ in raw if metric == "cpu_usage"} <= told


def test_a_case_has_the_same_id_in_every_folder_and_position(shop: Path) -> None:
    before = _frame("rca_tvdiag", shop)
    labels = pd.read_csv(shop / "shop" / "label.csv", dtype=str)
    labels.iloc[::-1].drop(columns="data_type").to_csv(shop / "shop" / "label.csv", index=False)
    (shop / "shop" / "raw").mkdir()
    for path in (shop / "shop").glob("*.json"):
        path.rename(shop / "shop" / "raw" / path.name)
    after = _frame("rca_tvdiag", shop)
    assert set(after["incident_id"]) == set(before["incident_id"])
    assert after["part"].isna().all()


def test_dates_are_taken_as_they_are(shop: Path) -> None:
    labels = pd.read_csv(shop / "shop" / "label.csv", dtype=str).assign(ed_time="2021-07-04 00:37:22.553000")
    labels.to_csv(shop / "shop" / "label.csv", index=False)
    assert set(_frame("rca_tvdiag", shop)["time"]) == {pd.Timestamp("2021-07-04T00:37:22.553Z")}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("nodes.json", "{", "nodes.json is not JSON"),
        ("nodes.json", "[]", "must hold an object"),
        ("metrics.json", '{"0": []}', "index '1' is not in metrics.json"),
        ("traces.json", None, "traces.json is missing"),
        ("label.csv", "index,instance\n0,cart\n", "missing columns"),
    ],
)
def test_damaged_alert_files_are_named(shop: Path, file: str, content: str | None, message: str) -> None:
    path = shop / "shop" / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        _frame("rca_tvdiag", shop)


def test_malformed_records_are_named(shop: Path) -> None:
    path = shop / "shop" / "metrics.json"
    cases = json.loads(path.read_text())
    path.write_text(json.dumps({**cases, "3": [["cart"]]}))
    with pytest.raises(DataError, match="index '3'"):
        _frame("rca_tvdiag", shop)


def test_raw_telemetry_is_read_unpacked_and_from_archives(boutique: Path) -> None:
    plain = _frame("rca_nezha", boutique)
    assert len(plain) == 16
    assert plain["part"].isna().all()
    first = plain.iloc[0]
    assert len(first["nodes"]) == 5
    assert len(first["callers"]) == 4
    date = next(path for path in boutique.iterdir() if path.is_dir())
    with tarfile.open(boutique / "all.tar.gz", "w:gz") as archive:
        archive.add(date, arcname=f"rca_data/{date.name}")
    shutil.rmtree(date)
    packed = _frame("rca_nezha", boutique)
    pd.testing.assert_frame_equal(plain, packed)


def test_normal_periods_hold_nothing_of_other_faults(boutique: Path) -> None:
    tables = build.read([("rca_nezha", boutique)])
    metrics, events = tables["metrics"].to_pandas(), tables["events"].to_pandas()
    since = {e.subject: pd.Timestamp(json.loads(e.data)["since"]) for e in events.itertuples() if "since" in e.data}
    for incident, rows in metrics.groupby("service_name"):
        before = rows["time"][rows["time"] < since[incident]]
        assert len(before)
        for other, begin in since.items():
            if other != incident:
                assert not before.between(begin, begin + pd.Timedelta(minutes=3)).any()


def test_folders_and_files_of_something_else_are_named(boutique: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name, message in (("rca_tvdiag", "no label.csv"), ("rca_nezha", "no <date>-fault_list.json")):
        with pytest.raises(DataError, match=message):
            _frame(name, tmp_path / "empty")
    metric = next(boutique.rglob("*_metric.csv"))
    metric.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="TimeStamp"):
        _frame("rca_nezha", boutique)
    next(boutique.rglob("*-fault_list.json")).write_text('{"03": [{}]}')
    with pytest.raises(DataError, match="inject_time"):
        _frame("rca_nezha", boutique)


def test_issues_are_compared_with_normal_operation(petshop: Path) -> None:
    frame = _frame("rca_petshop", petshop)
    assert len(frame) == 24 and frame["part"].isna().all() and set(frame["system"]) == {"petshop"}
    for row in frame.itertuples():
        name = dict(enumerate(row.nodes))
        assert {name[int(a)] for a in row.callers} == {"site", "search", "pay"}
        told = {name[int(at)] for at, kind in zip(row.alerts_at, row.alerts, strict=True) if "latency_up" in kind}
        assert {row.root_cause, "site"} <= told
    shutil.rmtree(petshop / "low_traffic" / "noissue")
    assert all(len(alerts) == 0 for alerts in _frame("rca_petshop", petshop)["alerts"])  # two rows tell no level


def test_the_command_that_names_the_answer_is_not_read(petshop: Path) -> None:
    before = _frame("rca_petshop", petshop)
    for path in petshop.rglob("target.json"):
        told = json.loads(path.read_text())
        path.write_text(json.dumps({**told, "metadata": {"reproducibility": {"command": "break everything"}}}))
    pd.testing.assert_frame_equal(_frame("rca_petshop", petshop), before)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("target.json", "{}", "target.timestamp and root_cause.node"),
        ("graph.csv", "a,b\nx,y\n", "no matrix of calls"),
        ("metrics.csv", "a\n", "component, metric and statistic"),
    ],
)
def test_damaged_petshop_files_are_named(petshop: Path, file: str, content: str, message: str) -> None:
    next(petshop.rglob(file)).write_text(content)
    with pytest.raises(DataError, match=message):
        _frame("rca_petshop", petshop)
