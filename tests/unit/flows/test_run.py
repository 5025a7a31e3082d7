"""Which incident is the repair of the fault that the main job injects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from flows.run import repaired
from remediation.records import Detection
from remediation.testing import World, fake_engine, limits


def test_an_incident_that_was_open_before_the_fault_may_end_with_its_repair(tmp_path: Path) -> None:
    world = World(tmp_path / "world", {"web": 2})
    world.write("web-0", healthy=False)
    engine = fake_engine(tmp_path, world, limits())
    now = datetime.now(UTC)
    detection = Detection(source="/test", service="web", instance="web-0", observed_at=now, evidence_at=now)
    incident = engine.handle(detection)
    assert incident.closed_at is not None and incident.opened_at < incident.closed_at
    assert repaired(incident, "web-0", since=incident.opened_at + (incident.closed_at - incident.opened_at) / 2)
    assert not repaired(incident, "web-1", since=now)
    assert not repaired(incident, "web-0", since=incident.closed_at + timedelta(seconds=1))
    assert not repaired(incident.model_copy(update={"closed_at": None}), "web-0", since=now)
