"""The local workload as an inventory: targets from the state files, health by HTTP, memory from the scraped metrics."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from infra.settings import Settings
from remediation.records import Observation, Target
from remediation.workload.control import DEPENDENCIES, InstanceState, Workload


class LocalInventory:
    """Implements `remediation.inventory.Inventory` for the processes of one home."""

    def __init__(self, settings: Settings) -> None:
        self.workload = Workload(settings)
        self.host = settings.stack.host
        self.timeout = settings.remediation.health.timeout.total_seconds()

    def targets(self) -> Mapping[str, Target]:
        return {name: self.target(name) for name in self.workload.instances()}

    def target(self, instance: str) -> Target:
        """One target at its present generation."""
        state = self.workload.state(instance)
        return Target(
            cluster="local",
            namespace="workload",
            service=state.service,
            instance=state.instance,
            generation=state.generation,
        )

    def dependencies(self) -> Mapping[str, tuple[str, ...]]:
        return DEPENDENCIES

    def observe(self) -> Mapping[str, Observation]:
        states = self.workload.states()
        with ThreadPoolExecutor(max_workers=max(1, len(states))) as pool:
            return dict(zip(states, pool.map(self._look, states.values()), strict=True))

    def observe_one(self, instance: str) -> Observation:
        return self._look(self.workload.state(instance))

    def _look(self, state: InstanceState) -> Observation:
        found: dict[str, Any] = {"service": state.service, "instance": state.instance, "alive": state.alive}
        if found["alive"]:
            found |= self._ask(state.port)
        return Observation(observed_at=datetime.now(UTC), **found)

    def _ask(self, port: int) -> dict[str, Any]:
        started = perf_counter()
        try:
            code, health = self._get(port, "/health")
            latency = perf_counter() - started
            answer = json.loads(health)
            _, metrics = self._get(port, "/metrics")
        except (OSError, http.client.HTTPException, ValueError):
            return {}  # alive and not responding: that is the observation
        return {
            "responding": True,
            "ready": code == 200,
            "blocked_by": answer.get("blocked_by"),
            "generation": answer.get("generation"),
            "latency": latency,
            "memory": _resident(metrics.decode()),
        }

    def _get(self, port: int, path: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection(self.host, port, timeout=self.timeout)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()


def _resident(metrics: str) -> int | None:
    for family in text_string_to_metric_families(metrics):
        if family.name == "process_resident_memory_bytes":
            return int(family.samples[0].value)
    return None
