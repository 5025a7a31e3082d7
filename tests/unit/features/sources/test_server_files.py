"""The two server sources: pickled arrays and lines of blamed metrics, mapped to points and events."""

import os
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features import build, source
from features.transforms.windows import ANOMALIES, SERVICE_WINDOWS
from infra.errors import DataError

ROWS, METRICS = 12, 19
Write = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path) -> Write:
    """Writes one machine of the ASD layout; arguments replace its files, None leaves one out."""

    def write(name: str = "m1", **files: object) -> Path:
        random = np.random.default_rng(0)
        content: dict[str, object] = {
            "train": random.random((ROWS, METRICS), dtype="float32"),
            "test": random.random((ROWS, METRICS), dtype="float32"),
            "test_label": np.array([0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0]),
            "text": "2-3:1,19\n9-9:2\n",
        } | files
        for part, value in content.items():
            if isinstance(value, str):
                (tmp_path / f"{name}.txt").write_text(value)
            elif value is not None:
                (tmp_path / f"{name}_{part}.pkl").write_bytes(pickle.dumps(value, protocol=2))
        return tmp_path

    return write


def _tables(folder: Path, name: str = "asd_servers") -> dict[str, pa.Table]:
    return build.read([(name, folder)])


def test_the_test_part_follows_the_training_part(machine: Write) -> None:
    points = _tables(machine())["metrics"].to_pandas()
    assert len(points) == 2 * ROWS * METRICS
    times = points["time"].drop_duplicates()
    assert (times.diff().dropna() == pd.Timedelta(minutes=5)).all()
    first = points[points["time"] == times.min()].set_index("metric_name")["value"]
    expected = np.random.default_rng(0).random((ROWS, METRICS), dtype="float32")[0]
    assert first.loc[["metric_01", "metric_19"]].tolist() == pytest.approx(expected[[0, 18]])
    assert set(points["instance_id"]) == {"m1"} and set(points["dataset"]) == {"asd_servers"}


def test_labels_are_null_in_the_training_part_and_metrics_blamed_by_row(machine: Write) -> None:
    frame = build.frame(_tables(machine()), [SERVICE_WINDOWS], ANOMALIES)
    assert frame["anomalous"].isna().tolist() == [True] * ROWS + [False] * ROWS
    judged = frame.iloc[ROWS:].reset_index(drop=True)
    assert judged.index[judged["anomalous"].eq(True)].tolist() == [2, 3, 9]
    assert judged["blamed"].iloc[[1, 2, 3, 9]].tolist() == [
        [],
        ["metric_01", "metric_19"],
        ["metric_01", "metric_19"],
        ["metric_02"],
    ]


def test_the_end_of_a_line_counts_in_one_set_and_not_in_the_other(tmp_path: Path) -> None:
    rows = np.zeros((ROWS, 38))
    for part in ("test", "test_label"):
        array = rows if part == "test" else np.arange(ROWS) == 5
        (tmp_path / f"m_{part}.pkl").write_bytes(pickle.dumps(array, protocol=2))
    (tmp_path / "m.txt").write_text("5-6:1\n")
    frame = build.frame(_tables(tmp_path, "smd_servers"), [], ANOMALIES)
    assert [bool(names) for names in frame["blamed"]] == (np.arange(ROWS) == 5).tolist()


@pytest.mark.parametrize("missing", ["train", "test", "test_label", "text"])
def test_each_file_may_be_absent(machine: Write, missing: str) -> None:
    folder = machine(**{missing: None})
    frame = build.frame(_tables(folder), [SERVICE_WINDOWS], ANOMALIES)
    assert len(frame) == (ROWS if missing in ("train", "test") else 2 * ROWS)
    assert frame["anomalous"].notna().any() == (missing not in ("test", "test_label"))


def test_parts_in_two_folders_do_not_overlap(machine: Write, tmp_path: Path) -> None:
    alone = _tables(machine(train=None))["metrics"].to_pandas()["time"].min()
    begin = pd.Timestamp("2000-01-01", tz="UTC")
    assert alone - begin == timedelta(days=30)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train": np.zeros((ROWS, 7))}, "rows of 19 metrics"),
        ({"train": {"a": 1}}, "holds dict, not an array"),
        ({"test_label": np.zeros(3)}, "3 labels for the 12 rows"),
        ({"text": "2_3:1\n"}, "line 1: '2_3:1' is not"),
        ({"text": "2-3:1\n5-99:1\n"}, "line 2: '5-99:1' is outside"),
        ({"text": "2-3:20\n"}, "outside of 12 rows or 19 metrics"),
    ],
)
def test_wrong_files_are_named(machine: Write, files: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        _tables(machine(**files))


class _Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch owned",)


def test_a_pickle_that_wants_to_run_something_is_refused(
    machine: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no part of a numpy array"):
        _tables(machine(train=_Evil()))
    assert not (tmp_path / "owned").exists()


def test_a_folder_without_machines_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no <machine>_train.pkl"):
        list(source.load("smd_servers").pull(str(tmp_path)))
