"""The parts of the local stack, in the order they start, and the environment they share.

A further part is one more entry in `parts()`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.settings import config_file, settings


@dataclass(frozen=True)
class Part:
    """One supervised process `python -m <command>`: healthy while `probe` answers 2xx, or without one while it runs."""

    name: str
    title: str
    command: tuple[str, ...]
    probe: str = ""
    port: int | None = None
    address: str = ""
    start_timeout: float = 300.0  # seconds; MLflow took 58 on two cores with ten other busy processes
    sweep: bool = False  # before a start, end what a killed earlier life left behind (workers that hold its port)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line, run by the interpreter of this environment."""
        return (sys.executable, "-m", *self.command)


def parts() -> tuple[Part, ...]:
    """The stack of `settings()`; a later part may need an earlier one."""
    config = settings()
    host, ports, home = config.stack.host, config.stack.ports, config.home
    prefect, mlflow, api, workload = (config.url(name) for name in ("prefect", "mlflow", "api", "workload"))
    # the worker's own health page; by default it would listen on all interfaces
    worker_page = {"PREFECT_WORKER_WEBSERVER_HOST": host, "PREFECT_WORKER_WEBSERVER_PORT": str(ports.worker)}
    return (
        Part(
            "prefect",
            "Prefect server",
            ("prefect", "server", "start", "--host", host, "--port", str(ports.prefect)),
            probe=f"{prefect}/api/health",
            port=ports.prefect,
            address=prefect,
        ),
        Part(
            "worker",
            "Prefect worker",
            ("prefect", "worker", "start", "--pool", "default", "--type", "process", "--name", "local")
            + ("--with-healthcheck",),
            probe=f"{config.url('worker')}/health",
            port=ports.worker,
            environment=worker_page,
        ),
        Part(
            "mlflow",
            "MLflow server",
            ("mlflow", "server", "--host", host, "--port", str(ports.mlflow), "--workers", "1")
            + ("--backend-store-uri", f"sqlite:///{home}/mlflow/mlflow.db")
            + ("--artifacts-destination", f"{home}/mlflow/artifacts"),
            probe=f"{mlflow}/health",
            sweep=True,
            port=ports.mlflow,
            address=mlflow,
        ),
        Part(
            "workload",
            "Workload",
            ("remediation.workload", "run"),
            probe=f"{workload}/health",
            port=ports.workload,
            address=workload,
        ),
        Part(
            "api",
            "Prediction API",
            ("serving",),
            probe=f"{api}/api/v3/aiops/health",
            port=ports.api,
            address=api,
        ),
        Part(
            "watcher",
            "Watcher",
            ("flows.watch",),
            probe=f"http://{host}:{ports.watcher}/metrics",
            port=ports.watcher,
        ),
    )


def environment() -> dict[str, str]:
    """What every part, the command line and the tests set: settings, addresses, and no word to anybody outside."""
    config = settings()
    return {
        "AIOPS_CONFIG": str(config_file().resolve()),
        "AIOPS__HOME": str(config.home),
        "AIOPS__STACK__HOST": config.stack.host,
        **{f"AIOPS__STACK__PORTS__{name.upper()}": str(port) for name, port in config.stack.ports},
        "BENTOML_HOME": str(config.home / "bentoml"),
        "MLFLOW_TRACKING_URI": config.url("mlflow"),
        "PREFECT_HOME": str(config.home / "prefect"),
        "PREFECT_API_URL": f"{config.url('prefect')}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_LOGGING_COLORS": "false",
        # threads of small networks mostly wait for each other: one is four times as fast as two on two busy cores
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "PYTHONUNBUFFERED": "1",
        "SPARK_LOCAL_IP": config.stack.host,
        # no telemetry, no model hub
        "DO_NOT_TRACK": "true",
        "BENTOML_DO_NOT_TRACK": "True",
        "GX_ANALYTICS_ENABLED": "false",
        "HF_HUB_OFFLINE": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "TRANSFORMERS_OFFLINE": "1",
    }
