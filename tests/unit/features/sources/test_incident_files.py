"""The two incident sources: only what the first message said, and categories where somebody gave one."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features import build
from features.sources._cloud_taxonomy import CATEGORIES
from features.transforms.incident_reports import INCIDENT_CLASSES, INCIDENT_REPORTS
from infra.errors import DataError
from infra.settings import ROOT

DATA = Path(os.environ.get("AIOPS_DATA") or ROOT.parent / "shared" / "data")
FIRST = {"text": "Queries fail in europe-west1.", "when": "2021-05-01T10:05:00Z"}
LAST = {"text": "The issue with BigQuery is resolved.", "when": "2021-05-01T12:00:00Z"}
GOOGLE: dict[str, Any] = {
    "event_start_time": "2021-05-01T10:00:00Z",
    "external_desc": "We've received a report of an issue with Google BigQuery.",
    "updates": [LAST, FIRST],
    "service_name": "Google BigQuery",
    "severity": "medium",
}
AWS = {
    "service_name": "Amazon Route 53 (Global)",
    "summary": "[RESOLVED] DNS",
    "description": '<div><span class="x"> 3:35 PM PST</span>&nbsp;We are investigating DNS &amp; more.</div>'
    "<div><span>4:00 PM PST</span>&nbsp;Resolved.</div>",
    "date": pd.Timestamp("2020-01-01 23:35:00"),
    "status": "2",
}
GITHUB: dict[str, Any] = {
    "id": "7",
    "title": "Incident with Actions",
    "started_at": "2023-01-01T10:00:00Z",
    "impact": "major",
    "components": ["Actions"],
    "updates": [
        {"at": "2023-01-01T10:00:00Z", "status": "Investigating", "message": "Runs are late."},
        {"at": "2023-01-01T11:00:00Z", "status": "Resolved", "message": "Resolved."},
    ],
}


def _cloud(folder: Path, *rows: dict[str, Any]) -> pd.DataFrame:
    pd.DataFrame(list(rows)).to_parquet(folder / "any name.parquet")
    return build.frame(build.read([("cloud_incidents", folder)]), [INCIDENT_REPORTS], INCIDENT_CLASSES)


def _github(folder: Path, *records: dict[str, Any]) -> pd.DataFrame:
    (folder / "any name.jsonl").write_text("\n".join(map(json.dumps, records)))
    return build.frame(build.read([("github_incidents", folder)]), [INCIDENT_REPORTS], INCIDENT_CLASSES)


def test_google_gives_its_first_message_and_nothing_later(tmp_path: Path) -> None:
    [row] = _cloud(tmp_path, GOOGLE).to_dict("records")
    assert (row["title"], row["description"]) == (GOOGLE["external_desc"], FIRST["text"])
    assert row["time"] == pd.Timestamp(FIRST["when"])
    assert (row["category"], row["service"], row["severity"]) == ("database", "Google BigQuery", "medium")
    assert (row["provider"], row["taxonomy"], row["logs"], row["metrics"]) == ("google", "cloud_services", [], [])


@pytest.mark.parametrize(
    "headline",
    ["BigQuery queries fail in Europe", "The issue with BigQuery is resolved.", "We are experiencing what was solved"],
)
def test_a_headline_that_may_have_been_rewritten_is_left_out(tmp_path: Path, headline: str) -> None:
    [row] = _cloud(tmp_path, {**GOOGLE, "external_desc": headline}).to_dict("records")
    assert row["title"] is None


def test_copies_of_a_google_incident_are_one_without_a_category_when_it_would_differ(tmp_path: Path) -> None:
    same = _cloud(tmp_path, GOOGLE, GOOGLE)
    assert same["category"].to_list() == ["database"]
    other = _cloud(tmp_path, GOOGLE, {**GOOGLE, "service_name": "Google Cloud Networking"})
    assert other[["category", "service"]].to_numpy().tolist() == [[None, "Multiple Products"]]


def test_an_incident_without_a_message_or_of_an_unknown_service_has_no_category(tmp_path: Path) -> None:
    silent = {**GOOGLE, "external_desc": "The issue is resolved", "updates": []}
    unknown = {**GOOGLE, "service_name": "Something New", "event_start_time": "2021-06-01T10:00:00Z"}
    assert _cloud(tmp_path, silent, unknown)["category"].isna().all()


def test_aws_gives_its_first_message_without_clock_and_summary(tmp_path: Path) -> None:
    [row] = _cloud(tmp_path, AWS).to_dict("records")
    assert (row["title"], row["description"]) == (None, "We are investigating DNS & more.")
    assert (row["category"], row["service"], row["severity"]) == ("network", "Amazon Route 53", "medium")


def test_github_gives_title_first_message_and_the_one_component(tmp_path: Path) -> None:
    [row] = _github(tmp_path, GITHUB).to_dict("records")
    assert (row["title"], row["description"]) == ("Incident with Actions", "Runs are late.")
    assert (row["category"], row["severity"], row["taxonomy"]) == ("Actions", "high", "github_components")


@pytest.mark.parametrize(
    "change",
    [
        {"components": ["Actions", "Pages"]},
        {"components": None},
        {"components_source": "gliner2"},
        {"impact": "maintenance"},
        {"updates": [{"at": "2023-01-01T10:00:00Z", "status": "Resolved", "message": "Over."}]},
    ],
)
def test_github_has_no_category_where_nobody_said_or_the_end_is_told(tmp_path: Path, change: dict[str, Any]) -> None:
    [row] = _github(tmp_path, {**GITHUB, **change}).to_dict("records")
    assert row["category"] is None


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1: event_start_time"):
        _cloud(tmp_path, GOOGLE, {**GOOGLE, "event_start_time": "soon"})
    with pytest.raises(DataError, match="needs the columns"):
        _cloud(tmp_path, {"a": 1})
    (tmp_path / "any name.parquet").write_bytes(b"no")
    with pytest.raises(DataError, match="not a readable Parquet file"):
        build.read([("cloud_incidents", tmp_path)])
    with pytest.raises(DataError, match="line 1: no field 'impact'"):
        _github(tmp_path, {name: value for name, value in GITHUB.items() if name != "impact"})
    (tmp_path / "any name.jsonl").write_text("{")
    with pytest.raises(DataError, match="line 1 is not JSON"):
        build.read([("github_incidents", tmp_path)])


@pytest.mark.parametrize("file", ["gcp_label.csv", "aws_label.csv"])
def test_the_taxonomy_is_the_annotators(file: str) -> None:
    path = DATA / "cloud_incidents" / file
    if not path.is_file():
        pytest.skip(f"{path} is not here; set AIOPS_DATA to the folder of the reference sets")
    labels = pd.read_csv(path)
    services = labels["service"].str.replace(r" \(.*", "", regex=True)
    for service, category in zip(services, labels["label_service_category"].str.strip().str.lower(), strict=True):
        assert CATEGORIES[service] in (category, None)
        assert CATEGORIES[service] or category == "others"
