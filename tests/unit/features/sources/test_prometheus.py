"""Scraping real listeners: one that answers, one that hangs, one that trickles, one that speaks something else."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from features import source
from features.sources import prometheus
from infra.errors import DataError

TEXT = """# TYPE http_requests_total counter
http_requests_total{code="200"} 12
http_requests_total{code="500"} 3
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.5e7
# TYPE old gauge
old 1 1700000000000
# TYPE broken gauge
broken NaN
"""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(500 if self.path == "/error" else 200)
        self.end_headers()
        if self.path == "/metrics":
            self.wfile.write(TEXT.encode())
        elif self.path == "/html":
            self.wfile.write(b"<html>this is { no exposition\n</html>")
        elif self.path == "/trickle":
            for _ in range(100):
                self.wfile.write(b"# x\n")
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _pull(where: str) -> list[dict[str, object]]:
    return [row for batch in source.load("prometheus").pull(where) for row in batch.conformed().to_pylist()]


def test_samples_become_points_of_the_canonical_table(address: str) -> None:
    rows = _pull(f"web/web-1={address}/metrics")
    told = {(row["metric_name"], str(dict(row["attributes"]))): row["value"] for row in rows}  # type: ignore[call-overload]
    assert told["http_requests_total", "{'code': '200'}"] == 12
    assert told["http_requests_total", "{'code': '500'}"] == 3
    assert told["up", "{}"] == 1
    assert "broken" not in {name for name, _ in told}
    assert {(row["dataset"], row["service_name"], row["instance_id"]) for row in rows} == {("live", "web", "web-1")}
    by_name = {row["metric_name"]: row for row in rows}
    assert by_name["process_resident_memory_bytes"]["unit"] == "By"
    assert by_name["old"]["time"].year == 2023  # type: ignore[attr-defined]
    assert by_name["up"]["time"].year > 2023  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/error", "/html", "/trickle"])
def test_a_target_that_does_not_answer_as_it_should_is_down(address: str, path: str) -> None:
    rows = _pull(f"web={address}{path}")
    assert [(row["metric_name"], row["value"]) for row in rows][0] == ("up", 0.0)
    assert len(rows) == 2


def test_a_hanging_target_is_down_and_does_not_hide_the_others(address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:  # accepts, and never answers
        url = f"http://127.0.0.1:{hung.getsockname()[1]}/metrics"
        rows = _pull(f"stuck={url}, web/web-1={address}/metrics")
    up = {row["service_name"]: row["value"] for row in rows if row["metric_name"] == "up"}
    assert up == {"stuck": 0.0, "web": 1.0}


def test_targets_can_be_told_as_json_and_without_an_instance(address: str) -> None:
    entries = [{"service": "a", "url": "http://127.0.0.1:1/m"}, {"service": "b", "instance": "b-1", "url": address}]
    found = prometheus.targets(json.dumps(entries))
    assert [(one.service, one.instance) for one in found] == [("a", "127.0.0.1:1"), ("b", "b-1")]


@pytest.mark.parametrize(
    "where", ["", " , ", "web", "web=", "=http://127.0.0.1:1", "web=file:///etc/passwd", "[1]", "{"]
)
def test_a_wrong_text_of_targets_is_named(where: str) -> None:
    with pytest.raises(DataError):
        _pull(where)
