"""A process is known by its pid and start, so a reused pid is never taken for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.errors import NotFound, UserError
from infra.settings import Settings
from remediation.process import alive, identity
from remediation.records import Effect
from remediation.workload.control import InstanceState, Launch, Workload, find, stop


def test_identity_tells_processes_apart() -> None:
    own = identity(os.getpid())
    assert own is not None and alive(os.getpid(), own)
    assert not alive(os.getpid(), "1")


def test_a_zombie_and_a_gone_process_are_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet reaped
    assert identity(process.pid) is None
    process.wait()
    assert identity(process.pid) is None


def sleeper(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *arguments])


def test_stop_leaves_another_process_with_the_same_pid_alone() -> None:
    process = sleeper()
    try:
        launch = Launch(arguments=())
        state = InstanceState(service="x", instance="x-0", port=1, pid=process.pid, started="1", desired=launch)
        stop(state, grace=0.1)
        assert process.poll() is None
        stop(state.model_copy(update={"started": identity(process.pid)}), grace=2)
        assert process.wait(5) != 0
    finally:
        process.kill()


def test_find_knows_a_process_by_its_key() -> None:
    process = sleeper("incident-7/restart/x-0/1/1")
    try:
        assert find("incident-7/restart/x-0/1/1") == process.pid
        assert find("incident-8/restart/x-0/1/1") is None
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workload:
    """One instance whose launches are counted and not made."""
    workload = Workload(Settings(home=tmp_path))
    workload.folder.mkdir(parents=True)
    spawned: list[str] = []
    monkeypatch.setattr(workload, "_spawn", lambda state, launch, generation, key: spawned.append(key) or 4194303)
    workload._write(InstanceState(service="x", instance="x-0", port=1, desired=Launch(arguments=("a",))))
    workload.spawned = spawned  # type: ignore[attr-defined]
    return workload


def test_a_relaunch_happens_once_per_key(workload: Workload) -> None:
    assert workload.effect("x-0", "k1") is Effect.NONE
    for _ in range(3):
        assert workload.relaunch("x-0", 0, "k1").generation == 1
    assert workload.spawned == ["k1"]  # type: ignore[attr-defined]
    assert workload.effect("x-0", "k1") is Effect.DONE


def test_a_relaunch_of_another_generation_is_refused(workload: Workload) -> None:
    workload.relaunch("x-0", 0, "k1")
    with pytest.raises(UserError, match="generation 1, not 0"):
        workload.relaunch("x-0", 0, "k2")


def test_an_announced_relaunch_is_partial(workload: Workload) -> None:
    workload._write(workload.state("x-0").model_copy(update={"pending": "k1"}))
    assert workload.effect("x-0", "k1") is Effect.PARTIAL
    assert workload.effect("x-0", "k2") is Effect.NONE


def test_an_unknown_instance_names_the_known(workload: Workload) -> None:
    with pytest.raises(NotFound, match="x-0"):
        workload.state("y-0")
