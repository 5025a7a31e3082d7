"""The timeline names every step in words, and shows a waiting plan in full."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flows import timeline
from remediation.records import Detection, Incident, State
from remediation.testing import World, fake_engine, limits


def handled(tmp_path: Path, needs_approval: bool) -> Incident:
    world = World(tmp_path / "world", {"web": 2})
    world.write("web-0", healthy=False)
    engine = fake_engine(tmp_path, world, limits(approval_required=needs_approval))
    now = datetime.now(UTC)
    detection = Detection(source="/test", service="web", instance="web-0", observed_at=now, evidence_at=now)
    return engine.handle(detection)


def test_steps_are_in_order_and_in_words(tmp_path: Path) -> None:
    incident = handled(tmp_path, needs_approval=False)
    found = timeline.rows(incident)
    names = [name for _, name, _ in found]
    assert incident.state is State.RESOLVED
    assert [name for name in names if name in ("detected", "diagnosed", "decided", "admitted", "outcome")] == [
        "detected",
        "diagnosed",
        "decided",
        "admitted",
        "outcome",
    ]
    assert [seconds for seconds, _, _ in found] == sorted(seconds for seconds, _, _ in found)
    assert "process_down of web-0" in dict((name, text) for _, name, text in found)["diagnosed"]


def test_a_waiting_plan_is_shown_with_the_way_to_answer(tmp_path: Path) -> None:
    incident = handled(tmp_path, needs_approval=True)
    assert incident.state is State.AWAITING_APPROVAL
    assert incident.approval is not None
    page = timeline.markdown(incident)
    assert f"aiops approve {incident.approval.id}" in page
    assert "Approve `flip` on `web-0`" in page
