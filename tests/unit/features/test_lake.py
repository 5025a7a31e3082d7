"""The lake: loaded whole, appended once, merged without loss."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import demo, lake
from infra.errors import DataError
from tests.unit.features import world


def test_a_set_is_loaded_once_and_replaced_when_it_changes(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    lines = (demo.make("iranian_churn") / "Customer_Churn.csv").read_text().splitlines(keepends=True)
    (folder / "Customer_Churn.csv").write_text("".join(lines[:101]))
    assert lake.load("iranian_churn", folder)
    assert not lake.load("iranian_churn", folder)
    assert lake.rows("iranian_churn") == {"events": len(lake.read("events"))} == {"events": 200}
    mark = lake.fingerprint("events")
    (folder / "Customer_Churn.csv").write_text("".join(lines[:51]))
    assert lake.load("iranian_churn", folder)
    assert len(lake.read("events")) == 100
    assert lake.fingerprint("events") != mark
    assert not lake.synthetic("iranian_churn")


def test_the_lake_knows_what_comes_from_the_demo_world(home: Path) -> None:
    lake.load("iranian_churn", demo.make("iranian_churn"))
    assert lake.synthetic("iranian_churn")


def test_a_folder_without_data_leaves_the_lake_as_it_was(home: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        lake.load("iranian_churn", tmp_path)
    assert lake.rows("iranian_churn") == {}
    with pytest.raises(DataError, match="holds no rows of 'events'"):
        lake.read("events")


def test_the_same_rows_are_appended_once(home: Path) -> None:
    assert lake.append("metrics", world.metrics("live"))
    assert not lake.append("metrics", world.metrics("live"))
    assert not lake.append("metrics", world.metrics("live").slice(0, 0))
    assert len(lake.read("metrics")) == 24


def test_only_wanted_rows_are_read(home: Path) -> None:
    lake.append("metrics", world.metrics("live"))
    lake.append("metrics", world.metrics("live", name="mem"))
    lake.append("metrics", world.metrics("other"), dataset="other")
    assert len(lake.read("metrics", {"metric_name": ["cpu"]})) == 48
    rows = lake.read("metrics", {"metric_name": ["cpu"], "instance_id": ["live-1", "live-2"]}, datasets=["live"])
    assert sorted(set(rows["instance_id"].to_pylist())) == ["live-1", "live-2"] and len(rows) == 12
    assert set(rows["dataset"].to_pylist()) == {"live"}
    assert len(lake.read("metrics", {"dataset": ["other"]})) == 24


def _pieces(count: int) -> pa.Table:
    whole = world.metrics("live", hosts=count)
    for piece in range(count):
        lake.append("metrics", whole.slice(piece * 6, 6))
    return whole


def test_compaction_keeps_every_row(home: Path) -> None:
    _pieces(5)
    before = sorted(map(str, lake.read("metrics").to_pylist()))
    assert lake.compact("metrics", at_least=6) == 0
    assert lake.compact("metrics", at_least=5) == 5
    assert len(list(lake.parts("metrics")[0].glob("part-*"))) == 1
    assert sorted(map(str, lake.read("metrics").to_pylist())) == before


@pytest.mark.parametrize("deleted", [0, 1, 3])
def test_a_compaction_cut_off_after_its_journal_is_finished_by_the_next_reader(home: Path, deleted: int) -> None:
    _pieces(3)
    before = sorted(map(str, lake.read("metrics").to_pylist()))
    folder = lake.parts("metrics")[0]
    old = sorted(folder.glob("part-*"))
    pq.write_table(pa.concat_tables([pq.ParquetFile(file).read() for file in old]), folder / "_part-merged.parquet")
    (folder / "_compaction.json").write_text(
        json.dumps({"merged": "part-merged.parquet", "old": [file.name for file in old]})
    )
    for file in old[:deleted]:
        file.unlink()
    assert sorted(map(str, lake.read("metrics").to_pylist())) == before
    assert [file.name for file in folder.iterdir()] == ["part-merged.parquet"]


def test_a_compaction_cut_off_before_its_journal_did_not_happen(home: Path) -> None:
    _pieces(3)
    folder = lake.parts("metrics")[0]
    pq.write_table(pq.ParquetFile(next(folder.glob("part-*"))).read(), folder / "_part-half.parquet")
    assert len(lake.read("metrics")) == 18


def test_history_comes_in_the_order_of_time_and_in_spans(home: Path) -> None:
    rows = world.metrics("live", hosts=2, rows=9)  # 40 minutes apart
    for begin in (10, 0, 5):
        lake.append("metrics", rows.slice(begin, 5 if begin < 10 else None))
    lake.append("metrics", world.metrics("other"), dataset="other")
    lake.append("events", world.moves("live"))
    wanted = {"metrics": {"metric_name": ("cpu",)}, "events": {}, "logs": {}}
    spans = list(lake.history(wanted, timedelta(hours=1)))
    times = [sorted(set(span["metrics"]["time"].to_pylist())) for span in spans]
    assert [time for span in times for time in span] == sorted(set(rows["time"].to_pylist()))
    assert sum(len(span["metrics"]) for span in spans) == 18 and sum(len(span["events"]) for span in spans) == 2
    assert all(span["metrics"]["dataset"].unique().to_pylist() in ([], ["live"]) for span in spans)
    assert max(len(span) for span in times) == 2


def test_there_is_no_history_of_an_empty_lake(home: Path) -> None:
    assert list(lake.history({"metrics": {}}, timedelta(hours=1))) == []


def test_a_share_is_some_rows_and_columns_and_counts_say_how_many(home: Path) -> None:
    lake.append("metrics", world.metrics("one"), dataset="one")
    lake.append("metrics", world.metrics("two"), dataset="two")
    wanted = {"dataset": ["one"], "instance_id": ["one-1", "one-2"]}
    rows = lake.share(lake.root(), "metrics", wanted, ["instance_id", "value"])
    assert rows.column_names == ["instance_id", "value"] and len(rows) == 12
    assert lake.counts("metrics", "instance_id", wanted) == {"one-1": 6, "one-2": 6}
    assert lake.counts("events", "subject", {}) == {}
    assert len(lake.share(lake.root(), "events", {}, ["subject"])) == 0
