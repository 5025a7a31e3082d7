"""A watcher's reactions over a world kept in files, in a process that can be killed: `python -m ... HOME`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import flows.approve
import flows.remediate
import flows.watch
from remediation.engine import Engine
from remediation.testing import World, fake_engine, limits


def made(home: Path) -> tuple[Engine, World]:
    """An engine whose one action needs approval, put in the place of this process's own."""
    world = World(home / "world", {"web": 2})
    engine = fake_engine(home, world, limits(actions={"flip": False}))
    for module in (flows.approve, flows.remediate, flows.watch):
        module.engine = lambda: engine  # type: ignore[attr-defined]
    return engine, world


def main() -> None:
    engine, world = made(Path(sys.argv[1]))
    dispatcher = flows.watch.Dispatcher(engine, flows.watch.react)
    while True:
        dispatcher.go_on()
        if not world.read("web-0")["healthy"]:
            dispatcher.take(world.detection("web-0"))
        time.sleep(0.5)


if __name__ == "__main__":
    main()
