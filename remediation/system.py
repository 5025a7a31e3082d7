"""The contract of a kind of service: one file in `systems/`, named as the `kind` that the settings give.

A system is a client of one running instance: it looks at it, measured by numbers of the server itself, and is what the
actions on that kind work with. Everything it is told stands in the settings; secrets among it are SecretStr.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, TypeVar

from infra import plugins
from infra.errors import UserError
from infra.settings import Health, Section
from remediation.records import Finding, Observation, Target

SYSTEMS = "remediation.systems"


class Options(Section):
    """Base of the keys of one instance in the settings."""


class Silent(UserError):
    """The server took the connection and did not answer in time."""


O = TypeVar("O", bound=Options)  # noqa: E741 - the usual letter


class System(ABC, Generic[O]):
    """One instance. `timeout`: seconds that a look may take at most."""

    options: ClassVar[type[Options]]

    def __init__(self, target: Target, options: O, health: Health) -> None:
        self.target = target
        self.told = options
        self.health = health
        self.timeout = health.timeout.total_seconds()

    @property
    @abstractmethod
    def address(self) -> tuple[str, int] | str:
        """Where it listens: host and port, or the path of a socket."""

    @abstractmethod
    def finding(self) -> Finding | None:
        """What is wrong with it now. Raises Silent when it does not answer, UserError when it cannot be asked."""

    def observe(self) -> Observation:
        """One look: refused is down, silent is hung, and an answer that is an error is not ready."""
        found: dict[str, Any] = {"alive": False}
        try:
            self._knock()
            found = {"alive": True, "responding": True}
            found |= {"finding": self.finding(), "ready": True}
        except (ConnectionRefusedError, FileNotFoundError):
            found = {"alive": False}  # nobody listens there
        except (Silent, TimeoutError):
            found = {"alive": True}
        except (UserError, OSError):
            found = {"alive": True, "responding": True}  # it is there, and something else than its health is wrong
        found |= {"service": self.target.service, "instance": self.target.instance}
        return Observation(observed_at=datetime.now(UTC), **found)

    def _knock(self) -> None:
        if isinstance(self.address, str):
            with socket.socket(socket.AF_UNIX) as door:
                door.settimeout(self.timeout)
                door.connect(self.address)
        else:
            socket.create_connection(self.address, self.timeout).close()


def kind(name: str) -> type[System]:
    """The class of a kind of service. Raises NotFound with the kinds there are."""
    return plugins.load(SYSTEMS, name, System)  # type: ignore[type-abstract]
