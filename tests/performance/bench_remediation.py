"""How long from a real fault to its verified repair: `python -m tests.performance.bench_remediation [--faults N]`.

Starts the real workload in a folder of its own, injects N faults (all kinds and services in turn, in seeded order),
repairs each by health alone and prints the quantiles in seconds. A fault whose repair does not succeed counts as such.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from infra.settings import Settings
from remediation.detect import Watcher
from remediation.engine import Engine, build
from remediation.records import Status, Verdict
from remediation.workload.__main__ import wait_healthy
from remediation.workload.control import Workload
from remediation.workload.faults import KINDS, inject
from remediation.workload.inventory import LocalInventory

PAUSE = 0.2  # seconds between looks; the setting `remediation.health.interval` is slower by default


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=24)
    parser.add_argument("--port", type=int, default=18_400)
    options = parser.parse_args()
    os.environ["AIOPS_FAULTS"] = "1"
    with tempfile.TemporaryDirectory() as home:
        limits = {"max_actions_per_minute": 100}
        settings = Settings(home=Path(home), stack={"ports": {"workload": options.port}}, remediation=limits)
        workload = Workload(settings)
        workload.up()
        try:
            wait_healthy(LocalInventory(settings))
            runs = measure(workload, build(settings), options.faults)
        finally:
            workload.down()
    print(json.dumps(summary(runs), indent=1))


def measure(workload: Workload, engine: Engine, faults: int) -> list[dict[str, Any]]:
    """One line for each fault: kind, service, seconds to detection, seconds from there to the verdict."""
    cases = [(kind, service) for kind in KINDS for service in ("front", "service", "database")]
    dice, watcher, runs = random.Random(1), engine.watcher(), []
    order = [case for _ in range(-(-faults // len(cases))) for case in dice.sample(cases, len(cases))][:faults]
    for kind, service in order:
        wait_healthy(LocalInventory(workload.settings))
        for _ in range(engine.limits.health.of):
            watcher.poll()  # good looks only, so that detection starts from nothing
        inject(workload, kind, service)
        runs.append({"kind": kind, "service": service, **one(engine, watcher)})
    return runs


def one(engine: Engine, watcher: Watcher) -> dict[str, Any]:
    """Watch until something was done, at most a minute."""
    started = time.monotonic()
    while time.monotonic() < started + 60:
        for detection in watcher.poll():
            detected = time.monotonic()
            incident = engine.handle(detection) if detection.status is Status.FIRING else None
            if incident is not None and incident.outcome is not None:
                repaired = incident.outcome.verdict is Verdict.SUCCEEDED
                took = time.monotonic()
                return {"repaired": repaired, "to_detection": detected - started, "to_verdict": took - detected}
        time.sleep(PAUSE)
    return {"repaired": False, "to_detection": 60.0, "to_verdict": 0.0}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and 95th percentile over all faults, and the medians of each kind."""
    found: dict[str, Any] = {"faults": len(runs), "repaired": sum(run["repaired"] for run in runs)}
    found["load_average"] = os.getloadavg()[0]
    for name in ("to_detection", "to_verdict"):
        values = sorted(run[name] for run in runs)
        found[name] = {"median": round(statistics.median(values), 2), "p95": round(quantile(values, 0.95), 2)}
        for kind in KINDS:
            of_kind = [run[name] for run in runs if run["kind"] == kind]
            found[name][kind] = round(statistics.median(of_kind), 2) if of_kind else None
    return found


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    return ordered[math.ceil(share * len(ordered)) - 1]


if __name__ == "__main__":
    main()
