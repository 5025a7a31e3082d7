"""A process killed while its flow run waits for an approval, on a real Prefect server: the question is put again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra import parts
from infra.settings import ROOT, settings
from remediation.records import State
from remediation.testing import World

from .asking import made
from .conftest import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.timeout(500)]


def until(true: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := true()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return value


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prefect server of its own, which this process's settings name."""
    before = dict(os.environ)
    os.environ["AIOPS__HOME"] = str(tmp_path_factory.mktemp("prefect"))
    os.environ |= {f"AIOPS__STACK__PORTS__{name.upper()}": str(port) for name, port in free_ports().items()}
    settings.cache_clear()
    os.environ |= {"PYTHONPATH": str(ROOT), **parts.environment()}
    server = subprocess.Popen(parts.parts()[0].argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"{settings().url('prefect')}/api", timeout=30, trust_env=False) as client:
            assert until(lambda: answers(client), 300), "the Prefect server does not come up"
            yield client
    finally:
        server.terminate()
        server.wait(30)
        os.environ.clear()
        os.environ.update(before)
        settings.cache_clear()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").is_success
    except httpx.HTTPError:
        return False


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start the process that asks; what still runs after the test is killed."""
    running = []

    def go() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.integration.asking", str(tmp_path)]
        with (tmp_path / "log").open("ab") as log:
            running.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
        return running[-1]

    yield go
    for process in running:
        process.kill()
        process.wait()


def runs(client: httpx.Client, detection: str, *states: str) -> list[dict[str, Any]]:
    wanted = {"name": {"like_": detection}, "state": {"type": {"any_": list(states)}}}
    return list(client.post("/flow_runs/filter", json={"flow_runs": wanted}).raise_for_status().json())


def asked(client: httpx.Client, home: Path) -> tuple[str, str, str]:
    """Wait for the form; returns the incident, its detection and the run that shows it."""
    engine, _ = made(home)
    assert until(lambda: engine.history(state=State.AWAITING_APPROVAL), 120), (home / "log").read_text()
    incident = engine.history()[0]
    found = until(lambda: runs(client, incident.detection.id, "PAUSED"), 60)
    assert len(found) == 1, (home / "log").read_text()
    return incident.id, incident.detection.id, found[0]["id"]


def reply_to(client: httpx.Client, run: str) -> None:
    """What the button of the form does."""
    answer = client.post(f"/flow_runs/{run}/resume", json={"run_input": {"approve": True, "by": "alice"}})
    assert answer.json()["status"] == "ACCEPT", answer.text


def kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("in_vain", [False, True], ids=["unanswered", "answered while nobody listens"])
def test_a_form_whose_process_was_killed_is_opened_again_and_answered_once(
    prefect: httpx.Client, start: Callable[[], subprocess.Popen[bytes]], tmp_path: Path, in_vain: bool
) -> None:
    engine, world = made(tmp_path)
    world.write("web-0", healthy=False)
    first = start()
    incident, detection, orphan = asked(prefect, tmp_path)
    approval = engine.get(incident).approval
    kill(first)
    if in_vain:
        reply_to(prefect, orphan)
    start()
    assert until(lambda: runs(prefect, detection, "CANCELLED"), 120), (tmp_path / "log").read_text()
    (form,) = until(lambda: runs(prefect, detection, "PAUSED"), 60)
    assert [one["id"] for one in runs(prefect, detection, "CANCELLED")] == [orphan] != [form["id"]]
    assert engine.get(incident).approval == approval, "the same question"
    time.sleep(3)  # several rounds of the watcher: there is still one form
    assert [one["id"] for one in runs(prefect, detection, "PAUSED", "RUNNING")] == [form["id"]]
    reply_to(prefect, form["id"])
    assert until(lambda: engine.get(incident).state is State.RESOLVED, 60), (tmp_path / "log").read_text()
    assert len(world.effects()) == 1
    assert until(lambda: runs(prefect, detection, "COMPLETED"), 30)
    assert runs(prefect, detection, "PAUSED", "RUNNING") == []


def test_an_answer_at_the_command_line_closes_a_form_that_nobody_is_behind(
    prefect: httpx.Client, start: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    from flows.approve import answer

    engine, world = made(tmp_path)
    world.write("web-0", healthy=False)
    first = start()
    incident, detection, orphan = asked(prefect, tmp_path)
    kill(first)
    approval = engine.get(incident).approval
    assert approval is not None
    assert answer(approval.id, approve=True, by="alice").state is State.RESOLVED
    assert [one["id"] for one in runs(prefect, detection, "CANCELLED")] == [orphan]
    assert len(world.effects()) == 1


def test_an_answer_at_the_command_line_releases_the_run_that_waits(
    prefect: httpx.Client, start: Callable[[], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    from flows.approve import answer

    engine, world = made(tmp_path)
    world.write("web-0", healthy=False)
    start()
    incident, detection, _ = asked(prefect, tmp_path)
    approval = engine.get(incident).approval
    assert approval is not None
    answer(approval.id, approve=True, by="alice")
    assert until(lambda: runs(prefect, detection, "COMPLETED"), 60), (tmp_path / "log").read_text()
    assert engine.get(incident).state is State.RESOLVED and len(World(tmp_path / "world", {}).effects()) == 1
