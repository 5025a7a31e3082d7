"""Detection: repeated bad looks fire, one does not, and the end of a symptom is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from infra.errors import UserError
from infra.settings import Health
from remediation.detect import Debounce, Watcher, from_anomalies, looks
from remediation.records import Detection, Status
from remediation.testing import World


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 5), st.integers(0, 4))
def test_fires_exactly_when_enough_of_the_last_looks_were_bad(looks: list[bool], failures: int, more: int) -> None:
    debounce, of = Debounce(failures, failures + more), failures + more
    for number, bad in enumerate(looks):
        recent = looks[max(0, number + 1 - of) : number + 1]
        assert debounce.update("x", bad) == (bad and sum(recent) >= failures)


def test_more_failures_than_looks_is_refused() -> None:
    with pytest.raises(UserError, match=r"failures \(4\)"):
        Debounce(4, 3)


def test_the_watcher_fires_and_resolves(world: World) -> None:
    watcher = Watcher(world, Health(failures=2, of=3))
    assert watcher.poll() == []
    world.write("web-0", healthy=False)
    assert watcher.poll() == []
    (fired,) = watcher.poll()
    assert (fired.instance, fired.status) == ("web-0", Status.FIRING)
    world.write("web-0", healthy=True)
    (over,) = watcher.poll()
    assert over.status is Status.RESOLVED and over.fingerprint == fired.fingerprint
    assert watcher.poll() == []


def test_looks_are_as_many_as_debouncing_needs(world: World) -> None:
    world.write("web-0", healthy=False)
    limits = Health(failures=2, of=3, interval="1ms")
    assert [len(found) for found in looks(Watcher(world, limits).poll, limits)] == [0, 1, 1]


def answer(**changed: object) -> dict[str, object]:
    now = datetime.now(UTC)
    return {"service": "web", "instance": "web-0", "anomalous": True, "score": 0.97, "evidence_at": now, **changed}


def test_anomalies_become_detections_after_they_repeat() -> None:
    debounce = Debounce(2, 3)
    assert from_anomalies([answer()], debounce) == []
    (found,) = from_anomalies([answer(blamed=[{"metric": "http_request_duration_seconds", "weight": 0.7}])], debounce)
    assert found.model == "anomaly_detector" and found.score == 0.97 and found.blamed[0].weight == 0.7


@pytest.mark.parametrize("wrong", [{"score": 1.7}, {"instance": "web-0; rm -rf /"}, {"evidence_at": "yesterday"}])
def test_a_wrong_answer_is_refused_by_field(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        from_anomalies([answer(**wrong)], Debounce(1, 1))


def test_one_instance_is_one_fingerprint_whoever_reports(tmp_path: Path, world: World) -> None:
    one = world.detection("web-0")
    other = one.model_copy(update={"source": "/other", "model": "anomaly_detector", "score": 0.5})
    assert one.fingerprint == other.fingerprint != world.detection("web-1").fingerprint
    with pytest.raises(ValidationError, match="fingerprint"):
        Detection(**{**one.model_dump(), "fingerprint": "f" * 32})
