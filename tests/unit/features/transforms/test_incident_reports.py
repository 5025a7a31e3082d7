"""Incident events → rows: the first message counts, bad events are named."""

import json
from typing import Any

import pandas as pd
import pytest

from features.transforms.incident_reports import CLASSIFIED, REPORTED, outcomes, reports
from infra.errors import DataError

TIME = pd.Timestamp("2026-01-01", tz="UTC")


def _events(*events: tuple[str, int, Any]) -> dict[str, pd.DataFrame]:
    """(type, minutes after TIME, data) of incident 7."""
    rows = [
        {
            "dataset": "live",
            "id": f"e{number}",
            "time": TIME + pd.Timedelta(minutes=minutes),
            "type": kind,
            "subject": "7",
            "data": data if isinstance(data, str) else json.dumps(data),
        }
        for number, (kind, minutes, data) in enumerate(events)
    ]
    return {"events": pd.DataFrame(rows)}


def test_only_the_first_message_counts() -> None:
    first = {"taxonomy": "t", "title": "first", "logs": ["a", 1]}
    [row] = reports(_events((REPORTED, 5, {"taxonomy": "t", "title": "later"}), (REPORTED, 0, first))).to_dict(
        "records"
    )
    assert (row["title"], row["time"], row["logs"], row["metrics"]) == ("first", TIME, ["a", "1"], [])
    assert row["description"] is None


def test_outcomes_take_what_is_known() -> None:
    [row] = outcomes(_events((CLASSIFIED, 0, {"category": "network"}))).to_dict("records")
    assert (row["category"], row["service"], row["severity"]) == ("network", None, None)


@pytest.mark.parametrize(("data", "problem"), [("{", "not JSON"), ("[]", "JSON object"), ({"title": "x"}, "taxonomy")])
def test_a_bad_event_is_named(data: Any, problem: str) -> None:
    with pytest.raises(DataError, match=f"'e0'.*{problem}"):
        reports(_events((REPORTED, 0, data)))
