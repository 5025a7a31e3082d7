"""The routes, answered by a tiny model."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import BASE
from serving.loader import Loader
from serving.messages import MAX_FAULTS, MAX_ROWS
from serving.problems import SHOWN

from .conftest import Shelf, Slope, fan_model

ROUTE = f"{BASE}/predict/fan"
Json = dict[str, Any]
FUZZ = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(autouse=True)
def _loaded(shelf: Shelf, loader: Loader) -> None:
    shelf.put(fan_model(), 1, synthetic="no")
    loader.refresh()


def refused(client: TestClient, body: Any, status: int = 422) -> Json:
    """The problem that `body` (an object, or raw text) is answered with."""
    given = (
        {"content": body, "headers": {"content-type": "application/json"}} if isinstance(body, str) else {"json": body}
    )
    response = client.post(ROUTE, **given)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: Json = response.json()
    assert problem["status"] == status
    assert problem["trace_id"] == response.headers["x-request-id"]
    return problem


def test_answers_rows_in_order_and_names_the_version(client: TestClient, row: Json) -> None:
    response = client.post(ROUTE, json={"rows": [row, {**row, "speed": 20_000}, {**row, "speed": 0}]})
    assert response.status_code == 200
    body = response.json()
    assert {key: body[key] for key in ("model", "version", "alias", "synthetic")} == {
        "model": "fan",
        "version": 1,
        "alias": "champion",
        "synthetic": False,
    }
    assert [answer["wear"] for answer in body["answers"]] == [0.5, 1.0, None]
    assert body["answers"][2]["abstained"] == "it stands still"
    assert all(answer["explanation"] == [] for answer in body["answers"])


def test_explains_on_request(client: TestClient, row: Json) -> None:
    body = client.post(ROUTE, json={"rows": [row], "explain": True}).json()
    assert body["answers"][0]["explanation"] == [{"input": "speed", "value": 10_000, "effect": 0.5}]


def test_a_model_without_explanations_says_so(client: TestClient, shelf: Shelf, loader: Loader, row: Json) -> None:
    shelf.put(fan_model(explains=False), 2)
    loader.refresh()
    assert client.post(ROUTE, json={"rows": [row]}).json()["version"] == 2
    assert "gives no explanations" in refused(client, {"rows": [row], "explain": True})["detail"]


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"speed": -1}, "speed", "greater than or equal to 0"),
        ({"speed": 20_001}, "speed", "less than or equal to 20000"),
        ({"speed": "fast"}, "speed", "valid number"),
        ({"starts": 1.5}, "starts", "valid integer"),
        ({"noise": [1, "loud"]}, "noise.1", "valid number"),
        ({"noise": [1]}, "noise", "at least 2"),
        ({"fan": ""}, "fan", "at least 1 character"),
        ({"time": "yesterday"}, "time", "valid datetime"),
        ({"sped": 1}, "sped", "not permitted"),
        ({"starts": 2**63}, "starts", "beyond 64 bits"),
        ({"starts": -(10**400)}, "starts", "beyond 64 bits"),
    ],
)
def test_one_bad_row_refuses_all_and_is_named(
    client: TestClient, row: Json, change: Json, field: str, text: str
) -> None:
    problem = refused(client, {"rows": [row, {**row, **change}, row]})
    (fault,) = problem["errors"]
    assert (fault["row"], fault["field"]) == (1, field)
    assert fault["pointer"] == f"#/rows/1/{field.replace('.', '/')}"
    assert text in fault["detail"]
    assert problem["detail"].startswith(f"row 1, {field}: ")


def test_every_fault_is_named(client: TestClient, row: Json) -> None:
    problem = refused(client, {"rows": [{**row, "speed": -1}, {k: v for k, v in row.items() if k != "fan"}]})
    assert [(fault["row"], fault["field"]) for fault in problem["errors"]] == [(0, "speed"), (1, "fan")]
    assert "(and 1 more)" in problem["detail"]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["speed", "noise", "starts", "time"])
def test_numbers_that_are_none_are_refused(client: TestClient, field: str, value: str) -> None:
    fields = {"time": '"2026-01-01T00:00:00Z"', "fan": '"a"', "speed": "1", "starts": "3", "noise": "[1,2]"}
    fields[field] = f"[1,{value}]" if field == "noise" else value
    body = "{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}"
    (fault,) = refused(client, f'{{"rows":[{body}]}}')["errors"]
    assert fault["row"] == 0
    assert fault["field"].partition(".")[0] == field


@pytest.mark.parametrize("body", ["{", "[" * 10_000, '{"rows": "\\ud800"}', "\N{BYTE ORDER MARK}{}", "nonsense"])
def test_what_is_not_json_is_refused(client: TestClient, body: str) -> None:
    (fault,) = refused(client, body, status=400)["errors"]
    assert fault["pointer"] == "#"
    assert "not JSON" in fault["detail"]


@pytest.mark.parametrize("body", ["", {}, [], 1, {"rows": []}, {"rows": None}, {"rows": [1]}, {"rows": [[]]}])
def test_other_bodies_are_refused(client: TestClient, body: Any) -> None:
    assert refused(client, body)["errors"]


def test_many_faults_are_counted_and_the_first_are_named(client: TestClient, row: Json) -> None:
    problem = refused(client, {"rows": [{**row, **{f"x{number}": 0 for number in range(200)}}]})
    assert len(problem["errors"]) == SHOWN
    assert "(and 199 more)" in problem["detail"]


def test_a_flood_of_faults_is_not_described(client: TestClient) -> None:
    (fault,) = refused(client, {"rows": [dict.fromkeys(map(str, range(MAX_FAULTS + 1)), 0)]})["errors"]
    assert "things are wrong; send one row alone" in fault["detail"]


def test_unknown_keys_of_the_body_are_refused(client: TestClient, row: Json) -> None:
    (fault,) = refused(client, {"rows": [row], "explian": True})["errors"]
    assert (fault["field"], fault["row"]) == ("explian", None)


def test_only_json_is_read(client: TestClient, row: Json) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "", "nonsense;;"):
        response = client.post(ROUTE, content=b'{"rows": []}', headers={"content-type": kind})
        assert response.status_code == 415, kind
        assert "application/json" in response.json()["detail"]


def test_too_many_rows_are_refused(client: TestClient, row: Json) -> None:
    row = {"time": 0, "fan": "a", "speed": 1, "starts": 1, "noise": [1, 1]}
    assert f"at most {MAX_ROWS}" in refused(client, {"rows": [row] * (MAX_ROWS + 1)})["detail"]


def test_a_large_body_is_refused_declared_or_streamed(client: TestClient) -> None:
    assert "over 100000 bytes" in refused(client, "x" * 100_001, status=413)["detail"]
    chunks = (b"x" * 10_000 for _ in range(11))
    response = client.post(ROUTE, content=chunks, headers={"content-type": "application/json"})
    assert response.status_code == 413
    declared = {"content-type": "application/json", "content-length": "9" * 30}
    assert client.post(ROUTE, content=b"{}", headers=declared).status_code == 413


def test_unknown_paths_name_the_choices(client: TestClient) -> None:
    for path in (f"{BASE}/predict/fam", f"{BASE}/", "/elsewhere", f"{BASE}/predict/fan/"):
        response = client.post(path, json={})
        assert response.status_code == 404
        assert f"POST {ROUTE}" in response.json()["detail"]
        assert f"GET {BASE}/health" in response.json()["detail"]


def test_a_wrong_method_names_the_right_one(client: TestClient) -> None:
    response = client.get(ROUTE)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert "use POST" in response.json()["detail"]


def test_a_bug_of_a_model_is_a_500_that_tells_nothing_but_the_trace(
    client: TestClient, shelf: Shelf, loader: Loader, row: Json, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.put(model := fan_model(), 2)
    loader.refresh()
    model.learner = Slope(fault=ZeroDivisionError("secret"))
    response = client.post(ROUTE, json={"rows": [row]})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert response.json()["trace_id"] in response.json()["detail"]
    assert any(record.exc_info and record.levelno == logging.ERROR for record in caplog.records)


def test_a_full_pool_answers_429_and_the_rest_goes_on(
    client: TestClient, shelf: Shelf, loader: Loader, row: Json
) -> None:
    shelf.put(model := fan_model(), 2)
    loader.refresh()
    model.learner = learner = Slope(hold=threading.Event())
    with ThreadPoolExecutor(1) as other:
        first = other.submit(client.post, ROUTE, json={"rows": [row]})
        assert learner.entered.wait(20)
        second = client.post(ROUTE, json={"rows": [row]})
        health = client.get(f"{BASE}/health")
        learner.hold.set()
        assert first.result().status_code == 200
    assert (second.status_code, second.headers["retry-after"]) == (429, "1")
    assert health.status_code == 200
    assert client.post(ROUTE, json={"rows": [row]}).status_code == 200
    assert 'aiops_overloads_total{model="fan"} 1.0' in client.get(f"{BASE}/metrics").text


def test_openapi_is_true(client: TestClient) -> None:
    document = client.get(f"{BASE}/openapi.json").json()
    operation = document["paths"][ROUTE]["post"]
    schemas = document["components"]["schemas"]
    assert {"200", "413", "415", "422", "429", "503"} <= set(operation["responses"])
    assert schemas["Reading"]["properties"]["speed"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 20_000,
        "unit": "rpm",
        "title": "Speed",
        "description": "its speed",
    }
    assert "Verdict" in schemas
    assert set(operation["responses"]["422"]["content"]) == {"application/problem+json"}
    example = operation["requestBody"]["content"]["application/json"]["example"]
    assert client.post(ROUTE, json=example).status_code == 200
    assert {f"{BASE}/health", f"{BASE}/metrics", f"{BASE}/models/status"} <= set(document["paths"])


def test_the_docs_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    assert client.get("/", follow_redirects=False).headers["location"] == f"{BASE}/docs"
    page = client.get(f"{BASE}/docs")
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'self'")
    for file in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-light-32x32.png"):
        assert f"{BASE}/docs/assets/{file}" in page.text
        assert client.get(f"{BASE}/docs/assets/{file}").status_code == 200
    assert client.get(f"{BASE}/docs/assets/../__init__.py").status_code == 404


def test_metrics_count_what_happened(client: TestClient, row: Json) -> None:
    client.post(ROUTE, json={"rows": [row, {**row, "speed": 0}]})
    client.post(ROUTE, json={})
    client.get("/scan/me")
    text = client.get(f"{BASE}/metrics").text
    for line in (
        f'aiops_http_requests_total{{method="POST",route="{ROUTE}",status="200"}} 1.0',
        f'aiops_http_requests_total{{method="POST",route="{ROUTE}",status="422"}} 1.0',
        'aiops_http_requests_total{method="GET",route="unmatched",status="404"} 1.0',
        f'aiops_http_request_duration_seconds_count{{route="{ROUTE}"}} 2.0',
        'aiops_predictions_total{model="fan",version="1"} 2.0',
        'aiops_abstentions_total{model="fan",version="1"} 1.0',
        'aiops_model_info{alias="champion",model="fan",synthetic="false",version="1"} 1.0',
        'aiops_model_swaps_total{model="fan"} 1.0',
        'aiops_model_ready{model="fan"} 1.0',
    ):
        assert line in text, line


def test_health_and_status(client: TestClient) -> None:
    assert client.get(f"{BASE}/health").json() == {
        "live": True,
        "ready": True,
        "models": {"fan": {"ready": True, "version": 1, "reason": None}},
    }
    status = client.get(f"{BASE}/models/status").json()["models"]["fan"]
    assert status["route"] == ROUTE
    assert status["limits"] == "not for windmills"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = st.sampled_from(["time", "fan", "speed", "starts", "noise", "warm", "other"])
_GOOD = st.fixed_dictionaries(
    {
        "time": st.datetimes().map(str),
        "fan": st.text(min_size=1),
        "speed": st.floats(0, 20_000),
        "starts": st.integers(min_value=0, max_value=2**63 - 1),
        "noise": st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=4),
    }
)
_ALMOST = st.builds(lambda good, field, value: {**good, field: value}, _GOOD, _FIELDS, _JSON)


@FUZZ
@given(body=_JSON | st.fixed_dictionaries({"rows": st.lists(_GOOD | _ALMOST, max_size=3), "explain": _JSON}))
def test_no_body_is_a_server_error(client: TestClient, body: Any) -> None:
    response = client.post(ROUTE, content=json.dumps(body), headers={"content-type": "application/json"})
    assert response.status_code in {200, 422}, response.text
    if response.status_code == 422:
        assert response.json()["errors"]


@FUZZ
@given(body=st.binary(max_size=200))
def test_no_bytes_are_a_server_error(client: TestClient, body: bytes) -> None:
    response = client.post(ROUTE, content=body, headers={"content-type": "application/json"})
    assert response.status_code in {400, 422}


@FUZZ
@given(rows=st.lists(_GOOD, min_size=1, max_size=4))
def test_good_rows_are_answered(client: TestClient, rows: list[Json]) -> None:
    response = client.post(ROUTE, json={"rows": rows, "explain": True})
    assert response.status_code == 200, response.text
    assert len(response.json()["answers"]) == len(rows)
