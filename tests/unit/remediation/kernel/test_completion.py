"""An action that a dead executor began is completed under the limits of now, not of then."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediation.records import Effect, State
from remediation.testing import Flip, JumpingClock, World, fake_engine, limits


class Killed(BaseException):
    """Not an Exception: no handler of the engine may see it."""


def killed_in_the_middle(home: Path, world: World) -> None:
    """A repair of web-0 whose process died after it announced itself to the target."""

    def die(name: str) -> None:
        if dead or name == "target:effect":
            dead.append(name)
            raise Killed

    dead: list[str] = []
    world.write("web-0", healthy=False)
    with pytest.raises(Killed):
        fake_engine(home, world, boundary=die).handle(world.detection("web-0"))


def test_the_kill_switch_stops_the_completion_of_a_dead_executors_action(
    tmp_path: Path, world: World, clock: JumpingClock
) -> None:
    killed_in_the_middle(tmp_path, world)
    clock.advance(300)
    engine = fake_engine(tmp_path, world)
    engine.kernel.switch(False, "operator")
    engine.recover()
    assert world.effects() == []
    engine.kernel.switch(True, "operator")
    engine.recover()  # at once: the refused one left the target free
    assert [effect["instance"] for effect in world.effects()] == ["web-0"]
    assert [one.state for one in engine.history()] == [State.RESOLVED]


def test_a_completed_action_takes_its_place_in_the_rate_of_now(
    tmp_path: Path, world: World, clock: JumpingClock
) -> None:
    killed_in_the_middle(tmp_path, world)
    clock.advance(300)
    engine = fake_engine(tmp_path, world, limits(max_actions_per_minute=1))
    world.write("db-0", healthy=False)
    engine.handle(world.detection("db-0"))
    engine.recover()
    assert [effect["instance"] for effect in world.effects()] == ["db-0"]
    clock.advance(61)
    engine.recover()
    assert [effect["instance"] for effect in world.effects()] == ["db-0", "web-0"]


def test_an_action_whose_effect_is_unknown_is_never_completed(
    tmp_path: Path, world: World, clock: JumpingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_in_the_middle(tmp_path, world)
    clock.advance(300)
    monkeypatch.setattr(Flip, "probe", lambda self, plan, key: Effect.UNKNOWN)
    engine = fake_engine(tmp_path, world)
    engine.recover()
    assert world.effects() == []
    assert [one.state for one in engine.history()] == [State.PAUSED]
