"""What sources tell becomes rows of the canonical table of events."""

from datetime import UTC, datetime

import pyarrow as pa

from features.schema import TABLES
from features.sources import _events
from features.sources._events import Event

AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_events_told_one_by_one() -> None:
    batch = _events.batch("d", [_events.about("a", AT, "io.x.left", {"n": None}), Event(AT, "2", "k", "b", {})])
    assert batch.rows.schema == TABLES["events"]
    shared = {"dataset": "d", "time": AT, "source": "urn:dataset:d"}
    assert batch.rows.to_pylist() == [
        {**shared, "id": "a-left", "type": "io.x.left", "subject": "a", "data": '{"n": null}'},
        {**shared, "id": "2", "type": "k", "subject": "b", "data": "{}"},
    ]


def test_no_events_are_an_empty_table() -> None:
    assert _events.batch("d", iter(())).conformed().equals(TABLES["events"].empty_table())
    assert len(_events.table("d", [], [], "k", [], [], [])) == 0


def test_one_word_is_the_same_of_all() -> None:
    times = pa.array([AT, AT], TABLES["events"].field("time").type)
    rows = _events.table("d", times, ["1", "2"], "k", "a", ({"n": n} for n in (1, 2)), ["urn:p", "urn:q"])
    assert rows["subject"].to_pylist() == ["a", "a"]
    assert rows["source"].to_pylist() == ["urn:p", "urn:q"]
    assert rows["data"].to_pylist() == ['{"n": 1}', '{"n": 2}']
