"""Processes killed at every write boundary, many at once on one store, and storms: nothing twice, nothing lost.

The boundaries are the moments just before and after each commit of the kernel and between the target's own writes.
`AIOPS_CRASH_HISTORIES` sets how many seeded histories are run (the default is a sample of seconds), and
`AIOPS_TEST_POSTGRES` runs the same on a PostgreSQL database (a SQLAlchemy URL), with a schema for each test.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, make_url, text

from infra.settings import Remediation
from remediation.engine import Engine
from remediation.records import Detection, State, digest
from remediation.testing import Flip, World, fake_engine, limits

HISTORIES = int(os.environ.get("AIOPS_CRASH_HISTORIES", "24"))
STORM = int(os.environ.get("AIOPS_STORM", "400"))
POSTGRES = os.environ.get("AIOPS_TEST_POSTGRES")
KILLED = 9
fork = multiprocessing.get_context("fork")


def engine_at(
    home: Path, world: World, remediation: Remediation | None = None, boundary: Callable[[str], None] | None = None
) -> Engine:
    """An engine whose kernel is in `home`, or in PostgreSQL in a schema named after it."""
    remediation = remediation or limits()
    if POSTGRES:
        schema = f"t{digest(str(home))[:20]}"
        server = create_engine(POSTGRES)
        with server.begin() as conn:
            conn.execute(text("SELECT pg_advisory_xact_lock(1)"))
            conn.execute(text(f"CREATE SCHEMA IF NOT EXISTS {schema}"))
        server.dispose()
        url = make_url(POSTGRES).update_query_dict({"options": f"-csearch_path={schema}"})
        secret = SecretStr(url.render_as_string(hide_password=False))
        remediation = remediation.model_copy(update={"database_url": secret})
    return fake_engine(home, world, remediation, boundary)


class Killer:
    """A boundary that ends the process, as SIGKILL would, when it has been passed `after` times."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.passed: list[str] = []

    def __call__(self, name: str) -> None:
        self.passed.append(name)
        if len(self.passed) > self.after:
            os._exit(KILLED)


def child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; returns its exit code."""
    process = fork.Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode is not None, "the child hangs"
    return process.exitcode


def boundaries(home: Path) -> list[str]:
    """The names of all boundaries that one undisturbed repair passes."""
    world = World(home / "world", {"web": 2})
    world.write("web-0", healthy=False)
    counter = Killer(after=10_000)
    assert engine_at(home, world, boundary=counter).handle(world.detection("web-0")).state is State.RESOLVED
    return counter.passed


def check_nothing_twice_nothing_lost(home: Path, world: World) -> None:
    engine = engine_at(home, world)
    engine.recover()
    engine.handle(world.detection("web-0"))  # the detector goes on calling
    for incident in engine.history():
        assert incident.closed_at is not None, f"{incident.id} is {incident.state}: {incident.reason}"
        assert engine.kernel.admission.unfinished(incident.id) == []
    assert world.read("web-0") | {"key": ""} == {
        "service": "web",
        "generation": 2,
        "healthy": True,
        "key": "",
        "pending": "",
    }
    assert [effect["generation"] for effect in world.effects()] == [2]
    assert engine.verify_audit().ok


def test_a_kill_at_each_boundary_in_turn(tmp_path: Path) -> None:
    names = boundaries(tmp_path / "count")
    assert {"commit:begin", "committed:begin", "target:effect", "commit:finish"} <= set(names)
    for after in range(len(names)):
        home = tmp_path / str(after)
        world = World(home / "world", {"web": 2})
        world.write("web-0", healthy=False)

        def work(home: Path = home, world: World = world, after: int = after) -> None:
            engine_at(home, world, boundary=Killer(after)).handle(world.detection("web-0"))

        assert child(work) == KILLED, names[after]
        check_nothing_twice_nothing_lost(home, world)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_seeded_histories_of_several_kills(tmp_path: Path, seed: int) -> None:
    """One to four processes in a row handle or recover, each killed at a random boundary."""
    dice = random.Random(seed)
    world = World(tmp_path / "world", {"web": 2})
    world.write("web-0", healthy=False)
    for _ in range(dice.randint(1, 4)):
        killer, first = Killer(dice.randrange(30)), dice.random() < 0.5

        def work(killer: Killer = killer, first: bool = first) -> None:
            engine = engine_at(tmp_path, world, boundary=killer)
            if first:
                engine.recover()
            engine.handle(world.detection("web-0"))

        assert child(work) in (0, KILLED)
    check_nothing_twice_nothing_lost(tmp_path, world)


def test_several_processes_never_exceed_the_rate(tmp_path: Path) -> None:
    services = {f"web{number}": 1 for number in range(24)}
    world = World(tmp_path / "world", services)
    names = list(world.targets())
    for name in names:
        world.write(name, healthy=False)
    rate = limits(max_actions_per_minute=10)
    engine_at(tmp_path, world, rate)  # so that the children do not all create the store

    def work(seed: int) -> None:
        engine = engine_at(tmp_path, world, rate)
        order = random.Random(seed).sample(names, len(names))
        for name in order:
            engine.handle(world.detection(name))

    workers = [fork.Process(target=work, args=(seed,)) for seed in range(5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 5
    effects = world.effects()
    assert len(effects) == 10
    assert max(Counter(effect["instance"] for effect in effects).values()) == 1
    assert engine_at(tmp_path, world).verify_audit().ok


def test_a_storm_of_duplicates_is_one_incident_and_one_repair(tmp_path: Path) -> None:
    world = World(tmp_path / "world", {"web": 2})
    world.write("web-0", healthy=False)
    detection = world.detection("web-0")
    engine_at(tmp_path, world)

    def work(copies: list[Detection]) -> None:
        engine = engine_at(tmp_path, world)
        # slow, so that the others' duplicates arrive in the middle of the repair
        flip = engine.actions["flip"]
        assert isinstance(flip, Flip)
        flip.boundary = lambda name: time.sleep(0.2)
        for copy in copies:
            engine.handle(copy)

    workers = [fork.Process(target=work, args=([detection] * (STORM // 4),)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(world.effects()) == 1
    (incident,) = engine_at(tmp_path, world).history()
    assert incident.state is State.RESOLVED and incident.actions == 1 and incident.duplicates > 0


def test_the_store_is_made_once_by_many_at_once() -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "world", {"web": 1})
        workers = [fork.Process(target=engine_at, args=(Path(folder), world)) for _ in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [0] * 6
