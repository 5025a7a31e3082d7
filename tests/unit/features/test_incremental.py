"""A view's incremental form makes what its transform makes, however a history is cut into parts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features import lake, schema, table
from features.ordered import LATENESS
from features.stream import Stream
from features.transforms.seasonal import STEPS
from features.transforms.windows import SERVICE_WINDOWS
from features.view import View
from infra import plugins
from training import catalog

BEGIN = pd.Timestamp("2026-03-01T23:10:07.5", tz="UTC")


def views() -> list[View]:
    """All views of all models that have an incremental form."""
    found = {
        view.name: view
        for name in plugins.names(catalog.PACKAGE)
        for view in catalog.load(name).spec.views
        if view.incremental
    }
    return [found[name] for name in sorted(found)]


def histories() -> dict[str, Callable[[], pd.DataFrame]]:
    """Live metric points of a few instances, one difficulty each."""
    return {
        "minutes": lambda: _points(np.arange(0, 2.6 * 86400, 300.0), instances=1),
        "nine days": lambda: _points(np.arange(0, 9.2 * 86400, 1800.0), instances=1),
        "seconds": lambda: _points(np.arange(0, 250.0)),
        "odd steps": lambda: _points(np.cumsum(np.random.default_rng(3).uniform(20, 2400, 400))),
        "gaps": lambda: _points(np.concatenate([np.arange(0, 9e4, 400), np.arange(1.6e5, 1.9e5, 400), [4e5, 4.1e5]])),
        "published values only": lambda: _points(np.arange(0, 7200.0, 60)).query("metric_name == 'memory_bytes'"),
    }


def _points(seconds: np.ndarray, instances: int = 2) -> pd.DataFrame:
    parts = [_instance(f"api-{number}", seconds + number / 3, number) for number in range(instances)]
    return pd.concat(parts, ignore_index=True)


def _instance(name: str, seconds: np.ndarray, seed: int) -> pd.DataFrame:
    """Counters that restart, a histogram, a gauge with labels, one that appears late and one that goes, bad values."""
    random, count = np.random.default_rng(seed), len(seconds)
    wave = 2 + np.sin(2 * np.pi * seconds / 86400)
    calls = np.cumsum(random.poisson(5 * wave))
    restart = np.searchsorted(np.arange(count), [count // 3, 2 * count // 3])
    since = np.where(np.arange(count) < restart[0], 0, np.where(np.arange(count) < restart[1], *calls[restart][::-1]))
    calls = np.where(np.arange(count) < restart[0], calls, calls - np.minimum(since, calls))
    series: dict[tuple[str, str], np.ndarray] = {
        ("http_requests_total", "200"): calls,
        ("http_requests_total", "500"): calls // 7,
        ("http_requests_count", ""): calls // 2,  # becomes the same metric as the total
        ("latency_seconds_sum", ""): calls * 0.03 * wave,
        ("latency_seconds_count", ""): calls,
        ("latency_seconds_bucket", "0.1"): calls,
        ("memory_bytes", ""): 1e8 * wave + random.normal(0, 1e5, count),
        ("queue", "a"): random.normal(3, 1, count),
        ("queue", "b"): np.where(random.random(count) < 0.1, np.inf, random.normal(9, 1, count)),
        ("late", ""): np.where(np.arange(count) > count // 2, wave, np.nan),
        ("gone", ""): np.where(np.arange(count) < count // 4, wave, np.nan),
        ("rare_total", ""): np.where(np.arange(count) % 13 == 0, calls, np.nan),
        ("process_start_time_seconds", ""): wave,
    }
    times = BEGIN + pd.to_timedelta(np.round(seconds * 1e6).astype("int64"), unit="us")
    parts = [pd.DataFrame({"time": times, "metric_name": key[0], "value": value}) for key, value in series.items()]
    points = pd.concat(parts, ignore_index=True).dropna(subset="value")
    return points.assign(dataset="live", service_name=name.partition("-")[0], instance_id=name, unit="1")


def _table(points: pd.DataFrame) -> pa.Table:
    return schema.conform("metrics", pa.Table.from_pandas(points, preserve_index=False))


def _batch(view: View, points: pd.DataFrame) -> dict[tuple[str, pd.Timestamp], dict]:
    """(entity, time) → the row that the transform makes of everything.

    Without the step of the first rows, which batch takes from all of them and the stream from those so far.
    """
    made = table.conform(view, view.transform({"metrics": table.seen("metrics", _table(points))})).sort_by("time")
    found: dict[tuple[str, pd.Timestamp], dict] = {}
    for row in made.to_pylist():
        number = sum(entity == row[view.entity] for entity, _ in found) if len(found) < 3 * STEPS else STEPS
        found[row[view.entity], row["time"]] = row if number >= STEPS else row | {"step": None}
    return found


def _same(view: View, found: dict, expected: dict) -> None:
    for name, (kind, _) in view.columns.kinds().items():
        if expected[name] is None:
            continue
        if kind in (float, list[float]):
            scale = np.abs(expected["values"]) if kind == list[float] and "values" in expected else 1.0
            close = np.abs(np.array(found[name]) - np.array(expected[name])) <= 1e-6 * np.maximum(scale, 1e-3)
            assert np.all(close), (name, expected["time"], found[name], expected[name])
        else:
            assert found[name] == expected[name], (name, expected["time"])


class Served:
    """Every row that a stream pushed."""

    def __init__(self) -> None:
        self.rows: list[dict] = []

    def stream(self) -> Stream:
        return Stream(views(), push=self._push)

    def _push(self, view: View, rows: pd.DataFrame) -> None:
        self.rows += table.conform(view, rows.assign(dataset="live")).to_pylist()


def _parts(points: pd.DataFrame, sizes: list[int]) -> Iterator[pd.DataFrame]:
    """The history in parts of so many times, in turn."""
    number = points["time"].rank(method="dense").astype(int) - 1
    edges = np.cumsum([0, *np.resize(sizes, number.max() + 1)])
    for _, part in points.groupby(np.searchsorted(edges, number, side="right")):
        yield part


@pytest.mark.parametrize("name", histories())
@pytest.mark.parametrize("view", views(), ids=lambda view: view.name)
def test_the_stream_serves_what_batch_makes(view: View, name: str, home: Path) -> None:
    points = histories()[name]()
    expected = _batch(view, points)
    served = Served()
    live = served.stream()
    for part in _parts(points.sample(frac=1, random_state=1), [1, 1, 1, 5, 40]):
        live.take("metrics", _table(part))
    assert len(served.rows) > 20
    for row in served.rows:
        _same(view, row, expected[row[view.entity], row["time"]])
    assert {row["time"] for row in served.rows} >= {max(time for _, time in expected)}


@pytest.mark.parametrize("name", ["minutes", "gaps", "seconds"])
def test_a_restart_of_the_watcher_changes_nothing(name: str, home: Path) -> None:
    points = histories()[name]()
    expected, served = _batch(SERVICE_WINDOWS, points), Served()
    live = served.stream()
    for number, part in enumerate(_parts(points, [7])):
        live.take("metrics", _table(part))
        if number % 31 == 30:
            live.flush()
            live = served.stream()
            live.seed().join()
    for row in served.rows:
        _same(SERVICE_WINDOWS, row, expected[row["instance"], row["time"]])


def test_rows_that_come_while_the_history_is_read_wait_for_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = histories()["seconds"]()
    expected, served = _batch(SERVICE_WINDOWS, points), Served()
    first, *parts, last = map(_table, _parts(points, [100] + [1] * 900))
    lake.append("metrics", first)
    gate, read = threading.Event(), lake.history
    monkeypatch.setattr(lake, "history", lambda *given: (gate.wait(10), read(*given))[1])
    live = served.stream()
    seeding = live.seed()
    for part in parts:
        assert live.take("metrics", part) == {}
    gate.set()
    seeding.join()
    live.take("metrics", last)
    assert {row["time"] for row in served.rows} == {
        time for _, time in expected if time > max(first["time"].to_pylist())
    }
    for row in served.rows:
        _same(SERVICE_WINDOWS, row, expected[row["instance"], row["time"]])


def test_a_history_that_cannot_be_read_stops_nothing(home: Path) -> None:
    points = _table(histories()["seconds"]())
    lake.append("metrics", points)
    next((lake.root() / "metrics" / "dataset=live").glob("*.parquet")).write_bytes(b"no parquet")
    served = Served()
    live = served.stream()
    live.seed().join()
    live.take("metrics", points)
    assert len(served.rows) == 2


def test_late_and_repeated_rows_find_their_place(home: Path) -> None:
    points = _points(np.arange(0, 150.0))
    points = pd.concat([points, points.sample(200, random_state=5)])  # repeated points
    arrival = points["time"] + pd.to_timedelta(np.random.default_rng(2).uniform(0, 40, len(points)), unit="s")
    second = arrival.dt.floor("1s")
    served = Served()
    live = served.stream()
    for moment in np.unique(second):
        live.take("metrics", _table(points[second == moment]))
    newest = {row["instance"]: row for row in served.rows}
    expected = _batch(SERVICE_WINDOWS, points)
    last = {entity: row for (entity, _), row in sorted(expected.items())}
    for entity, row in newest.items():
        _same(SERVICE_WINDOWS, row, last[entity])
    assert len(newest) == 2


def test_rows_beyond_the_lateness_are_left_to_batch(home: Path) -> None:
    points = histories()["seconds"]()
    late = points[points["time"] == points["time"].min()]
    expected, served = _batch(SERVICE_WINDOWS, points), Served()
    live = served.stream()
    for part in _parts(points, [1]):
        live.take("metrics", _table(part))
    before = len(served.rows)
    live.take("metrics", _table(late.assign(value=1e9)))
    assert len(served.rows) == before
    assert sum(state.dropped for state in live._states.values()) == len(late)
    assert (points["time"].max() - late["time"].iloc[0]).total_seconds() * 1e6 > 2 * LATENESS
    row = served.rows[-1]
    _same(SERVICE_WINDOWS, row, expected[row["instance"], row["time"]])


def test_a_copy_goes_its_own_way() -> None:
    points = histories()["minutes"]().query("instance_id == 'api-0'")
    parts = [{"metrics": _table(part)} for part in _parts(points, [100])]
    for view in views():
        one = view.incremental()
        one.add(parts[0])
        twin = one.copy()
        for part in parts[1:3]:
            one.add(part)
        again = [twin.add(part) for part in parts[1:3]]
        assert again[-1] == view.incremental().add({"metrics": pa.concat_tables([p["metrics"] for p in parts[:3]])})
