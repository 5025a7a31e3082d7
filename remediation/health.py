"""What an observation says about one instance: the symptom that is its own, or that it waits for another."""

from __future__ import annotations

from typing import NamedTuple

from infra.settings import Health
from remediation.records import Observation

MIB = 1 << 20


class Symptom(NamedTuple):
    """A cause in the words of the rules, how sure one look is of it, and the measured fact."""

    cause: str
    confidence: float
    fact: str


def symptom(look: Observation, limits: Health) -> Symptom | None:
    """The instance's own trouble, worst first; None when it is well or only its dependency is not."""
    slow, full = limits.max_latency.total_seconds(), limits.max_memory_mib * MIB
    if not look.alive:
        return Symptom("process_down", 0.99, "its process is gone")
    if not look.responding:
        waited = limits.timeout.total_seconds()
        return Symptom("process_hung", 0.9, f"its process lives and does not answer within {waited:g} s")
    if look.finding is not None:
        return Symptom(look.finding.cause, look.finding.confidence, look.finding.fact)
    if look.memory is not None and look.memory > full:
        return Symptom("memory_leak", 0.8, f"it holds {look.memory / MIB:.0f} MiB, the limit is {full / MIB:.0f}")
    if look.ready and look.latency is not None and look.latency > slow:
        return Symptom("slow_response", 0.7, f"it answers in {look.latency:.3f} s, the limit is {slow:g}")
    if not look.ready and look.blocked_by is None:
        return Symptom("not_ready", 0.6, "it says itself that it is not ready")
    return None


def sick(look: Observation, limits: Health) -> bool:
    """Whether anything is wrong, be it its own or a dependency's."""
    return symptom(look, limits) is not None or not look.ready
