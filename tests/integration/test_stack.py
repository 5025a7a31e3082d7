"""The true stack: it answers, listens on loopback only, mends itself, and leaves nothing behind."""

import os
import signal
import time

import httpx
import psutil
import pytest

from infra import processes
from infra.parts import parts
from infra.settings import settings

from .conftest import START, aiops

pytestmark = [pytest.mark.integration, pytest.mark.timeout(START + 200)]


def ask(address, body=None):
    answer = httpx.request("POST" if body else "GET", address, json=body, timeout=30, trust_env=False)
    return answer.raise_for_status().json()


def until(true, seconds):
    deadline = time.monotonic() + seconds
    while not (value := true()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return value


def test_every_part_runs_and_is_healthy(stack):
    assert [(part.name, part.state, part.health) for part in stack.status()] == [
        (part.name, "running", "ok") for part in parts()
    ]


def test_it_listens_on_loopback_only(stack):
    pids = {process.pid for _, process in processes.marked(settings().home)}
    listening = [c for c in psutil.net_connections("inet") if c.pid in pids and c.status == psutil.CONN_LISTEN]
    assert {c.laddr.port for c in listening} >= set(settings().stack.ports.model_dump().values())
    assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::1"}


def test_prefect_knows_the_pool_of_the_worker(stack):
    pool = ask(f"{settings().url('prefect')}/api/work_pools/default")
    assert (pool["type"], pool["status"]) == ("process", "READY")


def test_mlflow_keeps_what_it_is_given(stack):
    address = f"{settings().url('mlflow')}/api/2.0/mlflow/experiments"
    made = ask(f"{address}/create", {"name": f"kept {time.time()}"})
    found = ask(f"{address}/get?experiment_id={made['experiment_id']}")["experiment"]
    assert found["artifact_location"].startswith("mlflow-artifacts:/")  # no path of the machine


def test_a_second_up_changes_nothing(stack, stack_environment):
    before = [part.pid for part in stack.status()]
    done = aiops("up", environment=stack_environment)
    assert done.returncode == 0 and done.stderr.count("runs already") == len(before)
    assert [part.pid for part in stack.status()] == before


def test_a_killed_server_comes_back_though_its_children_held_the_port(stack):
    def mlflow():
        return next(part for part in stack.status() if part.name == "mlflow")

    before = mlflow()
    assert psutil.Process(before.pid).children()  # the web server proper, which outlives its parent
    os.kill(before.pid, signal.SIGKILL)
    assert until(lambda: mlflow().restarts == 1 and mlflow().health == "ok", 180)
    assert mlflow().pid != before.pid


def test_down_after_the_supervisor_was_killed_leaves_no_process(stack, stack_environment):
    supervisor = int((settings().home / "run" / "supervisord.pid").read_text())
    os.kill(supervisor, signal.SIGKILL)
    assert until(lambda: any(part.state == "unsupervised" for part in stack.status()), 10)
    shown = aiops("status", environment=stack_environment)
    assert shown.returncode == 1 and "`aiops up` takes over" in shown.stdout
    assert aiops("down", environment=stack_environment).returncode == 0
    assert processes.marked(settings().home) == []
