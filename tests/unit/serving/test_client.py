"""The caller's side against canned replies; the real service is in tests/integration/test_serving.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from infra.errors import AiopsError, NotFound, UserError
from serving import BASE, client
from serving.client import BadRequest, Client, ServiceError, Unreachable
from serving.messages import MAX_ROWS
from tests.models import tiny

Json = dict[str, Any]
ROW = {"host": "h", "time": datetime(2026, 1, 1, tzinfo=UTC), "heat": 1.0, "errors": 1, "recent": []}
ANSWERS = {"model": "tiny_scorer", "version": 3, "alias": "champion", "synthetic": False}


@pytest.fixture(autouse=True)
def _tiny_model() -> Any:
    with tiny.plugged_in():
        yield


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only by sleeping."""
    taken: list[float] = []
    monkeypatch.setattr(client.time, "sleep", taken.append)
    monkeypatch.setattr(client.time, "monotonic", lambda: sum(taken))
    return taken


def caller(reply: Callable[[httpx.Request], httpx.Response], **options: Any) -> Client:
    return Client("http://service", transport=httpx.MockTransport(reply), **options)


def problem(status: int, detail: str, errors: list[Json] | None = None, **headers: str) -> httpx.Response:
    body = {"title": "T", "status": status, "detail": detail, "errors": errors or [], "trace_id": "abc"}
    return httpx.Response(status, json=body, headers=headers)


def test_answers_are_typed_by_the_model() -> None:
    asked: list[Json] = []

    def reply(request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"http://service{BASE}/predict/tiny"
        assert request.headers["content-type"] == "application/json"
        asked.append(json.loads(request.content))
        return httpx.Response(200, json={**ANSWERS, "answers": [{"probability": 0.5}]})

    found = caller(reply).predict(tiny.NAME, [ROW], explain=True)
    assert (found.version, found.answers[0].probability) == (3, 0.5)
    assert type(found.answers[0]).__name__ == "TinyAnswer"
    assert asked == [{"rows": [{**ROW, "time": "2026-01-01T00:00:00Z"}], "explain": True}]


def test_numpy_and_pandas_values_are_sent_as_numbers() -> None:
    asked: list[Json] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["rows"][0])
        return httpx.Response(200, json={**ANSWERS, "answers": []})

    row = {"a": np.float32(0.5), "b": np.int64(2), "c": np.array([1.0, 2.0]), "d": np.bool_(True)}
    caller(reply).predict(tiny.NAME, [{**row, "t": pd.Timestamp("2026-01-01", tz="UTC")}])
    assert asked == [{"a": 0.5, "b": 2, "c": [1.0, 2.0], "d": True, "t": "2026-01-01T00:00:00Z"}]


def test_bad_input_names_row_and_field() -> None:
    faults = [{"detail": "too hot", "pointer": "#/rows/4/heat", "row": 4, "field": "heat"}]
    with pytest.raises(BadRequest, match="row 4, heat: too hot") as caught:
        caller(lambda _: problem(422, "x", faults)).predict(tiny.NAME, [ROW])
    assert isinstance(caught.value, UserError)


def test_an_unknown_model_names_the_choices_without_asking() -> None:
    with pytest.raises(NotFound, match="did you mean 'tiny_scorer'"):
        caller(lambda _: pytest.fail("asked")).predict("tiny_scorr", [ROW])


def test_a_starting_service_is_waited_for(naps: list[float]) -> None:
    replies = [httpx.ConnectError("refused"), problem(503, "loading", **{"retry-after": "2"})]

    def reply(_: httpx.Request) -> httpx.Response:
        if not replies:
            return httpx.Response(200, json={**ANSWERS, "answers": []})
        if isinstance(found := replies.pop(0), Exception):
            raise found
        return found

    assert caller(reply).predict(tiny.NAME, [ROW]).answers == []
    assert naps == [0.5, 2.0]


def test_patience_ends(naps: list[float]) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(Unreachable, match=r"http://service .*refused.*aiops up"):
        caller(refuse, patience=3).health()
    assert sum(naps) <= 3
    with pytest.raises(Unreachable, match="fan is not loaded"):
        caller(lambda _: problem(503, "fan is not loaded", **{"retry-after": "2"}), patience=3).health()


@pytest.mark.parametrize("status", [429, 500, 503])
def test_nothing_else_is_asked_twice(naps: list[float], status: int) -> None:
    asked: list[httpx.Request] = []

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return problem(status, "why")

    with pytest.raises(AiopsError, match="why") as caught:
        caller(reply).health()
    assert isinstance(caught.value, UserError) == (status == 503)
    assert len(asked) == 1
    assert not naps


@pytest.mark.parametrize(
    "reply", [httpx.Response(200, text="hello"), httpx.Response(502, text="<html>"), httpx.Response(200, json={"a": 1})]
)
def test_somebody_elses_service_is_said(reply: httpx.Response) -> None:
    with pytest.raises(ServiceError, match="not ours"):
        caller(lambda _: reply).health()


@pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut")])
def test_a_broken_connection_is_not_retried(naps: list[float], error: Exception) -> None:
    def reply(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(ServiceError, match="http://service"):
        caller(reply).health()
    assert not naps


def _whole(monkeypatch: pytest.MonkeyPatch, versions: list[int], bad: int | None = None) -> list[int]:
    """Let `client.predict` reach a service that answers with `versions`, one a part; returns the sizes asked."""
    sizes: list[int] = []

    def reply(request: httpx.Request) -> httpx.Response:
        sizes.append(len(json.loads(request.content)["rows"]))
        if len(sizes) - 1 == bad:
            return problem(422, "x", [{"detail": "no", "pointer": "#", "row": 1, "field": "heat"}])
        answers = [{"probability": 0.5}] * sizes[-1]
        return httpx.Response(200, json={**ANSWERS, "version": versions[len(sizes) - 1], "answers": answers})

    monkeypatch.setattr(client, "Client", lambda base_url: caller(reply))
    return sizes


def test_many_rows_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = _whole(monkeypatch, [3, 3])
    assert len(client.predict(tiny.NAME, [ROW] * (MAX_ROWS + 1)).answers) == MAX_ROWS + 1
    assert sizes == [MAX_ROWS, 1]


def test_parts_of_two_versions_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    _whole(monkeypatch, [3, 4])
    with pytest.raises(ServiceError, match="from version 3 to 4"):
        client.predict(tiny.NAME, [ROW] * (MAX_ROWS + 1))


def test_a_fault_in_a_later_part_says_where_it_counts_from(monkeypatch: pytest.MonkeyPatch) -> None:
    _whole(monkeypatch, [3, 3], bad=1)
    with pytest.raises(BadRequest, match=f"row 1, heat: no .rows counted from {MAX_ROWS}."):
        client.predict(tiny.NAME, [ROW] * (MAX_ROWS + 2))
