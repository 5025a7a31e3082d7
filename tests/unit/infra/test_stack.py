"""The supervised stack, with small parts: what a user sees when it starts, breaks and stops."""

import fcntl
import os
import signal
import socket
import threading
import time

import psutil
import pytest

from infra import processes
from infra.errors import NotFound, SettingsError
from infra.stack import LocalStack, StackError


def until(true, seconds=20.0):
    """Wait until `true()` holds; the value it had at the end."""
    deadline = time.monotonic() + seconds
    while not (value := true()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return value


def healthy(one):
    return all(part.state == "running" and part.health == "ok" for part in one.stack().status())


def test_up_twice_then_down(small):
    one = small("one", "two")
    one.up()
    first = one.stack().status()
    assert [(part.name, part.state, part.health, part.restarts) for part in first] == [
        ("one", "running", "ok", 0),
        ("two", "running", "ok", 0),
    ]
    assert all(part.memory > 1 and part.uptime >= 0 and part.address for part in first)
    # one after another, in the order of the table
    assert [told.split(" after")[0] for told in one.told] == [
        "Part one: starting",
        "Part one: ready",
        "Part two: starting",
        "Part two: ready",
    ]
    one.up()
    assert [told.split("  ")[0] for told in one.told[4:]] == ["Part one: runs already", "Part two: runs already"]
    assert [part.pid for part in one.stack().status()] == [part.pid for part in first]

    assert one.stack().down(one.tell) == 0
    assert one.pids() == set()
    assert {part.state for part in one.stack().status()} == {"stopped"}
    assert one.stack().down(one.tell) == 0  # nothing left to do is no error


def test_a_killed_part_is_restarted_counted_and_its_leftovers_ended(small):
    one = small()
    one.up()
    (part,) = one.stack().status()
    (child,) = psutil.Process(part.pid).children()
    os.kill(part.pid, signal.SIGKILL)  # its child lives on and holds the port
    assert until(lambda: one.stack().status()[0].restarts == 1 and healthy(one))
    assert one.stack().status()[0].pid != part.pid
    assert not processes.is_alive(child)
    assert time.time() - one.stack().status()[0].last_restart < 60


def test_up_takes_over_when_the_supervisor_was_killed(small):
    one = small()
    one.up()
    before = one.pids()
    one.supervisor().kill()
    assert until(lambda: one.stack().status()[0].state == "unsupervised")
    one.up()
    assert any("its supervisor is gone; ending the" in told for told in one.told)
    assert healthy(one) and not before & one.pids()


def test_down_ends_what_a_killed_supervisor_left_behind(small):
    one = small()
    one.up()
    one.supervisor().kill()
    assert one.stack().down(one.tell) >= 1
    assert one.pids() == set()


def test_a_hung_supervisor_counts_as_gone(small, monkeypatch):
    monkeypatch.setattr("infra.supervision.TIMEOUT", 1)
    one = small()
    one.up()
    one.supervisor().suspend()
    assert one.stack().down(one.tell) >= 2
    assert one.pids() == set()


def test_a_port_of_somebody_else_is_named_before_anything_starts(small):
    one = small("one", "two")
    with socket.create_server(("127.0.0.1", one.ports["two"])), pytest.raises(StackError) as error:
        one.up()
    text = str(error.value)
    assert f"port {one.ports['two']} (Part two) is held by {psutil.Process().name()} (process {os.getpid()})" in text
    assert "AIOPS__STACK__PORTS__TWO" in text and "\n" not in text
    assert one.pids() == set()


def test_a_part_that_keeps_ending_is_given_up_with_its_last_words(small):
    one = small()
    (one.code / "broken").touch()
    with pytest.raises(StackError, match=r"Part one ends again and again: this part is broken; see .*one.log"):
        one.up()
    assert one.stack().status()[0].state in ("restarting", "starting", "failed")
    (one.code / "broken").unlink()
    one.up()  # mended: the next `up` goes on
    assert healthy(one)


def test_a_part_that_never_answers_well_is_an_error(small):
    one = small(start_timeout=3)
    with pytest.raises(StackError, match=r"not healthy 3 seconds after its start \(HTTP 404\); see .*one.log"):
        one.up(path="no-such-page")


def test_a_part_without_a_health_check_must_last_a_while(small):
    one = small()
    one.up(probe=False)
    assert one.stack(probe=False).status()[0].uptime >= 3
    (one.code / "broken").touch()
    one.stack(probe=False).down(one.tell)
    with pytest.raises(StackError, match="ends again and again: this part is broken"):
        one.up(probe=False)


def test_changed_settings_restart_the_stack(small):
    one = small()
    one.up(fingerprint="a")
    before = one.pids()
    one.up(fingerprint="b")
    assert "Stack: the settings have changed; restarting it" in one.told
    assert healthy(one) and not before & one.pids()


def test_two_stacks_side_by_side(small):
    left, right = small(home="left"), small(home="right")
    left.up()
    right.up()
    left.stack().down(left.tell)
    assert left.pids() == set() and healthy(right)


def test_only_the_named_parts(small):
    one = small("one", "two")
    one.stack().up(one.tell, ["two"])
    assert [part.state for part in one.stack().status()] == ["stopped", "running"]
    with pytest.raises(NotFound, match=r"no part named 'tow' \(did you mean 'two'\?\)"):
        one.stack().up(one.tell, ["tow"])


def test_one_up_at_a_time(small):
    one = small()
    (one.home / "run").mkdir(parents=True)
    with (one.home / "run" / "stack.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = threading.Thread(target=one.up)
        waiting.start()
        assert until(lambda: one.told == ["Stack: another `aiops up` or `down` works on it; waiting"])
    waiting.join(timeout=30)
    assert healthy(one)


def test_a_home_too_long_for_a_socket_is_one_sentence(tmp_path):
    with pytest.raises(SettingsError, match="too long: .*within 107 bytes"):
        LocalStack(tmp_path / ("x" * 100), [], {})
