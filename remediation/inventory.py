"""What there is to repair: targets, what depends on what, and a fresh look at their health.

The inventory is the only source of targets. `remediation.workload.inventory` implements it for the local workload,
`remediation.services` for what the settings list.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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


class Joined:
    """Several inventories as one; an instance that two of them know is the first one's."""

    def __init__(self, *parts: Inventory) -> None:
        self.parts = parts

    def targets(self) -> Mapping[str, Target]:
        return dict(ChainMap(*(dict(part.targets()) for part in self.parts)))

    def dependencies(self) -> Mapping[str, tuple[str, ...]]:
        return dict(ChainMap(*(dict(part.dependencies()) for part in self.parts)))

    def observe(self) -> Mapping[str, Observation]:
        with ThreadPoolExecutor(max_workers=len(self.parts)) as pool:
            return dict(ChainMap(*(dict(looks) for looks in pool.map(lambda part: part.observe(), self.parts))))


def replicas(inventory: Inventory, service: str) -> int:
    """How many instances a service has."""
    return sum(target.service == service for target in inventory.targets().values())
