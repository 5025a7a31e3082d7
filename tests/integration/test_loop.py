"""The whole loop once, on the demo world: what `make run` does on a machine with neither mirror nor network."""

from __future__ import annotations

import time

import httpx
import pytest

from flows.run import FIRST
from tests.integration.conftest import LATER, aiops

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def finished(stack_environment):
    return aiops("run", environment=stack_environment, timeout=1100)


def test_the_loop_ends_with_a_repair_and_says_synthetic(finished):
    assert finished.returncode == 0, finished.stderr[-4000:]
    assert "synthetic" in finished.stdout
    for text in ("anomaly_detector", "churn_predictor", "failure_predictor", "process_restart", "resolved", "Prefect"):
        assert text in finished.stdout
    assert "Traceback" not in finished.stderr


def test_every_model_answers_and_says_synthetic(finished, stack_environment):
    base = f"http://127.0.0.1:{stack_environment['AIOPS__STACK__PORTS__API']}"
    status = _served(base, {*FIRST, LATER})
    assert all(model["synthetic"] for model in status.values())
    document = httpx.get(f"{base}/api/v3/aiops/openapi.json").json()
    for model in status.values():
        content = document["paths"][model["route"]]["post"]["requestBody"]["content"]
        answer = httpx.post(f"{base}{model['route']}", json=content["application/json"]["example"], timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.json()["synthetic"] is True


def _served(base, names, patience=300):
    """The status of `names` once just these are served; one of them is trained in the background."""
    deadline = time.monotonic() + patience
    while True:
        status = httpx.get(f"{base}/api/v3/aiops/models/status").json()["models"]
        if {name for name, model in status.items() if model["ready"]} == names:
            return {name: status[name] for name in names}
        assert time.monotonic() < deadline, {name: model["problem"] for name, model in status.items()}
        time.sleep(2)


def test_the_runs_are_shown_in_prefect(finished, stack_environment):
    base = f"http://127.0.0.1:{stack_environment['AIOPS__STACK__PORTS__PREFECT']}/api"
    deployments = httpx.post(f"{base}/deployments/filter", json={}).json()
    entrypoints = {one["entrypoint"] for one in deployments}
    assert {f"flows.{name}.{name}" for name in ("ingest", "materialize", "train", "deploy", "detect")} < entrypoints
    wanted = {"flow_runs": {"name": {"like_": "remediate front"}, "state": {"type": {"any_": ["COMPLETED"]}}}}
    assert httpx.post(f"{base}/flow_runs/filter", json=wanted).json()


def test_a_second_run_trains_nothing_and_repairs_again(finished, stack_environment):
    again = aiops("run", environment=stack_environment, timeout=300)
    assert again.returncode == 0, again.stderr[-4000:]
    assert "not due yet: anomaly_detector, churn_predictor, failure_predictor" in again.stderr
    verified = aiops("audit", "verify", environment=stack_environment)
    assert (verified.returncode, "holds" in verified.stdout) == (0, True), verified.stdout + verified.stderr


def test_two_models_are_trained_at_a_time(finished, stack_environment):
    done = aiops("train", "churn_predictor", LATER, "--jobs", "2", environment=stack_environment)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "churn_predictor v2" in done.stdout and f"{LATER} v2" in done.stdout
