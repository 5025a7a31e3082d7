"""The true stack, started once for this folder with a home and ports of its own."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from flows.run import FIRST
from infra import plugins
from infra import stack as stacks
from infra.settings import ROOT, Ports, settings
from training import catalog

NOWHERE = {"AIOPS_DATA": "", "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "", "NO_PROXY": "127.0.0.1"}
START = 600  # seconds for all parts together on two busy cores
LATER = "drift_predictor"  # quick to train: stands for those that a first run trains in the background
LEFT_OUT = sorted(set(plugins.names(catalog.PACKAGE)) - {*FIRST, LATER})


def aiops(*arguments: str, environment: dict[str, str], timeout: float = START) -> subprocess.CompletedProcess[str]:
    """Run the program `aiops` in a process of its own."""
    command = [sys.executable, "-m", "flows.cli", *arguments]
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AIOPS__")}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**inherited, **environment}, timeout=timeout
    )


def free_ports(gap: int = 10) -> dict[str, int]:
    """A free port for each part. They are `gap` apart from one free base, as the workload uses the next three too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            base = probe.getsockname()[1]
        ports = {name: base + number * gap for number, name in enumerate(Ports.model_fields)}
        try:
            with ExitStack() as held:
                for first in ports.values():
                    for port in range(first, first + 4):
                        held.enter_context(socket.create_server(("127.0.0.1", port)))
            return ports
        except (OSError, OverflowError):
            continue


@pytest.fixture(scope="package")
def stack_environment(tmp_path_factory):
    """The settings of a stack that runs while the tests of this folder do, as environment variables."""
    home = tmp_path_factory.mktemp("stack")
    environment = {"AIOPS__HOME": str(home), **NOWHERE}  # the worker's trainings find neither mirror nor network either
    environment |= {f"AIOPS__MODELS__{name.upper()}__ENABLED": "false" for name in LEFT_OUT}
    environment |= {f"AIOPS__STACK__PORTS__{name.upper()}": str(port) for name, port in free_ports().items()}
    done = aiops("up", environment=environment)
    try:
        assert done.returncode == 0, done.stderr + _logs(home)
        yield environment
    finally:
        aiops("down", environment=environment)


@pytest.fixture
def stack(stack_environment, monkeypatch):
    """The running stack, with this process's settings pointing at it; started again if a test stopped it."""
    for name, value in stack_environment.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    stacks.up(lambda *_: None)
    yield stacks.local()
    settings.cache_clear()


def _logs(home: Path) -> str:
    files = sorted((home / "logs").glob("*.log"))
    return "".join(f"\n--- {file.name}\n{file.read_text(errors='replace')[-2000:]}" for file in files)
