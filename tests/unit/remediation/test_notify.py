"""The outbox and its senders: once a change and channel, in order, nothing lost by a crash, nobody kept waiting."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from infra.settings import Settings
from remediation import notify
from remediation.kernel.outbox import CLAIM, GIVE_UP
from remediation.kernel.store import outbox
from remediation.notice import Notice
from remediation.notify import Channel, Courier, channels, deliver
from remediation.records import State, Status
from remediation.testing import Inbox, JumpingClock, World, fake_engine, limits

fork = multiprocessing.get_context("fork")


class Broken(Inbox):
    broken = True

    def send(self, notice: Notice) -> None:
        if self.broken:
            raise OSError("no route")
        super().send(notice)


class Ledger(Channel):
    """Writes the id of each message to a file, which outlives a killed sender."""

    name = "ledger"  # type: ignore[assignment]

    def __init__(self, file: Path) -> None:
        self.file = file

    @classmethod
    def configured(cls, settings: Settings) -> Ledger:
        raise NotImplementedError

    def send(self, notice: Notice) -> None:
        with self.file.open("a") as file:
            file.write(notice.id + "\n")

    def sent(self) -> list[str]:
        return self.file.read_text().split() if self.file.exists() else []


def test_a_storm_is_told_once_a_change(tmp_path: Path, world: World) -> None:
    inbox = Inbox()
    engine = fake_engine(tmp_path, world, limits(actions={"flip": False}), ways=[inbox])
    world.write("web-0", healthy=False)
    for _ in range(50):
        incident = engine.handle(world.detection("web-0"))
    assert [one.event.split(":")[0] for one in inbox.notices] == ["needs approval"]
    assert incident.approval is not None
    engine.deny(incident.approval.id, by="bob")
    engine.handle(world.detection("web-0", status=Status.RESOLVED))
    assert [one.event for one in inbox.notices[1:]] == [State.PAUSED, State.RESOLVED]
    assert "denied by bob" in inbox.notices[1].text and inbox.notices[2].over


def test_what_nobody_heard_of_ends_without_a_word(tmp_path: Path, world: World) -> None:
    inbox = Inbox()
    engine = fake_engine(tmp_path, world, ways=[inbox])
    assert engine.handle(world.detection("web-0")).state is State.DISMISSED  # a false alarm
    assert inbox.notices == []


def test_an_incident_that_joined_another_is_told_to_be_over_as_well(tmp_path: Path, world: World) -> None:
    inbox = Inbox()
    engine = fake_engine(tmp_path, world, limits(rules=()), ways=[inbox])
    world.dependencies = lambda: {"web": ("db",)}  # type: ignore[method-assign]
    world.write("web-0", healthy=False)
    first = engine.handle(world.detection("web-0"))
    world.write("db-0", healthy=False)
    root = engine.handle(world.detection("db-0"))
    world.clock.advance(2)  # type: ignore[union-attr]
    assert engine.resume(first.id).state is State.MERGED and root.state is State.HELD
    engine.kernel.incidents.dismiss(root.id, "alice")
    engine.tell()
    assert {one.incident for one in inbox.notices if one.over} == {first.id, root.id}


def test_a_failure_is_tried_again_later_and_keeps_no_other_channel_waiting(
    tmp_path: Path, world: World, clock: JumpingClock
) -> None:
    broken, inbox = Broken(name="broken"), Inbox()
    engine = fake_engine(tmp_path, world, ways=[broken, inbox])
    world.write("web-0", healthy=False)
    assert engine.handle(world.detection("web-0")).state is State.RESOLVED
    assert len(inbox.notices) == 1
    broken.broken = False
    assert deliver(engine.kernel, broken) == 0  # not at once
    clock.advance(2)
    assert deliver(engine.kernel, broken) == 1
    assert deliver(engine.kernel, broken) == deliver(engine.kernel, inbox) == 0


def test_the_wait_doubles_up_to_a_limit_and_ends_after_a_day(
    tmp_path: Path, world: World, clock: JumpingClock, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken()
    engine = fake_engine(tmp_path, world, ways=[broken])
    world.write("web-0", healthy=False)
    engine.handle(world.detection("web-0"))
    waits = []
    while (row := _rows(engine)[0]).due_at is not None and len(waits) < 400:
        waits.append(row.due_at - clock.wall)
        clock.advance(waits[-1])
        deliver(engine.kernel, broken)
    assert waits[:5] == [2, 4, 8, 16, 32] and max(waits) == 300
    assert GIVE_UP < sum(waits) < GIVE_UP + 301
    assert "given up after a day: OSError: no route" in caplog.text and "no route" in row.error


def test_messages_of_one_incident_keep_their_order(tmp_path: Path, world: World, clock: JumpingClock) -> None:
    broken = Broken()
    engine = fake_engine(tmp_path, world, limits(actions={"flip": False}), ways=[broken])
    world.write("web-0", healthy=False)
    incident = engine.handle(world.detection("web-0"))
    broken.broken = False
    assert incident.approval is not None
    engine.approve(incident.approval.id, by="alice")
    assert broken.notices == []  # its end must not overtake the question
    clock.advance(2)
    engine.tell()
    assert [one.event.split(":")[0] for one in broken.notices] == ["needs approval", State.RESOLVED]


def test_a_clock_that_is_set_back_delays_nothing(tmp_path: Path, world: World, clock: JumpingClock) -> None:
    broken = Broken()
    engine = fake_engine(tmp_path, world, ways=[broken])
    world.write("web-0", healthy=False)
    engine.handle(world.detection("web-0"))
    broken.broken = False
    clock.jump(-86_400)
    assert deliver(engine.kernel, broken) == 1


def test_a_process_without_the_secrets_queues_for_the_one_that_sends(tmp_path: Path, world: World) -> None:
    inbox = Inbox()
    watcher = fake_engine(tmp_path, world, ways=[inbox])
    watcher.kernel.subscribe()
    world.write("web-0", healthy=False)
    assert fake_engine(tmp_path, world).handle(world.detection("web-0")).state is State.RESOLVED
    watcher.tell()
    assert len(inbox.notices) == 1
    fake_engine(tmp_path, world).kernel.subscribe()  # the next watcher has no such channel
    world.write("web-1", healthy=False)
    fake_engine(tmp_path, world).handle(world.detection("web-1"))
    assert len(_rows(watcher)) == 1


def _rows(engine: object) -> list[object]:
    with engine.kernel.core.store.read() as conn:  # type: ignore[attr-defined]
        return list(conn.execute(select(outbox).order_by(outbox.c.seq)).all())


def die_at(point: str) -> Callable[[str], None]:
    return lambda name: os._exit(9) if name == point else None


@pytest.mark.parametrize(
    ("point", "times"),
    [("committed:finish", 1), ("commit:claim_notice", 1), ("committed:claim_notice", 1), ("commit:sent_notice", 2)],
)
def test_a_crash_loses_no_message_and_a_repetition_has_the_same_id(
    tmp_path: Path, clock: JumpingClock, point: str, times: int
) -> None:
    world = World(tmp_path / "world", {"web": 2}, clock)
    ledger = Ledger(tmp_path / "sent")
    world.write("web-0", healthy=False)

    def work() -> None:
        fake_engine(tmp_path, world, boundary=die_at(point), ways=[ledger]).handle(world.detection("web-0"))

    process = fork.Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == 9
    clock.advance(CLAIM)
    engine = fake_engine(tmp_path, world, ways=[ledger])
    engine.recover()
    assert len(ledger.sent()) == times and len(set(ledger.sent())) == 1
    assert len(_rows(engine)) == 1


class Slow(Inbox):
    def send(self, notice: Notice) -> None:
        self.gate.wait(20)
        super().send(notice)

    gate = threading.Event()


def test_a_slow_channel_delays_neither_a_repair_nor_another_channel(tmp_path: Path) -> None:
    world, slow, inbox = World(tmp_path / "world", {"web": 2}), Slow(name="slow"), Inbox()
    engine = fake_engine(tmp_path, world, ways=[slow, inbox])
    courier = Courier(engine.kernel, [slow, inbox])
    engine.tell = courier.wake
    begun = time.monotonic()
    for instance in ("web-0", "web-1"):
        world.write(instance, healthy=False)
        assert engine.handle(world.detection(instance)).state is State.RESOLVED
    while len(inbox.notices) < 2 and time.monotonic() < begun + 10:
        time.sleep(0.01)
    courier.close(0.1)
    assert time.monotonic() - begun < 10 and slow.notices == [] and len(inbox.notices) == 2
    slow.gate.set()


def test_close_sends_what_is_left(tmp_path: Path) -> None:
    world, inbox = World(tmp_path / "world", {"web": 2}), Inbox()
    engine = fake_engine(tmp_path, world, ways=[inbox])
    courier = Courier(engine.kernel, [inbox])
    engine.tell = courier.wake
    world.write("web-0", healthy=False)
    engine.handle(world.detection("web-0"))
    courier.close()
    assert len(inbox.notices) == 1


def test_the_log_is_always_a_channel(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (log,) = channels(Settings(home=tmp_path, notifications={}))
    log.send(Notice(id="n", incident="incident-1", service="web", instance="web-0", event="paused", text="paused"))
    assert "web/web-0: paused (incident: incident-1)" in caplog.text


def test_a_file_without_a_channel_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "CHANNELS", "remediation.kernel")
    with pytest.raises(Exception, match="must define exactly one Channel"):
        channels(Settings())
