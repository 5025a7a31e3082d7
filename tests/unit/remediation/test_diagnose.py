"""Diagnosis walks to where the trouble sits and says only what looks confirm."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from infra.settings import Health
from remediation.diagnose import diagnose
from remediation.health import symptom
from remediation.records import Blame, Detection, Observation

GRAPH = {"front": ("service",), "service": ("database", "cache"), "database": (), "cache": ()}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Health()
WELL = {"alive": True, "responding": True, "ready": True, "latency": 0.01, "memory": 30 << 20}
DOWN = {"alive": False}
HUNG = {"alive": True}
FULL = {**WELL, "memory": 200 << 20}
SLOW = {**WELL, "latency": 0.8}
BROKEN = {**WELL, "ready": False}


def blocked(by: str) -> dict[str, Any]:
    return {**WELL, "ready": False, "blocked_by": by}


def looks(**special: dict[str, Any]) -> dict[str, Observation]:
    return {
        f"{service}-0": Observation(
            service=service, instance=f"{service}-0", observed_at=NOW, **special.get(service, WELL)
        )
        for service in GRAPH
    }


def seen_at(service: str, *blamed: Blame) -> Detection:
    return Detection(
        source="/t", service=service, instance=f"{service}-0", observed_at=NOW, evidence_at=NOW, blamed=blamed
    )


@pytest.mark.parametrize(
    ("look", "cause"),
    [
        (DOWN, "process_down"),
        (HUNG, "process_hung"),
        (FULL, "memory_leak"),
        (SLOW, "slow_response"),
        (BROKEN, "not_ready"),
        (blocked("database"), None),
        (WELL, None),
    ],
)
def test_each_symptom_has_its_cause(look: dict[str, Any], cause: str | None) -> None:
    found = symptom(looks(service=look)["service-0"], LIMITS)
    assert (found.cause if found else None) == cause


CASES: list[tuple[str, dict[str, dict[str, Any]], str, str]] = [
    (
        "front",
        {"database": DOWN, "service": blocked("database"), "front": blocked("service")},
        "database",
        "process_down",
    ),
    ("front", {"database": SLOW, "service": SLOW, "front": SLOW}, "database", "slow_response"),
    ("front", {"service": HUNG, "front": blocked("service")}, "service", "process_hung"),
    ("service", {"cache": FULL, "service": SLOW}, "cache", "memory_leak"),
    ("front", {"front": FULL}, "front", "memory_leak"),
    # trouble elsewhere that the detected service does not depend on is another incident's
    ("database", {"front": DOWN, "database": SLOW}, "database", "slow_response"),
    # a sick dependency behind a healthy one is not on the path
    ("front", {"database": DOWN, "front": SLOW}, "front", "slow_response"),
]


@pytest.mark.parametrize(("seen", "special", "where", "cause"), CASES)
def test_the_deepest_sick_dependency_is_the_cause(
    seen: str, special: dict[str, dict[str, Any]], where: str, cause: str
) -> None:
    found = diagnose(seen_at(seen), looks(**special), GRAPH, LIMITS)
    assert found is not None and (found.service, found.cause) == (where, cause)
    assert any(where in fact for fact in found.evidence)


def test_everything_healthy_is_no_diagnosis() -> None:
    assert diagnose(seen_at("front"), looks(), GRAPH, LIMITS) is None


def test_an_unknown_instance_is_no_diagnosis() -> None:
    assert diagnose(seen_at("billing"), looks(), GRAPH, LIMITS) is None


def test_waiting_for_a_healthy_dependency_is_not_enough_to_act_on() -> None:
    found = diagnose(seen_at("front"), looks(front=blocked("service")), GRAPH, LIMITS)
    assert found is not None and found.cause == "dependency_unclear" and found.confidence < 0.5


def test_a_blamed_metric_alone_stays_a_suspicion() -> None:
    detection = seen_at("front", Blame(metric="process_resident_memory_bytes", weight=0.9), Blame(metric="x"))
    found = diagnose(detection, looks(), GRAPH, LIMITS)
    assert found is not None and found.cause == "memory_leak" and found.confidence < 0.5


def test_a_cycle_in_the_graph_ends() -> None:
    graph = {"front": ("service",), "service": ("front",)}
    found = diagnose(seen_at("front"), looks(front=SLOW, service=SLOW), graph, LIMITS)
    assert found is not None and found.cause == "slow_response"


class Ranks:
    def __init__(self, *services: str) -> None:
        self.services = services

    def suspects(self, *_: object) -> tuple[str, ...]:
        return self.services


def test_an_analyzer_chooses_among_confirmed_suspects_only() -> None:
    special = {"database": SLOW, "cache": SLOW, "service": SLOW, "front": SLOW}
    found = diagnose(seen_at("front"), looks(**special), GRAPH, LIMITS, Ranks("cache", "database"))
    assert found is not None and found.service == "cache"
    innocent = diagnose(seen_at("front"), looks(front=FULL), GRAPH, LIMITS, Ranks("database"))
    assert innocent is not None and innocent.service == "front"
