"""The demo world: the same every time, readable by the real sources, with something to learn and a mark on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from features import build, demo, fingerprint
from features.transforms import configuration_drift, customers, drive_health, iac_changes, incident_reports, windows
from features.view import View
from infra.errors import DataError
from infra.settings import settings

LABELS = {
    "smd_servers": (windows.ANOMALIES, "anomalous"),
    "asd_servers": (windows.ANOMALIES, "anomalous"),
    "nezha_online_boutique": (windows.ANOMALIES, "anomalous"),
    "backblaze_drive_stats_2013": (drive_health.DRIVE_OUTCOMES, drive_health.HORIZON),
    "lanl_failures_1996_2005": (drive_health.DRIVE_OUTCOMES, drive_health.HORIZON),
    "iranian_churn": (customers.OUTCOMES, "churned"),
    "mlc_churn": (customers.OUTCOMES, "churned"),
    "drift_role_events": (configuration_drift.DRIFTS, "drifted"),
    "compliance_iac_history": (iac_changes.IAC_OUTCOMES, "introduced"),
}


@pytest.mark.parametrize("name", LABELS)
def test_the_sources_read_it_and_both_labels_are_there(home: Path, name: str) -> None:
    view: View
    view, label = LABELS[name]
    rows = view.transform(build.select(build.read([(name, demo.make(name))]), view))
    share = rows[label].dropna().astype(bool).mean()
    assert 0.001 < share < 0.3
    assert set(rows["dataset"]) == {name}


@pytest.mark.parametrize("name", ["cloud_incidents", "github_incidents"])
def test_incidents_of_several_categories_are_read(home: Path, name: str) -> None:
    view = incident_reports.INCIDENT_CLASSES
    rows = view.transform(build.select(build.read([(name, demo.make(name))]), view))
    assert rows["category"].notna().all()
    assert rows["category"].value_counts().min() >= 10
    assert rows["category"].nunique() >= 4
    assert set(rows["dataset"]) == {name}


def test_it_is_the_same_every_time(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint.of_files(demo.make("mlc_churn"))
    monkeypatch.setenv("AIOPS__HOME", str(tmp_path / "elsewhere"))
    settings.cache_clear()
    assert not demo.made("mlc_churn")
    assert fingerprint.of_files(demo.make("mlc_churn")) == first
    assert (demo.folder("mlc_churn") / "SYNTHETIC").is_file()


def test_a_set_without_a_stand_in_is_named(home: Path) -> None:
    with pytest.raises(DataError, match="no stand-in for data set 'nothing'"):
        demo.make("nothing")
