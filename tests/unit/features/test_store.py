"""Feast gives what `features.build` gives, and refuses what Feast alone would serve."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from features import build, jobs, schema, store, table
from features.view import View
from infra.errors import DataError, NotFound, StaleFeature
from tests.unit.features import world
from tests.unit.features.world import LOADS, OUTCOMES


def _tables() -> dict[str, pa.Table]:
    return {"metrics": schema.conform("metrics", world.metrics()), "events": schema.conform("events", world.moves())}


def _publish(view: View) -> pa.Table:
    """What a job and the gate would leave, without Spark."""
    rows = table.conform(view, view.transform(build.select(_tables(), view)))
    part = jobs.published(view) / "dataset=one"
    part.mkdir(parents=True)
    numbered = rows.append_column(jobs.ROW_TIME, rows["time"].cast(pa.int64()))
    pq.write_table(numbered.drop_columns(["dataset"]), part / "part-0.parquet")
    (jobs.published(view) / "_made.json").write_text('{"one": "mark"}')
    return rows


@pytest.fixture
def ready(home: Path) -> pa.Table:
    rows = _publish(LOADS)
    _publish(OUTCOMES)
    store.apply({"load_model": (LOADS,)})
    return rows


def test_the_training_frame_is_that_of_the_benchmark(ready: pa.Table) -> None:
    found = store.training_frame("load_model", OUTCOMES)
    expected = build.frame(_tables(), [LOADS], OUTCOMES)
    assert list(found.columns) == ["dataset", "time", "host", "failed", "room", "cpu", "recent", "busy", "rank"]
    types = table.schema(LOADS).append(pa.field("failed", pa.bool_()))
    types = pa.schema([types.field(name) for name in found.columns])
    assert pa.Table.from_pandas(found, types).equals(pa.Table.from_pandas(expected[list(found.columns)], types))
    assert found["cpu"].notna().all() and len(found) == 24
    assert store.training_frame("load_model", OUTCOMES, ["other"]).empty


def test_a_row_older_than_its_time_to_live_is_not_joined(home: Path) -> None:
    short = View(**{**vars(LOADS), "ttl": timedelta(minutes=5)})  # labels are ten minutes after the rows
    _publish(short)
    _publish(OUTCOMES)
    store.apply({"load_model": (short,)})
    found = store.training_frame("load_model", OUTCOMES)
    assert found["cpu"].isna().all() and len(found) == 24


def test_online_gives_the_newest_row_and_what_is_pushed(ready: pa.Table) -> None:
    assert store.materialize([LOADS]) == {"loads": 4}
    assert store.materialize([LOADS]) == {"loads": 0}
    newest = world.BEGIN + timedelta(minutes=200)
    expected = [row for row in ready.to_pylist() if row["time"] == newest and row["host"] in ("one-2", "one-0")]
    found = store.online("load_model", ["one-2", "one-0"], now=newest + timedelta(minutes=30))
    for row in expected:
        assert {k: v for k, v in row.items() if k != "dataset"} == next(f for f in found if f["host"] == row["host"])
    later = {**expected[0], "time": newest + timedelta(minutes=40, microseconds=5), "cpu": 0.25, "room": None}
    store.push(LOADS, pd.DataFrame([later]))
    row = store.online("load_model", [later["host"]], now=later["time"])[0]
    assert (row["time"], row["cpu"], row["room"]) == (later["time"], 0.25, None)


def test_only_rows_up_to_the_end_are_put_online(ready: pa.Table) -> None:
    end = world.BEGIN + timedelta(minutes=80)
    store.materialize([LOADS], end)
    assert store.online("load_model", ["one-1"], now=end)[0]["time"] == end
    assert store.materialize([LOADS]) == {"loads": 4}
    assert store.materialize([LOADS], end) == {"loads": 4}  # going back in time is asked for, so it is done


def test_entities_that_are_seen_once_are_learnt_from_and_not_put_online(ready: pa.Table) -> None:
    assert store.materialize([replace(LOADS, once=True)]) == {"loads": 0}


def test_a_stale_row_is_refused(ready: pa.Table) -> None:
    store.materialize([LOADS])
    late = world.BEGIN + timedelta(minutes=231)
    with pytest.raises(StaleFeature, match=r"host 'one-0' is 0:31:00 old .* time to live of 0:30:00"):
        store.online("load_model", ["one-0"], now=late)
    with pytest.raises(StaleFeature):
        store.online("load_model", ["one-0"])


def test_what_is_not_there_is_named(ready: pa.Table) -> None:
    store.materialize([LOADS])
    with pytest.raises(store.UnknownEntity, match="host 'nobody'"):
        store.online("load_model", ["one-0", "nobody"], now=world.BEGIN + timedelta(minutes=200))
    with pytest.raises(NotFound, match="did you mean 'load_model'"):
        store.online("load_modle", ["one-0"])


def test_one_name_is_one_view(home: Path) -> None:
    other = View(**{**vars(LOADS), "ttl": timedelta(minutes=5)})
    with pytest.raises(DataError, match="two different views are named 'loads'"):
        store.apply({"a": (LOADS,), "b": (other,)})


def test_a_second_model_does_not_push_out_the_first(ready: pa.Table) -> None:
    store.apply({"other_model": (LOADS,)})
    assert len(store.training_frame("load_model", OUTCOMES)) == 24
    assert len(store.training_frame("other_model", OUTCOMES)) == 24
