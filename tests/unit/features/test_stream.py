"""The live path: the same transform on the newest rows, bad rows refused, raw rows kept."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from features import build, lake, schema, stream
from features.view import View
from infra.errors import DataError
from tests.unit.features import world
from tests.unit.features.world import LOADS, OUTCOMES


class Sink:
    """Remembers what was pushed and appended."""

    def __init__(self) -> None:
        self.pushed: list[tuple[str, pd.DataFrame]] = []
        self.raw: list[pa.Table] = []

    def push(self, view: View, rows: pd.DataFrame) -> None:
        self.pushed.append((view.name, rows))

    def append(self, table: str, rows: pa.Table) -> None:
        assert table in schema.TABLES
        self.raw.append(rows)


def _stream(sink: Sink, **options: Any) -> stream.Stream:
    return stream.Stream([LOADS, OUTCOMES], push=sink.push, append=sink.append, **options)


def _beats(table: pa.Table) -> list[pa.Table]:
    """The rows of `table`, a batch for every time."""
    return [table.filter(pa.compute.equal(table["time"], moment)) for moment in table["time"].unique()]


def test_the_stream_pushes_what_batch_makes(home: Path) -> None:
    sink = Sink()
    live = _stream(sink)
    live.take("events", world.moves("live"))
    for beat in _beats(world.metrics("live")):
        live.take("metrics", beat)
    tables = {"metrics": world.metrics("live"), "events": world.moves("live")}
    frames = build.select({name: schema.conform(name, rows) for name, rows in tables.items()}, LOADS)
    expected = LOADS.transform(frames).sort_values("time").drop_duplicates("host", keep="last").set_index("host")
    name, rows = sink.pushed[-1]
    assert name == "loads" and {view for view, _ in sink.pushed} == {"loads"}  # labels are never served
    found = rows.set_index("host").loc[expected.index]
    for column in ("cpu", "rank", "busy", "time"):
        assert found[column].tolist() == expected[column].tolist(), column
    assert [list(values) for values in found["recent"]] == expected["recent"].tolist()


def test_only_the_newest_batches_are_kept(home: Path) -> None:
    sink = Sink()
    live = _stream(sink, depth=2)
    for beat in _beats(world.metrics("live")):
        live.take("metrics", beat)
    assert set(sink.pushed[-1][1]["rank"]) == {2}


def test_a_row_beyond_its_limits_is_refused_and_the_others_served(home: Path) -> None:
    sink = Sink()
    live = _stream(sink)
    beat = _beats(world.metrics("live"))[0].to_pandas()
    beat.loc[1, "value"] = 7.0
    pushed = live.take("metrics", pa.Table.from_pandas(beat, preserve_index=False))
    assert sorted(pushed["loads"]["host"]) == ["live-0", "live-2", "live-3"]
    assert live.refused == 1


def test_of_too_many_rows_that_wait_the_oldest_are_dropped(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sink, gate = Sink(), threading.Event()
    live, beats = _stream(sink), _beats(world.metrics("live"))
    monkeypatch.setattr(stream, "WAITING_ROWS", 2 * len(beats[0]))
    monkeypatch.setattr(live, "_seed", lambda: gate.wait(10))
    seeding = live.seed()
    for beat in beats[:-1]:
        assert live.take("metrics", beat) == {}
    gate.set()
    seeding.join()
    live.take("metrics", beats[-1])
    assert live.dropped == sum(map(len, beats[:-3]))
    assert [rows["time"].max() for _, rows in sink.pushed] == [beat["time"][0].as_py() for beat in beats[-3:]]
    assert [record.message.partition(" rows")[0] for record in caplog.records] == [f"more than {2 * len(beats[0])}"]


def test_raw_rows_reach_the_lake_once(home: Path) -> None:
    live = stream.Stream([LOADS], push=Sink().push)
    for beat in _beats(world.metrics("live")):
        live.take("metrics", beat)
    with pytest.raises(DataError):
        lake.read("metrics")
    live.flush()
    live.flush()
    assert len(lake.read("metrics", datasets=["live"])) == 24


def test_rows_of_no_table_are_refused(home: Path) -> None:
    with pytest.raises(DataError, match="no canonical table 'metric'"):
        _stream(Sink()).take("metric", world.metrics())


def test_watch_scrapes_until_it_is_told_to_stop() -> None:
    stop, seen = threading.Event(), []

    def sink(name: str, rows: pa.Table) -> None:
        seen.append((name, rows["metric_name"].to_pylist(), rows["value"].to_pylist()[0]))
        if len(seen) == 3:
            stop.set()

    stream.watch("gone=http://127.0.0.1:1/metrics", timedelta(milliseconds=5), sink, stop)
    assert [name for name, _, _ in seen] == ["metrics"] * 3
    assert seen[0][1] == ["up", "scrape_duration_seconds"] and seen[0][2] == 0.0
