"""What there is to repair: targets, what depends on what, and a fresh look at their health.

The inventory is the only source of targets. `remediation.workload.inventory` implements it for the local workload.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from remediation.records import Observation, Target


class Inventory(Protocol):
    """A system's view of itself, read anew at each call."""

    def targets(self) -> Mapping[str, Target]:
        """Every instance by its name."""

    def dependencies(self) -> Mapping[str, tuple[str, ...]]:
        """For each service the services that it calls."""

    def observe(self) -> Mapping[str, Observation]:
        """Look at every instance now, in parallel; takes at most one health timeout."""


def replicas(inventory: Inventory, service: str) -> int:
    """How many instances a service has."""
    return sum(target.service == service for target in inventory.targets().values())
