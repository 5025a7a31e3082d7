"""Trace ids and the lines of the log."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from fastapi.testclient import TestClient

from serving import BASE
from serving.access import trace_id
from serving.loader import Loader
from serving.logs import JsonLines

from .conftest import Shelf, fan_model

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def test_the_callers_trace_id_is_kept() -> None:
    assert trace_id(f"00-{TRACE}-{SPAN}-01") == TRACE
    assert trace_id(f"cc-{TRACE}-{SPAN}-01-later") == TRACE


@pytest.mark.parametrize(
    "header", [None, "", "x", f"ff-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE.upper()}-{SPAN}-01"]
)
def test_anything_else_gets_a_new_one(header: str | None) -> None:
    first, second = trace_id(header), trace_id(header)
    assert len(first) == 32
    assert int(first, 16)
    assert first != second


def test_one_line_a_request_names_the_model_and_no_query(
    client: TestClient, loader: Loader, shelf: Shelf, row: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    shelf.put(fan_model(), 7)
    loader.refresh()
    caplog.set_level(logging.INFO, "serving.access")
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    reply = client.post(f"{BASE}/predict/fan?token=secret", json={"rows": [row, row]}, headers=headers)
    assert reply.headers["x-request-id"] == TRACE
    (record,) = [record for record in caplog.records if record.name == "serving.access"]
    fields = record.fields  # type: ignore[attr-defined]
    assert {key: fields[key] for key in ("method", "path", "status", "model", "version", "rows")} == {
        "method": "POST",
        "path": f"{BASE}/predict/fan",
        "status": 200,
        "model": "fan",
        "version": 7,
        "rows": 2,
    }
    assert fields["bytes_out"] == len(reply.content)


def test_a_record_is_one_line_whatever_is_in_it() -> None:
    record = logging.LogRecord("name", logging.INFO, "", 0, 'a\n"b" %s', ("\u2028\ud800",), None)
    record.fields = {"path": '/x\n{"event": "forged"}', "odd": object()}
    text = JsonLines().format(record)
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text)["path"] == '/x\n{"event": "forged"}'


def test_a_traceback_is_in_the_line() -> None:
    try:
        raise ValueError("here")
    except ValueError as error:
        record = logging.LogRecord("name", logging.ERROR, "", 0, "x", None, (type(error), error, error.__traceback__))
    assert "ValueError: here" in json.loads(JsonLines().format(record))["exception"]
