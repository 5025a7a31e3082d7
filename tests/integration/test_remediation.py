"""The real workload with real faults: detected by health, repaired, verified; and executors killed in the middle."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.settings import Settings
from remediation.engine import Engine, build
from remediation.records import Incident, State, Status, Verdict
from remediation.workload.__main__ import wait_healthy
from remediation.workload.control import SERVICES, Launch, Workload
from remediation.workload.faults import inject
from remediation.workload.inventory import LocalInventory

pytestmark = pytest.mark.integration
fork = multiprocessing.get_context("fork")


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nobody listens on now."""
    for base in range(20_000 + os.getpid() % 9_000, 40_000, count):
        try:
            for port in range(base, base + count):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
    raise RuntimeError("no free ports")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    os.environ["AIOPS_FAULTS"] = "1"
    stack = {"ports": {"workload": free_ports(len(SERVICES))}}
    health = {"verify_timeout": "5s", "max_memory_mib": 96}
    remediation = {"max_actions_per_minute": 100, "health": health, "lease": "30s"}
    return Settings(home=tmp_path_factory.mktemp("home"), stack=stack, remediation=remediation)


@pytest.fixture(scope="module")
def running(settings: Settings) -> Iterator[Workload]:
    workload = Workload(settings)
    workload.up()
    try:
        wait_healthy(LocalInventory(settings))
        yield workload
    finally:
        workload.down()


@pytest.fixture
def workload(running: Workload, settings: Settings) -> Workload:
    """The running workload, healthy at the start of each test."""
    wait_healthy(LocalInventory(settings))
    return running


@pytest.fixture
def engine(settings: Settings) -> Engine:
    return build(settings)


def repair(engine: Engine, seconds: float = 40.0) -> Incident:
    """Watch the health and handle what fires until something is repaired."""
    watcher, deadline = engine.watcher(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        for detection in watcher.poll():
            if detection.status is Status.FIRING:
                incident = engine.handle(detection)
                if incident.outcome is not None:
                    return incident
        time.sleep(0.2)
    raise AssertionError("nothing was detected and repaired")


def launches(workload: Workload, instance: str) -> list[int]:
    """The generations of an instance that really started, from the processes' own ledger."""
    lines = [json.loads(line) for line in workload.ledger.read_text().splitlines()]
    return [line["generation"] for line in lines if line["instance"] == instance]


CASES = [("killed", "service", "process_down"), ("hung", "database", "process_hung")]
CASES += [("leaking", "front", "memory_leak"), ("slow", "database", "slow_response")]


@pytest.mark.parametrize(("fault", "service", "cause"), CASES)
def test_a_real_fault_is_detected_repaired_and_verified(
    workload: Workload, engine: Engine, fault: str, service: str, cause: str
) -> None:
    before = workload.state(f"{service}-0")
    inject(workload, fault, service)
    incident = repair(engine)
    assert incident.state is State.RESOLVED, incident.reason
    assert incident.outcome is not None and incident.outcome.verdict is Verdict.SUCCEEDED
    assert incident.diagnosis is not None
    # whoever saw it first: the diagnosis goes down to where it sits
    assert (incident.diagnosis.service, incident.diagnosis.cause) == (service, cause)
    after = workload.state(f"{service}-0")
    assert after.generation == before.generation + 1 and after.pid != before.pid
    assert all(look.ready for look in LocalInventory(engine.actions["process_restart"].settings).observe().values())
    assert engine.verify_audit().ok


def test_a_repair_that_does_not_help_is_undone(workload: Workload, engine: Engine) -> None:
    good = workload.state("service-0").desired
    workload.desire("service-0", Launch(arguments=(*good.arguments, "--no-such-option")))
    inject(workload, "killed", "service")
    incident = repair(engine)
    assert incident.outcome is not None and incident.outcome.verdict is Verdict.FAILED and incident.outcome.undone
    assert incident.state is State.RESOLVED, "the launch from before runs again, so the symptom is over"
    assert workload.state("service-0").running == good == workload.state("service-0").desired


def die_at(name: str) -> Callable[[str], None]:
    return lambda boundary: os.kill(os.getpid(), signal.SIGKILL) if boundary == name else None


def die_around_spawn(before: bool) -> None:
    spawn = Workload._spawn

    def deadly(*arguments: object) -> int:
        if not before:
            spawn(*arguments)  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("still alive")

    Workload._spawn = deadly  # type: ignore[assignment,method-assign]


def executor(settings: Settings, point: str) -> None:
    """A process that repairs and is killed at `point`."""
    if point.endswith("spawn"):
        die_around_spawn(before=point == "before spawn")
    repair(build(settings, boundary=die_at(point)))


@pytest.mark.parametrize("point", ["committed:begin", "before spawn", "after spawn", "commit:applied", "commit:finish"])
def test_an_executor_killed_in_the_middle_repeats_nothing(
    workload: Workload, settings: Settings, engine: Engine, point: str
) -> None:
    before = workload.state("service-0").generation
    inject(workload, "killed", "service")
    process = fork.Process(target=executor, args=(settings, point))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    engine.recover()
    wait_healthy(LocalInventory(settings))
    assert workload.state("service-0").generation == before + 1
    assert launches(workload, "service-0").count(before + 1) == 1
    assert launches(workload, "service-0")[-1] == before + 1
    newest = engine.history(limit=1)[0]
    assert newest.state is State.RESOLVED, newest.reason
    assert engine.kernel.admission.unfinished(newest.id) == []
    assert engine.verify_audit().ok


def test_the_metrics_are_prometheus_text(workload: Workload, settings: Settings) -> None:
    looks = LocalInventory(settings).observe()
    assert set(looks) == {f"{service}-0" for service in SERVICES}
    assert all(look.memory and look.memory > 10 << 20 for look in looks.values())


def test_another_loopback_address_is_another_place(tmp_path: Path, settings: Settings, running: Workload) -> None:
    """The same ports twice, side by side; and its faults go to the right one."""
    stack = settings.stack.model_copy(update={"host": "127.0.0.2"})
    other = Workload(settings.model_copy(update={"home": tmp_path, "stack": stack}))
    try:
        other.up()
        wait_healthy(LocalInventory(other.settings))
        assert other.state("front-0").port == running.state("front-0").port
        inject(other, "slow", "front", 2.0)
        assert not LocalInventory(other.settings).observe()["front-0"].responding
        wait_healthy(LocalInventory(settings))
    finally:
        other.down()


def test_faults_need_the_switch(tmp_path: Path, settings: Settings) -> None:
    """Without AIOPS_FAULTS=1 the debug routes do not exist."""
    stack = settings.stack.model_copy(
        update={"ports": settings.stack.ports.model_copy(update={"workload": free_ports(len(SERVICES))})}
    )
    workload = Workload(settings.model_copy(update={"home": tmp_path, "stack": stack}))
    os.environ["AIOPS_FAULTS"] = "0"
    try:
        workload.up()
        wait_healthy(LocalInventory(workload.settings))
        from infra.errors import UserError

        with pytest.raises(UserError, match="AIOPS_FAULTS"):
            inject(workload, "slow", "front")
    finally:
        workload.down()
        os.environ["AIOPS_FAULTS"] = "1"
