"""Measured configurations: which are candidates, what the baseline is, and what a bad file says."""

from pathlib import Path

import numpy as np
import pytest

from features import build
from features.demo import mysql_knobs_sysbench, pervolution_databases
from features.transforms.configurations import CONFIGURATIONS, OUTCOMES
from infra.errors import DataError


def _write(folder: Path, cell: str = "50") -> Path:
    target = folder / "MySQL"
    target.mkdir()
    head = "root;innodbDoubleWrite;buffer_8;buffer_64;buffer"
    (target / "defaultConfigurations.csv").write_text(f"{head}\n1;1;1;0;1\n")
    rows = ["1;1;1;0;1;5.6.1;100;1", f"1;1;0;1;1;5.6.1;{cell};1", "1;0;1;0;1;5.6.1;10;1"]
    (target / "measurements.csv").write_text("\n".join([f"{head};revision;performance;cpu", *rows]) + "\n")
    return folder


def test_options_become_knobs_and_frozen_ones_are_kept(tmp_path: Path) -> None:
    tables = build.read([("pervolution_databases", _write(tmp_path))])
    frame = build.frame(tables, [CONFIGURATIONS], OUTCOMES)
    assert [list(knobs) for knobs in frame["knobs"]] == [
        ["buffer"]
    ] * 2  # 10 s without the double write is no candidate
    assert [list(values) for values in frame["values"]] == [[8.0], [64.0]]
    assert frame["performance"].tolist() == [100.0, 50.0]
    assert frame["baseline"].tolist() == [100.0, 100.0]


def test_a_bad_cell_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"measurements\.csv, column 'performance'"):
        build.read([("pervolution_databases", _write(tmp_path, "x"))])


@pytest.mark.parametrize("name", ["pervolution_databases", "mysql_knobs_sysbench"])
def test_an_empty_folder_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=name):
        build.read([(name, tmp_path)])


def test_parts_of_a_session_are_tasks_with_one_baseline(tmp_path: Path) -> None:
    mysql_knobs_sysbench.write(tmp_path, np.random.default_rng(0))
    tables = build.read([("mysql_knobs_sysbench", tmp_path)])
    frame = build.frame(tables, [CONFIGURATIONS], OUTCOMES)
    assert frame["task"].nunique() == 4
    assert frame["baseline"].nunique() == 1
    assert not frame.duplicated(["task", "time"]).any()


def test_the_demo_world_has_the_layout(tmp_path: Path) -> None:
    pervolution_databases.write(tmp_path, np.random.default_rng(0))
    frame = build.frame(build.read([("pervolution_databases", tmp_path)]), [CONFIGURATIONS], OUTCOMES)
    assert frame["system"].nunique() == 2
    assert {len(knobs) for knobs in frame["knobs"]} == {3}
