"""The watcher, a supervised process: scrape, stream, look, and a remediation run for each new incident.

One process, so that a metric is on its way from the scrape to a repair without a queue in between. What a dead watcher
left unfinished is in the kernel: the next one begins by recovering it. Prefect shows the runs; without it the engine
is called directly.
"""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
import pyarrow as pa
from prometheus_client import Counter, start_http_server

from features import pipeline, stream
from features.stream import Stream
from flows.detect import MODEL, Sweep
from flows.remediate import remediate
from infra.settings import settings
from remediation.engine import engine
from remediation.records import Detection, Status
from training import catalog

logger = logging.getLogger("aiops.watch")
RUNS = 4  # remediation runs at once; a run that waits for approval holds one
RECOVER_EVERY = 5.0  # seconds between two looks at what waits in the kernel
FLUSH_EVERY = 10.0  # seconds after which raw rows reach the lake
ROWS = Counter("aiops_ingested_rows", "Canonical rows taken from scrapes")
DETECTIONS = Counter("aiops_detections", "Detections, duplicates included", ["model", "status"])


class Watcher:
    """The loop's state: what runs now, and when the slow steps are due."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._stream = Stream(catalog.load(MODEL).spec.views)
        self._sweep = Sweep()
        self._pool = ThreadPoolExecutor(RUNS, thread_name_prefix="remediate")
        self._running: dict[str, Future[Any]] = {}
        self._due = {"recover": 0.0, "flush": time.monotonic() + FLUSH_EVERY}

    def run(self) -> None:
        """Until `stop`: one beat every `ingestion.metrics_interval`."""
        engine().recover()
        interval = settings().ingestion.metrics_interval
        stream.watch(targets(), interval, self.beat, self._stop)
        self._stream.flush()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def beat(self, name: str, rows: pa.Table) -> None:
        """What one scrape brings: features, detections, reactions."""
        ROWS.inc(len(rows))
        self._stream.take(name, rows)
        self._running = {key: future for key, future in self._running.items() if not future.done()}
        for detection in self._sweep.look():
            DETECTIONS.labels(detection.model, detection.status).inc()
            self._react(detection)
        if self._is_due("recover", RECOVER_EVERY) and not self._running:
            engine().recover()
        if self._is_due("flush", FLUSH_EVERY):
            self._stream.flush()

    def _react(self, detection: Detection) -> None:
        """A run for a new incident; the kernel alone for what joins or ends one: a storm makes no storm of runs."""
        key = detection.fingerprint
        if detection.status is Status.RESOLVED or key in self._running or engine().is_live(key):
            engine().handle(detection)
        elif len(self._running) < RUNS:
            self._running[key] = self._pool.submit(react, detection)

    def _is_due(self, name: str, every: float) -> bool:
        if time.monotonic() < self._due[name]:
            return False
        self._due[name] = time.monotonic() + every
        return True


def react(detection: Detection) -> None:
    """Run the remediation flow, or the engine alone when Prefect does not answer. The kernel does nothing twice."""
    try:
        httpx.get(f"{settings().url('prefect')}/api/health", timeout=1.0).raise_for_status()
        remediate(detection.model_dump(mode="json"))
    except Exception as error:  # whatever the orchestrator does, the repair goes on
        logger.warning("no flow run for %s (%s: %s)", detection.id, type(error).__name__, error)
        engine().handle(detection)


def targets() -> str:
    """The metrics endpoints of the local workload, as the source `prometheus` takes them."""
    workload = engine().inventory.workload  # type: ignore[attr-defined]  # the local workload's inventory
    host = settings().stack.host
    return json.dumps(
        [
            {"service": state.service, "instance": name, "url": f"http://{host}:{state.port}/metrics"}
            for name, state in workload.states().items()
        ]
    )


def main() -> None:
    """Until SIGTERM or SIGINT."""
    config = settings()
    logging.basicConfig(
        level=config.ingestion.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every beat otherwise
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pipeline.register(catalog.features(catalog.enabled()))
    start_http_server(config.stack.ports.watcher, config.stack.host)
    Watcher(stop).run()


if __name__ == "__main__":
    main()
