"""What the service costs beside the least that could be done, on one machine at one time: ratios, not promises.

`python -m tests.performance.bench_serving` measures, in turns, so that other load hits all alike:

    predict   `Model.predict` of one row in this process
    fastapi   one FastAPI route that calls it on the event loop: no limits, pool, log, metrics, registry or BentoML
    service   `python -m serving` over a real registry (SQLite)
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psutil

from infra import plugins
from infra.settings import ROOT, settings
from serving import BASE
from tests.models import tiny
from training import catalog, registry
from training.model import Answer, Model

ROUNDS, CALLS = 10, 100  # of each contender
WARM_UP = 100
PATIENCE = 90  # seconds for a process to answer
CALLERS = 8
ROW = {"host": "h1", "time": "2026-01-01T00:00:00Z", "heat": 55.0, "errors": 3, "recent": [54.0, 55.0]}
SERVICE = "from tests.models import tiny\nfrom serving.__main__ import serve\nwith tiny.plugged_in(): serve()"
BARE = "from tests.performance.bench_serving import bare\nbare({port})"
Call = Callable[[], object]


def fitted() -> Model:
    """The tiny model, fitted; needs it plugged in."""
    return catalog.make(tiny.NAME).fit(tiny.frame())


def bare(port: int) -> None:
    """Serve the least: one route, the model called on the event loop."""
    import uvicorn
    from fastapi import FastAPI

    with tiny.plugged_in():
        model, app = fitted(), FastAPI()

        async def predict(rows: list) -> list[Answer]:  # type: ignore[type-arg]
            return model.predict(rows)

        predict.__annotations__["rows"] = list[model.spec.row]  # type: ignore[name-defined]
        app.post("/predict", response_model=list[model.spec.answer])(predict)  # type: ignore[name-defined]
        uvicorn.run(app, port=port, log_level="error")


@contextmanager
def running(code: str, port: int, path: str) -> Iterator[psutil.Process]:
    """A Python process that serves `port`, once a GET of `path` is answered with 200 or (no such method) 405."""
    begin = time.perf_counter()
    environment = {**os.environ, "AIOPS__STACK__PORTS__API": str(port), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        _await(lambda: _answers(port, path), f"an answer from {path}")
        print(f"{path}: answers after {time.perf_counter() - begin:.1f} s")
        yield psutil.Process(child.pid)
    finally:
        child.kill()
        child.wait()


def _await(until: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status in (200, 405)
    except OSError:
        return False
    finally:
        connection.close()


def caller(port: int, path: str, body: object) -> Call:
    """A function that posts `body` over one kept connection."""
    connection, content = http.client.HTTPConnection("127.0.0.1", port), json.dumps(body).encode()
    connection.connect()
    connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call() -> object:
        connection.request("POST", path, content, {"content-type": "application/json"})
        reply = connection.getresponse()
        text = reply.read()
        if reply.status != 200:
            raise RuntimeError(f"{reply.status}: {text[:200]!r}")
        return text

    return call


def seconds(call: Call, calls: int = CALLS) -> list[float]:
    """How long each of `calls` calls took."""
    taken = []
    for _ in range(calls):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return taken


def cpu(process: psutil.Process | None) -> float:
    """Seconds of CPU that `process` (None: this one) has used."""
    times = (process or psutil.Process()).cpu_times()
    return float(times.user + times.system)


def rate(make: Callable[[], Call]) -> float:
    """Calls a second of CALLERS callers at once."""
    calls = [make() for _ in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as threads:
        begin = time.perf_counter()
        list(threads.map(seconds, calls))
        return CALLERS * CALLS / (time.perf_counter() - begin)


def report(makes: dict[str, Callable[[], Call]], processes: dict[str, psutil.Process | None]) -> None:
    """Measure in turns and print latencies, CPU (which other load does not distort), rates and ratios to the first."""
    calls = {name: make() for name, make in makes.items()}
    used = dict.fromkeys(makes, 0.0)
    taken: dict[str, list[float]] = {name: [] for name in makes}
    rates: dict[str, list[float]] = {name: [] for name in makes}
    for call in calls.values():
        seconds(call, WARM_UP)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            before = cpu(processes[name])
            taken[name] += seconds(call)
            used[name] += (cpu(processes[name]) - before) / (ROUNDS * CALLS) * 1e3
    for _ in range(3):
        for name, make in makes.items():
            rates[name].append(rate(make))
    print(f"\none row, {ROUNDS * CALLS} calls each; milliseconds; rate: {CALLERS} callers at once")
    print(f"{'':10}{'p50':>8}{'p95':>8}{'p99':>8}{'max':>8}{'p50 ratio':>11}{'calls/s':>9}{'CPU ms':>8}")
    first = np.median(next(iter(taken.values())))
    for name, values in taken.items():
        figures = np.quantile(values, [0.5, 0.95, 0.99, 1]) * 1e3
        ratio = np.median(values) / first
        print(
            f"{name:10}"
            + "".join(f"{v:8.2f}" for v in figures)
            + f"{ratio:11.2f}{np.median(rates[name]):9.0f}{used[name]:8.2f}"
        )


def main() -> None:
    """Measure and print."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        others = dict.fromkeys(plugins.names(catalog.PACKAGE), {"enabled": False})
        (home / "aiops.yaml").write_text(json.dumps({"aiops": {"home": str(home), "models": others}}))
        stack.enter_context(tiny.plugged_in())
        os.environ |= {"AIOPS_CONFIG": str(home / "aiops.yaml"), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"}
        settings.cache_clear()
        model = fitted()
        registry.promote(registry.log(model, tiny.frame().head(2), registry.Record()), "champion", {})
        ports = [_free_port(), _free_port()]
        least = stack.enter_context(running(BARE.format(port=ports[0]), ports[0], "/predict"))
        whole = stack.enter_context(running(SERVICE, ports[1], f"{BASE}/health"))
        _await(lambda: _answers(ports[1], "/readyz"), "a loaded model")
        print(f"service: ready {time.time() - whole.create_time():.1f} s after its start")
        rows = [ROW]
        report(
            {
                "predict": lambda: lambda: model.predict(rows),
                "fastapi": lambda: caller(ports[0], "/predict", rows),
                "service": lambda: caller(ports[1], f"{BASE}/predict/tiny", {"rows": rows}),
            },
            {"predict": None, "fastapi": least, "service": whole},
        )
        for name, process in (("fastapi", least), ("service", whole)):
            print(f"{name}: {process.memory_info().rss / 2**20:.0f} MiB")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
