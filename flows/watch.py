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
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import httpx
import pyarrow as pa
from prometheus_client import Counter, start_http_server

from features import pipeline, stream
from features.stream import Stream
from flows.detect import MODEL, Sweep
from flows.remediate import remediate
from infra.settings import settings
from remediation.engine import Engine, engine
from remediation.records import Detection, Status
from remediation.remarks import remarks
from remediation.workload.control import Workload
from training import catalog

logger = logging.getLogger("aiops.watch")
RUNS = 16  # jobs at once; a run that waits for approval holds a place, and sleeps
RECOVER_EVERY = 5.0  # seconds between two looks at what waits in the kernel
FLUSH_EVERY = 10.0  # seconds after which raw rows reach the lake
ROWS = Counter("aiops_ingested_rows", "Canonical rows taken from scrapes")
FAILURES = Counter("aiops_watcher_failures", "Steps of the watcher that failed; the log has the traceback")
DETECTIONS = Counter("aiops_detections", "Detections, duplicates included", ["model", "status"])


class Dispatcher:
    """Works off the beat: a run for each new incident, the kernel alone for the rest, one job a key at a time."""

    def __init__(self, engine: Engine, run: Callable[[Detection], object]) -> None:
        self._engine, self._run = engine, run
        self._pool = ThreadPoolExecutor(RUNS, thread_name_prefix="remediate")
        self._running: dict[str, Future[object]] = {}
        self._lock = threading.Lock()  # a job may start others

    def take(self, detection: Detection) -> None:
        """A run for a new incident; the kernel alone for what joins or ends one: a storm makes no storm of runs."""
        known = self._engine.is_live(detection.fingerprint) or not self._engine.kernel.enabled()
        job = self._engine.handle if known or detection.status is Status.RESOLVED else self._run
        self.start(detection.fingerprint, lambda: job(detection))

    def start(self, key: str, job: Callable[[], object]) -> None:
        """Do `job` in the background, unless one with this key is under way or all places are taken."""
        with self._lock:
            self._running = {name: future for name, future in self._running.items() if not future.done()}
            if key not in self._running and len(self._running) < RUNS:
                self._running[key] = self._pool.submit(_logged, job)

    def go_on(self) -> None:
        """Go on with what waits in the kernel, and show again what was asked by a run that died with its process."""
        self._engine.recover()
        for incident in self._engine.kernel.incidents.unshown():
            self.start(incident.detection.fingerprint, partial(self._run, incident.detection))

    def close(self) -> None:
        """Take no more; what runs is recovered by the next watcher if it does not end in time."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Watcher:
    """One beat: features from what was scraped, a look, reactions; and the slow steps when they are due."""

    def __init__(self, live: Stream, sweep: Sweep, dispatcher: Dispatcher) -> None:
        self._stream, self._sweep, self._dispatcher = live, sweep, dispatcher
        self._due = {"flush": 0.0, "recover": 0.0}

    def beat(self, name: str, rows: pa.Table) -> None:
        """Take the rows of one scrape; a detection leads to a reaction before the next beat.

        A step that fails is logged and does not keep the others from being done: health is looked at whatever happens.
        """
        ROWS.inc(len(rows))
        _logged(lambda: self._stream.take(name, rows))
        _logged(self._look)
        if self._is_due("recover", RECOVER_EVERY):
            self._dispatcher.start("recover", self._dispatcher.go_on)
        if self._is_due("flush", FLUSH_EVERY):
            _logged(self._stream.flush)

    def _look(self) -> None:
        for detection in self._sweep.look():
            DETECTIONS.labels(detection.model, detection.status).inc()
            self._dispatcher.take(detection)

    def _is_due(self, step: str, every: float) -> bool:
        if time.monotonic() < self._due[step]:
            return False
        self._due[step] = time.monotonic() + every
        return True


def _logged(job: Callable[[], object]) -> None:
    try:
        job()
    except Exception:  # the watcher must outlive whatever one step meets
        FAILURES.inc()
        logger.exception("a step of the watcher failed")


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
    workload, host = Workload(settings()), settings().stack.host
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
        level=config.ingestion.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        force=True,  # Prefect has set up the root logger for itself, at WARNING
    )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every beat otherwise
    for sentence in remarks(config):
        logger.info("%s", sentence)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    engine().kernel.subscribe()
    pipeline.register(catalog.features(catalog.enabled()))
    start_http_server(config.stack.ports.watcher, config.stack.host)
    live, dispatcher = Stream(catalog.load(MODEL).spec.views), Dispatcher(engine(), react)
    live.seed()
    watcher = Watcher(live, Sweep(), dispatcher)
    stream.watch(targets(), config.ingestion.metrics_interval, watcher.beat, stop)
    dispatcher.close()
    live.flush()


if __name__ == "__main__":
    main()
