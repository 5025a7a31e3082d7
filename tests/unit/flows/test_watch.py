"""The dispatcher: a new incident gets one run, a storm of detections gets no more."""

from __future__ import annotations

import multiprocessing
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("prefect")

from flows.watch import RUNS, Dispatcher
from remediation.engine import Engine
from remediation.records import Detection, State, Status
from remediation.testing import World, fake_engine, limits


def detection(instance: str, status: Status = Status.FIRING) -> Detection:
    now = datetime.now(UTC)
    service = instance.partition("-")[0]
    return Detection(
        source="/test", service=service, instance=instance, observed_at=now, evidence_at=now, status=status
    )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "world", {f"web{number}": 1 for number in range(RUNS + 2)})


@pytest.fixture
def engine(tmp_path: Path, world: World) -> Engine:
    return fake_engine(tmp_path, world)


def test_a_storm_is_one_run_and_one_repair(engine: Engine, world: World) -> None:
    runs: list[str] = []

    def run(one: Detection) -> None:
        runs.append(one.id)
        engine.handle(one)

    world.write("web0-0", healthy=False)
    dispatcher = Dispatcher(engine, run)
    for _ in range(50):
        dispatcher.take(detection("web0-0"))
    dispatcher._pool.shutdown(wait=True)
    assert len(runs) == 1
    assert len(world.effects()) == 1


def test_no_more_runs_than_places(engine: Engine) -> None:
    gate, begun = threading.Event(), []

    def run(one: Detection) -> None:
        begun.append(one.instance)
        gate.wait(10)

    dispatcher = Dispatcher(engine, run)
    for number in range(RUNS + 2):
        dispatcher.take(detection(f"web{number}-0"))
    gate.set()
    dispatcher._pool.shutdown(wait=True)
    assert sorted(begun) == sorted(f"web{number}-0" for number in range(RUNS))


def test_the_end_of_a_symptom_starts_no_run(engine: Engine, world: World) -> None:
    world.write("web0-0", healthy=False)
    incident = engine.handle(detection("web0-0"))
    runs: list[Detection] = []
    dispatcher = Dispatcher(engine, runs.append)
    dispatcher.take(detection("web0-0", Status.RESOLVED))
    dispatcher._pool.shutdown(wait=True)
    assert (incident.state, runs) == (State.RESOLVED, [])


def test_switched_off_there_are_no_runs(engine: Engine, world: World) -> None:
    world.write("web0-0", healthy=False)
    engine.kernel.switch(False, by="test")
    runs: list[Detection] = []
    dispatcher = Dispatcher(engine, runs.append)
    for _ in range(5):
        dispatcher.take(detection("web0-0"))
    dispatcher._pool.shutdown(wait=True)
    assert (runs, world.effects()) == ([], [])


def test_a_job_that_fails_frees_its_place(engine: Engine) -> None:
    def fail(one: Detection) -> None:
        raise RuntimeError("planted")

    dispatcher = Dispatcher(engine, fail)
    dispatcher.take(detection("web0-0"))
    dispatcher._running[detection("web0-0").fingerprint].result(timeout=5)
    done: list[str] = []
    dispatcher.start(detection("web0-0").fingerprint, lambda: done.append("again"))
    dispatcher._pool.shutdown(wait=True)
    assert done == ["again"]


def test_a_question_is_put_again_only_where_nobody_alive_shows_it(tmp_path: Path, world: World) -> None:
    engine = fake_engine(tmp_path, world, limits(actions={"flip": False}))
    world.write("web0-0", healthy=False)
    incident = engine.handle(detection("web0-0"))
    runs: list[Detection] = []

    def go_on() -> int:
        dispatcher = Dispatcher(engine, runs.append)
        dispatcher.go_on()
        dispatcher._pool.shutdown(wait=True)
        return len(runs)

    incidents = engine.kernel.incidents
    shown = incidents.show(incident.id)
    assert shown is not None and incidents.show(incident.id) is None
    assert incidents.is_shown(incident.id) and go_on() == 0
    incidents.hide(shown)
    assert not incidents.is_shown(incident.id) and go_on() == 1
    assert runs == [incident.detection]
    dead = multiprocessing.get_context("fork").Process(target=lambda: incidents.show(incident.id))
    dead.start()
    dead.join()
    assert go_on() == 2
    assert incident.approval is not None
    engine.deny(incident.approval.id, by="bob")
    assert go_on() == 2


def test_a_new_watcher_tells_the_end_of_what_an_earlier_one_saw(engine: Engine, world: World) -> None:
    world.write("web1-0", healthy=False)
    engine.kernel.incidents.observe(detection("web1-0"), world.targets())
    world.write("web1-0", healthy=True)
    told = [one for one in engine.watcher().poll() if one.status is Status.RESOLVED]
    assert [one.instance for one in told] == ["web1-0"]
