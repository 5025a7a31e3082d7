"""What is wrong now: health checks and the AnomalyDetector look, and each new detection gets a remediation run.

The supervised watcher (`python -m flows.watch`) looks every `ingestion.metrics_interval`; this flow looks on demand.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from prefect import flow, task

from features import store
from flows.remediate import remediate
from flows.show import say
from infra.errors import AiopsError
from infra.settings import settings
from remediation.detect import Debounce, from_anomalies, looks
from remediation.engine import engine
from remediation.records import Detection, Status
from serving.client import Client

logger = logging.getLogger("aiops.flows")
MODEL = "anomaly_detector"
QUIET = 60.0  # seconds before an anomaly that lasts is told again: health did not confirm it the first time


class Sweep:
    """Looks at every instance of the inventory; keeps what debouncing needs between two looks."""

    def __init__(self) -> None:
        limits = settings().remediation.health
        self._health = engine().watcher()
        self._debounce = Debounce(limits.failures, limits.of)
        self._client = Client(timeout=2.0, patience=0.0)
        self._trouble = ""
        self._told: dict[str, float] = {}

    def look(self) -> list[Detection]:
        """The detections of this moment. The health checks go on when the model cannot be asked."""
        try:
            anomalies, trouble = self._news(from_anomalies(self._answers(), self._debounce)), ""
        except AiopsError as error:  # stale features, the API away: said once, and no action hangs on it
            anomalies, trouble = [], str(error)
        if trouble != self._trouble:
            logger.warning("the AnomalyDetector is not asked: %s", trouble or "it is asked again")
            self._trouble = trouble
        return [*self._health.poll(), *anomalies]

    def _news(self, anomalies: list[Detection]) -> list[Detection]:
        now = time.monotonic()
        news = [one for one in anomalies if now - self._told.get(one.fingerprint, -QUIET) >= QUIET]
        self._told |= {one.fingerprint: now for one in news}
        return news

    def _answers(self) -> list[dict[str, Any]]:
        rows = store.online(MODEL, sorted(engine().inventory.targets()))
        answers = [answer.model_dump() for answer in self._client.predict(MODEL, rows).answers]
        return [
            {**answer, "blamed": [{"metric": one["metric"], "weight": one["weight"]} for one in answer["blamed"]]}
            for answer in answers
            if answer["abstained"] is None
        ]


@flow(flow_run_name="detect", description=__doc__)
def detect() -> list[str]:
    """Look as often as `remediation.health.of` says; returns the incidents."""
    firing = {one.fingerprint: one for one in look() if one.status is Status.FIRING}
    return [remediate(one.model_dump(mode="json"))["incident"] for one in firing.values()]


@task(name="look", tags=["remediation"])
def look() -> list[Detection]:
    health = settings().remediation.health
    found = [detection for seen in looks(Sweep().look, health) for detection in seen]
    say(f"{len(found)} detections in {health.of} looks")
    return found
