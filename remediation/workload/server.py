"""One process of the workload: `python -m remediation.workload.server --service front ...`.

`/work` does the role's real work, `/health` does it once without writing (so it fails when a dependency fails, and
names it), `/metrics` is Prometheus text. `/debug/leak` and `/debug/slow` exist only with `AIOPS_FAULTS=1`.
Only light imports: this file is what a restart waits for.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socketserver
import sqlite3
import threading
import time
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
REQUESTS = Counter("http_requests", "Requests answered", ["service", "code"])
DURATION = Histogram("http_request_duration_seconds", "Time to answer /work", ["service"], buckets=BUCKETS)
CALLS = Counter("http_client_requests", "Requests sent to the dependency", ["service", "code"])
GENERATION = Gauge("workload_generation", "Launches of this instance so far", ["service"])
MIB = 1 << 20


class Blocked(Exception):
    """A dependency did not do its part; carries the dependency's service name."""


class Process:
    """The state of this process: its role's work and the faults put into it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.delay = 0.0
        self.leaked: list[bytearray] = []

    def work(self, write: bool) -> dict[str, Any]:
        """Do the role's work. Raises Blocked when the dependency fails."""
        time.sleep(self.delay)
        if self.options.database:
            return self._query(write)
        if self.options.upstream:
            return self._call("/work" if write else "/peek")
        return {}

    def leak(self, rate: float) -> None:
        """Allocate `rate` MiB a second, touched so that it is resident, up to 512 MiB."""
        while len(self.leaked) < 512:
            self.leaked.append(bytearray(os.urandom(1024) * 1024))
            time.sleep(1 / rate)

    def load(self) -> None:
        """Call the dependency a few times a second for ever, as its users would."""
        while True:
            with suppress(Blocked):  # counted in CALLS; users come back
                self._call("/work")
            time.sleep(1 / self.options.rate)

    def _query(self, write: bool) -> dict[str, Any]:
        with closing(sqlite3.connect(self.options.database, timeout=1)) as database, database:
            database.execute("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, placed_at REAL)")
            if write:
                database.execute("INSERT INTO orders (placed_at) VALUES (?)", (time.time(),))
                database.execute("DELETE FROM orders WHERE id <= (SELECT max(id) - 1000 FROM orders)")
            return {"orders": database.execute("SELECT max(id) FROM orders").fetchone()[0]}

    def _call(self, path: str) -> dict[str, Any]:
        service, port = self.options.upstream.split(":")
        code = "error"
        try:
            with closing(
                http.client.HTTPConnection(self.options.host, int(port), timeout=self.options.timeout)
            ) as call:
                call.request("GET", path)
                answer = call.getresponse()
                code = str(answer.status)
                if answer.status == 200:
                    return dict(json.loads(answer.read()))
        except (OSError, http.client.HTTPException) as error:
            raise Blocked(service) from error
        finally:
            CALLS.labels(self.options.service, code).inc()
        raise Blocked(service)


class Handler(BaseHTTPRequestHandler):
    """The routes."""

    process: Process

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path in ("/work", "/peek"):
            started = time.perf_counter()
            self._try_work(write=path == "/work")
            DURATION.labels(self.process.options.service).observe(time.perf_counter() - started)
        elif path == "/health":
            self._try_work(write=False)
        elif path == "/metrics":
            self._answer(200, generate_latest(), CONTENT_TYPE_LATEST)
        else:
            self._json(404, {"error": f"no route {path}; there are /work, /health, /metrics"})

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        if os.environ.get("AIOPS_FAULTS") != "1" or url.path not in ("/debug/leak", "/debug/slow"):
            self._json(404, {"error": f"no route {url.path}"})
            return
        amount = float(parse_qs(url.query).get("amount", ["0"])[0])
        if url.path == "/debug/leak" and amount > 0:
            threading.Thread(target=self.process.leak, args=(amount,), daemon=True).start()
        elif url.path == "/debug/slow":
            self.process.delay = max(amount, 0.0)
        self._json(200, {"fault": url.path, "amount": amount})

    def _try_work(self, write: bool) -> None:
        options = self.process.options
        about: dict[str, Any] = {"instance": options.instance, "generation": options.generation, "pid": os.getpid()}
        code, status = 200, {"status": "ok"}
        try:
            # the load generator is healthy when it runs: its dependency's state is not its own
            about = {**({} if options.rate else self.process.work(write)), **about}
        except Blocked as error:
            code, status = 503, {"status": "blocked", "blocked_by": str(error)}
        except sqlite3.Error as error:
            code, status = 500, {"status": "error", "error": str(error)}
        self._json(code, {**about, **status})

    def _json(self, code: int, content: dict[str, Any]) -> None:
        self._answer(code, json.dumps(content).encode(), "application/json")

    def _answer(self, code: int, content: bytes, kind: str) -> None:
        REQUESTS.labels(self.process.options.service, str(code)).inc()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are counted in the metrics, not logged one by one."""


class Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = True

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without HTTPServer's name lookup, which can take seconds
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is its own affair."""


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="remediation.workload.server", description=__doc__)
    parser.add_argument("--service", required=True)
    parser.add_argument("--instance", required=True)
    parser.add_argument("--host", default="127.0.0.1", help="address of this process and of its dependency")
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--generation", required=True, type=int)
    parser.add_argument("--key", required=True, help="idempotency key of the launch")
    parser.add_argument("--ledger", required=True, help="file that gets one line a launch")
    parser.add_argument("--upstream", default="", help="SERVICE:PORT of the dependency")
    parser.add_argument("--database", default="", help="SQLite file")
    parser.add_argument("--timeout", default=1.0, type=float, help="of calls to the dependency, seconds")
    parser.add_argument("--rate", default=0.0, type=float, help="calls a second: makes this the load generator")
    return parser


def main() -> None:
    options = arguments().parse_args()
    Handler.process = process = Process(options)
    server = Server((options.host, options.port), Handler)  # before the ledger: a launch that cannot listen is none
    launch = {"instance": options.instance, "generation": options.generation, "key": options.key, "pid": os.getpid()}
    with Path(options.ledger).open("a") as ledger:
        ledger.write(json.dumps(launch) + "\n")
    GENERATION.labels(options.service).set(options.generation)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    if options.rate:
        threading.Thread(target=process.load, daemon=True).start()
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
