"""The contract of an action: one file in `actions/`, named as the action, found by `catalogue()`.

An action is a client of the system that it repairs. Its target and parameters come from the inventory and the
settings; no text of telemetry reaches it. It must be safe to repeat: `apply` and `undo` get the idempotency key of the
intent, and a second call with the same key completes the first one's work instead of doing it again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from pydantic import ConfigDict

from infra import plugins
from infra.errors import PluginError, SettingsError
from infra.settings import Remediation, Settings
from remediation import vocabulary
from remediation.records import Effect, Plan, Record, Target, Verdict

ACTIONS = "remediation.actions"


class Parameters(Record):
    """Base of an action's typed parameters."""

    model_config = ConfigDict(frozen=True, extra="forbid")


P = TypeVar("P", bound=Parameters)


class Check(Record):
    """What verification saw."""

    verdict: Verdict
    reason: str


class Action(ABC, Generic[P]):
    """What can be done to a target. Class attributes describe it, so that deciding needs no instance of the world.

    `treats`: causes; `disruption`: 0 nothing is noticed … 3 an outage of the target; `destructive`: state can be lost;
    `irreversible`: there is no undo, so it always needs approval; `requires`: programs or packages it needs.
    """

    parameters: ClassVar[type[Parameters]]
    treats: ClassVar[frozenset[str]]
    disruption: ClassVar[int]
    destructive: ClassVar[bool] = False
    irreversible: ClassVar[bool] = False
    requires: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def name(self) -> str:
        """The file's name."""
        return type(self).__module__.rsplit(".", 1)[-1]

    def unsuited(self, target: Target) -> str:
        """Why this action cannot act on such a target at all; empty when it can."""
        return ""

    def plan(self, target: Target) -> Plan:
        """The dry run: exactly what would change. Changes nothing."""
        parameters = self.parametrise(target)
        return Plan(
            action=self.name,
            target=target,
            parameters=parameters.model_dump(mode="json"),
            changes=self.changes(target, parameters),
            destructive=self.destructive,
            irreversible=self.irreversible,
        )

    def typed(self, plan: Plan) -> P:
        """The plan's parameters as this action's own type."""
        return self.parameters.model_validate(plan.parameters)  # type: ignore[return-value]

    @abstractmethod
    def parametrise(self, target: Target) -> P:
        """Choose the parameters for a target, from the inventory. Raises UserError when there is nothing to do."""

    @abstractmethod
    def changes(self, target: Target, parameters: P) -> tuple[str, ...]:
        """What would change, in order, for a human to read."""

    @abstractmethod
    def apply(self, plan: Plan, key: str) -> None:
        """Do it, or complete what an earlier call with this key began. Raises when the target is not as planned."""

    @abstractmethod
    def verify(self, plan: Plan) -> Check:
        """Whether the target is healthy now, by a signal that can recover on its own."""

    @abstractmethod
    def probe(self, plan: Plan, key: str) -> Effect:
        """What really happened of the call with this key; looks only at the target."""

    def undo(self, plan: Plan, key: str) -> str:
        """Put back what was before and say what that was. An action that cannot is marked `irreversible`."""
        raise NotImplementedError(f"{self.name} is irreversible")


def catalogue() -> dict[str, type[Action]]:
    """Every action by name. Raises PluginError for one that does not hold the contract."""
    found = plugins.load_all(ACTIONS, Action)  # type: ignore[type-abstract]
    for name, action in found.items():
        problem = _problem(action)
        if problem:
            raise PluginError(f"remediation/actions/{name}.py: {problem}")
    return found


def check_settings(settings: Remediation, actions: dict[str, type[Action]]) -> None:
    """Every name of an action must be known, and treat the cause it is meant for. Raises SettingsError."""
    missing = vocabulary.missing(settings, actions)
    for rule in settings.rules:
        for name in rule.actions:
            if name not in missing and rule.cause not in actions[name].treats:
                treats = ", ".join(sorted(actions[name].treats))
                raise SettingsError(f"the rule for {rule.cause}: {name} does not treat it; it treats {treats}")


def _problem(action: type[Action]) -> str:
    for attribute in ("parameters", "treats", "disruption"):
        if not hasattr(action, attribute):
            return f"does not set `{attribute}`"
    if not action.treats:
        return "`treats` is empty"
    if not 0 <= action.disruption <= 3:
        return f"`disruption` is {action.disruption}, it must be 0 to 3"
    if (action.undo is Action.undo) != action.irreversible:
        return "it must either define `undo` or be `irreversible`"
    return ""
