"""Diagnosis: from where trouble was seen down the dependency graph to where it sits, confirmed by a fresh look."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from infra.settings import Health
from remediation.health import sick, symptom
from remediation.records import Detection, Diagnosis, Observation

Looks = Mapping[str, Observation]
Graph = Mapping[str, tuple[str, ...]]

# metric names of the detectors, by the cause that moves them
_BLAMED = {"memory": "memory_leak", "resident": "memory_leak", "duration": "slow_response", "latency": "slow_response"}
_UNCONFIRMED = 0.45  # a model's word without any look that confirms it stays under the rules' usual 0.5


class Analyzer(Protocol):
    """The seam for RootCauseAnalyzer: ranks services, most suspect first; counts only where a look confirms it."""

    def suspects(self, detection: Detection, looks: Looks, graph: Graph) -> Iterable[str]: ...


def diagnose(
    detection: Detection, looks: Looks, graph: Graph, limits: Health, analyzer: Analyzer | None = None
) -> Diagnosis | None:
    """The most probable cause behind a detection, or None when every look along the path is healthy."""
    seen = looks.get(detection.instance)
    if seen is None:
        return None
    path = _path(seen, looks, graph, limits)
    if analyzer is not None:
        ranked = {service: rank for rank, service in enumerate(analyzer.suspects(detection, looks, graph))}
        path = sorted(path, key=lambda look: ranked.get(look.service, len(ranked)))
    for look in path:
        own = symptom(look, limits)
        if own is not None:
            facts = tuple(_fact(other, limits) for other in path)
            return _diagnosis(own.cause, own.confidence, look, facts)
    if path:  # somebody waits for somebody who looks well: not enough to act on
        return _diagnosis("dependency_unclear", 0.3, path[0], tuple(_fact(look, limits) for look in path))
    return _from_blame(detection, seen)


def _path(start: Observation, looks: Looks, graph: Graph, limits: Health) -> list[Observation]:
    """The sick instances reachable from `start` through the graph, deepest first."""
    found: dict[str, Observation] = {}

    def visit(look: Observation) -> None:
        if look.instance in found or not sick(look, limits):
            return
        found[look.instance] = look
        for service in graph.get(look.service, ()):
            for other in looks.values():
                if other.service == service:
                    visit(other)

    visit(start)
    return list(reversed(found.values()))


def _from_blame(detection: Detection, look: Observation) -> Diagnosis | None:
    """A model sees what health does not (yet): the metric that it blames most names a suspicion."""
    for blame in sorted(detection.blamed, key=lambda blame: -blame.weight):
        for word, cause in _BLAMED.items():
            if word in blame.metric:
                fact = f"{detection.model} blames {blame.metric} (score {detection.score:.2f}); health confirms nothing"
                return _diagnosis(cause, _UNCONFIRMED * detection.score, look, (fact,))
    return None


def _diagnosis(cause: str, confidence: float, look: Observation, facts: tuple[str, ...]) -> Diagnosis:
    return Diagnosis(
        cause=cause,
        confidence=confidence,
        service=look.service,
        instance=look.instance,
        evidence=facts,
        evidence_at=look.observed_at,
    )


def _fact(look: Observation, limits: Health) -> str:
    own = symptom(look, limits)
    return f"{look.instance}: {own.fact}" if own else f"{look.instance}: it waits for {look.blocked_by}"
