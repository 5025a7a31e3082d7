"""What the tests of the trail share."""

from __future__ import annotations

from pathlib import Path

import pytest

from remediation.engine import Engine
from remediation.testing import World, fake_engine


@pytest.fixture
def engine(tmp_path: Path, world: World) -> Engine:
    """An engine that has handled three incidents: 27 entries."""
    engine = fake_engine(tmp_path, world)
    for instance in ("web-0", "web-1", "db-0"):
        world.write(instance, healthy=False)
        engine.handle(world.detection(instance))
    return engine
